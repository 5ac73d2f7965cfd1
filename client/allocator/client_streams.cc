// Freeing, and memory that other streams freed: what happens in the order of
// streams (ordered_blocks.h). The driver is called without the lock.

#include <algorithm>
#include <new>
#include <string>

#include "base/status_macros.h"
#include "client/allocator/client.h"

namespace vrampool::client {
namespace {

using std::chrono::steady_clock;

Status NoLiveBlock() {
  return {VRAMPOOL_INVALID_ARGUMENT,
          "the pointer is no live block of this client: freed before, from "
          "another allocator, or not the beginning of its block"};
}

}  // namespace

// As quickly as can be unless told to be careful. `asked` is what QuickKey()
// has said in this call, if it was asked.
Result<StreamUse> Client::Identify(cudaStream_t stream, bool is_careful,
                                   StreamKey asked) {
  if (events_ == nullptr) return StreamUse();
  if (is_careful) events_->captures().NoteUnannounced();
  if (!is_careful && !is_slow_.load(std::memory_order_acquire)) {
    const StreamKey key =
        asked != kUnknownStream ? asked : events_->QuickKey(stream);
    if (key != kUnknownStream) return UseOf(key);
  }
  return events_->Identify(stream);
}

// Of a stream that answered QuickKey(): it does not capture.
StreamUse Client::UseOf(StreamKey key) {
  if (key == kNoStream) return {};
  return {
      .key = key, .id = IdOf(key), .is_capturing = false, .takes_events = true};
}

// A free takes place on a GPU that has failed, too: nobody's work is left
// there.
Result<StreamUse> Client::IdentifyForFree(cudaStream_t stream, bool is_careful,
                                          StreamKey asked) {
  Result<StreamUse> use = Identify(stream, is_careful, asked);
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
    return NoLiveBlock();
  }
  return block;
}

Status Client::Free(void* p, uint64_t bytes, cudaStream_t stream,
                    bool is_careful) {
  if (p == nullptr) return {};
  QuickFree tried;
  if (!is_careful) tried = TryFree(p, bytes, stream);
  if (tried.is_done) return {};
  return FreeSlowly({.p = p,
                     .bytes = bytes,
                     .stream = stream,
                     .is_careful = is_careful,
                     .asked_key = tried.asked});
}

Status Client::FreeSlowly(const FreeRequest& request) {
  if (debug_ != nullptr) return FreeDebugged(request);
  const cudaStream_t stream = request.stream;
  VRAMPOOL_ASSIGN_OR_RETURN(
      const StreamUse use,
      IdentifyForFree(stream, request.is_careful, request.asked_key));
  OrderedBlocks::Going going;
  Block* used = nullptr;
  std::optional<SlabKey> shared;  // Where objects keep it.
  {
    MutexLock lock(mu_);
    VRAMPOOL_ASSIGN_OR_RETURN(Block * block,
                              TakeLive(request.p, request.bytes));
    if (block->objects > 0 && slabs_.Get(block->slab).is_dedicated) {
      shared = block->slab;
    }
    if (block->has_uses) {
      used = block;
      ++block->objects;  // See FreeUsed().
    } else {
      going =
          BeginFreeLocked(block, use, request.is_careful || request.is_eager);
      if (block->objects == 0) slabs_.Release(block);
      NoteIdle();
    }
  }
  if (used != nullptr) {
    FreeUsed(used, use, stream, nullptr);
  } else {
    RecordFree(going, stream);
  }
  if (shared) LetGoIn(*shared);
  LearnStream(use);
  return {};
}

OrderedBlocks::Going Client::BeginFreeLocked(Block* block, const StreamUse& use,
                                             bool is_wanted) {
  // Large blocks are worth an event as soon as others could want them.
  const bool is_eager =
      is_wanted || is_slow_.load() ||
      (has_streams_.load() && block->asked_bytes.load() > kMaxSmall);
  try {
    return slabs_.ordered().BeginFree(block, use, is_eager);
  } catch (const std::bad_alloc&) {
    slabs_.ordered().DropFilled(block);
    block->SetPhase(BlockPhase::kSpecial);  // The application's, as before.
    throw;
  }
}

