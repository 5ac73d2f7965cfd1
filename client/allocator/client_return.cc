// Giving slabs back: by the maintenance thread, and when asked to.

#include <algorithm>
#include <new>
#include <optional>

#include "base/status_macros.h"
#include "client/allocator/client.h"

namespace vrampool::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Waiting takes this long at most, for what other threads are giving back.
constexpr milliseconds kTrimLimit(10000);
// The GPU is asked this often whether it has done with slabs that are otherwise
// idle. Only asking helps: waiting for one event would keep the thread from
// others, and from ending.
constexpr milliseconds kSettlePeriod(20);
// How long Trim() asks whether the GPU has just done with everything.
constexpr std::chrono::microseconds kSoon(300);

}  // namespace

bool Client::HasWork() {
  if (is_stop_wanted_ || is_reclaim_wanted_) return true;
  if (!ended_captures_.empty()) return true;
  if (slabs_.HasIdleSpent() || IsAheadWanted()) return true;
  // What is late even so waits for the timer.
  if (quarantine_.has_others() && IsQuarantineWanted()) return true;
  if (is_growing_ && current_->is_live() && slabs_.HasIdleLeased()) return true;
  return waiting_growths_ > 0 && current_->is_live() && slabs_.HasIdle();
}

void Client::WakeMaintenance() { maintenance_wanted_.NotifyOne(); }

void Client::NoteIdle() {
  const bool needs_timer =
      !is_timer_set_ && ((slabs_.HasIdle() && current_->is_live()) ||
                         IsAsking() || caches_.is_warm());
  // The timer may be one for what has an hour.
  const TimePoint settle_at = settled_at_ + kSettlePeriod;
  const bool is_late =
      is_timer_set_ && IsAsking() && timer_due_ > settle_at + kSettlePeriod;
  if (!needs_timer && !is_late && !HasWork()) return;
  is_timer_set_ = true;  // By the thread, when it wakes.
  if (is_late) timer_due_ = settle_at;
  WakeMaintenance();
}

// When something is to be done that time alone brings.
std::optional<Client::TimePoint> Client::NextDue() {
  std::optional<TimePoint> due;
  if (const auto oldest = slabs_.OldestIdle(); oldest && current_->is_live()) {
    due = *oldest + milliseconds(settings_.idle_ms);
  }
  if (slabs_.HasSettling() || reclaim_until_) {
    const TimePoint next = settled_at_ + kSettlePeriod;
    due = due ? std::min(*due, next) : next;
  }
  if (IsAsking() && quarantine_.has_late()) {
    const TimePoint next = emptied_at_ + kSettlePeriod;
    due = due ? std::min(*due, next) : next;
  }
  if (caches_.is_warm()) {
    const TimePoint next = scavenged_at_ + ScavengePeriod();
    due = due ? std::min(*due, next) : next;
  }
  return due;
}

// Sleeps until there is something to do at once, or an idle slab's time has
// come. The timer is not set anew for every slab that falls idle or is used
// again (that would be a wake-up for each allocation in the worst case): when
// it ends, it looks what is due.
bool Client::AwaitWork() {
  MutexLock lock(mu_);
  while (!HasWork()) {
    const auto due = NextDue();
    if (!due) {
      is_timer_set_ = false;
      maintenance_wanted_.Wait(lock);
    } else if (*due <= steady_clock::now()) {
      break;
    } else {
      is_timer_set_ = true;
      timer_due_ = *due;
      (void)maintenance_wanted_.WaitUntil(lock, *due);
    }
  }
  return !is_stop_wanted_;
}

void Client::Maintain() {
  while (AwaitWork()) {
    try {
      MaintainOnce();
    } catch (const std::bad_alloc&) {  // Memory may come back.
      std::this_thread::sleep_for(kSettlePeriod);
    }
  }
}

void Client::MaintainOnce() {
  Scavenge();
  OpenReclaim();
  (void)EmptyQuarantine(Leaving::kDue);  // All, if memory is wanted.
  (void)Settle();
  CoverIdle();
  SlabSet::Departures idle;
  std::vector<SessionPtr> forgotten;
  {
    MutexLock lock(mu_);
    LetGoOfEnded();
    const bool is_all = reclaim_until_.has_value() || waiting_growths_ > 0;
    if (is_all) (void)DrainCaches(ThreadCaches::Which::kAll);
    idle = TakeIdle(is_all        ? SlabSet::Which::kAll
                    : is_growing_ ? SlabSet::Which::kLeased
                                  : SlabSet::Which::kDue);
    EndReclaim();
    is_growing_ = false;
    forgotten = TakeForgottenSessions();
  }
  GiveBack(std::move(idle));
  LeaseAhead();
}

