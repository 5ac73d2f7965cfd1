// The calls of clients: see broker.h.

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "daemon/broker/broker_impl.h"
#include "daemon/core/refusal.h"

namespace vrampool {
namespace {

constexpr absl::Duration kLongestWait = absl::Hours(24);
// A promised object's token can overtake the message that makes the object by
// so much at most, when all are alive.
constexpr absl::Duration kShareIsUnderway = absl::Seconds(1);

std::chrono::steady_clock::time_point SteadyAfter(absl::Duration wait) {
  return std::chrono::steady_clock::now() +
         absl::ToChronoNanoseconds(
             std::clamp(wait, absl::ZeroDuration(), kLongestWait));
}

bool HasReason(const absl::Status& status, Reason reason) {
  const std::optional<Refusal> refusal = RefusalOf(status);
  return refusal.has_value() && refusal->reason == reason;
}

absl::Duration RetryAfter(const absl::Status& status) {
  const std::optional<Refusal> refusal = RefusalOf(status);
  return refusal.has_value() && refusal->retry_after.has_value()
             ? *refusal->retry_after
             : absl::InfiniteDuration();
}

const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& answer) {
  return answer.status();
}

absl::Status SessionEnded() {
  return Refuse(Reason::kSessionEnded, "the session has ended; attach again");
}

}  // namespace

absl::Status BrokerImpl::AdmitRpc(SessionId session) {
  MutexLock lock(mu_);
  return arbiter_.AdmitRpc(session, clock_.Now());
}

absl::StatusOr<LeaseGrant> BrokerImpl::Lease(SessionId session,
                                             const LeaseRequest& request,
                                             absl::Time deadline) {
  const absl::Time now = clock_.Now();
  const WaitMode mode =
      deadline > now ? WaitMode::kMayWait : WaitMode::kFailFast;
  std::variant<LeaseGrant, TicketId> answer;
  Effects effects;
  absl::Status refused;
  int call = 0;
  {
    MutexLock lock(mu_);
    auto decided = arbiter_.RequestLease(session, request, mode, now, effects);
    refused = decided.status();
    if (decided.ok()) answer = *std::move(decided);
    if (refused.ok()) {
      if (const auto* const ticket = std::get_if<TicketId>(&answer)) {
        Waiting& waiting = waiting_[*ticket];
        ++waiting.callers;
        call = ++waiting.last_call;
      } else {
        BeginDelivery(std::get<LeaseGrant>(answer), /*callers=*/1);
      }
    }
    Absorb(effects);
  }
  // A refusal has effects too: a failed destroy is tried again.
  Dispatch(std::move(effects));
  if (!refused.ok()) return refused;
  if (const auto* ticket = std::get_if<TicketId>(&answer)) {
    VRAMPOOL_ASSIGN_OR_RETURN(answer, AwaitTicket(*ticket, call, deadline));
  }
  LeaseGrant grant = std::get<LeaseGrant>(std::move(answer));
  if (grant.slab.is_mapped) return grant;
  const absl::Status sent = SendHandle(session, grant.slab);
  EndDelivery(session, grant.lease, sent.ok());
  if (!sent.ok()) return sent;
  return grant;
}

void BrokerImpl::BeginDelivery(const LeaseGrant& grant, int callers) {
  if (grant.slab.is_mapped) return;  // Nothing is to be sent.
  const auto found = deliveries_.find(grant.lease);
  if (found != deliveries_.end()) {
    found->second.callers += callers;
  } else if (!grant.is_repeat) {
    deliveries_[grant.lease].callers = callers;
  }
  // Else the first call has been answered: the client knows the lease.
}

void BrokerImpl::EndDelivery(SessionId session, LeaseId lease, bool is_sent) {
  Effects effects;
  {
    MutexLock lock(mu_);
    const auto found = deliveries_.find(lease);
    if (found == deliveries_.end()) return;
    Delivery& delivery = found->second;
    delivery.is_delivered |= is_sent;
    if (--delivery.callers > 0) return;
    const bool is_delivered = delivery.is_delivered;
    deliveries_.erase(found);
    if (is_delivered) return;
    arbiter_.UndoLease(session, lease, clock_.Now(), effects);
    Absorb(effects);
  }
  Dispatch(std::move(effects));
}

