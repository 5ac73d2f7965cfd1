// Sessions as the attach door reports them, and what they leave: see broker.h.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "daemon/broker/broker_impl.h"
#include "daemon/broker/leak_report.h"

namespace vrampool {
namespace {

constexpr size_t kBlocksOfAnObituary = 1000;  // The most that are asked for.
constexpr size_t kStacksOfAnObituary = 50;
// Of one answer, whatever the query says and however many sessions there are:
// each of them some 13 MiB.
constexpr size_t kBlocksOfAnAnswer = 100000;
constexpr size_t kGroupsOfAnAnswer = 100000;
constexpr size_t kStacksOfAnAnswer = 2000;

// Of each report, if there are so many of ended sessions, or of live ones: half
// of an answer's is for either, so that nobody's stacks hide those of others.
size_t ShareOfStacks(size_t reports) {
  return std::max<size_t>(kStacksOfAnAnswer / 2 / reports, 1);
}

}  // namespace

absl::StatusOr<Admission> BrokerImpl::Attach(
    const PeerIdentity& peer, const Labels& labels, std::string_view tenant,
    std::shared_ptr<SessionLink> link) {
  Admission admission;
  {
    MutexLock lock(mu_);
    VRAMPOOL_ASSIGN_OR_RETURN(
        admission.session, arbiter_.Attach(peer, labels, tenant, clock_.Now()));
  }
  // Until its Welcome is sent the session can do nothing, so what it needs can
  // be made without the lock.
  const auto prepare = [&]() -> absl::Status {
    VRAMPOOL_ASSIGN_OR_RETURN(
        std::unique_ptr<Manifest> manifest,
        Manifest::Create(admission.session, epoch_, bounds_.manifest_blocks));
    VRAMPOOL_ASSIGN_OR_RETURN(admission.manifest, manifest->Duplicate());
    VRAMPOOL_ASSIGN_OR_RETURN(admission.table, table_->Duplicate());
    admission.manifest_bytes = manifest->bytes();
    admission.table_bytes = table_->bytes();
    admission.epoch = epoch_;
    admission.tenant = std::string(tenant);
    VRAMPOOL_ASSIGN_OR_RETURN(std::shared_ptr<const SharedMemory> contents,
                              AddContents(admission));
    MutexLock lock(mu_);
    companions_[admission.session] = {.link = std::move(link),
                                      .manifest = std::move(manifest),
                                      .contents = std::move(contents),
                                      .tenant = admission.tenant,
                                      .end_cause = "",
                                      .is_process_gone = false};
    return absl::OkStatus();
  };
  const absl::Status prepared = prepare();
  if (prepared.ok()) return admission;
  SocketClosed(admission.session);
  ProcessGone(admission.session);
  return prepared;
}

absl::StatusOr<std::shared_ptr<const SharedMemory>> BrokerImpl::AddContents(
    Admission& admission) {
  const auto is_of_gpu = [](HandleKind kind) {
    return kind == HandleKind::kCudaIpc || kind == HandleKind::kVmmFd;
  };
  if (std::none_of(info_.kinds.begin(), info_.kinds.end(), is_of_gpu)) {
    return nullptr;
  }
  VRAMPOOL_ASSIGN_OR_RETURN(std::shared_ptr<const SharedMemory> contents,
                            contents_.Of(admission.tenant));
  VRAMPOOL_ASSIGN_OR_RETURN(admission.contents, contents->Duplicate());
  admission.contents_bytes = contents_.bytes();
  return contents;
}

void BrokerImpl::Condemn(SessionId session, std::string_view why) {
  Effects effects;
  std::shared_ptr<SessionLink> link;
  {
    MutexLock lock(mu_);
    const auto found = companions_.find(session);
    if (found == companions_.end()) return;
    if (!found->second.end_cause.empty()) return;
    found->second.end_cause =
        absl::StrCat("condemned: ", absl::string_view(why.data(), why.size()));
    link = found->second.link;
    arbiter_.Condemn(session, clock_.Now(), effects);
    effects.objects_changed = true;
    effects.room_changed = true;
    Absorb(effects);
  }
  Dispatch(std::move(effects));
  link->SendFarewell(/*is_condemned=*/true, why);
}

TickReport BrokerImpl::Tick() {
  Effects effects;
  std::vector<Eviction> evictions;
  std::vector<std::shared_ptr<SessionLink>> links;
  absl::Time next;
  {
    MutexLock lock(mu_);
    const absl::Time now = clock_.Now();
    arbiter_.Tick(now, effects);
    next = arbiter_.NextTick(now);
    for (const Effects::Evict& evict : effects.evict) {
      const auto found = companions_.find(evict.victim);
      if (found == companions_.end()) continue;  // Its socket closed meanwhile.
      found->second.end_cause = absl::StrCat("evicted: ", evict.why);
      links.push_back(found->second.link);
      evictions.push_back({.victim = arbiter_.ViewOf(evict.victim),
                           .beneficiary = evict.beneficiary,
                           .why = evict.why});
    }
    Absorb(effects);
  }
  Dispatch(std::move(effects));
  for (size_t i = 0; i < links.size(); ++i) {
    links[i]->SendFarewell(/*is_condemned=*/true,
                           "evicted: " + evictions[i].why);
    evictions[i].is_killed = links[i]->Kill();
  }
  return {.evictions = std::move(evictions),
          .alerts = LookForAlerts(),
          .next = next};
}

bool BrokerImpl::SocketClosed(SessionId session) {
  bool is_accounted = false;
  Effects effects;
  SessionView view;
  Companion companion;
  {
    MutexLock lock(mu_);
    view = arbiter_.ViewOf(session);
    if (const auto found = companions_.find(session);
        found != companions_.end()) {
      companion = std::move(found->second);
      companions_.erase(found);
    }
    growth_book_.Forget(session);
    is_accounted = arbiter_.SocketClosed(session, clock_.Now(), effects);
    effects.objects_changed = true;
    effects.room_changed = true;
    Absorb(effects);
  }
  Dispatch(std::move(effects));
  if (companion.manifest == nullptr) return is_accounted;
  reports_.Post([this, view = std::move(view),
                 manifest = std::move(companion.manifest),
                 cause = std::move(companion.end_cause)]() mutable {
    WriteObituary(std::move(view), std::move(manifest), std::move(cause));
  });
  return is_accounted;
}

void BrokerImpl::ProcessGone(SessionId session) {
  Effects effects;
  {
    MutexLock lock(mu_);
    arbiter_.ProcessGone(session, clock_.Now(), effects);
    Absorb(effects);
  }
  Dispatch(std::move(effects));
}

void BrokerImpl::HoldReleased(SessionId session, ObjectId object) {
  Effects effects;
  {
    MutexLock lock(mu_);
    arbiter_.HoldReleased(session, object, clock_.Now(), effects);
    Absorb(effects);
  }
  Dispatch(std::move(effects));
}

void BrokerImpl::WriteObituary(SessionView session,
                               std::shared_ptr<Manifest> manifest,
                               std::string cause) {
  LeakReport report = MakeLeakReport(session, *manifest, absl::InfiniteFuture(),
                                     {.blocks = kBlocksOfAnObituary,
                                      .groups = kGroupsOfAReport,
                                      .stacks = kStacksOfAnObituary});
  // A lease without blocks is what a client keeps in reserve: one that says
  // goodbye may leave it to the end of its session.
  const bool is_closed = manifest->IsClosedInOrder();
  const bool left_nothing = report.blocks_total == 0 &&
                            (is_closed || report.leased.is_zero()) &&
                            report.manifest_fault.empty();
  if (!cause.empty()) {
    report.end_cause = std::move(cause);
  } else if (left_nothing) {
    return;  // A clean end is no leak.
  } else {
    report.end_cause = is_closed ? "closed" : "died";
  }
  report.session.state = SessionState::kEnded;
  MutexLock lock(mu_);
  report.ended_at = clock_.Now();
  leak_book_.Add(std::move(report));
}

LeakAnswer BrokerImpl::FindLeaks(const LeakQuery& query) {
  LeakAnswer answer;
  struct Live {
    SessionView view;
    std::shared_ptr<Manifest> manifest;
    std::vector<TagGrowth> growth;
  };
  std::vector<Live> live;
  const absl::Time now = clock_.Now();
  ReportRoom left{.blocks = kBlocksOfAnAnswer,
                  .groups = kGroupsOfAnAnswer,
                  .stacks = kStacksOfAnAnswer};
  const auto for_one = [&](size_t stacks) {
    return ReportRoom{.blocks = std::min(query.max_blocks, left.blocks),
                      .groups = left.groups,
                      .stacks = std::min(stacks, left.stacks)};
  };
  const auto take = [&](LeakReport report) {
    left.Take(report);
    answer.reports.push_back(std::move(report));
  };
  {
    MutexLock lock(mu_);
    leak_book_.Expire(now);
    answer.forgotten = leak_book_.forgotten();
    for (const LeakReport& report : leak_book_.reports()) {
      take(Shortened(report,
                     for_one(ShareOfStacks(leak_book_.reports().size()))));
    }
    for (const auto& [id, companion] : companions_) {
      live.push_back(
          {arbiter_.ViewOf(id), companion.manifest, growth_book_.Of(id)});
    }
  }
  std::sort(live.begin(), live.end(),
            [](const Live& a, const Live& b) { return a.view.id < b.view.id; });
  for (auto& [view, manifest, growth] : live) {
    LeakReport report = MakeLeakReport(view, *manifest, now - query.min_age,
                                       for_one(ShareOfStacks(live.size())));
    if (report.blocks_total == 0 && report.manifest_fault.empty()) continue;
    report.is_live = true;
    report.ended_at = absl::InfiniteFuture();
    report.growth = std::move(growth);
    take(std::move(report));
  }
  return answer;
}

LiveUse BrokerImpl::ReadLiveUse(SessionId session) {
  const std::shared_ptr<Manifest> manifest = ManifestOf(session);
  return manifest == nullptr ? LiveUse() : manifest->ReadLiveUse();
}

}  // namespace vrampool