// Before the GPU is asked what it has done with, so that it is asked about what
// lay in caches, too.
void Client::OpenReclaim() {
  MutexLock lock(mu_);
  if (!is_reclaim_wanted_) return;
  is_reclaim_wanted_ = false;
  reclaim_until_ = steady_clock::now() + kTrimLimit;
  (void)DrainCaches(ThreadCaches::Which::kAll);
}

void Client::EndReclaim() {
  const bool is_all_back = !slabs_.HasSettling() && leaving_quarantine_ == 0 &&
                           !quarantine_.has_late();
  if (is_all_back ||
      (reclaim_until_ && steady_clock::now() > *reclaim_until_)) {
    reclaim_until_.reset();
  }
}

SlabSet::Departures Client::TakeIdle(SlabSet::Which which) {
  const TimePoint due = steady_clock::now() - milliseconds(settings_.idle_ms);
  SlabSet::Departures idle = slabs_.TakeIdle(which, due, *current_);
  caches_.NoteLeased(slabs_.totals().common_bytes());
  NoteLeaving(idle);
  return idle;
}

// Without memory for it nobody waits for these; they leave all the same.
void Client::NoteLeaving(const SlabSet::Departures& taken) {
  try {
    for (const Slab& slab : taken.slabs) {
      returns_.NoteLeaving({slab.session->serial(), slab.id});
    }
    for (const SlabSet::ParkedLease& parked : taken.parked) {
      returns_.NoteLeaving({parked.session->serial(), parked.slab});
    }
  } catch (const std::bad_alloc&) {
  }
}

// Sessions that ended and that nothing refers to any more.
std::vector<Client::SessionPtr> Client::TakeForgottenSessions() {
  std::vector<SessionPtr> forgotten;
  for (SessionPtr& session : sessions_) {
    if (session.use_count() == 1) forgotten.push_back(std::move(session));
  }
  std::erase(sessions_, nullptr);
  return forgotten;
}

void Client::GiveBack(SlabSet::Departures taken) {
  for (Slab& slab : taken.slabs) GiveBackOne(std::move(slab));
  for (const SlabSet::ParkedLease& parked : taken.parked) {
    (void)ReturnLease({.session = parked.session,
                       .slab = parked.slab,
                       .lease = parked.lease,
                       .as = ReturnedAs::kStillMapped});
    MutexLock lock(mu_);
    NoteGone({parked.session->serial(), parked.slab});
  }
  std::vector<Unreturned> again;
  {
    MutexLock lock(mu_);
    again = returns_.unreturned();
  }
  for (const Unreturned& one : again) (void)ReturnAgain(one.name());
}

void Client::GiveBackOne(Slab slab) {
  const SessionPtr session = slab.session;
  const SlabName name{session->serial(), slab.id};
  const bool is_unmapped = slab.mapping.Unmap();
  uint32_t kept = 0;
  if (session->is_live()) {
    if (slab.is_leased) {
      const bool is_returned =
          ReturnLease({.session = session,
                       .slab = slab.id,
                       .lease = slab.lease,
                       .as = is_unmapped ? ReturnedAs::kUnmapped
                                         : ReturnedAs::kStillMapped});
      // A call that opened an object there may have crossed this one.
      if (!is_returned && is_unmapped) kept = 1;
    } else if (is_unmapped) {
      const CallOutcome outcome =
          session->MakeRaw([&](ControlChannel& channel) {
            return channel.ReportUnmapped(session->epoch(), &slab.id, 1, kept);
          });
      // Not heard is as good as kept: a later open asks again.
      if (!outcome.ok()) kept = 1;
    }
  }
  MutexLock lock(mu_);
  if (kept > 0 && session == current_) returns_.Withdraw(name);
  NoteGone(name);
}

void Client::NoteGone(SlabName slab) {
  returns_.NoteGone(slab);
  changed_.NotifyAll();
}

// The daemon no longer takes the slab for mapped.
void Client::Reinstate(SlabName slab) {
  MutexLock lock(mu_);
  returns_.Reinstate(slab);
  changed_.NotifyAll();
}

bool Client::TryReturn(const Unreturned& one) {
  const ReturnCall call{
      .epoch = one.session->epoch(), .lease = one.lease, .as = one.as};
  const CallOutcome outcome = one.session->MakeRaw(
      [&](ControlChannel& channel) { return channel.Return(call); });
  return outcome.ok() || outcome.code == CallCode::kNotFound ||
         !one.session->is_live();
}