absl::StatusOr<LeaseGrant> BrokerImpl::AwaitTicket(TicketId ticket, int call,
                                                   absl::Time deadline) {
  const auto steady_deadline = SteadyAfter(deadline - clock_.Now());
  std::optional<absl::StatusOr<LeaseGrant>> result;
  bool is_certain = false;  // It will be settled soon, whatever the time.
  bool was_late = false;
  while (!result.has_value()) {
    Effects effects;
    {
      MutexLock lock(mu_);
      const Wake wake = WaitFor(lock, ticket, is_certain, steady_deadline);
      // It may have become due with its deadline.
      if (wake == Wake::kDue || (wake == Wake::kLate && !was_late)) {
        was_late = wake == Wake::kLate;
        arbiter_.ServeDue(clock_.Now(), effects);
      } else if (wake == Wake::kLate) {
        const absl::Status waited_out =
            arbiter_.WaitedOut(ticket, clock_.Now());
        if (waiting_.at(ticket).last_call != call) {
          --waiting_.at(ticket).callers;
          return waited_out;
        }
        if (arbiter_.CancelTicket(ticket, clock_.Now(), effects)) {
          waiting_.at(ticket).outcome = waited_out;
        } else {
          is_certain = true;
        }
      }
      Absorb(effects);
      Waiting& waiting = waiting_.at(ticket);
      if (waiting.outcome.has_value()) {
        result = *waiting.outcome;
        if (--waiting.callers == 0) waiting_.erase(ticket);
      }
    }
    Dispatch(std::move(effects));
  }
  return *std::move(result);
}

// A rate lets a ticket through when its time has come; whoever waits for that
// ticket wakes up then.
BrokerImpl::Wake BrokerImpl::WaitFor(
    MutexLock& lock, TicketId ticket, bool is_certain,
    std::chrono::steady_clock::time_point deadline) {
  while (!waiting_.at(ticket).outcome.has_value()) {
    const auto due = dues_.find(ticket);
    const bool has_due = due != dues_.end();
    const auto wake_up =
        has_due ? SteadyAfter(due->second - clock_.Now()) : deadline;
    if (is_certain) {
      settled_.Wait(lock);
    } else if (!settled_.WaitUntil(lock, std::min(wake_up, deadline)) &&
               !waiting_.at(ticket).outcome.has_value()) {
      if (std::chrono::steady_clock::now() >= deadline) return Wake::kLate;
      return Wake::kDue;
    }
  }
  return Wake::kSettled;
}

absl::Status BrokerImpl::SendHandle(SessionId session, const SlabGrant& slab) {
  const std::shared_ptr<SessionLink> link = LinkOf(session);
  if (link == nullptr) return SessionEnded();
  absl::StatusOr<ExportedHandle> handle = device_.Export(slab.id);
  if (!handle.ok()) {
    // The session ended meanwhile, and its slabs with it.
    if (absl::IsNotFound(handle.status())) return SessionEnded();
    CheckDevice(handle.status());
    return Refuse(absl::IsUnavailable(handle.status()) ? Reason::kDeviceLost
                                                       : Reason::kDeviceError,
                  absl::StrCat("the device could not export the slab: ",
                               std::string(handle.status().message())));
  }
  return link->SendHandle(slab.id, slab.size, *std::move(handle));
}

absl::Status BrokerImpl::Return(SessionId session, LeaseId lease,
                                ReturnMode mode) {
  Effects effects;
  {
    MutexLock lock(mu_);
    VRAMPOOL_RETURN_IF_ERROR(
        arbiter_.Return(session, lease, mode, clock_.Now(), effects));
    Absorb(effects);
  }
  Dispatch(std::move(effects));
  return absl::OkStatus();
}

absl::StatusOr<uint32_t> BrokerImpl::ReportUnmapped(
    SessionId session, const std::vector<SlabId>& slabs) {
  Effects effects;
  absl::StatusOr<uint32_t> kept;
  {
    MutexLock lock(mu_);
    kept = arbiter_.ReportUnmapped(session, slabs, clock_.Now(), effects);
    Absorb(effects);
  }
  Dispatch(std::move(effects));
  return kept;
}

absl::StatusOr<ShareGrant> BrokerImpl::Share(SessionId session,
                                             ShareRequest request) {
  ObjectSecret secret;
  if (!FillRandom(secret.data(), secret.size())) {
    return absl::InternalError("the kernel gives no random bytes");
  }
  ExpireNames();
  absl::StatusOr<ShareGrant> grant;
  {
    MutexLock lock(mu_);
    grant = arbiter_.Share(session, std::move(request), secret, clock_.Now());
    Effects effects;
    effects.objects_changed = grant.ok();
    Absorb(effects);
  }
  // Before the reply, so that the next share finds them.
  if (grant.ok()) GivePromises(session);
  return grant;
}

