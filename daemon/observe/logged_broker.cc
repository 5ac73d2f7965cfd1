#include "daemon/observe/logged_broker.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "base/stopwatch.h"
#include "daemon/core/quota_text.h"
#include "daemon/observe/logging.h"

namespace vrampool {
namespace {

std::string_view MessageOf(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

uint64_t Raw(SessionId session) { return static_cast<uint64_t>(session); }

const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& outcome) {
  return outcome.status();
}

Bytes SizeOf(const ShareRequest& request) {
  Bytes size;
  for (const BufferRef& buffer : request.buffers) {
    size = SaturatingAdd(size, buffer.size);
  }
  return size;
}

}  // namespace

void LoggedBroker::Tell(Event event) {
  event.at = clock_.Now();
  observer_.OnEvent(std::move(event));
}

template <typename Call>
auto LoggedBroker::Timed(Operation operation, Call call) {
  const Stopwatch watch;
  auto outcome = call();
  observer_.OnDone(operation, watch.elapsed(), StatusOf(outcome));
  return outcome;
}

absl::StatusOr<Admission> LoggedBroker::Attach(
    const PeerIdentity& peer, const Labels& labels, std::string_view tenant,
    std::shared_ptr<SessionLink> link) {
  absl::StatusOr<Admission> admission =
      inner_.Attach(peer, labels, tenant, std::move(link));
  if (!admission.ok()) {
    if (!IsTold(peer, admission.status())) return admission;
    Log(LogLevel::kWarn, "session refused",
        {{"tenant", tenant},
         {"pid", peer.pid},
         {"uid", peer.uid},
         {"why", MessageOf(admission.status())}});
    Tell({.kind = EventKind::kSessionRefused,
          .tenant = std::string(tenant),
          .pid = peer.pid,
          .uid = peer.uid,
          .text = peer.command_line,
          .refusal = admission.status()});
    return admission;
  }
  {
    const MutexLock lock(mu_);
    known_.insert_or_assign(
        admission->session,
        Known{.tenant = admission->tenant, .pid = peer.pid});
  }
  Log(LogLevel::kInfo, "session attached",
      {{"session", Raw(admission->session)},
       {"tenant", std::string_view(admission->tenant)},
       {"pid", peer.pid},
       {"uid", peer.uid},
       {"executable", std::string_view(peer.executable)},
       {"name", std::string_view(labels.name)},
       {"tag", std::string_view(labels.tag)}});
  Tell({.kind = EventKind::kSessionAttached,
        .tenant = admission->tenant,
        .session = admission->session,
        .pid = peer.pid,
        .uid = peer.uid,
        .text = peer.command_line});
  return admission;
}

bool LoggedBroker::IsTold(const PeerIdentity& peer, const absl::Status& why) {
  observer_.OnRefused(Operation::kAttach, why);
  const MutexLock lock(mu_);
  return turned_away_.Admit(peer.uid, clock_.Now());
}

void LoggedBroker::TellHeldBack() {
  std::vector<FloodGate::Held> all;
  {
    const MutexLock lock(mu_);
    all = turned_away_.TakeHeld(clock_.Now());
  }
  for (const FloodGate::Held& held : all) {
    const std::string user =
        held.user.has_value() ? std::to_string(*held.user) : "several";
    Log(LogLevel::kWarn, "more processes turned away",
        {{"uid", std::string_view(user)}, {"count", held.count}});
    Tell({.kind = EventKind::kSessionRefused,
          .uid = held.user,
          .text = std::to_string(held.count) + " more of uid " + user +
                  " were turned away"});
  }
}

void LoggedBroker::NoteTurnedAway(const PeerIdentity& peer,
                                  const absl::Status& why) {
  if (!IsTold(peer, why)) return;
  Log(LogLevel::kWarn, "process turned away",
      {{"pid", peer.pid}, {"uid", peer.uid}, {"why", MessageOf(why)}});
  Tell({.kind = EventKind::kSessionRefused,
        .pid = peer.pid,
        .uid = peer.uid,
        .text = peer.command_line,
        .refusal = why});
}

void LoggedBroker::Condemn(SessionId session, std::string_view why) {
  Log(LogLevel::kWarn, "session condemned",
      {{"session", Raw(session)}, {"why", why}});
  inner_.Condemn(session, why);
  Tell({.kind = EventKind::kSessionCondemned,
        .session = session,
        .text = std::string(why)});
}

bool LoggedBroker::SocketClosed(SessionId session) {
  const bool is_accounted = inner_.SocketClosed(session);
  Known known;
  {
    const MutexLock lock(mu_);
    const auto found = known_.find(session);
    if (found == known_.end()) return is_accounted;
    known = std::move(found->second);
    known_.erase(found);
  }
  Log(LogLevel::kInfo, "session ended",
      {{"session", Raw(session)},
       {"tenant", std::string_view(known.tenant)},
       {"pid", known.pid},
       {"refused_leases", known.refused_leases},
       {"refused_calls", known.refused_rpcs}});
  Tell({.kind = EventKind::kSessionEnded,
        .tenant = known.tenant,
        .session = session,
        .pid = known.pid});
  return is_accounted;
}

void LoggedBroker::ProcessGone(SessionId session) {
  inner_.ProcessGone(session);
  Log(LogLevel::kDebug, "process gone", {{"session", Raw(session)}});
}

void LoggedBroker::HoldReleased(SessionId session, ObjectId object) {
  inner_.HoldReleased(session, object);
}

void LoggedBroker::NoteRefusal(SessionId session, const LeaseRequest& request,
                               const absl::Status& status) {
  Tell({.kind = EventKind::kLeaseRefused,
        .session = session,
        .bytes = request.size,
        .refusal = status});
  {
    const MutexLock lock(mu_);
    const auto found = known_.find(session);
    if (found == known_.end() || ++found->second.refused_leases > 1) return;
  }
  Log(LogLevel::kInfo, "lease refused",
      {{"session", Raw(session)},
       {"size_bytes", request.size.count()},
       {"why", MessageOf(status)},
       {"note", "further refusals of this session are only counted"}});
}

// Only what a quota, a bound, a rate or a right has refused: a name that is not
// there, or time that was too short, is an answer.
void LoggedBroker::TellRefused(SessionId session, std::string_view call,
                               const absl::Status& outcome, Bytes bytes) {
  if (!absl::IsResourceExhausted(outcome) &&
      !absl::IsPermissionDenied(outcome)) {
    return;
  }
  Tell({.kind = EventKind::kCallRefused,
        .session = session,
        .bytes = bytes,
        .text = std::string(call),
        .refusal = outcome});
}

absl::Status LoggedBroker::AdmitRpc(SessionId session) {
  absl::Status admitted = inner_.AdmitRpc(session);
  if (!admitted.ok()) NoteRefusedRpc(session, admitted);
  return admitted;
}

// A flood of them must not become a flood of lines and events.
void LoggedBroker::NoteRefusedRpc(SessionId session,
                                  const absl::Status& status) {
  observer_.OnRefused(Operation::kCall, status);
  {
    const MutexLock lock(mu_);
    const auto found = known_.find(session);
    if (found == known_.end() || ++found->second.refused_rpcs > 1) return;
  }
  TellRefused(session, "call", status);
  Log(LogLevel::kInfo, "call refused",
      {{"session", Raw(session)},
       {"why", MessageOf(status)},
       {"note", "further refusals of this session are only counted"}});
}

absl::StatusOr<LeaseGrant> LoggedBroker::Lease(SessionId session,
                                               const LeaseRequest& request,
                                               absl::Time deadline) {
  absl::StatusOr<LeaseGrant> grant = Timed(Operation::kLease, [&] {
    return inner_.Lease(session, request, deadline);
  });
  if (!grant.ok()) {
    NoteRefusal(session, request, grant.status());
    return grant;
  }
  if (grant->is_repeat) return grant;  // Told when it was granted.
  Log(LogLevel::kDebug, "lease granted",
      {{"session", Raw(session)},
       {"lease", static_cast<uint64_t>(grant->lease)},
       {"slab", static_cast<uint64_t>(grant->slab.id)},
       {"size_bytes", grant->slab.size.count()}});
  Tell({.kind = EventKind::kLeaseGranted,
        .session = session,
        .lease = grant->lease,
        .slab = grant->slab.id,
        .bytes = grant->slab.size});
  return grant;
}

absl::Status LoggedBroker::Return(SessionId session, LeaseId lease,
                                  ReturnMode mode) {
  absl::Status status = Timed(
      Operation::kReturn, [&] { return inner_.Return(session, lease, mode); });
  if (status.ok()) {
    Log(LogLevel::kDebug, "lease returned",
        {{"session", Raw(session)}, {"lease", static_cast<uint64_t>(lease)}});
    Tell({.kind = EventKind::kLeaseReturned,
          .session = session,
          .lease = lease});
  }
  return status;
}

absl::StatusOr<uint32_t> LoggedBroker::ReportUnmapped(
    SessionId session, const std::vector<SlabId>& slabs) {
  return inner_.ReportUnmapped(session, slabs);
}

absl::StatusOr<ShareGrant> LoggedBroker::Share(SessionId session,
                                               ShareRequest request) {
  const Bytes size = SizeOf(request);
  std::string name = request.name;
  absl::StatusOr<ShareGrant> grant = Timed(Operation::kShare, [&] {
    return inner_.Share(session, std::move(request));
  });
  TellShared(session, grant.status(), grant.ok() ? grant->object : ObjectId{},
             size, std::move(name));
  return grant;
}

// A breach is told as such, by whoever condemns the session for it.
Fulfilment LoggedBroker::Fulfil(SessionId session, const PromisedShare& share) {
  const Stopwatch watch;
  Fulfilment fulfilment = inner_.Fulfil(session, share);
  if (!fulfilment.was_promised) return fulfilment;
  observer_.OnDone(Operation::kShare, watch.elapsed(), fulfilment.made);
  TellShared(session, fulfilment.made, share.object, share.buffer.size, "");
  return fulfilment;
}

void LoggedBroker::TellShared(SessionId session, const absl::Status& outcome,
                              ObjectId object, Bytes size, std::string name) {
  TellRefused(session, "share", outcome, size);
  if (!outcome.ok()) return;
  Tell({.kind = EventKind::kObjectShared,
        .session = session,
        .object = object,
        .bytes = size,
        .text = std::move(name)});
}

absl::Status LoggedBroker::Ready(SessionId session, ObjectId object,
                                 ReadyOutcome outcome) {
  return inner_.Ready(session, object, outcome);
}

absl::StatusOr<OpenGrant> LoggedBroker::Open(SessionId session,
                                             const OpenRequest& request,
                                             absl::Time deadline) {
  absl::StatusOr<OpenGrant> grant = Timed(Operation::kOpen, [&] {
    return inner_.Open(session, request, deadline);
  });
  TellRefused(session, "open", grant.status());
  if (grant.ok() && !grant->owner.empty()) {
    Bytes size;
    for (const BufferRef& buffer : grant->buffers) size += buffer.size;
    Tell({.kind = EventKind::kObjectOpened,
          .session = session,
          .object = grant->object,
          .bytes = size,
          .text = absl::StrCat("of ", grant->owner)});
  }
  return grant;
}

absl::Status LoggedBroker::Close(SessionId session, ObjectId object) {
  return Timed(Operation::kClose,
               [&] { return inner_.Close(session, object); });
}

absl::Status LoggedBroker::Unlink(SessionId session, std::string_view name) {
  return inner_.Unlink(session, name);
}

absl::Status LoggedBroker::WaitForRoom(SessionId session, Bytes size,
                                       absl::Time deadline) {
  return Timed(Operation::kWait,
               [&] { return inner_.WaitForRoom(session, size, deadline); });
}

absl::Status LoggedBroker::WaitForName(SessionId session, std::string_view name,
                                       absl::Time deadline) {
  return Timed(Operation::kWait,
               [&] { return inner_.WaitForName(session, name, deadline); });
}

absl::StatusOr<Budget> LoggedBroker::GetBudget(SessionId session) {
  return inner_.GetBudget(session);
}

absl::StatusOr<ReservationGrant> LoggedBroker::Reserve(
    SessionId session, const ReserveRequest& request) {
  absl::StatusOr<ReservationGrant> grant = inner_.Reserve(session, request);
  TellRefused(session, "reserve", grant.status(), request.size);
  if (grant.ok()) {
    Tell({.kind = EventKind::kRoomReserved,
          .session = session,
          .bytes = grant->reserved,
          .text = "for " + absl::FormatDuration(request.hold)});
    Log(LogLevel::kInfo, "room reserved",
        {{"session", Raw(session)},
         {"reservation", static_cast<uint64_t>(grant->reservation)},
         {"size_bytes", grant->reserved.count()},
         {"hold_ms", absl::ToInt64Milliseconds(request.hold)}});
  }
  return grant;
}

absl::Status LoggedBroker::ReleaseReservation(SessionId session,
                                              ReservationId reservation) {
  return inner_.ReleaseReservation(session, reservation);
}

Snapshot LoggedBroker::TakeSnapshot() { return inner_.TakeSnapshot(); }

absl::Status LoggedBroker::SetQuota(std::string_view tenant,
                                    const Quota& change, std::string_view by) {
  absl::Status status = inner_.SetQuota(tenant, change, by);
  const std::string text = TextOf(change);
  Log(LogLevel::kInfo, status.ok() ? "quota set" : "quota not set",
      {{"tenant", tenant},
       {"change", std::string_view(text)},
       {"why", MessageOf(status)},
       {"by", by}});
  return status;
}

absl::StatusOr<std::vector<std::string>> LoggedBroker::Reconfigure(
    const LiveSettings& settings, std::string_view by) {
  return inner_.Reconfigure(settings, by);  // Whoever asks logs the whole.
}

TickReport LoggedBroker::Tick() {
  TickReport report = inner_.Tick();
  for (const Eviction& eviction : report.evictions) NoteEviction(eviction);
  for (const AlertChange& change : report.alerts) NoteAlert(change);
  TellHeldBack();
  return report;
}

void LoggedBroker::NoteEviction(const Eviction& eviction) {
  Log(LogLevel::kWarn, "session evicted",
      {{"session", Raw(eviction.victim.id)},
       {"tenant", std::string_view(eviction.victim.tenant)},
       {"pid", eviction.victim.peer.pid},
       {"charged_bytes", eviction.victim.charged.count()},
       {"for_session", Raw(eviction.beneficiary)},
       {"killed", eviction.is_killed ? "yes" : "no"},
       {"why", std::string_view(eviction.why)}});
  Tell({.kind = EventKind::kSessionCondemned,
        .tenant = eviction.victim.tenant,
        .session = eviction.victim.id,
        .pid = eviction.victim.peer.pid,
        .bytes = eviction.victim.charged,
        .text = "evicted: " + eviction.why});
}

void LoggedBroker::NoteAlert(const AlertChange& change) {
  const bool is_raised = change.alert.is_raised;
  Log(is_raised ? LogLevel::kWarn : LogLevel::kInfo,
      is_raised ? "alert raised" : "alert ended",
      {{"tenant", std::string_view(change.tenant)},
       {"alert", AlertName(change.alert.kind)},
       {"value", change.alert.value},
       {"threshold", change.alert.threshold},
       {"why", std::string_view(change.text)}});
  Tell({.kind = is_raised ? EventKind::kAlertRaised : EventKind::kAlertEnded,
        .tenant = change.tenant,
        .alert = AlertName(change.alert.kind),
        .text = change.text});
}

LeakAnswer LoggedBroker::FindLeaks(const LeakQuery& query) {
  return inner_.FindLeaks(query);
}

LiveUse LoggedBroker::ReadLiveUse(SessionId session) {
  return inner_.ReadLiveUse(session);
}

absl::StatusOr<Bytes> LoggedBroker::GhostBytes() { return inner_.GhostBytes(); }

absl::StatusOr<DeviceReport> LoggedBroker::ReadDevice() {
  return inner_.ReadDevice();
}

absl::Status LoggedBroker::DeviceHealth() { return inner_.DeviceHealth(); }

const DeviceInfo& LoggedBroker::device_info() const {
  return inner_.device_info();
}

Epoch LoggedBroker::epoch() const { return inner_.epoch(); }

void LoggedBroker::BeginShutdown() {
  Log(LogLevel::kInfo, "no more grants: stopping");
  inner_.BeginShutdown();
}

}  // namespace vrampool
