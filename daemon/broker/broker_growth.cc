// Samples of what live sessions have by tag: see broker.h and growth_book.h.

#include <algorithm>
#include <utility>

#include "base/stopwatch.h"
#include "daemon/broker/broker_impl.h"

namespace vrampool {
namespace {

constexpr absl::Duration kSampleInterval = absl::Seconds(30);
// A sample is not taken before so many times its cost have passed.
constexpr int64_t kRestPerCost = 500;
constexpr size_t kTagsOfASample = shm::kTagCapacity + 1;

// The sums of a manifest by tag alone. What does not make sense in it is told
// by its leak report.
std::vector<TagUse> UseByTag(const Manifest& manifest) {
  BlockGroups groups(kTagsOfASample);
  (void)manifest.ForEachBlock(
      [&](const BlockRecordView& block) { groups.AddByTag(block); });
  std::vector<TagUse> uses;
  for (BlockGroup& group : groups.Sorted()) {
    uses.push_back({std::move(group.tag), group.blocks, group.bytes});
  }
  return uses;
}

}  // namespace

void BrokerImpl::SampleUse() {
  MutexLock lock(mu_);
  if (is_sample_due_ || is_stopping_ || clock_.Now() < next_sample_) return;
  is_sample_due_ = true;
  samples_.Post([this] { TakeSample(); });
}

void BrokerImpl::TakeSample() {
  struct Look {
    SessionId session;
    std::shared_ptr<Manifest> manifest;
    std::optional<uint64_t> sampled_changes;
  };
  const Stopwatch watch;
  std::vector<Look> looks;
  {
    MutexLock lock(mu_);
    for (const auto& [id, companion] : companions_) {
      looks.push_back({id, companion.manifest, companion.sampled_changes});
    }
  }
  for (const Look& look : looks) {
    // Read first: what changes while the blocks are read is read again.
    const uint64_t changes = look.manifest->ReadLiveUse().changes;
    const bool is_same = look.sampled_changes == changes;
    const std::vector<TagUse> uses =
        is_same ? std::vector<TagUse>() : UseByTag(*look.manifest);
    MutexLock lock(mu_);
    const auto found = companions_.find(look.session);
    if (found == companions_.end()) continue;  // It ended meanwhile.
    found->second.sampled_changes = changes;
    if (is_same) {
      growth_book_.Repeat(look.session, clock_.Now());
    } else {
      growth_book_.Add(look.session, clock_.Now(), uses);
    }
  }
  MutexLock lock(mu_);
  is_sample_due_ = false;
  next_sample_ =
      clock_.Now() + std::max(kSampleInterval, watch.elapsed() * kRestPerCost);
}

}  // namespace vrampool
