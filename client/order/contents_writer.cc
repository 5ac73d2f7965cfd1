#include "client/order/contents_writer.h"

#include <map>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "client/order/stream_status.h"

namespace vrampool::client {

// What the GPU may write to, as long as this exists.
class ContentsWriter::Region {
 public:
  // Null: the driver refuses.
  static std::shared_ptr<const Region> Register(
      const std::shared_ptr<const GpuContext>& gpu, const ContentsWords& words);
  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  const GpuContext& gpu() const { return *gpu_; }
  cuda::DevicePtr base() const { return base_; }
  bool IsOf(const ContentsWords& words) const {
    return words.region() != nullptr && words.file() == file_ &&
           words.region()->size() == memory_->size();
  }

 private:
  Region(std::shared_ptr<const GpuContext> gpu, const ContentsWords& words,
         cuda::DevicePtr base)
      : gpu_(std::move(gpu)),
        memory_(words.region()),
        file_(words.file()),
        base_(base) {}

  const std::shared_ptr<const GpuContext> gpu_;
  const std::shared_ptr<const SharedRegion> memory_;
  const ContentsWords::FileId file_;
  const cuda::DevicePtr base_;
};

struct ContentsWriter::Everywhere {
  // The context, the file and its size.
  using Place = std::tuple<cuda::Context, ContentsWords::FileId, uint64_t>;

  Mutex mu;
  std::map<Place, std::weak_ptr<const Region>> regions VRAMPOOL_GUARDED_BY(mu);
  std::vector<std::shared_ptr<const Region>> kept VRAMPOOL_GUARDED_BY(mu);
};

// Never destroyed: who has not been released writes until the process has gone.
ContentsWriter::Everywhere& ContentsWriter::All() {
  static auto* const all = new Everywhere();
  return *all;
}

std::shared_ptr<const ContentsWriter::Region> ContentsWriter::Region::Register(
    const std::shared_ptr<const GpuContext>& gpu, const ContentsWords& words) {
  constexpr unsigned kFlags =
      cuda::kHostRegisterPortable | cuda::kHostRegisterDeviceMap;
  const GpuContext::Scope scope(*gpu);
  std::byte* const memory = words.region()->base();
  if (scope.error() != cuda::kSuccess ||
      gpu->api().MemHostRegister(memory, words.region()->size(), kFlags) !=
          cuda::kSuccess) {
    return nullptr;
  }
  cuda::DevicePtr base = 0;
  if (gpu->api().MemHostGetDevicePointer(&base, memory, 0) != cuda::kSuccess) {
    (void)gpu->api().MemHostUnregister(memory);
    return nullptr;
  }
  return std::shared_ptr<const Region>(new Region(gpu, words, base));
}

// If it fails, the context has, and nothing is written any more.
ContentsWriter::Region::~Region() {
  const GpuContext::Scope scope(*gpu_);
  (void)gpu_->api().MemHostUnregister(memory_->base());
}

// Two threads that begin at once may both register, each its own mapping.
std::unique_ptr<ContentsWriter> ContentsWriter::Register(
    const std::shared_ptr<const GpuContext>& gpu, const ContentsWords& words) {
  if (words.region() == nullptr) return nullptr;
  const Everywhere::Place place(gpu->context(), words.file(),
                                words.region()->size());
  Everywhere& all = All();
  std::shared_ptr<const Region> region;
  {
    MutexLock lock(all.mu);
    std::erase_if(all.regions, [](auto& one) { return one.second.expired(); });
    const auto found = all.regions.find(place);
    if (found != all.regions.end()) region = found->second.lock();
  }
  if (region == nullptr) {
    region = Region::Register(gpu, words);
    if (region == nullptr) return nullptr;
    MutexLock lock(all.mu);
    all.regions[place] = region;
  }
  return std::unique_ptr<ContentsWriter>(new ContentsWriter(std::move(region)));
}

ContentsWriter::ContentsWriter(std::shared_ptr<const Region> region)
    : region_(std::move(region)) {}

ContentsWriter::~ContentsWriter() {
  if (region_ == nullptr) return;
  MutexLock lock(All().mu);
  All().kept.push_back(std::move(region_));
}

void ContentsWriter::Release() { region_.reset(); }

bool ContentsWriter::Enqueue(const ContentsWords& words, ObjectId object,
                             cuda::Stream stream) const {
  const std::optional<ContentsWords::Entry> entry = words.EntryOf(object);
  if (!entry || !region_->IsOf(words)) return false;
  const GpuContext& gpu = region_->gpu();
  const GpuContext::Scope scope(gpu);
  // By default the driver orders a write behind all that the work before it has
  // written, for whoever reads (CU_STREAM_WRITE_VALUE_DEFAULT).
  return scope.error() == cuda::kSuccess &&
         CheckNotCapturing(gpu, stream).ok() &&
         gpu.api().StreamWriteValue32(stream, region_->base() + entry->offset,
                                      entry->complete, 0) == cuda::kSuccess;
}

}  // namespace vrampool::client
