// Freeing, and memory that other streams freed: what happens in the order of
// streams (ordered_blocks.h). The driver is called without the lock.

#include <algorithm>
#include <string>

#include "base/status_macros.h"
#include "client/allocator/client.h"

namespace vrampool::client {
namespace {

using std::chrono::steady_clock;

}  // namespace

// A free takes place on a GPU that has failed, too: nobody's work is left
// there.
Result<StreamUse> Client::IdentifyForFree(cudaStream_t stream) {
  if (events_ == nullptr) return StreamUse();
  Result<StreamUse> use = events_->Identify(stream);
  if (use.ok() || use.status().code() == VRAMPOOL_INVALID_ARGUMENT) return use;
  StreamUse unknown;
  unknown.key = kUnknownStream;
  return unknown;
}

Result<Block*> Client::TakeLive(void* p, uint64_t bytes) {
  Block* const block = slabs_.blocks().BlockAt(reinterpret_cast<uint64_t>(p));
  const uint64_t asked =
      block == nullptr || !block->is_live() ? bytes : block->asked_bytes.load();
  if (asked != bytes) {
    return Status(VRAMPOOL_INVALID_ARGUMENT,
                  "the block was allocated with " + std::to_string(asked) +
                      " bytes and freed with " + std::to_string(bytes) +
                      "; give the same size");
  }
  if (block == nullptr ||
      (!block->Take(BlockPhase::kPlain, BlockPhase::kHeld) &&
       !block->Take(BlockPhase::kSpecial, BlockPhase::kHeld))) {
    return Status(
        VRAMPOOL_INVALID_ARGUMENT,
        "the pointer is no live block of this client: freed before, from "
        "another allocator, or not the beginning of its block");
  }
  return block;
}

Status Client::Free(void* p, uint64_t bytes, cudaStream_t stream) {
  if (p == nullptr) return {};
  VRAMPOOL_ASSIGN_OR_RETURN(const StreamUse use, IdentifyForFree(stream));
  Block* block = nullptr;
  OrderedBlocks::Going going;
  {
    MutexLock lock(mu_);
    VRAMPOOL_ASSIGN_OR_RETURN(block, TakeLive(p, bytes));
    going = slabs_.ordered().BeginFree(block, use);
    // Nobody else releases it while its event is being recorded.
    if (going.wants_event) ++block->objects;
    if (!going.wants_event && block->objects == 0) {
      slabs_.Release(block);
      NoteIdle();
    }
  }
  if (!going.wants_event) return {};
  RecordFree(going, stream);
  MutexLock lock(mu_);
  slabs_.DropObject(block);
  NoteIdle();
  return {};
}

// When it fails, the memory stays its stream's (rule O7).
void Client::RecordFree(OrderedBlocks::Going going, cudaStream_t stream) {
  if (!going.wants_event) return;
  if (going.event == nullptr) {
    Result<cuda::Event> made = events_->Create();
    if (!made.ok()) return;
    going.event = *made;
  }
  const Status recorded = events_->Record(going.event, stream);
  MutexLock lock(mu_);
  if (recorded.ok()) {
    slabs_.ordered().NoteRecorded(going);
  } else {
    slabs_.ordered().GiveSpare(going.event);
  }
}

bool Client::Settle() {
  if (events_ == nullptr) return false;
  std::vector<StreamOrder::Question> questions;
  bool has_changed = false;
  {
    MutexLock lock(mu_);
    for (const CaptureId capture : ended_captures_) {
      slabs_.NoteSettled(slabs_.ordered().ForgetCapture(capture));
      has_changed = true;
    }
    ended_captures_.clear();
    questions = slabs_.ordered().Ask();
    settled_at_ = steady_clock::now();
  }
  // If one is not done, those behind it in its stream are not either.
  StreamKey late = kNoStream;
  for (StreamOrder::Question& question : questions) {
    if (question.stream == late) continue;
    question.is_done = events_->IsDone(question.event);
    if (!question.is_done) late = question.stream;
  }
  MutexLock lock(mu_);
  const std::vector<SlabKey> settled = slabs_.ordered().Answer(questions);
  slabs_.NoteSettled(settled);
  NoteIdle();
  return has_changed || !settled.empty();
}

Result<Block*> Client::CutAcross(const BlockRequest& request) {
  if (events_ == nullptr) return static_cast<Block*>(nullptr);
  std::optional<OrderedBlocks::Cut> cut;
  {
    MutexLock lock(mu_);
    cut = slabs_.CutAcross(request);
  }
  if (!cut) return static_cast<Block*>(nullptr);
  Status waiting;
  for (const cuda::Event event : cut->waits) {
    if (waiting.ok()) waiting = events_->MakeWait(request.stream, event);
  }
  MutexLock lock(mu_);
  if (waiting.ok()) return slabs_.FinishAcross(*cut, request);
  slabs_.UndoAcross(*cut);
  NoteIdle();
  return waiting;
}

// Waits until the GPU has done everything that was freed before.
Status Client::AwaitGpu() {
  if (events_ == nullptr) return {};
  uint64_t last = 0;
  {
    MutexLock lock(mu_);
    last = slabs_.ordered().last_number();
  }
  VRAMPOOL_RETURN_IF_ERROR(events_->Synchronize());
  {
    MutexLock lock(mu_);
    slabs_.NoteSettled(slabs_.ordered().NoteAllDone(last));
  }
  (void)Settle();
  return {};
}

Status Client::BeginCapture(cudaStream_t stream) {
  if (events_ == nullptr) return {};
  VRAMPOOL_ASSIGN_OR_RETURN(const StreamUse use, events_->Announce(stream));
  MutexLock lock(mu_);
  if (slabs_.ordered().BeginCapture(use.key) != kNoCapture) return {};
  return {VRAMPOOL_INVALID_ARGUMENT,
          "the stream's capture was announced before and has not been ended; "
          "call vrampool_capture_end first"};
}

Status Client::EndCapture(cudaStream_t stream, cuda::Graph graph) {
  if (events_ == nullptr) return {};
  VRAMPOOL_ASSIGN_OR_RETURN(const StreamUse use, events_->Identify(stream));
  if (use.is_capturing) {
    return {VRAMPOOL_INVALID_ARGUMENT,
            "the stream still captures; end the capture and then say so, with "
            "its graph"};
  }
  CaptureId capture = kNoCapture;
  OrderedBlocks::Going going;
  {
    MutexLock lock(mu_);
    capture = slabs_.ordered().EndCapture(use.key);
    if (capture == kNoCapture) {
      return {VRAMPOOL_INVALID_ARGUMENT,
              "no capture of this stream was announced; call "
              "vrampool_capture_begin when it begins"};
    }
    going = slabs_.ordered().EndingFree(use);
  }
  events_->Withdraw(stream);
  RecordFree(going, stream);
  if (graph == nullptr) {
    OnGraphEnded(capture);
    return {};
  }
  auto watch = std::make_unique<GraphEnds::Watch>(
      GraphEnds::Watch{.ends = graph_ends_, .capture = capture});
  const Status watched =
      events_->WatchGraph(graph, GraphEnds::OnEnd, watch.get());
  if (watched.ok()) (void)watch.release();  // OnEnd() owns it now.
  return watched;
}

void Client::OnGraphEnded(CaptureId capture) {
  MutexLock lock(mu_);
  ended_captures_.push_back(capture);
  WakeMaintenance();
}

}  // namespace vrampool::client
