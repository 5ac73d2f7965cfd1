// Opening and closing objects.

#include <algorithm>
#include <string>
#include <thread>
#include <utility>

#include "base/status_macros.h"
#include "client/allocator/client.h"

namespace vrampool::client {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int kTries = 3;
// For a slab that the daemon takes for mapped and that is not: other threads
// hold objects in it, each as long as a call takes.
constexpr milliseconds kReinstateLimit(1000);
constexpr milliseconds kWithdrawnLimit(10000);
// As long as a call would take.
constexpr std::chrono::microseconds kUnmadeLimit(200);

steady_clock::time_point DeadlineAfter(uint64_t wait_ms) {
  return steady_clock::now() + milliseconds(std::min(wait_ms, kMaxWaitMs));
}

bool IsInside(uint64_t offset, uint64_t size, uint64_t total) {
  return offset <= total && size <= total - offset;
}

// The daemon's reply is checked like anything from outside: its numbers become
// pointers.
Status CheckReply(const OpenReply& reply, Epoch epoch) {
  const bool is_good =
      reply.epoch == epoch && reply.buffer_count >= 1 &&
      reply.buffer_count <= kMaxBuffers && reply.slab_count >= 1 &&
      reply.slab_count <= kMaxBuffers &&
      (reply.layout_count == 0 || reply.layout_count == reply.buffer_count) &&
      reply.metadata_size <= kMaxMetadataBytes &&
      reply.name_size <= kMaxNameBytes && reply.owner_size <= kMaxTenantBytes;
  if (is_good) return {};
  return {VRAMPOOL_INTERNAL,
          "the daemon's reply contradicts itself; see the daemon's log"};
}

std::unique_ptr<ObjectDetails> DetailsOf(const OpenReply& reply) {
  auto details = std::make_unique<ObjectDetails>();
  details->layouts.assign(reply.layouts, reply.layouts + reply.layout_count);
  details->metadata.assign(reinterpret_cast<const char*>(reply.metadata),
                           reply.metadata_size);
  details->name.assign(reply.name, reply.name_size);
  details->owner.assign(reply.owner, reply.owner_size);
  return details;
}

// The object was shared without a call, and by now it is made or never will be.
bool IsMadeSoon(const Session& session, const Token& token) {
  if (!token.is_promised || !token.place || token.epoch != session.epoch()) {
    return false;
  }
  const steady_clock::time_point deadline = steady_clock::now() + kUnmadeLimit;
  return AwaitMade(session.table(), token.object, [deadline] {
    std::this_thread::yield();
    return steady_clock::now() < deadline;
  });
}

}  // namespace

Client::Opened Client::OpenToken(const Token& token, uint64_t wait_ms,
                                 std::optional<cuda::Stream> stream) {
  VRAMPOOL_RETURN_IF_ERROR(CheckStream(stream));
  if (std::unique_ptr<HeldObject> held = OpenHere(token)) {
    const Status gated = token.is_ordered ? GateOff(*held, stream) : Status();
    if (gated.ok()) return held;
    Close(std::move(held));
    if (gated.code() != VRAMPOOL_LIMIT) return gated;
  }
  OpenCall call;
  call.epoch = token.epoch;
  call.object = token.object;
  call.secret = token.secret;
  return OpenFor(call, {DeadlineAfter(wait_ms), stream, token.is_ordered});
}

Client::Opened Client::OpenName(const std::string& name, uint64_t wait_ms,
                                std::optional<cuda::Stream> stream,
                                const std::string& tenant) {
  if (tenant.size() > kMaxTenantBytes) {
    return Status(VRAMPOOL_INVALID_ARGUMENT,
                  "the tenant is no tenant's path; give root/NAME/...");
  }
  if (name.empty() || name.size() > kMaxNameBytes) {
    return Status(
        VRAMPOOL_INVALID_ARGUMENT,
        "a name has 1 to " + std::to_string(kMaxNameBytes) + " bytes");
  }
  VRAMPOOL_RETURN_IF_ERROR(CheckStream(stream));
  OpenCall call;
  call.name = {name.data(), name.size()};
  call.tenant = {tenant.data(), tenant.size()};
  return OpenFor(call, {DeadlineAfter(wait_ms), stream, false});
}

