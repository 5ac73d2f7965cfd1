#include "client/order/contents_writer.h"

#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "base/mutex.h"
#include "client/order/stream_status.h"

namespace vrampool::client {
namespace {

using Place = std::pair<cuda::Context, ContentsWords::FileId>;

struct Registered {
  cuda::DevicePtr base = 0;  // 0: the driver refused.
  std::shared_ptr<const SharedRegion> region;
};

// Never destroyed: streams write there until the process has gone.
struct AllRegistered {
  Mutex mu;
  std::map<Place, Registered> at VRAMPOOL_GUARDED_BY(mu);
};
AllRegistered& All() {
  static auto* const all = new AllRegistered();
  return *all;
}

cuda::DevicePtr BaseOf(const GpuContext& gpu, const ContentsWords& words) {
  MutexLock lock(All().mu);
  const auto found = All().at.find({gpu.context(), words.file()});
  return found == All().at.end() ? 0 : found->second.base;
}

// Where the GPU sees the region; 0: the driver refuses.
cuda::DevicePtr RegisterRegion(const GpuContext& gpu,
                               const SharedRegion& region) {
  const GpuContext::Scope scope(gpu);
  if (scope.error() != cuda::kSuccess) return 0;
  constexpr unsigned kFlags =
      cuda::kHostRegisterPortable | cuda::kHostRegisterDeviceMap;
  cuda::DevicePtr base = 0;
  if (gpu.api().MemHostRegister(region.base(), region.size(), kFlags) !=
          cuda::kSuccess ||
      gpu.api().MemHostGetDevicePointer(&base, region.base(), 0) !=
          cuda::kSuccess) {
    return 0;
  }
  return base;
}

}  // namespace

// What the driver was asked to register stays mapped, whatever it answered.
void ContentsWriter::Register(const GpuContext& gpu,
                              const ContentsWords& words) {
  if (words.region() == nullptr) return;
  MutexLock lock(All().mu);
  const auto [entry, is_new] = All().at.try_emplace(
      {gpu.context(), words.file()}, Registered{.region = words.region()});
  if (is_new) entry->second.base = RegisterRegion(gpu, *words.region());
}

bool ContentsWriter::Enqueue(const GpuContext& gpu, const ContentsWords& words,
                             ObjectId object, cuda::Stream stream) {
  const std::optional<ContentsWords::Entry> entry = words.EntryOf(object);
  const cuda::DevicePtr base = entry ? BaseOf(gpu, words) : 0;
  if (base == 0) return false;
  const GpuContext::Scope scope(gpu);
  // By default the driver orders a write behind all that the work before it has
  // written, for whoever reads (CU_STREAM_WRITE_VALUE_DEFAULT).
  return scope.error() == cuda::kSuccess &&
         CheckNotCapturing(gpu, stream).ok() &&
         gpu.api().StreamWriteValue32(stream, base + entry->offset,
                                      entry->complete, 0) == cuda::kSuccess;
}

}  // namespace vrampool::client