Status Client::RecordStream(void* p, cudaStream_t stream, bool is_careful,
                            uint64_t call_site) {
  const Status recorded = RecordLive(p, stream, is_careful);
  if (debug_ == nullptr || recorded.code() != VRAMPOOL_INVALID_ARGUMENT ||
      Describe(p).ok()) {
    return recorded;
  }
  return RefuseUse(p, "record_stream", call_site);
}

Status Client::RecordLive(void* p, cudaStream_t stream, bool is_careful) {
  {
    MutexLock lock(mu_);
    if (slabs_.blocks().BlockAt(reinterpret_cast<uint64_t>(p)) == nullptr) {
      return NoLiveBlock();
    }
  }
  VRAMPOOL_ASSIGN_OR_RETURN(const StreamUse use,
                            Identify(stream, is_careful, kUnknownStream));
  NoteStream(use.key);
  MutexLock lock(mu_);
  Block* const block = slabs_.blocks().BlockAt(reinterpret_cast<uint64_t>(p));
  // From here on no cache takes it.
  if (block == nullptr ||
      (!block->Take(BlockPhase::kPlain, BlockPhase::kSpecial) &&
       !block->is_live())) {
    return NoLiveBlock();
  }
  slabs_.ordered().RecordUse(block, use, stream);
  return {};
}

// Rule O9. The caller has counted the free as one more object of the block: the
// last of the others may end meanwhile, and is not to release it.
void Client::FreeUsed(Block* block, const StreamUse& use, cudaStream_t stream,
                      const DebugCall* from) {
  std::vector<Recording> recordings;
  try {
    recordings = BeginFreeUsed(block, use, stream);
  } catch (const std::bad_alloc&) {
    MutexLock lock(mu_);
    slabs_.ordered().DropWaits(block);
    block->SetPhase(BlockPhase::kSpecial);  // The application's, as before.
    slabs_.RemoveObject(block);
    throw;
  }
  {
    MutexLock lock(mu_);
    if (from != nullptr) debug_->NoteFreed(*block, *from);
    slabs_.RemoveObject(block);
    NoteIdle();
  }
  for (const Recording& one : recordings) RecordFree(one.going, one.stream);
}

// Its own stream is the last.
std::vector<Client::Recording> Client::BeginFreeUsed(Block* block,
                                                     const StreamUse& use,
                                                     cudaStream_t stream) {
  std::vector<OrderedBlocks::Use> uses;
  {
    MutexLock lock(mu_);
    uses = slabs_.ordered().UsesOf(block);
  }
  // It was used where it is freed: nothing more is to be known of that.
  std::erase_if(uses, [&](const auto& one) { return one.key == use.key; });
  std::vector<StreamUse> now;
  for (const OrderedBlocks::Use& one : uses) {
    const Result<StreamUse> found = events_->Identify(one.stream);
    now.push_back(found.ok() ? *found : StreamUse{});
  }
  std::vector<Recording> recordings;
  recordings.reserve(uses.size() + 1);
  MutexLock lock(mu_);
  for (size_t i = 0; i < uses.size(); ++i) {
    recordings.push_back(
        {.going = slabs_.ordered().BeginUse(block, uses[i], now[i]),
         .stream = uses[i].stream});
  }
  recordings.push_back({.going = slabs_.ordered().BeginFree(block, use, true),
                        .stream = stream});
  return recordings;
}

// When it fails, the memory stays its stream's (rule O7). Throws nothing, as it
// comes when the block has changed hands.
void Client::RecordFree(OrderedBlocks::Going going, cudaStream_t stream) {
  if (!going.wants_event) return;
  bool is_recorded = false;
  try {
    is_recorded = TryRecord(going.event, stream);
  } catch (const std::bad_alloc&) {  // For a message of the driver's.
  }
  if (going.event == nullptr) return;
  MutexLock lock(mu_);
  if (is_recorded) {
    slabs_.ordered().NoteRecorded(going);
  } else {
    slabs_.ordered().GiveSpare(going.event);
  }
}