// Makes the stream wait for what is held and still pending. Limit: it cannot.
Status Client::GateOff(HeldObject& held, std::optional<cuda::Stream> stream) {
  if (!held.session->IsPending(held.token.object)) return {};
  if (order_ == nullptr || !stream) {
    return {VRAMPOOL_LIMIT, "there is no stream to wait"};
  }
  VRAMPOOL_ASSIGN_OR_RETURN(
      held.gate,
      order_->gates().Shut(
          {held.session, held.token.object, held.token.is_ordered}, *stream));
  return {};
}

// Without an RPC, or null. Of an object that was shared without one, too, the
// daemon hears a little later than an opener may.
std::unique_ptr<HeldObject> Client::OpenHere(const Token& token) {
  bool must_report = false;
  SessionPtr session;
  std::unique_ptr<HeldObject> held;
  {
    MutexLock lock(mu_);
    session = current_;
    held = TryHoldHere(token, must_report);
  }
  if (held == nullptr && IsMadeSoon(*session, token)) {
    MutexLock lock(mu_);
    session = current_;
    held = TryHoldHere(token, must_report);
  }
  if (must_report) session->link().SendHoldReleased(token.object);
  return held;
}

// The slab is pinned before the hold is taken and both happen under the lock:
// it cannot be unmapped in between.
std::unique_ptr<HeldObject> Client::TryHoldHere(const Token& token,
                                                bool& must_report) {
  Session& session = *current_;
  if (!token.place || token.epoch != session.epoch() || !session.is_live()) {
    return nullptr;
  }
  Slab* const slab = slabs_.Find(session, token.place->slab);
  const auto [id, offset, size] = *token.place;
  if (slab == nullptr || slab->is_foreign || size == 0 ||
      !IsInside(offset, size, slab->mapping.size_bytes()) ||
      !(slab->is_writable || token.is_sealed) ||
      (token.layout && !LayoutProblem(*token.layout, size).empty())) {
    return nullptr;
  }
  std::unique_ptr<HeldObject> held = NewHeld(current_);
  held->token = token;
  held->buffers = {
      {.slab = slab->key, .data = slab->mapping.base() + offset, .size = size}};
  held->pinned = {slab->key};
  const auto takes = token.is_ordered ? Takes::kPending : Takes::kComplete;
  const auto hold = session.manifest().TakeHold();
  if (!hold) return nullptr;
  const HoldOutcome outcome = TryHold(session.manifest().HoldWord(*hold),
                                      session.table(), token.object, takes);
  must_report = outcome.must_report;
  if (!outcome.is_held) {
    session.manifest().FreeHold(*hold);
    return nullptr;
  }
  slabs_.Pin(slab->key);
  held->hold = *hold;
  return held;
}

// Where streams cannot wait, this thread does.
Client::Opened Client::OpenFor(OpenCall call, const OpenWish& wish) {
  call.takes_pending = order_ != nullptr && wish.stream.has_value();
  VRAMPOOL_ASSIGN_OR_RETURN(std::unique_ptr<HeldObject> held,
                            OpenByCall(call, wish));
  if (!call.takes_pending) return held;
  const Status gated = GateOff(*held, wish.stream);
  if (gated.ok()) return held;
  Close(std::move(held));
  if (gated.code() != VRAMPOOL_LIMIT) return gated;
  call.takes_pending = false;
  return OpenByCall(call, wish);
}

