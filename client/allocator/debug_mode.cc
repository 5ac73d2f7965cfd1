#include "client/allocator/debug_mode.h"

#include <unistd.h>

#include <exception>
#include <utility>

#include "client/allocator/debug_place.h"
#include "client/allocator/host_canary.h"
#include "client/session/call_site.h"

namespace vrampool::client {
namespace {

CanaryPlace PlaceOf(const Block& block) {
  return {.address = block.address,
          .bytes = block.asked_bytes.load(std::memory_order_relaxed),
          .extent = block.extent};
}

}  // namespace

DebugCall DebugMode::CallFrom(uint64_t call_site, uint64_t stream) {
  DebugCall call;
  call.call_site = OutsideCaller(call_site);
  call.place = DebugPlace();
  call.thread = static_cast<uint64_t>(::gettid());
  call.stream = stream;
  return call;
}

void DebugMode::NoteAllocated(const Allocation& block) noexcept {
  if (!is_of_gpu_) {
    HostCanary::FillRedZone({.address = block.address,
                             .bytes = block.bytes,
                             .extent = block.extent});
  }
  try {
    DebugRecord record;
    record.address = block.address;
    record.bytes = block.bytes;
    record.extent = block.extent;
    record.tag = block.tag;
    record.allocated = CallFrom(block.call_site, block.stream);
    book_.NoteAllocated(std::move(record));
  } catch (const std::exception&) {  // Reports will say less.
  }
}

bool DebugMode::FillOnGpu(const Block& block, cudaStream_t stream) noexcept {
  return canary_ != nullptr && canary_->FillRedZone(PlaceOf(block), stream);
}

void DebugMode::GuardFreed(Block& block, const DebugCall& call,
                           std::optional<cudaStream_t> stream) noexcept {
  const CanaryPlace place = PlaceOf(block);
  if (is_of_gpu_) {
    if (canary_ != nullptr && stream && canary_->FillFreed(place, *stream)) {
      block.debug |= kFilled;
    }
    return;
  }
  if (const auto damage = HostCanary::CheckRedZone(place)) {
    TellDamage(DebugFinding::Kind::kWrittenBehind, block, damage->first,
               damage->count, &call);
    HostCanary::FillRedZone(place);  // Told once.
  }
  HostCanary::FillFreed(place);
  block.debug |= kFilled;
  if (settings_.protects && HostCanary::Protect(place)) {
    block.debug |= kProtected;
  }
}

bool DebugMode::Unguard(const Block& block, const Leave& leave) const noexcept {
  if (is_of_gpu_) return LookOnGpu(block, leave);
  const CanaryPlace place = PlaceOf(block);
  if ((block.debug & kProtected) != 0 && !HostCanary::Unprotect(place)) {
    return false;
  }
  if (const auto damage = HostCanary::CheckRedZone(place)) {
    TellDamage(DebugFinding::Kind::kWrittenBehind, block, damage->first,
               damage->count, nullptr);
  }
  if ((block.debug & kFilled) == 0) return true;
  if (const auto damage = HostCanary::CheckFreed(place)) {
    TellDamage(DebugFinding::Kind::kWrittenAfter, block, damage->first,
               damage->count, nullptr);
  }
  return true;
}

bool DebugMode::LookOnGpu(const Block& block,
                          const Leave& leave) const noexcept {
  if (canary_ == nullptr) return true;
  if (!WatchesOnGpu(block)) return !canary_->IsReading(block.address);
  const std::optional<GpuCanary::Damages> damages =
      canary_->Look(PlaceOf(block),
                    {.has_red_zone = (block.debug & kHasRedZone) != 0,
                     .is_filled = (block.debug & kFilled) != 0},
                    leave.patience);
  if (!damages) return leave.is_wanted && !canary_->IsReading(block.address);
  if (damages->behind) {
    TellDamage(DebugFinding::Kind::kWrittenBehind, block,
               damages->behind->first, damages->behind->count, nullptr);
  }
  if (damages->after) {
    TellDamage(DebugFinding::Kind::kWrittenAfter, block, damages->after->first,
               damages->after->count, nullptr);
  }
  return true;
}

void DebugMode::TellDamage(DebugFinding::Kind kind, const Block& block,
                           uint64_t first_bad, uint64_t bad_bytes,
                           const DebugCall* call) const noexcept {
  DebugFinding finding;
  finding.kind = kind;
  finding.pointer = block.address;
  finding.first_bad = first_bad;
  finding.bad_bytes = bad_bytes;
  try {
    finding.block = book_.Find(block.address);
    if (call != nullptr) finding.call = *call;
  } catch (const std::exception&) {
  }
  if (!finding.block) {  // Its place is known in any case.
    finding.block.emplace();
    finding.block->address = block.address;
    finding.block->bytes = block.asked_bytes.load();
    finding.block->extent = block.extent;
  }
  Tell(finding, after_report());
}

Status DebugMode::Refuse(const DebugFinding& finding) const {
  Tell(finding, after_report());
  return {VRAMPOOL_INVALID_ARGUMENT, SentenceOf(finding)};
}

Status DebugMode::RefuseFree(uint64_t pointer, uint64_t bytes,
                             DebugCall call) const {
  return Refuse(book_.ExplainFree(pointer, bytes, std::move(call)));
}

Status DebugMode::RefuseUse(uint64_t pointer, std::string doing,
                            DebugCall call) const {
  return Refuse(book_.ExplainUse(pointer, std::move(doing), std::move(call)));
}

}  // namespace vrampool::client
