#include "client/allocator/gpu_canary.h"

#include <algorithm>
#include <new>
#include <thread>
#include <utility>

#include "base/status_macros.h"

namespace vrampool::client {

using Pattern = CanaryPattern;

GpuCanary::GpuCanary(std::shared_ptr<const GpuContext> gpu,
                     std::shared_ptr<StreamEvents> events)
    : gpu_(std::move(gpu)), events_(std::move(events)) {}

Result<std::unique_ptr<GpuCanary>> GpuCanary::Make(
    std::shared_ptr<const GpuContext> gpu,
    std::shared_ptr<StreamEvents> events) {
  std::unique_ptr<GpuCanary> made(
      new GpuCanary(std::move(gpu), std::move(events)));
  const GpuContext& context = *made->gpu_;
  const GpuContext::Scope scope(context);
  VRAMPOOL_RETURN_IF_ERROR(scope.status());
  MutexLock lock(made->looking_);
  VRAMPOOL_RETURN_IF_ERROR(context.StatusOf(
      context.api().StreamCreate(&made->stream_, cuda::kStreamNonBlocking),
      "making a stream"));
  VRAMPOOL_RETURN_IF_ERROR(context.StatusOf(
      context.api().EventCreate(&made->copied_, cuda::kEventDisableTiming),
      "making an event"));
  VRAMPOOL_RETURN_IF_ERROR(context.StatusOf(
      context.api().MemHostAlloc(&made->staging_, kStagingBytes, 0),
      "pinning memory"));
  return made;
}

// Fails only where the driver or its context has ended, and these too.
GpuCanary::~GpuCanary() {
  const GpuContext::Scope scope(*gpu_);
  if (scope.error() != cuda::kSuccess) return;
  MutexLock lock(looking_);
  if (stream_ != nullptr) {
    (void)gpu_->api().StreamSynchronize(stream_);
    (void)gpu_->api().StreamDestroy(stream_);
  }
  if (copied_ != nullptr) (void)gpu_->api().EventDestroy(copied_);
  if (staging_ != nullptr) (void)gpu_->api().MemFreeHost(staging_);
}

bool GpuCanary::FillRedZone(const CanaryPlace& place,
                            cudaStream_t stream) noexcept {
  return Fill(place, Pattern::RedZoneOf(place), Pattern::kRedByte, stream);
}

bool GpuCanary::FillFreed(const CanaryPlace& place,
                          cudaStream_t stream) noexcept {
  for (const CanaryRange& range : Pattern::FilledOf(place)) {
    if (!Fill(place, range, Pattern::kFreedByte, stream)) return false;
  }
  return true;
}

bool GpuCanary::Fill(const CanaryPlace& place, CanaryRange range,
                     unsigned char value, cudaStream_t stream) {
  if (range.size == 0) return true;
  try {
    return events_
        ->Fill(stream, {.address = place.address + range.begin,
                        .bytes = range.size,
                        .value = value})
        .ok();
  } catch (const std::bad_alloc&) {  // For a message of the driver's.
    return false;
  }
}

std::optional<GpuCanary::Damages> GpuCanary::Look(
    const CanaryPlace& place, Watched watched,
    std::chrono::milliseconds patience) noexcept {
  const GpuContext::Scope scope(*gpu_);
  if (scope.error() != cuda::kSuccess) return Damages{};
  CanaryDamage behind;
  CanaryDamage after;
  MutexLock lock(looking_);
  Batch batch;
  batch.deadline = std::chrono::steady_clock::now() + patience;
  if (IsLate()) return std::nullopt;
  Copied copied = Copied::kYes;
  const auto look = [&](CanaryRange range, unsigned char expected,
                        CanaryDamage& damage) VRAMPOOL_REQUIRES(looking_) {
    if (copied != Copied::kYes) return;
    copied = LookAt(
        place.address,
        {.range = range, .offset = 0, .expected = expected, .damage = &damage},
        batch);
  };
  if (watched.is_filled) {
    for (const CanaryRange& range : Pattern::FilledOf(place)) {
      look(range, Pattern::kFreedByte, after);
    }
  }
  if (watched.has_red_zone) {
    look(Pattern::RedZoneOf(place), Pattern::kRedByte, behind);
  }
  if (copied == Copied::kYes) copied = Compare(batch);
  if (copied == Copied::kLate) {
    late_ = place.address;
    return std::nullopt;
  }
  if (copied == Copied::kRefused) {
    // No copy may be under way when the memory is somebody's, or unmapped.
    (void)gpu_->api().StreamSynchronize(stream_);
    return Damages{};
  }
  return Damages{.behind = Pattern::OrNone(behind),
                 .after = Pattern::OrNone(after)};
}

bool GpuCanary::IsReading(uint64_t address) noexcept {
  const GpuContext::Scope scope(*gpu_);
  if (scope.error() != cuda::kSuccess) return false;
  MutexLock lock(looking_);
  return late_ == address && IsLate();
}

bool GpuCanary::IsLate() {
  if (late_ && gpu_->api().EventQuery(copied_) != cuda::kNotReady) {
    late_.reset();
  }
  return late_.has_value();
}

GpuCanary::Copied GpuCanary::LookAt(uint64_t address, const Piece& whole,
                                    Batch& batch) {
  CanaryRange left = whole.range;
  while (left.size > 0) {
    if (batch.bytes == kStagingBytes) {
      const Copied copied = Compare(batch);
      if (copied != Copied::kYes) return copied;
    }
    Piece& piece = batch.pieces[batch.count++];
    piece = whole;
    piece.offset = batch.bytes;
    piece.range = {.begin = left.begin,
                   .size = std::min(left.size, kStagingBytes - batch.bytes)};
    if (gpu_->api().MemcpyDtoHAsync(
            static_cast<unsigned char*>(staging_) + piece.offset,
            address + piece.range.begin, piece.range.size,
            stream_) != cuda::kSuccess) {
      return Copied::kRefused;
    }
    batch.bytes += piece.range.size;
    left.begin += piece.range.size;
    left.size -= piece.range.size;
  }
  return Copied::kYes;
}

GpuCanary::Copied GpuCanary::Compare(Batch& batch) {
  const Copied copied = AwaitCopies(batch.deadline);
  if (copied != Copied::kYes) return copied;
  for (size_t i = 0; i < batch.count; ++i) {
    const Piece& piece = batch.pieces[i];
    Pattern::Compare(static_cast<const unsigned char*>(staging_) + piece.offset,
                     piece.range, piece.expected, *piece.damage);
  }
  batch.count = 0;
  batch.bytes = 0;
  return copied;
}

GpuCanary::Copied GpuCanary::AwaitCopies(
    std::chrono::steady_clock::time_point deadline) {
  if (gpu_->api().EventRecord(copied_, stream_) != cuda::kSuccess) {
    return Copied::kRefused;
  }
  for (;;) {
    const cuda::Result result = gpu_->api().EventQuery(copied_);
    if (result == cuda::kSuccess) return Copied::kYes;
    if (result != cuda::kNotReady) return Copied::kRefused;
    if (std::chrono::steady_clock::now() > deadline) return Copied::kLate;
    std::this_thread::yield();
  }
}

}  // namespace vrampool::client
