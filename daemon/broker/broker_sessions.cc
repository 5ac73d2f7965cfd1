// Sessions as the attach door reports them, and what they leave: see broker.h.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "daemon/broker/broker_impl.h"

namespace vrampool {
namespace {

constexpr size_t kGroupsOfAReport = 1000;
constexpr size_t kModulesOfAReport = 128;
// Of one answer, whatever the query says and however many sessions there are:
// each of them some 13 MiB.
constexpr size_t kBlocksOfAnAnswer = 100000;
constexpr size_t kGroupsOfAnAnswer = 100000;

// Of `modules`, those that call sites of the report lie in, those of the
// largest groups first; of several that have been at one address, the last.
std::vector<ModuleView> UsedModules(const LeakReport& report,
                                    std::vector<ModuleView> modules) {
  std::vector<bool> is_used(modules.size(), false);
  size_t count = 0;
  const auto use = [&](uint64_t address) {
    if (address == 0 || count == kModulesOfAReport) return;
    for (size_t i = modules.size(); i-- > 0;) {
      if (address < modules[i].begin || address >= modules[i].end) continue;
      if (!is_used[i]) ++count;
      is_used[i] = true;
      return;
    }
  };
  for (const BlockGroup& group : report.groups) use(group.call_site);
  for (const BlockRecordView& block : report.blocks) use(block.call_site);
  std::vector<ModuleView> used;
  for (size_t i = 0; i < modules.size(); ++i) {
    if (is_used[i]) used.push_back(std::move(modules[i]));
  }
  return used;
}

// The report with at most so many blocks and groups. In the book it has more.
LeakReport Shortened(const LeakReport& whole, size_t blocks, size_t groups) {
  LeakReport report;
  report.session = whole.session;
  report.ended_at = whole.ended_at;
  report.end_cause = whole.end_cause;
  report.blocks_total = whole.blocks_total;
  report.bytes_total = whole.bytes_total;
  report.leased = whole.leased;
  report.manifest_fault = whole.manifest_fault;
  report.modules = whole.modules;
  report.ungrouped = whole.ungrouped;
  blocks = std::min(blocks, whole.blocks.size());
  report.blocks.assign(whole.blocks.begin(),
                       whole.blocks.begin() + static_cast<ptrdiff_t>(blocks));
  groups = std::min(groups, whole.groups.size());
  report.groups.assign(whole.groups.begin(),
                       whole.groups.begin() + static_cast<ptrdiff_t>(groups));
  for (size_t i = groups; i < whole.groups.size(); ++i) {
    AddTo(report.ungrouped, whole.groups[i]);
  }
  return report;
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
    MutexLock lock(mu_);
    companions_[admission.session] = {.link = std::move(link),
                                      .manifest = std::move(manifest),
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

LeakReport BrokerImpl::MakeReport(const SessionView& session,
                                  const Manifest& manifest,
                                  absl::Time allocated_before,
                                  size_t max_blocks, size_t max_groups) const {
  LeakReport report;
  report.session = session;
  report.leased = session.charged;
  const int64_t before_ns = absl::ToUnixNanos(allocated_before);
  const auto is_larger = [](const BlockRecordView& a,
                            const BlockRecordView& b) {
    return a.size > b.size;
  };
  // A heap of the largest blocks so far, the smallest of them on top.
  std::vector<BlockRecordView>& largest = report.blocks;
  BlockGroups groups(std::min(max_groups, kGroupsOfAReport));
  const auto keep = [&](const BlockRecordView& block) {
    if (largest.size() == max_blocks) {
      if (max_blocks == 0 || block.size <= largest.front().size) return;
      std::pop_heap(largest.begin(), largest.end(), is_larger);
      largest.back() = block;
    } else {
      largest.push_back(block);
    }
    std::push_heap(largest.begin(), largest.end(), is_larger);
  };
  const absl::Status read =
      manifest.ForEachBlock([&](const BlockRecordView& block) {
        if (block.allocated_unix_ns > before_ns) return;
        ++report.blocks_total;
        report.bytes_total =
            SaturatingAdd(report.bytes_total, Bytes(block.size));
        groups.Add(block);
        keep(block);
      });
  std::sort_heap(largest.begin(), largest.end(), is_larger);
  report.groups = groups.Sorted();
  report.ungrouped = groups.rest();
  report.modules = UsedModules(report, manifest.ReadModules());
  if (!read.ok()) report.manifest_fault = std::string(read.message());
  return report;
}

void BrokerImpl::WriteObituary(SessionView session,
                               std::shared_ptr<Manifest> manifest,
                               std::string cause) {
  constexpr size_t kBlocksKept = 1000;  // The most that a query may ask for.
  LeakReport report = MakeReport(session, *manifest, absl::InfiniteFuture(),
                                 kBlocksKept, kGroupsOfAReport);
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
  size_t blocks_left = kBlocksOfAnAnswer;
  size_t groups_left = kGroupsOfAnAnswer;
  const auto take = [&](LeakReport report) {
    blocks_left -= report.blocks.size();
    groups_left -= report.groups.size();
    answer.reports.push_back(std::move(report));
  };
  {
    MutexLock lock(mu_);
    leak_book_.Expire(now);
    answer.forgotten = leak_book_.forgotten();
    for (const LeakReport& report : leak_book_.reports()) {
      take(Shortened(report, std::min(query.max_blocks, blocks_left),
                     groups_left));
    }
    for (const auto& [id, companion] : companions_) {
      live.push_back(
          {arbiter_.ViewOf(id), companion.manifest, growth_book_.Of(id)});
    }
  }
  std::sort(live.begin(), live.end(),
            [](const Live& a, const Live& b) { return a.view.id < b.view.id; });
  for (auto& [view, manifest, growth] : live) {
    LeakReport report =
        MakeReport(view, *manifest, now - query.min_age,
                   std::min(query.max_blocks, blocks_left), groups_left);
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
