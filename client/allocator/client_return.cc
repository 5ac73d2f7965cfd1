// Giving slabs back: by the maintenance thread, and when asked to.

#include <algorithm>

#include "client/allocator/client.h"

namespace vrampool::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Trim() waits this long for what other threads are giving back.
constexpr milliseconds kTrimLimit(10000);

}  // namespace

bool Client::HasWork() {
  if (is_stop_wanted_ || is_reclaim_wanted_) return true;
  if (slabs_.HasSurplus(*current_)) return true;
  return waiting_growths_ > 0 && current_->is_live() && slabs_.HasIdle();
}

void Client::WakeMaintenance() { maintenance_wanted_.NotifyOne(); }

void Client::NoteIdle() {
  const bool needs_timer =
      !is_timer_set_ && slabs_.HasIdle() && current_->is_live();
  if (!needs_timer && !HasWork()) return;
  is_timer_set_ = true;  // By the thread, when it wakes.
  WakeMaintenance();
}

// Sleeps until there is something to do at once, or an idle slab's time has
// come. The timer is not set anew for every slab that falls idle or is used
// again (that would be a wake-up for each allocation in the worst case): when
// it ends, it looks what is due.
void Client::Maintain() {
  const milliseconds grace(settings_.idle_ms);
  while (true) {
    std::vector<Slab> idle;
    std::vector<SessionPtr> forgotten;
    {
      MutexLock lock(mu_);
      while (!HasWork()) {
        const auto oldest = slabs_.OldestIdle();
        if (!oldest || !current_->is_live()) {
          is_timer_set_ = false;
          maintenance_wanted_.Wait(lock);
        } else if (*oldest + grace <= steady_clock::now()) {
          break;
        } else {
          is_timer_set_ = true;
          (void)maintenance_wanted_.WaitUntil(lock, *oldest + grace);
        }
      }
      if (is_stop_wanted_) return;
      const bool is_all = is_reclaim_wanted_ || waiting_growths_ > 0;
      is_reclaim_wanted_ = false;
      idle = TakeIdle(is_all ? SlabSet::Which::kAll : SlabSet::Which::kSurplus);
      forgotten = TakeForgottenSessions();
    }
    GiveBack(std::move(idle));
  }
}

std::vector<Slab> Client::TakeIdle(SlabSet::Which which) {
  const TimePoint due = steady_clock::now() - milliseconds(settings_.idle_ms);
  std::vector<Slab> idle = slabs_.TakeIdle(which, due, *current_);
  for (const Slab& slab : idle) {
    leaving_.insert({slab.session->serial(), slab.id});
  }
  return idle;
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

void Client::GiveBack(std::vector<Slab> slabs) {
  for (Slab& slab : slabs) GiveBackOne(std::move(slab));
  std::vector<std::pair<SessionPtr, LeaseId>> again;
  {
    MutexLock lock(mu_);
    again.swap(unreturned_);
  }
  for (const auto& [session, lease] : again) ReturnLease(*session, lease);
}

void Client::GiveBackOne(Slab slab) {
  const SessionPtr session = slab.session;
  const SlabName name{session->serial(), slab.id};
  slab.mapping = SlabMapping();  // Unmapped from here on.
  uint32_t kept = 0;
  if (session->is_live()) {
    if (slab.is_leased) {
      ReturnLease(*session, slab.lease);
    } else {
      const CallOutcome outcome =
          session->MakeRaw([&](ControlChannel& channel) {
            return channel.ReportUnmapped(session->epoch(), &slab.id, 1, kept);
          });
      // Not heard is as good as kept: a later open asks again.
      if (!outcome.ok()) kept = 1;
    }
  }
  MutexLock lock(mu_);
  leaving_.erase(leaving_.find(name));
  if (kept > 0 && session == current_) withdrawn_.insert(name);
  changed_.NotifyAll();
}

// The daemon no longer takes the slab for mapped.
void Client::Reinstate(SlabName slab) {
  MutexLock lock(mu_);
  withdrawn_.erase(slab);
  changed_.NotifyAll();
}

void Client::ReturnLease(Session& session, LeaseId lease) {
  const ReturnCall call{
      .epoch = session.epoch(), .lease = lease, .as = ReturnedAs::kUnmapped};
  const CallOutcome outcome = session.MakeRaw(
      [&](ControlChannel& channel) { return channel.Return(call); });
  if (outcome.ok() || outcome.code == CallCode::kNotFound ||
      !session.is_live()) {
    return;
  }
  // Objects may still live in it, or the reply was lost: asked again with the
  // next slab that is given back.
  MutexLock lock(mu_);
  const auto owner = std::find_if(
      sessions_.begin(), sessions_.end(),
      [&](const SessionPtr& one) { return one.get() == &session; });
  if (owner != sessions_.end()) unreturned_.emplace_back(*owner, lease);
}

Status Client::Trim() {
  std::vector<Slab> idle;
  {
    MutexLock lock(mu_);
    idle = TakeIdle(SlabSet::Which::kAll);
  }
  GiveBack(std::move(idle));
  const TimePoint deadline = steady_clock::now() + kTrimLimit;
  MutexLock lock(mu_);
  while (!leaving_.empty()) {
    if (!changed_.WaitUntil(lock, deadline)) {
      return {VRAMPOOL_TIMEOUT,
              "the daemon has not answered to slabs given back by another "
              "thread; see whether it is alive (vrampool doctor)"};
    }
  }
  return {};
}

}  // namespace vrampool::client