Client::Opened Client::OpenByCall(OpenCall call, const OpenWish& wish) {
  const TimePoint deadline = wish.deadline;
  const auto reply = std::make_unique<OpenReply>();
  const TimePoint give_up =
      std::max(deadline, steady_clock::now() + kWithdrawnLimit);
  bool has_made_room = false;
  for (int losses = 0; losses < kTries && steady_clock::now() < give_up;) {
    VRAMPOOL_ASSIGN_OR_RETURN(SessionPtr session, LiveSession(deadline));
    const Status opened = session->Explain(
        CallWithin(*session, deadline, [&](ControlChannel& channel) {
          const auto left =
              duration_cast<milliseconds>(deadline - steady_clock::now());
          call.wait_ms =
              static_cast<uint64_t>(std::max<int64_t>(left.count(), 0));
          *reply = OpenReply();
          return channel.Open(call, *reply);
        }));
    if (opened.code() == VRAMPOOL_OVER_QUOTA &&
        !std::exchange(has_made_room, true) && MakeRoomAtOnce()) {
      continue;
    }
    if (!opened.ok()) {
      // A session that has just ended is replaced; the new daemon then says
      // what has become of the object.
      if (opened.code() != VRAMPOOL_UNAVAILABLE) return opened;
      AwaitLinkEnd(session, steady_clock::now() + milliseconds(50));
      if (session->is_live()) return opened;
      ++losses;
      continue;
    }
    Opened held = Assemble(session, *reply);
    if (held.ok()) (*held)->token.is_ordered = wish.is_ordered;
    if (held.ok() || held.status().code() != VRAMPOOL_NOT_FOUND) return held;
  }
  return Status(VRAMPOOL_UNAVAILABLE,
                "the daemon comes and goes, or the object's slab does; try "
                "again");
}

Result<std::unique_ptr<HeldObject>> Client::Assemble(const SessionPtr& session,
                                                     const OpenReply& reply) {
  VRAMPOOL_RETURN_IF_ERROR(CheckReply(reply, session->epoch()));
  std::unique_ptr<HeldObject> held = NewHeld(session);
  held->token.object = reply.object;
  held->token.secret = reply.secret;
  held->token.is_sealed = reply.is_sealed;
  if (reply.buffer_count == 1) held->token.place = reply.buffers[0];
  SetDetails(reply.layouts, reply.layout_count,
             reply.name_size + reply.metadata_size > 0, held->token);
  {
    MutexLock lock(held->mu);
    held->has_call_hold = true;
    held->details = DetailsOf(reply);
  }
  Status filled;
  for (size_t i = 0; i < reply.slab_count && filled.ok(); ++i) {
    Result<SlabKey> key =
        ObtainSlab(session, reply.slabs[i],
                   reply.is_sealed ? Access::kReadOnly : Access::kReadWrite);
    if (key.ok()) {
      held->pinned.push_back(*key);
    } else {
      filled = key.status();
    }
  }
  if (filled.ok()) filled = FillBuffers(reply, *held);
  if (filled.ok()) return held;
  Abandon(*held, reply);
  return filled;
}

Status Client::FillBuffers(const OpenReply& reply, HeldObject& held) {
  MutexLock lock(mu_);
  for (size_t i = 0; i < reply.buffer_count; ++i) {
    const auto [id, offset, size] = reply.buffers[i];
    const Slab* slab = nullptr;
    for (const SlabKey key : held.pinned) {
      if (const Slab& one = slabs_.Get(key); one.id == id) slab = &one;
    }
    if (slab == nullptr ||
        !IsInside(offset, size, slab->mapping.size_bytes())) {
      return {VRAMPOOL_INTERNAL,
              "the daemon named a buffer outside its slab; see its log"};
    }
    held.buffers.push_back({.slab = slab->key,
                            .data = slab->mapping.base() + offset,
                            .size = size});
  }
  return {};
}

// Takes back what a reply granted that could not be used. Slabs that were
// unmapped while the call ran are reported anew: with the hold gone, the daemon
// now believes it, and sends their handles with the next reply.
void Client::Abandon(HeldObject& held, const OpenReply& reply) {
  Session& session = *held.session;
  const ObjectCall close{.epoch = session.epoch(), .object = reply.object};
  (void)session.MakeRaw(  // If it fails, the session's end does it.
      [&](ControlChannel& channel) { return channel.Close(close); });
  Unpin(held);
  for (size_t i = 0; i < reply.slab_count; ++i) {
    const SlabName name{session.serial(), reply.slabs[i].slab};
    {
      MutexLock lock(mu_);
      if (!returns_.IsWithdrawn(name)) continue;
    }
    if (ReturnAgain(name)) continue;  // It was a lease.
    uint32_t kept = 0;
    const CallOutcome outcome = session.MakeRaw([&](ControlChannel& channel) {
      return channel.ReportUnmapped(session.epoch(), &name.second, 1, kept);
    });
    if (outcome.ok() && kept == 0) {
      Reinstate(name);
    } else if (outcome.ok()) {
      AwaitReinstated(name);
    }
  }
}