absl::Status BrokerImpl::Ready(SessionId session, ObjectId object,
                               ReadyOutcome outcome) {
  Effects effects;
  absl::Status status;
  {
    MutexLock lock(mu_);
    status = arbiter_.Ready(session, object, outcome, clock_.Now(), effects);
    Absorb(effects);
  }
  // Those who expect the object are told. Failed contents end an object that
  // nobody holds, and perhaps its slab.
  Dispatch(std::move(effects));
  return status;
}

void BrokerImpl::GivePromises(SessionId session) {
  uint32_t wanted = 0;
  {
    MutexLock lock(mu_);
    wanted = arbiter_.PromisesWanted(session);
  }
  if (wanted == 0) return;
  std::vector<ObjectSecret> secrets(wanted);
  if (!FillRandom(secrets.data(), wanted * sizeof(ObjectSecret))) return;
  std::vector<PromisedObject> promises;
  {
    MutexLock lock(mu_);
    promises = arbiter_.GivePromises(session, secrets);
  }
  if (promises.empty()) return;
  const std::shared_ptr<SessionLink> link = LinkOf(session);
  if (link != nullptr && link->SendPromises(promises)) return;
  Effects effects;
  {
    MutexLock lock(mu_);
    arbiter_.TakeBackPromised(session, promises, effects);
    Absorb(effects);
  }
  Dispatch(std::move(effects));
}

Fulfilment BrokerImpl::Fulfil(SessionId session, const PromisedShare& share) {
  Effects effects;
  Fulfilment fulfilment;
  {
    MutexLock lock(mu_);
    fulfilment = arbiter_.Fulfil(session, share, clock_.Now(), effects);
    Absorb(effects);
  }
  Dispatch(std::move(effects));
  if (fulfilment.was_promised) GivePromises(session);
  return fulfilment;
}

template <typename Look>
auto BrokerImpl::WaitUntil(absl::Time deadline, uint64_t BrokerImpl::*version,
                           Look look) {
  const absl::Duration wait = deadline - clock_.Now();
  const auto steady_deadline = SteadyAfter(wait);
  MutexLock lock(mu_);
  auto answer = look();
  if (answer.second || wait <= absl::ZeroDuration()) return answer.first;
  if (watchers_ >= bounds_.waiting) {
    answer.first = Refuse(Reason::kWaitQueueFull,
                          "too many calls wait already; try again later");
    return answer.first;
  }
  ++watchers_;
  bool is_late = false;
  while (!answer.second && !is_late) {
    const uint64_t seen = this->*version;
    // Only time may be lacking: then it is known when to look again.
    const auto look_again = std::min(
        steady_deadline, SteadyAfter(RetryAfter(StatusOf(answer.first))));
    bool is_time = false;
    while (this->*version == seen && !is_time) {
      is_time = !settled_.WaitUntil(lock, look_again);
    }
    is_late = std::chrono::steady_clock::now() >= steady_deadline;
    answer = look();
  }
  --watchers_;
  return answer.first;
}

absl::Status BrokerImpl::AwaitPromised(SessionId session,
                                       const OpenRequest& request,
                                       absl::Time deadline,
                                       std::optional<ObjectId>& awaited) {
  if (!request.token.has_value()) return absl::OkStatus();
  const absl::Status made = WaitUntil(
      std::max(deadline, clock_.Now() + kShareIsUnderway),
      &BrokerImpl::objects_version_,
      [&]() VRAMPOOL_REQUIRES(mu_) -> std::pair<absl::Status, bool> {
        if (!arbiter_.IsPromised(session, request)) {
          return {absl::OkStatus(), true};
        }
        awaited = request.token->object;
        return {Refuse(Reason::kWaitedOut, "the object is not made yet"),
                false};
      });
  // Whoever waited in vain asks all the same, and is told that there is none.
  return HasReason(made, Reason::kWaitQueueFull) ? made : absl::OkStatus();
}

