// ordered_blocks.h - blocks in the order of streams: who may have which memory,
// and when.
//
// A block that is freed on a stream can be reused by that stream at once, since
// its new work comes behind the old. Anybody else would have to know that the
// old work is done. The algorithm, in its rules:
//
//   O1  A free takes a number (stream_order.h) inside its call, and the memory
//       becomes a free piece that the stream owns. The stream's handle is never
//       used after the call.
//   O2  A stream gets blocks from its own pieces and from everyone's.
//   O3  When the free of a piece is known to be done, the piece is everyone's.
//       An event tells: one that was recorded on the stream, inside the call of
//       a free or an allocation, while the stream is certainly alive; not for
//       every free, but when one is due. The driver is asked only when O2 found
//       nothing, and when slabs are to be given back: an event costs 0.4 us to
//       record, 0.4 us to ask.
//   O4  Before a request fails for want of memory, pieces of other streams are
//       taken: the stream is made to wait, on the GPU, for an event that covers
//       each free. Not before: it makes work wait that could run.
//   O5  While a stream captures, no event operation touches it. It gets only
//       everyone's pieces, and those that were allocated and freed in the same
//       capture: the graph runs later, behind no work of its stream.
//   O6  What a capture used (allocated, or freed) is nobody else's while the
//       capture lives (capture_book.h). The event recorded at its end, or any
//       later one of the stream, covers the frees that happened in it. What an
//       unannounced capture used is kept for good, all of it by one owner.
//   O7  A free that no event covers is covered by a later one of its stream, by
//       one of all streams, or by waiting for the whole GPU. Until then the
//       memory is its stream's alone. An event of all streams spoils captures
//       and holds up the legacy stream, so it is the last resort: before a
//       request fails, and for slabs that have been idle otherwise, or blocks
//       that were to leave the debug mode's quarantine; and none where captures
//       may be under way (capture_guard.h).
//   O8  A slab can be given back, parked or unmapped only when all of it is
//       everyone's: no work on the GPU can touch it.
//
//   O9  A block can be used on further streams (RecordUse()). Its free takes a
//       number, and wants an event, on each of them too, and its memory stays
//       nobody's until all of those are done. Then it is free as if only its
//       own stream had used it. For that the handles of those streams are used
//       once more, inside the call of the free. What a further stream captures
//       is kept as O6 says; while it captures, its free has a number only, and
//       the event at the capture's end covers it.
//
// A want of memory (std::bad_alloc) changes nothing: a block that was not cut
// is free, one that was not freed is in use.
//
// Nothing here calls the driver. What needs it happens between two calls, while
// the owner holds no lock:
//
//   free       BeginFree(), Release()  -> Record(event)  -> NoteRecorded()
//   other's    AllocateAcross()  -> MakeWait()  -> Keep() or PutBack()
//   done?      Ask()             -> IsDone()    -> Answer()
//   all        last_number()     -> RecordAll() -> NoteAllRecorded()
//
// Memory of the host has no streams: a StreamUse of kNoStream makes every piece
// everyone's.
//
// Invariants (CheckInvariants() verifies them): those of BlockAllocator and
// StreamOrder, and
//   B1  no piece is owned by a free that is known to be done, or kept by a
//       capture that has ended
//
// Threads: not thread-safe; the client's lock guards it.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_ORDERED_BLOCKS_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_ORDERED_BLOCKS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "client/allocator/block_allocator.h"
#include "client/allocator/capture_book.h"
#include "client/allocator/stream_order.h"
#include "client/cuda/stream_events.h"

namespace vrampool::client {

class OrderedBlocks {
 public:
  // Slabs are added and removed there, and blocks looked up. To be allocated
  // and freed only here.
  BlockAllocator& pieces() { return pieces_; }
  const BlockAllocator& pieces() const { return pieces_; }

  // How a block came to be, to undo it as long as nobody has got it.
  struct Cut {
    Block* block = nullptr;
    std::vector<BlockAllocator::Part> parts;
    std::vector<cuda::Event> waits;  // Pinned.
  };

  // A block that the stream may have at once (O2, O5), or nothing.
  std::optional<Cut> Allocate(uint64_t bytes, uint64_t alignment,
                              const StreamUse& use);

  // One that takes up all of a slab, which must be all free and everyone's.
  std::optional<Cut> AllocateWhole(SlabKey slab, uint64_t bytes,
                                   const StreamUse& use);

  // A block that it may have after it was made to wait for `waits` (O4).
  std::optional<Cut> AllocateAcross(uint64_t bytes, uint64_t alignment,
                                    const StreamUse& use);
  // The waits were enqueued.
  void Keep(const Cut& cut);
  void PutBack(const Cut& cut);

