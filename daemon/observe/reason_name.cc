#include "daemon/observe/reason_name.h"

#include <optional>

#include "absl/strings/strip.h"
#include "daemon/core/refusal.h"
#include "vrampool/v1/errors.pb.h"

namespace vrampool {

std::string ReasonNameOf(const absl::Status& error) {
  const std::optional<Refusal> refusal = RefusalOf(error);
  if (!refusal.has_value()) return "OTHER";
  const std::string name =
      v1::Reason_Name(static_cast<v1::Reason>(refusal->reason));
  return std::string(absl::StripPrefix(name, "REASON_"));
}

}  // namespace vrampool
