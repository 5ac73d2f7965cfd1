#include "client/cli/snapshot_diff.h"

#include <algorithm>
#include <map>
#include <string>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "client/cli/call_sites.h"

namespace vrampool::cli {
namespace {

using report::Change;

// What a change is about; one entry in each snapshot at most.
using Key = std::tuple<Change::Kind, std::string, uint64_t, uint64_t,
                       std::string, std::string, std::string>;

enum class Side { kBefore, kAfter };

class Comparison {
 public:
  void Read(const v1::FullSnapshot& snapshot, Side side);
  void Fill(Bytes least, report::SnapshotDiff* diff) const;

 private:
  // Adds to the change about what `subject` names.
  void Add(const Change& subject, uint64_t epoch, Side side, uint64_t bytes,
           uint64_t blocks);
  void ReadBlocks(const v1::LeakReport& report, uint64_t epoch, Side side);

  std::map<Key, Change> changes_;
};

uint64_t Sum(uint64_t a, uint64_t b) {
  return SaturatingAdd(Bytes(a), Bytes(b)).count();
}

void Comparison::Add(const Change& subject, uint64_t epoch, Side side,
                     uint64_t bytes, uint64_t blocks) {
  const bool is_of_session = subject.session_id() != 0;
  const Key key(subject.kind(), subject.tenant(), is_of_session ? epoch : 0,
                subject.session_id(), subject.tag(), subject.call_site(),
                is_of_session ? "" : subject.name());
  Change& change = changes_.try_emplace(key, subject).first->second;
  if (side == Side::kBefore) {
    change.set_bytes_before(Sum(change.bytes_before(), bytes));
    change.set_blocks_before(Sum(change.blocks_before(), blocks));
  } else {
    change.set_bytes_after(Sum(change.bytes_after(), bytes));
    change.set_blocks_after(Sum(change.blocks_after(), blocks));
  }
}

void Comparison::ReadBlocks(const v1::LeakReport& report, uint64_t epoch,
                            Side side) {
  Change subject;
  subject.set_tenant(report.session().tenant());
  const Sites sites(report.modules());
  const auto add = [&](const v1::BlockGroup& group) {
    subject.set_tag(group.tag());
    subject.set_kind(Change::KIND_TAG);
    subject.clear_session_id();
    subject.clear_pid();
    subject.clear_name();
    subject.clear_call_site();
    Add(subject, epoch, side, group.bytes(), group.blocks());
    subject.set_kind(Change::KIND_CALL_SITE);
    subject.set_session_id(report.session().session_id());
    subject.set_pid(report.session().process().pid());
    subject.set_name(report.session().name());
    subject.set_call_site(sites.Text(group.call_site()));
    if (group.call_site() != 0) {
      Add(subject, epoch, side, group.bytes(), group.blocks());
    }
  };
  for (const v1::BlockGroup& group : report.groups()) add(group);
}

void Comparison::Read(const v1::FullSnapshot& snapshot, Side side) {
  const uint64_t epoch = snapshot.status().epoch();
  for (const v1::TenantInfo& tenant : snapshot.tenants()) {
    Change subject;
    subject.set_kind(Change::KIND_TENANT);
    subject.set_tenant(tenant.tenant());
    Add(subject, epoch, side, tenant.used_bytes(), 0);
  }
  for (const v1::SessionInfo& session : snapshot.sessions()) {
    Change subject;
    subject.set_kind(Change::KIND_SESSION);
    subject.set_tenant(session.tenant());
    subject.set_session_id(session.session_id());
    subject.set_pid(session.process().pid());
    subject.set_name(session.name());
    Add(subject, epoch, side, session.live_bytes(), session.live_blocks());
  }
  for (const v1::LeakReport& report : snapshot.leaks().reports()) {
    if (report.session_live()) ReadBlocks(report, epoch, side);
  }
  for (const v1::ObjectInfo& object : snapshot.objects()) {
    if (object.name().empty()) continue;
    Change subject;
    subject.set_kind(Change::KIND_OBJECT);
    subject.set_tenant(object.tenant());
    subject.set_name(object.name());
    Add(subject, epoch, side, object.size_bytes(), 0);
  }
}

// Zero is nothing: who has none was not there.
const char* VerdictOf(const Change& change) {
  if (change.bytes_before() == 0) return "new";
  if (change.bytes_after() == 0) return "gone";
  return change.bytes_after() > change.bytes_before() ? "grew" : "shrank";
}

uint64_t Distance(uint64_t a, uint64_t b) { return a > b ? a - b : b - a; }

// Growth first, the largest first; then what shrank, the least first.
bool GrewMore(const Change& a, const Change& b) {
  if (a.kind() != b.kind()) return a.kind() < b.kind();
  const auto grew = [](const Change& change) {
    return change.bytes_after() > change.bytes_before();
  };
  if (grew(a) != grew(b)) return grew(a);
  const uint64_t by_a = Distance(a.bytes_before(), a.bytes_after());
  const uint64_t by_b = Distance(b.bytes_before(), b.bytes_after());
  return grew(a) ? by_a > by_b : by_a < by_b;
}

void Comparison::Fill(Bytes least, report::SnapshotDiff* diff) const {
  for (const auto& [key, change] : changes_) {
    const uint64_t distance =
        Distance(change.bytes_before(), change.bytes_after());
    if (distance == 0 || distance < least.count()) continue;
    Change* const shown = diff->add_changes();
    *shown = change;
    shown->set_verdict(VerdictOf(change));
  }
  std::stable_sort(diff->mutable_changes()->begin(),
                   diff->mutable_changes()->end(), GrewMore);
}

}  // namespace

report::SnapshotDiff Compare(const v1::FullSnapshot& before,
                             const v1::FullSnapshot& after, Bytes least) {
  report::SnapshotDiff diff;
  diff.set_before_unix_ns(before.taken_unix_ns());
  diff.set_after_unix_ns(after.taken_unix_ns());
  diff.set_same_daemon(before.status().epoch() == after.status().epoch());
  Comparison comparison;
  comparison.Read(before, Side::kBefore);
  comparison.Read(after, Side::kAfter);
  comparison.Fill(least, &diff);
  for (const std::string& text : before.missing()) {
    diff.add_missing(absl::StrCat("before: ", text));
  }
  for (const std::string& text : after.missing()) {
    diff.add_missing(absl::StrCat("after: ", text));
  }
  return diff;
}

bool HasGrowth(const report::SnapshotDiff& diff) {
  return std::any_of(diff.changes().begin(), diff.changes().end(),
                     [](const Change& change) {
                       return change.bytes_after() > change.bytes_before();
                     });
}

}  // namespace vrampool::cli
