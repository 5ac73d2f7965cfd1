#include "daemon/device/cuda/driver_fault.h"

#include "absl/strings/str_cat.h"
#include "base/cuda/driver.h"

namespace vrampool {

absl::Status DriverFault::Check(cuda::Result result, absl::string_view doing) {
  if (result == cuda::kSuccess) return absl::OkStatus();
  const std::string text =
      absl::StrCat(doing, ": ", cuda::ErrorText(api_, result));
  if (result == cuda::kOutOfMemory) return absl::ResourceExhaustedError(text);
  if (!cuda::IsSticky(result)) return absl::InternalError(text);
  Lose(text);
  return health();
}

void DriverFault::Lose(absl::string_view why) {
  MutexLock lock(mu_);
  if (loss_.empty()) loss_ = std::string(why);
}

absl::Status DriverFault::health() const {
  MutexLock lock(mu_);
  if (loss_.empty()) return absl::OkStatus();
  return absl::UnavailableError(loss_);
}

}  // namespace vrampool
