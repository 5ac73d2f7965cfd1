// ordered_rig.h - OrderedBlocks on fake streams, with a client's verbs.
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_TESTS_CLIENT_ORDERED_RIG_H_
#define VRAMPOOL_TESTS_CLIENT_ORDERED_RIG_H_

#include <optional>
#include <vector>

#include "client/allocator/ordered_blocks.h"
#include "tests/client/fake_streams.h"

namespace vrampool::client {

class OrderedRig {
 public:
  static constexpr SlabKey kSlab{1};
  static constexpr uint64_t kBase = uint64_t{2} << 20;

  explicit OrderedRig(uint64_t slab_bytes) {
    blocks_.pieces().AddSlab(kSlab, kBase, slab_bytes);
  }

  FakeStreams& streams() { return streams_; }
  OrderedBlocks& blocks() { return blocks_; }

  Block* Allocate(uint64_t bytes, cudaStream_t stream) {
    const auto cut = blocks_.Allocate(bytes, 256, *streams_.Identify(stream));
    return cut ? cut->block : nullptr;
  }

  Block* AllocateAcross(uint64_t bytes, cudaStream_t stream) {
    const auto cut =
        blocks_.AllocateAcross(bytes, 256, *streams_.Identify(stream));
    if (!cut) return nullptr;
    for (const cuda::Event event : cut->waits) {
      if (!streams_.MakeWait(stream, event).ok()) return nullptr;
    }
    blocks_.Keep(*cut);
    return cut->block;
  }

  void Free(Block* block, cudaStream_t stream) {
    Record(blocks_.BeginFree(block, *streams_.Identify(stream), is_eager_),
           stream);
    blocks_.Release(block);
  }

  // The block is also used there (O9).
  void RecordUse(Block* block, cudaStream_t stream) {
    blocks_.RecordUse(block, *streams_.Identify(stream), stream);
  }
  // Free() for blocks that may have further uses.
  void FreeUsed(Block* block, cudaStream_t stream) {
    const StreamUse use = *streams_.Identify(stream);
    for (const OrderedBlocks::Use& one : blocks_.UsesOf(block)) {
      if (one.key == use.key) continue;
      const Result<StreamUse> now = streams_.Identify(one.stream);
      Record(blocks_.BeginUse(block, one, now.ok() ? *now : StreamUse{}),
             one.stream);
    }
    Record(blocks_.BeginFree(block, use, is_eager_), stream);
    if (!blocks_.IsAwaited(block)) blocks_.Release(block);
  }

  // As freed out of a thread's cache, all at once.
  void FreeBatch(const std::vector<Block*>& blocks, cudaStream_t stream,
                 bool is_eager) {
    const StreamUse use = *streams_.Identify(stream);
    OrderedBlocks::Going going = blocks_.BeginBatch(use, blocks.size());
    for (Block* const block : blocks) {
      block->next_owner = {.stream = use.key};
      block->freed_number = going.number;
      blocks_.Release(block);
    }
    blocks_.EndBatch(going, use, is_eager);
    Record(going, stream);
  }

  // From now on events are recorded when they are due, or for every free.
  void SetEager(bool is_eager) { is_eager_ = is_eager; }

  void RecordAll() {
    if (!blocks_.HasUncovered() || blocks_.is_any_capturing()) return;
    const uint64_t last = blocks_.last_number();
    cuda::Event event = blocks_.TakeSpare();
    if (event == nullptr) event = *streams_.Create();
    if (streams_.RecordAll(event).ok()) {
      blocks_.NoteAllRecorded(last, event);
    } else {
      blocks_.GiveSpare(event);
    }
  }

  void Settle() {
    std::vector<StreamOrder::Question> questions = blocks_.Ask();
    for (StreamOrder::Question& one : questions) {
      one.is_done = streams_.IsDone(one.event);
    }
    (void)blocks_.Answer(questions);
    ReleaseReady();
  }
  void ReleaseReady() {
    for (Block* const block : blocks_.TakeReady()) blocks_.Release(block);
  }

  CaptureId BeginCapture(cudaStream_t stream) {
    streams_.BeginCapture(stream);
    return blocks_.BeginCapture(streams_.Identify(stream)->key);
  }
  void EndCapture(cudaStream_t stream) {
    streams_.EndCapture(stream);
    const StreamUse use = *streams_.Identify(stream);
    (void)blocks_.EndCapture(use.key);
    Record(blocks_.EndingFree(use), stream);
  }

  void Record(OrderedBlocks::Going going, cudaStream_t stream) {
    if (!going.wants_event) return;
    if (going.event == nullptr) going.event = *streams_.Create();
    if (streams_.Record(going.event, stream).ok()) {
      blocks_.NoteRecorded(going);
    } else {
      blocks_.GiveSpare(going.event);
    }
  }

  bool IsAllEveryones() const { return blocks_.pieces().OwnedIn(kSlab) == 0; }

 private:
  FakeStreams streams_;
  OrderedBlocks blocks_;
  bool is_eager_ = true;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_TESTS_CLIENT_ORDERED_RIG_H_