bool Client::ReturnLease(const Unreturned& one) {
  if (TryReturn(one)) return true;
  // An object there was opened meanwhile, or the reply was lost: asked again
  // with the next slab that is given back, and by who opened it.
  MutexLock lock(mu_);
  if (one.session == current_) returns_.NoteUnreturned(one);
  return false;
}

bool Client::ReturnAgain(SlabName slab) {
  std::optional<Unreturned> found;
  {
    MutexLock lock(mu_);
    found = returns_.FindUnreturned(slab);
  }
  // Several threads may: the last of those that had it open is heard.
  if (!found || !TryReturn(*found)) return false;
  {
    MutexLock lock(mu_);
    returns_.DropUnreturned(slab);
  }
  Reinstate(slab);
  return true;
}

// A GPU that is idle takes some microseconds to pass an event.
void Client::SettleSoon() {
  const TimePoint deadline = steady_clock::now() + kSoon;
  do {
    (void)EmptyQuarantine(Leaving::kDone);
    (void)Settle();
    MutexLock lock(mu_);
    if (!IsAsking()) return;
  } while (steady_clock::now() < deadline);
}

// What the GPU is not done with could not be given back: it need not leave the
// quarantine.
Status Client::Trim() {
  {
    MutexLock lock(mu_);
    LetGoOfEnded();
    (void)DrainCaches(ThreadCaches::Which::kAll);
  }
  if (RecordAll()) {
    SettleSoon();
  } else {
    (void)EmptyQuarantine(Leaving::kDone);
    (void)Settle();
  }
  SlabSet::Departures idle;
  {
    MutexLock lock(mu_);
    idle = TakeIdle(SlabSet::Which::kAll);
    EndReclaim();
  }
  GiveBack(std::move(idle));
  MutexLock lock(mu_);
  return AwaitLeft(lock);
}

Status Client::Quiesce() {
  // So that all that is in quarantine can be looked at. If it fails, it does so
  // again below.
  if (debug_ != nullptr) (void)AwaitGpu();
  (void)EmptyQuarantine(Leaving::kIdle);
  {
    MutexLock lock(mu_);
    (void)DrainCaches(ThreadCaches::Which::kAll);
  }
  VRAMPOOL_RETURN_IF_ERROR(AwaitGpu());
  // What looks had to be given up of: the copies have come by now.
  (void)EmptyQuarantine(Leaving::kIdle);
  return GiveBackUnused();
}

Status Client::GiveBackUnused() {
  (void)Settle();
  SlabSet::Departures unused;
  {
    MutexLock lock(mu_);
    // A slab that another thread is parking must be parked for the daemon, too,
    // before the daemon hears that it was unmapped: the other way round it
    // would take the slab for mapped until this process ends.
    VRAMPOOL_RETURN_IF_ERROR(AwaitLeft(lock));
    unused = slabs_.TakeUnused();
    NoteLeaving(unused);
    EndReclaim();
  }
  GiveBack(std::move(unused));
  MutexLock lock(mu_);
  return AwaitLeft(lock);
}

uint64_t Client::CountGone() {
  MutexLock lock(mu_);
  return returns_.gone();
}

// Whether slabs were on their way back when CountGone() said so, or have been
// since. Waits for those that are now, and not for what other threads go on
// giving back.
bool Client::AwaitLeaving(uint64_t gone_before) {
  const TimePoint deadline = steady_clock::now() + kTrimLimit;
  MutexLock lock(mu_);
  const std::multiset<SlabName> leaving = returns_.leaving();
  const bool was_leaving = !leaving.empty() || returns_.gone() != gone_before;
  for (const SlabName& name : leaving) {
    while (returns_.IsLeaving(name)) {
      if (!changed_.WaitUntil(lock, deadline)) return was_leaving;
    }
  }
  return was_leaving;
}

// Waits for what other threads are giving back.
Status Client::AwaitLeft(MutexLock& lock) {
  const TimePoint deadline = steady_clock::now() + kTrimLimit;
  while (!returns_.leaving().empty()) {
    if (!changed_.WaitUntil(lock, deadline)) {
      return {VRAMPOOL_TIMEOUT,
              "the daemon has not answered to slabs given back by another "
              "thread; see whether it is alive (vrampool doctor)"};
    }
  }
  return {};
}

}  // namespace vrampool::client
