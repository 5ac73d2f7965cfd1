#include "client/allocator/thread_caches.h"

#include <algorithm>

namespace vrampool::client {

class ThreadCaches::Seizure {
 public:
  explicit Seizure(ThreadCaches& caches) : caches_(caches) {
    if (caches_.closings_ > 0 || caches_.all_.empty()) return;
    for (const auto& one : caches_.all_) one->lock().Want();
    BiasedLock::Barrier();
    for (const auto& one : caches_.all_) one->lock().AwaitLeft();
  }
  ~Seizure() {
    if (caches_.closings_ > 0) return;
    for (const auto& one : caches_.all_) one->lock().Release();
  }
  Seizure(const Seizure&) = delete;
  Seizure& operator=(const Seizure&) = delete;

 private:
  ThreadCaches& caches_;
};

std::shared_ptr<ThreadCache> ThreadCaches::Add(const BlockTable& table,
                                               uint32_t thread,
                                               ManifestWriter& manifest) {
  auto cache = std::make_shared<ThreadCache>(table, limit_, thread);
  all_.push_back(cache);
  cache->SetCell(manifest.TakeCell());
  if (closings_ > 0) cache->lock().Want();
  return cache;
}

ThreadCaches::Batches ThreadCaches::TakeOut(Which which,
                                            ManifestWriter& manifest) {
  Batches out;
  {
    const Seizure seizure(*this);
    TakeOutSeized(which, out);
  }
  Forget(manifest);
  return out;
}

void ThreadCaches::TakeOutSeized(Which which, Batches& out) {
  size_t most = 0;
  for (const auto& one : all_) most += one->stream_count();
  out.reserve(most);  // From here on nothing throws.
  is_warm_ = false;
  for (const auto& one : all_) {
    one->TakeOut(one->is_abandoned() ? Which::kAll : which, out);
    is_warm_ = is_warm_ || !one->is_empty();
  }
}

void ThreadCaches::Forget(ManifestWriter& manifest) {
  std::erase_if(all_, [&](const auto& one) {
    if (!one->is_abandoned() || !one->is_empty()) return false;
    gone_bytes_ += one->live_bytes();
    gone_blocks_ += one->live_blocks();
    manifest.GiveCell(one->cell());
    return true;
  });
}

void ThreadCaches::MoveTo(ManifestWriter& manifest) {
  const Seizure seizure(*this);
  for (const auto& one : all_) one->SetCell(manifest.TakeCell());
}

ThreadCaches::Batches ThreadCaches::Close(ManifestWriter& manifest) {
  Batches out;
  {
    const Seizure seizure(*this);
    TakeOutSeized(Which::kAll, out);
    ++closings_;  // The locks stay seized.
  }
  Forget(manifest);
  return out;
}

void ThreadCaches::Reopen() {
  if (--closings_ > 0) return;
  for (const auto& one : all_) one->lock().Release();
}

bool ThreadCaches::has_ended() const {
  return std::any_of(all_.begin(), all_.end(),
                     [](const auto& one) { return one->is_abandoned(); });
}

int64_t ThreadCaches::live_bytes() const {
  int64_t sum = gone_bytes_;
  for (const auto& one : all_) sum += one->live_bytes();
  return sum;
}

int64_t ThreadCaches::live_blocks() const {
  int64_t sum = gone_blocks_;
  for (const auto& one : all_) sum += one->live_blocks();
  return sum;
}

uint64_t ThreadCaches::cached_bytes() const {
  uint64_t sum = 0;
  for (const auto& one : all_) sum += one->cached_bytes();
  return sum;
}

}  // namespace vrampool::client
