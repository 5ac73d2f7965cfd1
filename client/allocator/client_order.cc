// Objects in the order of the GPU's work: when their contents are complete, and
// when their readers are done. What is done "by the event thread" here runs on
// GpuOrder's thread.

#include <string>
#include <utility>

#include "base/status_macros.h"
#include "client/allocator/client.h"
#include "client/order/stream_status.h"

namespace vrampool::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int kReadyTries = 5;
// No more are begun after this: the end of the client waits for the last one.
constexpr milliseconds kReadyLimit(15000);
// After a reply was lost; within it the link says if the daemon has gone.
constexpr milliseconds kLinkEndLimit(50);

}  // namespace

// Nothing on memory of the host, which has no streams.
Result<std::optional<GpuOrder::Recorded>> Client::RecordContents(
    const ShareRequest& request) {
  if (request.stream.has_value() && request.is_pending) {
    return Status(VRAMPOOL_INVALID_ARGUMENT,
                  "an object is ready when its stream is, or when "
                  "vrampool_ready() is called: set `ordered` or `pending`, not "
                  "both");
  }
  if (order_ == nullptr || !request.stream.has_value()) {
    return std::optional<GpuOrder::Recorded>();
  }
  VRAMPOOL_ASSIGN_OR_RETURN(const GpuOrder::Recorded recorded,
                            order_->Record(*request.stream));
  return std::optional(recorded);
}

// From here on the stream says when the contents are complete, to whoever reads
// the contents words, and the event thread, to all.
void Client::AwaitContents(HeldObject& held, const GpuOrder::Recorded& recorded,
                           cuda::Stream stream) {
  if (contents_writer_ != nullptr) {
    (void)contents_writer_->Enqueue(held.session->contents(), held.token.object,
                                    stream);
  }
  held.ready->session = held.session;
  held.ready->object = held.token.object;
  order_->Then(recorded, [this, ready = held.ready](const Status& work) {
    TellReady(*ready,
              work.ok() ? ReadyOutcome::kComplete : ReadyOutcome::kFailed);
  });
}

// Whoever comes second goes on when it has been told.
void Client::TellReady(ReadyNotice& ready, ReadyOutcome outcome) {
  MutexLock lock(ready.mu);
  if (!std::exchange(ready.is_told, true)) FinishContents(ready, outcome);
}

// To the daemon it goes by a message, which needs no answer: if the object or
// the session has gone, nothing is pending any more.
void Client::FinishContents(const ReadyNotice& ready, ReadyOutcome outcome) {
  Session& session = *ready.session;
  std::optional<SlabKey> dedicated;
  {
    MutexLock lock(mu_);
    const auto found = produced_.find({session.serial(), ready.object});
    if (found != produced_.end()) {
      const SlabKey slab = found->second.front()->slab;
      if (slabs_.Get(slab).is_dedicated) dedicated = slab;
    }
  }
  if (outcome == ReadyOutcome::kComplete) {
    session.contents().MarkComplete(ready.object);
  }
  if (!dedicated) return session.link().SendReady(ready.object, outcome);
  CallReady(ready, outcome);
  LetGoIn(*dedicated);  // It may have been freed and closed meanwhile.
}

// A dedicated slab can go back to the daemon only when it has heard this. A
// call that may not have been heard, or of which only the reply was lost, is
// repeated, which changes nothing where it was heard.
void Client::CallReady(const ReadyNotice& ready, ReadyOutcome outcome) {
  const SessionPtr& session = ready.session;
  const ObjectCall call{.epoch = session->epoch(), .object = ready.object};
  const TimePoint give_up = steady_clock::now() + kReadyLimit;
  for (int tries = 0; tries < kReadyTries && session->is_live() &&
                      steady_clock::now() < give_up;
       ++tries) {
    const CallOutcome said = session->MakeRaw(
        [&](ControlChannel& channel) { return channel.Ready(call, outcome); });
    if (!said.may_be_lost()) break;
    AwaitLinkEnd(session, steady_clock::now() + kLinkEndLimit);
  }
}

Status Client::StateOf(const HeldObject& object) {
  const ObjectId id = object.token.object;
  if (object.session->contents().IsComplete(id)) return {};
  const uint64_t word = object.session->table().Load(id);
  if (shm::SlotGeneration(word) != ObjectGeneration(id)) return {};
  const shm::ObjectState state = shm::SlotState(word);
  if (state == shm::ObjectState::kBroken) {
    return {VRAMPOOL_BROKEN,
            "the object's producer died, or its work failed, before the "
            "contents were complete: they are undefined; close it"};
  }
  const bool is_given_up =
      object.gate != nullptr && object.gate->state() == Gate::State::kGivenUp;
  const bool is_pending = state == shm::ObjectState::kPending ||
                          state == shm::ObjectState::kWatchedPending;
  if (is_given_up || (is_pending && !object.session->is_live())) {
    return {VRAMPOOL_UNAVAILABLE,
            "the daemon went away before the contents were complete, so nobody "
            "can tell whether they ever were; open the object anew"};
  }
  return {};
}

Status Client::CloseOn(std::unique_ptr<HeldObject>& object,
                       cuda::Stream stream) {
  if (order_ == nullptr) {
    Close(std::move(object));
    return {};
  }
  const Result<GpuOrder::Recorded> recorded = order_->Record(stream);
  if (recorded.ok()) {
    // What the stream does until then may be behind the gate, and is to find
    // the contents there, so this does not open it.
    if (object->gate != nullptr) object->gate->NoteWanted();
    // A function object is copyable, so what it owns must be, too.
    const std::shared_ptr<HeldObject> held = std::move(object);
    order_->Then(*recorded, [this, held](const Status&) { EndHold(*held); });
    return {};
  }
  const vrampool_status why = recorded.status().code();
  if (why != VRAMPOOL_DEVICE_LOST && why != VRAMPOOL_UNAVAILABLE) {
    return recorded.status();
  }
  // No work of this process runs on the GPU any more.
  Close(std::move(object));
  return {};
}

Status Client::CheckStream(std::optional<cuda::Stream> stream) const {
  if (order_ == nullptr || !stream) return {};
  const GpuContext::Scope scope(*gpu_);
  VRAMPOOL_RETURN_IF_ERROR(scope.status());
  return CheckNotCapturing(*gpu_, *stream);
}

void Client::EndGates() {
  if (order_ == nullptr) return;
  order_->gates().End(steady_clock::now() + kOrderLimit);
}

void Client::StopOrder() {
  if (order_ == nullptr) return;
  EndGates();
  order_->Stop(steady_clock::now() + kOrderLimit);
}

}  // namespace vrampool::client
