#include "client/cli/snapshot_diff.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vrampool::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Verbs that write a snapshot.
struct Snap {
  v1::FullSnapshot message;

  explicit Snap(uint64_t epoch) { message.mutable_status()->set_epoch(epoch); }
  Snap& Tenant(const std::string& path, uint64_t used) {
    v1::TenantInfo* const tenant = message.add_tenants();
    tenant->set_tenant(path);
    tenant->set_used_bytes(used);
    return *this;
  }
  Snap& Session(uint64_t id, uint64_t bytes) {
    v1::SessionInfo* const session = message.add_sessions();
    session->set_session_id(id);
    session->set_tenant("root/a");
    session->set_live_bytes(bytes);
    session->set_live_blocks(bytes / 10);
    v1::LeakReport* const report = message.mutable_leaks()->add_reports();
    *report->mutable_session() = *session;
    report->set_session_live(true);
    return *this;
  }
  // Of the session added last.
  Snap& Group(const std::string& tag, uint64_t call_site, uint64_t bytes,
              uint64_t blocks) {
    v1::LeakReport* const report =
        message.mutable_leaks()->mutable_reports()->rbegin().operator->();
    v1::BlockGroup* const group = report->add_groups();
    group->set_tag(tag);
    group->set_call_site(call_site);
    group->set_bytes(bytes);
    group->set_blocks(blocks);
    return *this;
  }
  Snap& Object(const std::string& name, uint64_t bytes) {
    v1::ObjectInfo* const object = message.add_objects();
    object->set_name(name);
    object->set_tenant("root/a");
    object->set_size_bytes(bytes);
    return *this;
  }
};

// "verdict bytes_before->bytes_after", of one kind.
std::vector<std::string> Of(report::Change::Kind kind,
                            const report::SnapshotDiff& diff) {
  std::vector<std::string> texts;
  for (const report::Change& change : diff.changes()) {
    if (change.kind() != kind) continue;
    texts.push_back(change.verdict() + " " + change.tag() + change.name() +
                    change.tenant().substr(4) + " " +
                    std::to_string(change.bytes_before()) + "->" +
                    std::to_string(change.bytes_after()));
  }
  return texts;
}

TEST(SnapshotDiffTest, TheSameIsNoChange) {
  Snap snap(1);
  snap.Tenant("root/a", 5).Session(1, 50).Group("t", 7, 50, 5).Object("o", 9);
  const report::SnapshotDiff diff =
      Compare(snap.message, snap.message, Bytes(1));
  EXPECT_THAT(diff.changes(), IsEmpty());
  EXPECT_TRUE(diff.same_daemon());
  EXPECT_FALSE(HasGrowth(diff));
}

TEST(SnapshotDiffTest, NewGrewShrankAndGoneTheLargestGrowthFirst) {
  Snap before(1);
  before.Tenant("root/a", 100).Tenant("root/b", 50).Tenant("root/c", 7);
  Snap after(1);
  after.Tenant("root/a", 110).Tenant("root/b", 20).Tenant("root/d", 200);
  EXPECT_THAT(Of(report::Change::KIND_TENANT,
                 Compare(before.message, after.message, Bytes(1))),
              ElementsAre("new /d 0->200", "grew /a 100->110", "gone /c 7->0",
                          "shrank /b 50->20"));
}

TEST(SnapshotDiffTest, TagsAddUpOverSessionsAndCallSitesDoNot) {
  Snap before(1);
  before.Session(1, 10).Group("t", 7, 10, 1);
  before.Session(2, 10).Group("t", 8, 10, 1);
  Snap after(1);
  after.Session(1, 30).Group("t", 7, 30, 3);
  after.Session(2, 20).Group("t", 8, 20, 2).Group("u", 0, 5, 1);
  const report::SnapshotDiff diff =
      Compare(before.message, after.message, Bytes(1));
  EXPECT_THAT(Of(report::Change::KIND_TAG, diff),
              ElementsAre("grew t/a 20->50", "new u/a 0->5"));
  EXPECT_THAT(Of(report::Change::KIND_CALL_SITE, diff),
              ElementsAre("grew t/a 10->30", "grew t/a 10->20"));
  EXPECT_TRUE(HasGrowth(diff));
}

TEST(SnapshotDiffTest, SmallChangesAreLeftOut) {
  Snap before(1);
  before.Tenant("root/a", 100).Tenant("root/b", 100);
  Snap after(1);
  after.Tenant("root/a", 109).Tenant("root/b", 90);
  const report::SnapshotDiff diff =
      Compare(before.message, after.message, Bytes(10));
  EXPECT_THAT(Of(report::Change::KIND_TENANT, diff),
              ElementsAre("shrank /b 100->90"));
  EXPECT_FALSE(HasGrowth(diff));
}

TEST(SnapshotDiffTest, AfterARestartSessionsAreOthersAndTagsAndNamesTheSame) {
  Snap before(1);
  before.Session(1, 50).Group("t", 7, 50, 5).Object("o", 9);
  Snap after(2);
  after.Session(1, 50).Group("t", 7, 50, 5).Object("o", 9);
  const report::SnapshotDiff diff =
      Compare(before.message, after.message, Bytes(1));
  EXPECT_FALSE(diff.same_daemon());
  EXPECT_THAT(Of(report::Change::KIND_SESSION, diff),
              ElementsAre("new /a 0->50", "gone /a 50->0"));
  EXPECT_THAT(Of(report::Change::KIND_TAG, diff), IsEmpty());
  EXPECT_THAT(Of(report::Change::KIND_OBJECT, diff), IsEmpty());
}

TEST(SnapshotDiffTest, BlocksOfTheDeadAreNobodysAndGapsAreTold) {
  Snap before(1);
  Snap after(1);
  after.Session(1, 50).Group("t", 7, 50, 5);
  after.message.mutable_leaks()->mutable_reports(0)->set_session_live(false);
  after.message.mutable_sessions()->Clear();
  before.message.add_missing("one");
  after.message.add_missing("two");
  const report::SnapshotDiff diff =
      Compare(before.message, after.message, Bytes(1));
  EXPECT_THAT(diff.changes(), IsEmpty());
  EXPECT_THAT(diff.missing(), ElementsAre("before: one", "after: two"));
}

TEST(SnapshotDiffTest, NumbersOfALiarDoNotWrap) {
  Snap before(1);
  Snap after(1);
  after.Session(1, ~uint64_t{0}).Group("t", 7, ~uint64_t{0}, 1);
  after.Session(2, ~uint64_t{0}).Group("t", 7, ~uint64_t{0}, 1);
  EXPECT_THAT(Of(report::Change::KIND_TAG,
                 Compare(before.message, after.message, Bytes(1))),
              ElementsAre("new t/a 0->18446744073709551615"));
}

}  // namespace
}  // namespace vrampool::cli