  // A free as it happens (O1).
  struct Going {
    StreamKey stream = kNoStream;
    uint64_t number = 0;
    bool wants_event = false;
    cuda::Event event = nullptr;  // To be recorded; null: make one.
  };
  // The application has given the block up (it is kHeld). Its memory is not
  // free yet.
  // `is_eager`: an event is wanted, whether one is due or not. It is wanted in
  // any case when this was its slab's last block, which can then go back.
  Going BeginFree(Block* block, const StreamUse& use, bool is_eager);
  // The same for `count` blocks of a thread's cache, each to be released with
  // the number that this gives; then EndBatch() says whether an event is
  // wanted: when one is due, or `is_eager`.
  Going BeginBatch(const StreamUse& use, uint64_t count);
  void EndBatch(Going& going, const StreamUse& use, bool is_eager);
  // Before BeginFree() of a block into which we had a stream write, of which
  // `number` is a free behind that (EndingFree()): its memory waits for that as
  // for a use (O9).
  void BeginFilled(Block* block, StreamKey stream, uint64_t number);
  // Undoes it.
  void DropFilled(Block* block);
  // The free comes only now: behind what its stream was given since
  // BeginFree(). False: for want of memory nothing has changed.
  bool Postpone(Block* block, Going& going);
  // `going.event` was recorded. (When it was not: GiveSpare(), and O7.)
  void NoteRecorded(const Going& going);
  void GiveSpare(cuda::Event event) { order_.GiveSpare(event); }
  // A given-up block's memory becomes free. REQUIRES: !IsAwaited(block).
  void Release(Block* block);

  // Other streams that use a block (O9).
  struct Use {
    StreamKey key = kNoStream;
    cudaStream_t stream = nullptr;
  };
  void RecordUse(Block* block, const StreamUse& use, cudaStream_t stream);
  std::vector<Use> UsesOf(const Block* block) const;
  // For each of them, after BeginFree(); `now` is what the stream is found to
  // be. Nothing more is kept of the uses than what to wait for.
  Going BeginUse(Block* block, const Use& use, const StreamUse& now);
  // Undoes all BeginUse() of the block; its uses are known again.
  void DropWaits(Block* block) { waits_.erase(block); }
  // Whether a given-up block has to wait for others than its own stream.
  bool IsAwaited(Block* block) const;
  // Of a given-up block: whether nobody's work on the GPU can touch it any
  // more; and whether no event will ever tell.
  bool IsDone(Block* block) const;
  bool IsNeverDone(const Block& block) const;
  bool has_awaited() const { return !waits_.empty(); }
  // What was freed and is not everyone's yet.
  uint64_t pending_bytes() const;
  // Blocks that have waited long enough.
  std::vector<Block*> TakeReady();

  // Which events are done (O3). Answer() and all that follow give the slabs of
  // which more is everyone's now.
  std::vector<StreamOrder::Question> Ask() { return order_.Ask(); }
  std::vector<SlabKey> Answer(
      const std::vector<StreamOrder::Question>& answers);
  // Frees that no event covers, and that a request could have used.
  bool HasUncovered() const { return order_.HasUncovered(); }
  void NoteWanted() { order_.NoteWanted(); }
  bool IsEventDue(StreamKey stream) const { return order_.IsEventDue(stream); }
  // An event of all streams: last_number() before it was recorded.
  cuda::Event TakeSpare() { return order_.TakeSpare(); }
  void NoteAllRecorded(uint64_t last_number, cuda::Event event) {
    order_.NoteAllRecorded(last_number, event);
  }
  // The same after waiting for everything: last_number() before the wait.
  uint64_t last_number() const { return order_.last_number(); }
  std::vector<SlabKey> NoteAllDone(uint64_t last_number);

  // Captures (O5, O6). kNoCapture from Begin: the stream captures already; from
  // End: it does not. After End the stream's free of EndingFree() is to be
  // covered by an event, and the capture forgotten when its graph has ended.
  CaptureId BeginCapture(StreamKey stream) { return captures_.Begin(stream); }
  CaptureId EndCapture(StreamKey stream) { return captures_.End(stream); }
  Going EndingFree(const StreamUse& use);
  // After a want of memory it is to be called again.
  std::vector<SlabKey> ForgetCapture(CaptureId capture);
  std::vector<SlabKey> ForgetCaptures();  // All, also unannounced ones.
  bool IsCapturing(StreamKey stream) const {
    return captures_.IsActive(stream);
  }
  bool is_any_capturing() const { return captures_.is_any_active(); }

  // All events, to be destroyed, when nothing is allocated any more.
  std::vector<cuda::Event> TakeEvents() {
    uses_.clear();
    waits_.clear();
    return order_.TakeEvents();
  }

  // Aborts unless all invariants hold. Walks everything: for tests.
  void CheckInvariants() const;

 private:
  void PinWaits(Cut& cut, StreamKey stream);
  CaptureId KeeperOfFreed(const Block& block, CaptureId freed_in);
  // Whose memory of a free is, as things stand now.
  Owner Settled(Owner owner, uint64_t number) const;
  std::vector<SlabKey> PassDone(const std::vector<StreamKey>& streams);
  std::vector<SlabKey> PassEnded();
  void PassOne(StreamKey stream, std::set<SlabKey>& slabs);

  BlockAllocator pieces_;
  StreamOrder order_;
  CaptureBook captures_;
  std::map<const Block*, std::vector<Use>> uses_;
  struct Wait {
    StreamKey stream = kNoStream;
    uint64_t number = 0;
  };
  std::map<Block*, std::vector<Wait>> waits_;
  // Memory was wanting to pass on what is done: all is looked through anew.
  bool is_behind_ = false;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_ORDERED_BLOCKS_H_