// Makes the event if there is none.
bool Client::TryRecord(cuda::Event& event, cudaStream_t stream) {
  if (event == nullptr) {
    const Result<cuda::Event> made = events_->Create();
    if (!made.ok()) return false;
    event = *made;
  }
  return events_->Record(event, stream).ok();
}

// A want of memory leaves the event for a later call: the allocation that it
// would come behind has happened.
void Client::RecordIfDue(const StreamUse& use, cudaStream_t stream) {
  if (events_ == nullptr || !use.takes_events) return;
  OrderedBlocks::Going going;
  try {
    MutexLock lock(mu_);
    if (!slabs_.ordered().IsEventDue(use.key)) return;
    going = slabs_.ordered().EndingFree(use);
  } catch (const std::bad_alloc&) {
    return;
  }
  RecordFree(going, stream);
}

// Rule O7.
bool Client::RecordAll() {
  if (events_ == nullptr) return false;
  cuda::Event event = nullptr;
  uint64_t last = 0;
  {
    MutexLock lock(mu_);
    OrderedBlocks& ordered = slabs_.ordered();
    if (!ordered.HasUncovered()) return false;
    event = ordered.TakeSpare();
    last = ordered.last_number();
  }
  bool is_recorded = false;
  try {
    is_recorded = TryRecordAll(event);
  } catch (const std::bad_alloc&) {
  }
  if (event == nullptr) return false;
  MutexLock lock(mu_);
  if (is_recorded) {
    slabs_.ordered().NoteAllRecorded(last, event);
  } else {
    slabs_.ordered().GiveSpare(event);
  }
  return is_recorded;
}

bool Client::TryRecordAll(cuda::Event& event) {
  if (event == nullptr) {
    const Result<cuda::Event> made = events_->Create();
    if (!made.ok()) return false;
    event = *made;
  }
  return events_->RecordAll(event).ok();
}

// Slabs are idle but for frees that no event covers, and their streams have
// been quiet for a while, or have ended.
void Client::CoverIdle() {
  {
    MutexLock lock(mu_);
    const TimePoint now = steady_clock::now();
    if (!IsAsking() || !slabs_.ordered().HasUncovered()) {
      uncovered_since_.reset();
      return;
    }
    if (!uncovered_since_) uncovered_since_ = now;
    if (now < *uncovered_since_ + ScavengePeriod()) return;
    uncovered_since_.reset();
  }
  (void)RecordAll();
}

bool Client::Settle() {
  if (events_ == nullptr) return false;
  std::vector<StreamOrder::Question> questions;
  bool has_changed = false;
  {
    MutexLock lock(mu_);
    while (!ended_captures_.empty()) {
      const CaptureId ended = ended_captures_.back();
      (void)slabs_.Settling([ended](OrderedBlocks& ordered) {
        return ordered.ForgetCapture(ended);
      });
      ended_captures_.pop_back();
      --living_captures_;
      has_changed = true;
    }
    questions = slabs_.ordered().Ask();
    settled_at_ = steady_clock::now();
  }
  // If one is not done, those behind it in its stream are not either.
  std::optional<StreamKey> late;
  for (StreamOrder::Question& question : questions) {
    if (question.stream == late) continue;
    question.is_done = events_->IsDone(question.event);
    if (!question.is_done) late = question.stream;
  }
  MutexLock lock(mu_);
  const bool has_settled = slabs_.Settling(
      [&](OrderedBlocks& ordered) { return ordered.Answer(questions); });
  const bool has_freed = slabs_.ReleaseReady();
  NoteIdle();
  return has_changed || has_freed || has_settled;
}

Result<Block*> Client::CutAcross(const BlockRequest& request) {
  if (events_ == nullptr || request.is_dedicated)
    return static_cast<Block*>(nullptr);
  BlockRequest careful = request;
  VRAMPOOL_ASSIGN_OR_RETURN(careful.use, events_->Identify(request.stream));
  Result<Block*> cut = TryAcross(careful);
  if (!cut.ok() || *cut != nullptr) return cut;
  // What captures could not have it, and is not to be spoilt.
  if (!careful.use.takes_events || !RecordAll()) return cut;
  return TryAcross(careful);
}

