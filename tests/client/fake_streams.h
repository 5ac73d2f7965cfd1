// fake_streams.h - streams and events without a GPU: a clock that a test moves.
//
// A stream is a row of entries, each done only when everything before it in its
// stream, and what it waits for, is done. Work is done when a test says so.
// What CUDA forbids (an event operation on a stream that captures, a handle
// whose stream was destroyed) is counted in misuses(), which tests expect to be
// zero.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_TESTS_CLIENT_FAKE_STREAMS_H_
#define VRAMPOOL_TESTS_CLIENT_FAKE_STREAMS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "base/mutex.h"
#include "client/cuda/stream_events.h"

namespace vrampool::client {

class FakeStreams final : public StreamEvents {
 public:
  FakeStreams() : StreamEvents(std::make_shared<CaptureGuard>()) {}

  // A new stream; its handle may be one that was destroyed before.
  cudaStream_t Make();
  void Destroy(cudaStream_t stream);

  // A place in a stream: everything enqueued so far.
  struct Place {
    uint64_t stream = 0;  // The id.
    uint64_t length = 0;
  };
  // Enqueues one piece of work and gives its place.
  Place Enqueue(cudaStream_t stream);
  Place End(cudaStream_t stream) const;
  // Whether work enqueued on `stream` now would begin after `place` is done.
  bool IsOrderedAfter(cudaStream_t stream, Place place) const;

  // Lets the stream's work go on to the place (waits permitting), or all of it.
  void FinishUpTo(Place place);
  void FinishAll();

  void BeginCapture(cudaStream_t stream);
  void EndCapture(cudaStream_t stream);
  // The stream's capture is invalid from here on.
  void Spoil(cudaStream_t stream);
  // Everything of the graph has ended.
  void EndGraph(cuda::Graph graph);

  void FailRecording(bool is_failing);
  // Runs in the next RecordAll(), before anything is recorded.
  void OnRecordAll(std::function<void()> hook);
  // Runs in the next Identify(), before it answers.
  void OnIdentify(std::function<void()> hook);
  uint64_t misuses() const;
  uint64_t records() const;
  uint64_t records_of_all() const;
  uint64_t waits() const;
  // How often a stream was asked for its key, and for all that it is.
  uint64_t quick_keys() const;
  uint64_t identifications() const;
  uint64_t living_events() const;
  // How often somebody asked whether an event is done.
  uint64_t questions() const;

  StreamKey QuickKey(cudaStream_t stream) override;
  Result<StreamUse> Identify(cudaStream_t stream) override;
  Result<StreamUse> Announce(cudaStream_t stream) override;
  void Withdraw(cudaStream_t stream) override;
  Result<cuda::Event> Create() override;
  void Destroy(cuda::Event event) override;
  bool IsDone(cuda::Event event) override;
  Status Synchronize() override;
  Status WatchGraph(cuda::Graph graph, cuda::HostFunction ended,
                    void* data) override;

 private:
  Status RecordNow(cuda::Event event, cudaStream_t stream) override;
  Status RecordAllNow(cuda::Event event) override;
  Status MakeWaitNow(cudaStream_t stream, cuda::Event event) override;
  Status FillNow(cudaStream_t stream, const Filling& filling) override;

  struct Entry {
    Place wait;  // Length 0: waits for nothing.
  };
  struct Stream {
    std::vector<Entry> entries;
    uint64_t done = 0;
    uint64_t allowed = 0;  // A test has let it go so far.
    bool is_capturing = false;
    bool is_spoilt = false;
  };
  struct Watch {
    cuda::HostFunction ended = nullptr;
    void* data = nullptr;
  };

  uint64_t IdOf(cudaStream_t stream) const VRAMPOOL_REQUIRES(mu_);
  bool IsPlaceDone(Place place) const VRAMPOOL_REQUIRES(mu_);
  bool Reaches(Place from, Place place) const VRAMPOOL_REQUIRES(mu_);
  void Run() VRAMPOOL_REQUIRES(mu_);

  mutable Mutex mu_;
  std::map<cudaStream_t, uint64_t> handles_ VRAMPOOL_GUARDED_BY(mu_);
  std::vector<cudaStream_t> free_handles_ VRAMPOOL_GUARDED_BY(mu_);
  std::map<uint64_t, Stream> streams_ VRAMPOOL_GUARDED_BY(mu_);  // By id.
  std::map<uint64_t, CaptureGuard::Announced> announced_
      VRAMPOOL_GUARDED_BY(mu_);
  std::function<void()> on_record_all_ VRAMPOOL_GUARDED_BY(mu_);
  std::function<void()> on_identify_ VRAMPOOL_GUARDED_BY(mu_);
  // All places of an event's last recording.
  std::map<cuda::Event, std::vector<Place>> events_ VRAMPOOL_GUARDED_BY(mu_);
  std::map<cuda::Graph, std::vector<Watch>> watches_ VRAMPOOL_GUARDED_BY(mu_);
  uint64_t next_ VRAMPOOL_GUARDED_BY(mu_) = 1;
  bool is_failing_ VRAMPOOL_GUARDED_BY(mu_) = false;
  uint64_t misuses_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  uint64_t records_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  uint64_t records_of_all_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  uint64_t waits_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  uint64_t quick_keys_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  uint64_t identifications_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  uint64_t questions_ VRAMPOOL_GUARDED_BY(mu_) = 0;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_TESTS_CLIENT_FAKE_STREAMS_H_
