// Objects in the order of the GPU's work: when their contents are complete, and
// when their readers are done. What is done "by the event thread" here runs on
// GpuOrder's thread.

#include <string>

#include "base/status_macros.h"
#include "client/allocator/client.h"

namespace vrampool::client {

// Null on memory of the host, which has no streams.
Result<cuda::Event> Client::RecordContents(const ShareRequest& request) {
  if (request.stream.has_value() && request.is_pending) {
    return Status(VRAMPOOL_INVALID_ARGUMENT,
                  "an object is ready when its stream is, or when "
                  "vrampool_ready() is called: set `ordered` or `pending`, not "
                  "both");
  }
  if (order_ == nullptr || !request.stream.has_value()) {
    return static_cast<cuda::Event>(nullptr);
  }
  return order_->pool().Record(*request.stream);
}

// From here on the event thread says when the contents are complete.
void Client::AwaitContents(const SessionPtr& session, ObjectId object,
                           cuda::Event event) {
  order_->thread().Add(event, [this, session, object,
                               event](const Status& work) {
    order_->pool().Return(event);
    FinishContents(*session, object,
                   work.ok() ? ReadyOutcome::kComplete : ReadyOutcome::kFailed);
  });
}

// By the event thread. If the call fails because the daemon or the object has
// gone, or the session ends, nothing is pending any more. If only its reply is
// lost, it is not repeated: the object then stays pending until it is closed or
// this session ends.
void Client::FinishContents(Session& session, ObjectId object,
                            ReadyOutcome outcome) {
  if (!session.is_live()) return;
  const ObjectCall call{.epoch = session.epoch(), .object = object};
  (void)session.MakeRaw(
      [&](ControlChannel& channel) { return channel.Ready(call, outcome); });
}

Status Client::StateOf(const HeldObject& object) {
  const ObjectId id = object.token.object;
  const uint64_t word = object.session->table().Load(id);
  if (shm::SlotGeneration(word) != ObjectGeneration(id)) return {};
  if (shm::SlotState(word) == shm::ObjectState::kBroken) {
    return {VRAMPOOL_BROKEN,
            "the object's producer died, or its work failed, before the "
            "contents were complete: they are undefined; close it"};
  }
  if (shm::SlotState(word) == shm::ObjectState::kPending &&
      !object.session->is_live()) {
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
  const Result<cuda::Event> event = order_->pool().Record(stream);
  if (event.ok()) {
    // A function object is copyable, so what it owns must be, too.
    const std::shared_ptr<HeldObject> held = std::move(object);
    order_->thread().Add(*event, [this, held, event = *event](const Status&) {
      EndHold(*held);
      order_->pool().Return(event);
    });
    return {};
  }
  const vrampool_status why = event.status().code();
  if (why != VRAMPOOL_DEVICE_LOST && why != VRAMPOOL_UNAVAILABLE) {
    return event.status();
  }
  // No work of this process runs on the GPU any more.
  Close(std::move(object));
  return {};
}

void Client::StopOrder() {
  if (order_ == nullptr) return;
  order_->thread().Stop(std::chrono::steady_clock::now() + kOrderLimit);
}

}  // namespace vrampool::client