// Other threads are where this one was: they have opened objects in the slab
// and find it unmapped. Each closes its object before it reports, so the last
// report finds no hold, and that thread reinstates the slab for all, if none
// begins anew meanwhile.
void Client::AwaitReinstated(SlabName slab) {
  const TimePoint deadline = steady_clock::now() + kReinstateLimit;
  MutexLock lock(mu_);
  while (returns_.IsWithdrawn(slab)) {
    if (!changed_.WaitUntil(lock, deadline)) return;
  }
}

void Client::Unpin(const HeldObject& object) {
  MutexLock lock(mu_);
  for (const SlabKey key : object.pinned) slabs_.Unpin(key);
  for (const SlabKey key : object.pinned) {
    if (slabs_.Get(key).is_dedicated) LetGoOfProduced(key);
  }
  NoteIdle();
}

Result<const ObjectDetails*> Client::Details(HeldObject& object) {
  {
    MutexLock lock(object.mu);
    if (object.details == nullptr && !object.token.has_details) {
      object.details = std::make_unique<ObjectDetails>();
      if (const auto& layout = object.token.layout) {
        object.details->layouts.push_back(*layout);
      }
    }
    if (object.details != nullptr) {
      return static_cast<const ObjectDetails*>(object.details.get());
    }
  }
  VRAMPOOL_RETURN_IF_ERROR(FetchDetails(object));
  MutexLock lock(object.mu);
  return static_cast<const ObjectDetails*>(object.details.get());
}

// Opens the object once more, by a call; the hold that this takes is closed
// with the object.
Status Client::FetchDetails(HeldObject& object) {
  OpenCall call;
  call.epoch = object.token.epoch;
  call.object = object.token.object;
  call.secret = object.token.secret;
  call.takes_pending = object.token.is_ordered;  // It is held already.
  const auto reply = std::make_unique<OpenReply>();
  VRAMPOOL_RETURN_IF_ERROR(object.session->Make(
      [&](ControlChannel& channel) { return channel.Open(call, *reply); }));
  const Status checked = CheckReply(*reply, object.session->epoch());
  if (checked.ok()) {
    MutexLock lock(object.mu);
    if (object.details == nullptr) {
      object.details = DetailsOf(*reply);
      object.has_call_hold = true;
      return {};
    }
  }
  // Another thread was faster, or the reply is not usable.
  const ObjectCall close{.epoch = object.token.epoch,
                         .object = object.token.object};
  (void)object.session->MakeRaw(  // If it fails, the session's end does it.
      [&](ControlChannel& channel) { return channel.Close(close); });
  return checked;
}

void Client::Close(std::unique_ptr<HeldObject> object) { EndHold(*object); }

// As FinishContents() does, so that it comes behind that.
bool Client::IsToldByMessage(const HeldObject& object) {
  if (object.ready == nullptr) return false;
  MutexLock lock(mu_);
  return !slabs_.Get(object.buffers.front().slab).is_dedicated;
}

void Client::EndHold(HeldObject& object) {
  Session& session = *object.session;
  object.gate.reset();  // First: it may be shut still, and nobody cares now.
  bool must_report = false;
  if (object.hold) {
    MutexLock lock(mu_);
    must_report = ReleaseHold(session.manifest().HoldWord(*object.hold),
                              session.table(), object.token.object);
    session.manifest().FreeHold(*object.hold);
  }
  bool has_call_hold = false;
  {
    MutexLock lock(object.mu);
    has_call_hold = object.has_call_hold;
  }
  if (must_report) session.link().SendHoldReleased(object.token.object);
  if (object.ready != nullptr &&
      session.contents().IsComplete(object.token.object)) {
    TellReady(*object.ready, ReadyOutcome::kComplete);
  }
  if (has_call_hold && IsToldByMessage(object)) {
    session.link().SendClosed(object.token.object);
  } else if (has_call_hold && session.is_live()) {
    const ObjectCall call{.epoch = object.token.epoch,
                          .object = object.token.object};
    (void)session.MakeRaw(  // If it fails, the session's end does it.
        [&](ControlChannel& channel) { return channel.Close(call); });
  }
  Unpin(object);
}

}  // namespace vrampool::client