Result<Block*> Client::TryAcross(const BlockRequest& request) {
  std::optional<OrderedBlocks::Cut> cut;
  {
    MutexLock lock(mu_);
    cut = slabs_.CutAcross(request);
  }
  if (!cut) return static_cast<Block*>(nullptr);
  Status waiting;
  try {
    for (const cuda::Event event : cut->waits) {
      if (waiting.ok()) waiting = events_->MakeWait(request.stream, event);
    }
  } catch (const std::bad_alloc&) {  // For a message of the driver's.
    MutexLock lock(mu_);
    slabs_.UndoAcross(*cut);
    NoteIdle();
    throw;
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
    (void)slabs_.Settling(
        [&](OrderedBlocks& ordered) { return ordered.NoteAllDone(last); });
    (void)slabs_.ReleaseReady();
  }
  (void)Settle();
  return {};
}

Status Client::BeginCapture(cudaStream_t stream) {
  if (events_ == nullptr) return {};
  VRAMPOOL_ASSIGN_OR_RETURN(const StreamUse use, events_->Announce(stream));
  MutexLock lock(mu_);
  if (slabs_.ordered().IsCapturing(use.key)) {
    return {VRAMPOOL_INVALID_ARGUMENT,
            "the stream's capture was announced before and has not been ended; "
            "call vrampool_capture_end first"};
  }
  bool is_closed = false;
  try {
    // For OnGraphEnded(), which may not want memory.
    ended_captures_.reserve(living_captures_ + 1);
    CloseCaches();
    is_closed = true;
    (void)slabs_.ordered().BeginCapture(use.key);
  } catch (const std::bad_alloc&) {
    if (is_closed) caches_.Reopen();
    events_->Withdraw(stream);
    throw;
  }
  ++living_captures_;
  is_slow_.store(true, std::memory_order_release);
  return {};
}

Status Client::EndCapture(cudaStream_t stream, cuda::Graph graph) {
  if (events_ == nullptr) return {};
  VRAMPOOL_ASSIGN_OR_RETURN(const StreamUse use, events_->Identify(stream));
  if (use.is_capturing) {
    return {VRAMPOOL_INVALID_ARGUMENT,
            "the stream still captures; end the capture and then say so, with "
            "its graph"};
  }
  auto watch =
      std::make_unique<GraphEnds::Watch>(GraphEnds::Watch{.ends = graph_ends_});
  CaptureId capture = kNoCapture;
  OrderedBlocks::Going going;
  {
    MutexLock lock(mu_);
    if (!slabs_.ordered().IsCapturing(use.key)) {
      return {VRAMPOOL_INVALID_ARGUMENT,
              "no capture of this stream was announced; call "
              "vrampool_capture_begin when it begins"};
    }
    going = slabs_.ordered().EndingFree(use);
    capture = slabs_.ordered().EndCapture(use.key);
    caches_.Reopen();
    is_slow_.store(
        settings_.detects_captures || slabs_.ordered().is_any_capturing(),
        std::memory_order_release);
  }
  events_->Withdraw(stream);
  RecordFree(going, stream);
  if (graph == nullptr) {
    OnGraphEnded(capture);
    return {};
  }
  watch->capture = capture;
  const Status watched =
      events_->WatchGraph(graph, GraphEnds::OnEnd, watch.get());
  if (watched.ok()) (void)watch.release();  // OnEnd() owns it now.
  return watched;
}

void Client::ForgetGraphs() {
  MutexLock lock(mu_);
  (void)slabs_.Settling(
      [](OrderedBlocks& ordered) { return ordered.ForgetCaptures(); });
}

void Client::OnGraphEnded(CaptureId capture) {
  MutexLock lock(mu_);
  ended_captures_.push_back(capture);
  WakeMaintenance();
}

}  // namespace vrampool::client
