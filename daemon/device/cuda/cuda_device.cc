#include "daemon/device/cuda/cuda_device.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"

namespace vrampool {
namespace {

// How long a measurement waits for a moment without work, and how often it
// tries. Making a slab takes microseconds, giving up the largest some 30 ms.
constexpr std::chrono::milliseconds kQuietPatience(100);
constexpr int kMeasureAttempts = 3;

}  // namespace

CudaDevice::CudaDevice(const cuda::DriverApi& api, Gpu gpu,
                       std::unique_ptr<Nvml> nvml)
    : api_(api),
      gpu_(std::move(gpu)),
      nvml_(std::move(nvml)),
      fault_(api),
      book_(Bytes()) {}

// What is left goes with the process, and before it with the context.
CudaDevice::~CudaDevice() {
  MutexLock lock(mu_);
  for (const auto& [id, slab] : slabs_) {
    (void)kinds_.at(slab.kind).memory->GiveUp(slab.memory);
  }
}

void CudaDevice::EndWork() {
  --works_;
  changed_.NotifyAll();
}

absl::Status CudaDevice::Create(SlabId id, Bytes size, HandleKind kind) {
  VRAMPOOL_CHECK(!size.is_zero() && size.count() % info_.granule.count() == 0);
  const auto offered = kinds_.find(kind);
  VRAMPOOL_CHECK(offered != kinds_.end());
  VRAMPOOL_RETURN_IF_ERROR(fault_.health());
  {
    MutexLock lock(mu_);
    ++works_;
    ++works_begun_;
    creating_ += size;
  }
  SlabMemory& memory = *offered->second.memory;
  absl::StatusOr<MemoryId> made = memory.Make(size);
  if (made.ok() && offered->second.must_clear) {
    const absl::Status cleared = memory.Clear(*made, size);
    if (!cleared.ok()) {
      (void)memory.GiveUp(*made);  // The first error is the one to tell.
      made = cleared;
    }
  }
  MutexLock lock(mu_);
  creating_ -= size;
  EndWork();
  if (!made.ok()) return made.status();
  const bool is_new =
      slabs_.emplace(id, Slab{.memory = *made, .size = size, .kind = kind})
          .second;
  VRAMPOOL_CHECK(is_new);
  book_.OnMade(size);
  return absl::OkStatus();
}

absl::Status CudaDevice::Destroy(SlabId id) {
  VRAMPOOL_RETURN_IF_ERROR(fault_.health());
  std::map<SlabId, Slab>::node_type node;
  {
    MutexLock lock(mu_);
    node = slabs_.extract(id);
    if (node.empty()) return absl::NotFoundError("no such slab");
    while (node.mapped().exports > 0) changed_.Wait(lock);
    ++works_;
    ++works_begun_;
  }
  const Slab& slab = node.mapped();
  const absl::Status outcome = kinds_.at(slab.kind).memory->GiveUp(slab.memory);
  MutexLock lock(mu_);
  EndWork();
  if (outcome.ok()) {
    book_.OnDestroyed(slab.size);
  } else {
    slabs_.insert(std::move(node));
  }
  return outcome;
}

absl::StatusOr<ExportedHandle> CudaDevice::Export(SlabId id) {
  VRAMPOOL_RETURN_IF_ERROR(fault_.health());
  Slab* slab = nullptr;
  {
    MutexLock lock(mu_);
    const auto found = slabs_.find(id);
    if (found == slabs_.end()) return absl::NotFoundError("no such slab");
    slab = &found->second;  // Stays: Destroy waits for the count.
    ++slab->exports;
  }
  absl::StatusOr<ExportedHandle> handle =
      kinds_.at(slab->kind).memory->Export(slab->memory);
  MutexLock lock(mu_);
  --slab->exports;
  changed_.NotifyAll();
  return handle;
}

absl::StatusOr<CudaDevice::Figures> CudaDevice::ReadFigures() {
  if (context_ != nullptr) {
    VRAMPOOL_RETURN_IF_ERROR(context_->Enter());
    size_t free = 0;
    size_t total = 0;
    VRAMPOOL_RETURN_IF_ERROR(
        fault_.Check(api_.MemGetInfo(&free, &total), "cuMemGetInfo"));
    return Figures{.total = Bytes(total), .free = Bytes(free)};
  }
  if (nvml_ == nullptr) {
    MutexLock lock(mu_);
    return Figures{.total = gpu_.total,
                   .free = SaturatingSub(gpu_.total, book_.slabs())};
  }
  const absl::StatusOr<Nvml::Memory> memory = nvml_->ReadMemory(gpu_.uuid);
  if (absl::IsUnavailable(memory.status())) {
    fault_.Lose(memory.status().message());
  }
  VRAMPOOL_RETURN_IF_ERROR(memory.status());
  return Figures{.total = memory->total, .free = memory->free};
}

absl::Status CudaDevice::Measure(DeviceUse& use) {
  for (int attempt = 1;; ++attempt) {
    uint64_t begun = 0;
    bool is_quiet = false;
    {
      const auto deadline = std::chrono::steady_clock::now() + kQuietPatience;
      MutexLock lock(mu_);
      while (works_ > 0 && changed_.WaitUntil(lock, deadline)) {
      }
      is_quiet = works_ == 0;
      begun = works_begun_;
    }
    VRAMPOOL_ASSIGN_OR_RETURN(const Figures figures, ReadFigures());
    MutexLock lock(mu_);
    is_quiet = is_quiet && works_ == 0 && works_begun_ == begun;
    if (!is_quiet && attempt < kMeasureAttempts) continue;
    use.total = figures.total;
    use.free = figures.free;
    // What is being made is either in the one or in the other.
    use.slabs = book_.slabs() + creating_;
    if (is_quiet) book_.Measure(SaturatingSub(figures.total, figures.free));
    return absl::OkStatus();
  }
}

absl::StatusOr<Bytes> CudaDevice::Unreleased() {
  VRAMPOOL_RETURN_IF_ERROR(fault_.health());
  DeviceUse use;
  VRAMPOOL_RETURN_IF_ERROR(Measure(use));
  MutexLock lock(mu_);
  return book_.unreleased();
}

absl::StatusOr<DeviceUse> CudaDevice::Use() {
  VRAMPOOL_RETURN_IF_ERROR(fault_.health());
  DeviceUse use;
  VRAMPOOL_RETURN_IF_ERROR(Measure(use));
  if (nvml_ == nullptr) return use;
  // Who it is matters less than how much it is: without a list the figures are
  // still good.
  absl::StatusOr<std::vector<OutsideProcess>> processes =
      nvml_->ReadProcesses(gpu_.uuid);
  if (processes.ok()) use.processes = *std::move(processes);
  return use;
}

}  // namespace vrampool
