// stream_order.h - numbers the frees of all streams, and knows which of them
// are done: the GPU has passed the place in its stream where they happened.
//
// A free takes its number after the application has enqueued its last use of
// the block, and before its event is recorded. So:
//
//   T1  an event recorded for free n of a stream is done only when the work
//       before every free of that stream with a number up to n is done,
//       whatever threads the frees happened on
//   T2  a free without an event of its own (its recording failed, or would have
//       spoiled a capture) is covered by any later event of its stream
//   T3  an event of all streams that was recorded after free n began covers
//       every free up to n
//   T4  an event is used again only when nobody asks about it or makes a stream
//       wait for it (it is not *pinned*), and no free needs it
//
// T1 and T2 let frees share events: one is recorded for every kFreesAnEvent
// frees of a stream, or when somebody has missed one (NoteWanted()); and beyond
// kMaxEvents of one stream, every second one is dropped and the next takes its
// part.
//
// Pure: it calls no driver, and takes events for opaque. Where it throws
// std::bad_alloc nothing has changed; the functions that tell it what happened
// to an event throw nothing, because TakeSpare() has made room.
//
// Threads: not thread-safe; the client's lock guards it.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_STREAM_ORDER_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_STREAM_ORDER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "client/cuda/stream_events.h"

namespace vrampool::client {

class StreamOrder {
 public:
  static constexpr size_t kMaxEvents = 32;
  static constexpr uint64_t kFreesAnEvent = 64;

  // The number of a free that begins now, or of `frees` that share one: larger
  // than all before it. Throws std::bad_alloc, and has then changed nothing.
  uint64_t Begin(StreamKey stream, uint64_t frees = 1);
  // Whether an event should be recorded on the stream now.
  bool IsEventDue(StreamKey stream) const;
  // Frees that no event covers are in somebody's way: events are due on their
  // streams.
  void NoteWanted();
  // Whether there are such frees.
  bool HasUncovered() const;

  // An event to record, or null when a new one has to be made. Throws
  // std::bad_alloc.
  cuda::Event TakeSpare();
  void GiveSpare(cuda::Event event) { spares_.push_back(event); }
  // `event` was recorded on `stream` after Begin() had given `number`.
  void NoteRecorded(StreamKey stream, uint64_t number, cuda::Event event);

  // `event`, of all streams, was recorded after Begin() had given `number`.
  void NoteAllRecorded(uint64_t number, cuda::Event event);

  // Whether the free, and so all of its stream before it, is known to be done.
  bool IsDone(StreamKey stream, uint64_t number) const;
  // The largest number up to which all frees of the stream are.
  uint64_t DoneUpTo(StreamKey stream) const;

  // Whether an event covers the free; that event, pinned.
  bool IsCovered(StreamKey stream, uint64_t number) const;
  cuda::Event PinCover(StreamKey stream, uint64_t number);
  void Unpin(cuda::Event event);

  // Events to ask the driver about, pinned; oldest first within a stream.
  // Throws std::bad_alloc.
  struct Question {
    StreamKey stream{};  // kNoStream: of all.
    uint64_t number = 0;
    cuda::Event event = nullptr;
    bool is_done = false;  // The answer.
  };
  std::vector<Question> Ask();
  // Takes the answers and unpins. The streams of which more is done now. Throws
  // std::bad_alloc: unpin them then.
  std::vector<StreamKey> Answer(const std::vector<Question>& answers);

  // For waiting until everything is done: the number of the last free, to be
  // taken before, and told afterwards.
  uint64_t last_number() const { return last_number_; }
  std::vector<StreamKey> NoteAllDone(uint64_t last_number);

  // All events, to be destroyed; the order is empty afterwards.
  std::vector<cuda::Event> TakeEvents();

  // Aborts unless the events of each stream are in order and none is spare.
  // Walks everything: for tests.
  void CheckInvariants() const;

 private:
  struct Recorded {
    uint64_t number = 0;
    cuda::Event event = nullptr;
  };
  struct Stream {
    uint64_t last = 0;
    uint64_t done = 0;
    uint64_t frees = 0;  // Since an event was recorded.
    bool is_wanted = false;
    std::vector<Recorded> events;  // By number; all larger than `done`.
  };

  void AskAll(std::vector<Question>& questions);
  void AdvanceAll(uint64_t last_number, std::vector<StreamKey>& advanced);
  void NoteDone(Stream& stream, uint64_t number);
  void Thin(std::vector<Recorded>& events);
  void RetireUpTo(uint64_t number, std::vector<Recorded>& events);
  // The largest number that an event covers.
  uint64_t CoveredUpTo(const Stream& stream) const;
  void Retire(cuda::Event event);
  void Pin(cuda::Event event) { ++pins_[event]; }
  // Streams of which everything is done: what is not in the map is.
  void Forget();

  uint64_t last_number_ = 0;
  std::map<StreamKey, Stream> streams_;
  std::vector<Recorded> of_all_;  // By number.
  size_t events_ = 0;             // That were ever made, at most.
  std::vector<cuda::Event> spares_;
  std::map<cuda::Event, uint64_t> pins_;
  std::vector<cuda::Event> retired_;  // Pinned, and spare when not any more.
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_STREAM_ORDER_H_
