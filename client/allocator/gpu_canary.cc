#include "client/allocator/gpu_canary.h"

#include <algorithm>
#include <new>
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
      context.api().MemHostAlloc(&made->staging_, kStagingBytes, 0),
      "pinning memory"));
  return made;
}

// Fails only where the driver or its context has ended, and these too.
GpuCanary::~GpuCanary() {
  const GpuContext::Scope scope(*gpu_);
  MutexLock lock(looking_);
  if (stream_ != nullptr) (void)gpu_->api().StreamDestroy(stream_);
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

GpuCanary::Damages GpuCanary::Look(const CanaryPlace& place,
                                   Watched watched) noexcept {
  const GpuContext::Scope scope(*gpu_);
  if (scope.error() != cuda::kSuccess) return {};
  CanaryDamage behind;
  CanaryDamage after;
  Batch batch;
  bool is_seen = true;
  MutexLock lock(looking_);
  const auto look = [&](CanaryRange range, unsigned char expected,
                        CanaryDamage& damage) VRAMPOOL_REQUIRES(looking_) {
    is_seen = is_seen && LookAt(place.address,
                                {.range = range,
                                 .offset = 0,
                                 .expected = expected,
                                 .damage = &damage},
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
  if (!is_seen || !Compare(batch)) {
    // No copy may be under way when the memory is somebody's, or unmapped.
    (void)gpu_->api().StreamSynchronize(stream_);
    return {};
  }
  return {.behind = Pattern::OrNone(behind), .after = Pattern::OrNone(after)};
}

// Compares what is in the buffer when that is full. Its last piece waits there
// for those of the next range.
bool GpuCanary::LookAt(uint64_t address, const Piece& whole, Batch& batch) {
  CanaryRange left = whole.range;
  while (left.size > 0) {
    if (batch.bytes == kStagingBytes && !Compare(batch)) return false;
    Piece& piece = batch.pieces[batch.count++];
    piece = whole;
    piece.offset = batch.bytes;
    piece.range = {.begin = left.begin,
                   .size = std::min(left.size, kStagingBytes - batch.bytes)};
    if (gpu_->api().MemcpyDtoHAsync(
            static_cast<unsigned char*>(staging_) + piece.offset,
            address + piece.range.begin, piece.range.size,
            stream_) != cuda::kSuccess) {
      return false;
    }
    batch.bytes += piece.range.size;
    left.begin += piece.range.size;
    left.size -= piece.range.size;
  }
  return true;
}

bool GpuCanary::Compare(Batch& batch) {
  if (gpu_->api().StreamSynchronize(stream_) != cuda::kSuccess) return false;
  for (size_t i = 0; i < batch.count; ++i) {
    const Piece& piece = batch.pieces[i];
    Pattern::Compare(static_cast<const unsigned char*>(staging_) + piece.offset,
                     piece.range, piece.expected, *piece.damage);
  }
  batch = {};
  return true;
}

}  // namespace vrampool::client
