#include "tests/client/fake_streams.h"

#include <algorithm>
#include <utility>

namespace vrampool::client {

cudaStream_t FakeStreams::Make() {
  MutexLock lock(mu_);
  const uint64_t id = next_++;
  auto handle = reinterpret_cast<cudaStream_t>(id * 16);
  if (!free_handles_.empty()) {
    handle = free_handles_.back();
    free_handles_.pop_back();
  }
  handles_[handle] = id;
  streams_[id];
  return handle;
}

void FakeStreams::Destroy(cudaStream_t stream) {
  MutexLock lock(mu_);
  handles_.erase(stream);
  free_handles_.push_back(stream);  // Its work runs on.
}

uint64_t FakeStreams::IdOf(cudaStream_t stream) const {
  const auto found = handles_.find(stream);
  return found == handles_.end() ? 0 : found->second;
}

FakeStreams::Place FakeStreams::Enqueue(cudaStream_t stream) {
  MutexLock lock(mu_);
  const uint64_t id = IdOf(stream);
  std::vector<Entry>& entries = streams_.at(id).entries;
  entries.emplace_back();
  return {.stream = id, .length = entries.size()};
}

FakeStreams::Place FakeStreams::End(cudaStream_t stream) const {
  MutexLock lock(mu_);
  const uint64_t id = IdOf(stream);
  return {.stream = id, .length = streams_.at(id).entries.size()};
}

// Whether the end of `from` being done implies that `place` is.
bool FakeStreams::Reaches(Place from, Place place) const {
  std::map<uint64_t, uint64_t> seen;
  std::vector<Place> open = {from};
  while (!open.empty()) {
    const Place at = open.back();
    open.pop_back();
    if (at.stream == place.stream && at.length >= place.length) return true;
    uint64_t& reached = seen[at.stream];
    const auto& entries = streams_.at(at.stream).entries;
    for (uint64_t i = reached; i < at.length; ++i) {
      if (entries[i].wait.length > 0) open.push_back(entries[i].wait);
    }
    reached = std::max(reached, at.length);
  }
  return false;
}

bool FakeStreams::IsPlaceDone(Place place) const {
  return streams_.at(place.stream).done >= place.length;
}

bool FakeStreams::IsOrderedAfter(cudaStream_t stream, Place place) const {
  MutexLock lock(mu_);
  const uint64_t id = IdOf(stream);
  const Place end{.stream = id, .length = streams_.at(id).entries.size()};
  return IsPlaceDone(place) || Reaches(end, place);
}

void FakeStreams::Run() {
  for (bool has_moved = true; has_moved;) {
    has_moved = false;
    for (auto& [id, stream] : streams_) {
      const uint64_t end =
          std::min<uint64_t>(stream.allowed, stream.entries.size());
      while (stream.done < end &&
             (stream.entries[stream.done].wait.length == 0 ||
              IsPlaceDone(stream.entries[stream.done].wait))) {
        ++stream.done;
        has_moved = true;
      }
    }
  }
}

void FakeStreams::FinishUpTo(Place place) {
  MutexLock lock(mu_);
  uint64_t& allowed = streams_.at(place.stream).allowed;
  allowed = std::max(allowed, place.length);
  Run();
}

void FakeStreams::FinishAll() {
  MutexLock lock(mu_);
  for (auto& [id, stream] : streams_) stream.allowed = stream.entries.size();
  Run();
}

void FakeStreams::BeginCapture(cudaStream_t stream) {
  MutexLock lock(mu_);
  streams_.at(IdOf(stream)).is_capturing = true;
}

void FakeStreams::EndCapture(cudaStream_t stream) {
  MutexLock lock(mu_);
  streams_.at(IdOf(stream)).is_capturing = false;
  streams_.at(IdOf(stream)).is_spoilt = false;
}

void FakeStreams::Spoil(cudaStream_t stream) {
  MutexLock lock(mu_);
  streams_.at(IdOf(stream)).is_spoilt = true;
}

void FakeStreams::EndGraph(cuda::Graph graph) {
  std::vector<Watch> ended;
  {
    MutexLock lock(mu_);
    ended = std::move(watches_[graph]);
    watches_.erase(graph);
  }
  for (const Watch& watch : ended) watch.ended(watch.data);
}

void FakeStreams::FailRecording(bool is_failing) {
  MutexLock lock(mu_);
  is_failing_ = is_failing;
}

void FakeStreams::OnRecordAll(std::function<void()> hook) {
  MutexLock lock(mu_);
  on_record_all_ = std::move(hook);
}

void FakeStreams::OnIdentify(std::function<void()> hook) {
  MutexLock lock(mu_);
  on_identify_ = std::move(hook);
}

uint64_t FakeStreams::misuses() const {
  MutexLock lock(mu_);
  return misuses_;
}

uint64_t FakeStreams::records() const {
  MutexLock lock(mu_);
  return records_;
}

uint64_t FakeStreams::waits() const {
  MutexLock lock(mu_);
  return waits_;
}

uint64_t FakeStreams::quick_keys() const {
  MutexLock lock(mu_);
  return quick_keys_;
}

uint64_t FakeStreams::identifications() const {
  MutexLock lock(mu_);
  return identifications_;
}

uint64_t FakeStreams::living_events() const {
  MutexLock lock(mu_);
  return events_.size();
}

uint64_t FakeStreams::questions() const {
  MutexLock lock(mu_);
  return questions_;
}

uint64_t FakeStreams::records_of_all() const {
  MutexLock lock(mu_);
  return records_of_all_;
}

// What the driver does to a stream that captures is a misuse.
StreamKey FakeStreams::QuickKey(cudaStream_t stream) {
  MutexLock lock(mu_);
  ++quick_keys_;
  const uint64_t id = IdOf(stream);
  if (id == 0) return kUnknownStream;
  if (streams_.at(id).is_capturing) ++misuses_;
  return StreamKey{id + 1};
}

Result<StreamUse> FakeStreams::Identify(cudaStream_t stream) {
  std::function<void()> hook;
  {
    MutexLock lock(mu_);
    hook = std::exchange(on_identify_, nullptr);
  }
  if (hook) hook();
  MutexLock lock(mu_);
  ++identifications_;
  const uint64_t id = IdOf(stream);
  if (id == 0) {
    return Status(VRAMPOOL_INVALID_ARGUMENT, "no such stream; make one");
  }
  const bool is_capturing = streams_.at(id).is_capturing;
  if (is_capturing && announced_.count(id) == 0) captures().NoteUnannounced();
  return StreamUse{.key = StreamKey{id + 1},
                   .id = id,
                   .is_capturing = is_capturing,
                   .is_spoilt = is_capturing && streams_.at(id).is_spoilt,
                   .takes_events = !is_capturing};
}

Result<StreamUse> FakeStreams::Announce(cudaStream_t stream) {
  CaptureGuard::Announced capture(captures());
  const Result<StreamUse> use = Identify(stream);
  if (use.ok() && use->is_capturing) {
    return Status(VRAMPOOL_INVALID_ARGUMENT, "the stream captures already");
  }
  MutexLock lock(mu_);
  if (use.ok()) announced_.try_emplace(use->id, std::move(capture));
  return use;
}

// Such a stream can be asked all the same.
void FakeStreams::Withdraw(cudaStream_t stream) {
  MutexLock lock(mu_);
  announced_.erase(IdOf(stream));
}

Result<cuda::Event> FakeStreams::Create() {
  MutexLock lock(mu_);
  const auto event = reinterpret_cast<cuda::Event>(next_++ * 16);
  events_[event] = {};
  return event;
}

void FakeStreams::Destroy(cuda::Event event) {
  MutexLock lock(mu_);
  if (events_.erase(event) == 0) ++misuses_;
}

Status FakeStreams::RecordNow(cuda::Event event, cudaStream_t stream) {
  MutexLock lock(mu_);
  const uint64_t id = IdOf(stream);
  if (id == 0 || events_.count(event) == 0 || streams_.at(id).is_capturing) {
    ++misuses_;
    return {VRAMPOOL_INTERNAL, "not to be recorded"};
  }
  if (is_failing_) return {VRAMPOOL_INTERNAL, "asked to fail"};
  ++records_;
  std::vector<Entry>& entries = streams_.at(id).entries;
  events_[event] = {{.stream = id, .length = entries.size()}};
  return {};
}

Status FakeStreams::RecordAllNow(cuda::Event event) {
  std::function<void()> hook;
  {
    MutexLock lock(mu_);
    hook = std::exchange(on_record_all_, nullptr);
  }
  if (hook) hook();
  MutexLock lock(mu_);
  const bool is_any_capturing =
      std::any_of(streams_.begin(), streams_.end(),
                  [](const auto& one) { return one.second.is_capturing; });
  if (events_.count(event) == 0 || is_any_capturing) {
    ++misuses_;
    return {VRAMPOOL_INTERNAL, "not to be recorded"};
  }
  if (is_failing_) return {VRAMPOOL_INTERNAL, "asked to fail"};
  ++records_of_all_;
  std::vector<Place>& places = events_[event];
  places.clear();
  for (const auto& [id, stream] : streams_) {
    places.push_back({.stream = id, .length = stream.entries.size()});
  }
  return {};
}

bool FakeStreams::IsDone(cuda::Event event) {
  MutexLock lock(mu_);
  ++questions_;
  const auto found = events_.find(event);
  if (found == events_.end() || found->second.empty()) {
    ++misuses_;
    return false;
  }
  for (const Place place : found->second) {
    if (!IsPlaceDone(place)) return false;
  }
  return true;
}

Status FakeStreams::MakeWaitNow(cudaStream_t stream, cuda::Event event) {
  MutexLock lock(mu_);
  const uint64_t id = IdOf(stream);
  const auto found = events_.find(event);
  if (id == 0 || found == events_.end() || found->second.empty() ||
      streams_.at(id).is_capturing) {
    ++misuses_;
    return {VRAMPOOL_INTERNAL, "not to be waited for"};
  }
  ++waits_;
  for (const Place place : found->second) {
    streams_.at(id).entries.push_back({.wait = place});
  }
  return {};
}

// There is no GPU that could.
Status FakeStreams::FillNow(cudaStream_t /*stream*/,
                            const Filling& /*filling*/) {
  MutexLock lock(mu_);
  ++misuses_;
  return {VRAMPOOL_INTERNAL, "not to be filled"};
}

Status FakeStreams::Synchronize() {
  FinishAll();
  return {};
}

Status FakeStreams::WatchGraph(cuda::Graph graph, cuda::HostFunction ended,
                               void* data) {
  MutexLock lock(mu_);
  watches_[graph].push_back({.ended = ended, .data = data});
  return {};
}

}  // namespace vrampool::client