absl::StatusOr<OpenGrant> BrokerImpl::Open(SessionId session,
                                           const OpenRequest& request,
                                           absl::Time deadline) {
  using Result = std::pair<absl::StatusOr<OpenGrant>, bool>;
  ExpireNames();
  std::optional<ObjectId> awaited;  // An object that was pending, or promised.
  VRAMPOOL_RETURN_IF_ERROR(AwaitPromised(session, request, deadline, awaited));
  absl::StatusOr<OpenGrant> grant = WaitUntil(
      deadline, &BrokerImpl::objects_version_,
      [&]() VRAMPOOL_REQUIRES(mu_) -> Result {
        absl::StatusOr<OpenGrant> opened =
            arbiter_.Open(session, request, clock_.Now());
        const bool is_pending = HasReason(opened.status(), Reason::kWaitedOut);
        const bool is_unknown =
            HasReason(opened.status(), Reason::kObjectUnknown);
        // A broken object has no name, and ends when nobody holds it.
        if (is_unknown && awaited && arbiter_.IsNeverReady(*awaited)) {
          return {Refuse(Reason::kObjectBroken,
                         "the object's producer died, or let it go, before "
                         "its contents were ready"),
                  true};
        }
        if (is_pending) awaited = arbiter_.ObjectOf(session, request);
        const bool is_not_yet =
            is_pending || (!request.token.has_value() && is_unknown);
        return {std::move(opened), !is_not_yet};
      });
  if (!grant.ok()) return grant;
  std::vector<SlabId> unsent;
  absl::Status failed;
  for (const SlabGrant& slab : grant->slabs) {
    if (slab.is_mapped) continue;
    if (failed.ok()) failed = SendHandle(session, slab);
    if (!failed.ok()) unsent.push_back(slab.id);
  }
  if (failed.ok()) return grant;
  // The hold is taken back, and slabs of which no handle was sent count as
  // mapped no more: the next open must send it. Both fail only when the session
  // has ended, and then there is nothing to take back.
  (void)Close(session, grant->object);
  (void)ReportUnmapped(session, unsent);
  return failed;
}

absl::Status BrokerImpl::Close(SessionId session, ObjectId object) {
  Effects effects;
  {
    MutexLock lock(mu_);
    VRAMPOOL_RETURN_IF_ERROR(
        arbiter_.Close(session, object, clock_.Now(), effects));
    Absorb(effects);
  }
  Dispatch(std::move(effects));
  return absl::OkStatus();
}

absl::Status BrokerImpl::Unlink(SessionId session, std::string_view name) {
  ExpireNames();
  Effects effects;
  {
    MutexLock lock(mu_);
    VRAMPOOL_RETURN_IF_ERROR(
        arbiter_.Unlink(session, name, clock_.Now(), effects));
    Absorb(effects);
  }
  Dispatch(std::move(effects));
  return absl::OkStatus();
}

absl::Status BrokerImpl::WaitForRoom(SessionId session, Bytes size,
                                     absl::Time deadline) {
  return WaitUntil(
      deadline, &BrokerImpl::room_version_, [&]() VRAMPOOL_REQUIRES(mu_) {
        const absl::Status fits = arbiter_.Fits(session, size, clock_.Now());
        return std::pair(fits, !HasReason(fits, Reason::kWaitedOut));
      });
}

absl::Status BrokerImpl::WaitForName(SessionId session, std::string_view name,
                                     absl::Time deadline) {
  ExpireNames();
  const absl::Status found = WaitUntil(
      deadline, &BrokerImpl::objects_version_, [&]() VRAMPOOL_REQUIRES(mu_) {
        const absl::Status exists = arbiter_.Exists(session, name);
        return std::pair(exists,
                         !HasReason(exists, Reason::kWaitedOut) &&
                             !HasReason(exists, Reason::kObjectUnknown));
      });
  if (!HasReason(found, Reason::kObjectUnknown)) return found;
  return Refuse(Reason::kWaitedOut,
                absl::StrCat("no object named '", std::string(name),
                             "' appeared in time"));
}

void BrokerImpl::ExpireNames() {
  Effects effects;
  {
    MutexLock lock(mu_);
    arbiter_.ExpireNames(clock_.Now(), effects);
    Absorb(effects);
  }
  Dispatch(std::move(effects));
}

absl::StatusOr<ReservationGrant> BrokerImpl::Reserve(
    SessionId session, const ReserveRequest& request) {
  Effects effects;
  absl::StatusOr<ReservationGrant> grant;
  {
    MutexLock lock(mu_);
    grant = arbiter_.Reserve(session, request, clock_.Now(), effects);
    Absorb(effects);
  }
  Dispatch(std::move(effects));
  return grant;
}

absl::Status BrokerImpl::ReleaseReservation(SessionId session,
                                            ReservationId reservation) {
  Effects effects;
  {
    MutexLock lock(mu_);
    VRAMPOOL_RETURN_IF_ERROR(arbiter_.ReleaseReservation(
        session, reservation, clock_.Now(), effects));
    Absorb(effects);
  }
  Dispatch(std::move(effects));
  return absl::OkStatus();
}

absl::StatusOr<Budget> BrokerImpl::GetBudget(SessionId session) {
  MutexLock lock(mu_);
  return arbiter_.GetBudget(session);
}

}  // namespace vrampool
