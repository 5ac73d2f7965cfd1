// Sessions: what they leave behind, and what is said about them.

#include <algorithm>
#include <string>
#include <vector>

#include "tests/daemon/broker/broker_fixture.h"

namespace vrampool::testing {
namespace {

using ::testing::HasSubstr;

class SessionTest : public BrokerTest {
 protected:
  std::vector<LeakReport> Reports() { return broker_->FindLeaks({}).reports; }
  std::vector<LeakReport> AwaitReports(size_t count) {
    Await([&] { return Reports().size() == count; });
    return Reports();
  }
};

TEST_F(SessionTest, ACleanEndIsNoLeak) {
  const TestClient clean = Attach();
  const TestClient leaky = Attach();
  ASSERT_THAT(Lease(leaky, MiB(2)), IsOk());
  End(clean);
  End(leaky);
  const std::vector<LeakReport> reports = AwaitReports(1);
  EXPECT_EQ(reports.at(0).session.id, leaky.id);
  EXPECT_EQ(reports.at(0).end_cause, "died");
  EXPECT_EQ(reports.at(0).leased, MiB(2));
  Await([&] { return IsWhole(); });
}

TEST_F(SessionTest, AnOrderlyEndLeavesAReserveButNoLeak) {
  const TestClient orderly = Attach();
  const TestClient forgetful = Attach();
  ASSERT_THAT(Lease(orderly, MiB(2)), IsOk());
  ASSERT_THAT(Lease(forgetful, MiB(2)), IsOk());
  forgetful.WriteBlock(0, 1, 100);
  orderly.header()->closed_in_order.store(1);
  forgetful.header()->closed_in_order.store(1);
  End(orderly);
  End(forgetful);
  const std::vector<LeakReport> reports = AwaitReports(1);
  EXPECT_EQ(reports.at(0).session.id, forgetful.id);
  EXPECT_EQ(reports.at(0).end_cause, "closed");
  EXPECT_EQ(reports.at(0).blocks_total, 1u);
  Await([&] { return IsWhole(); });
}

TEST_F(SessionTest, TheReportOfACondemnedSessionSaysWhy) {
  const TestClient client = Attach();
  broker_->Condemn(client.id, "it sent nonsense");
  broker_->Condemn(client.id, "twice");
  EXPECT_EQ(client.link->notes().farewells,
            std::vector<std::string>{"it sent nonsense"});
  End(client);
  EXPECT_EQ(AwaitReports(1).at(0).end_cause, "condemned: it sent nonsense");
}

TEST_F(SessionTest, ALiveSessionsBlocksAreReportedTheLargestFirst) {
  const TestClient client = Attach();
  client.WriteBlock(0, 1, 100);
  client.WriteBlock(1, 1, 300);
  client.WriteBlock(5, 1, 200);
  const LeakAnswer answer =
      broker_->FindLeaks({.min_age = absl::ZeroDuration(), .max_blocks = 2});
  ASSERT_EQ(answer.reports.size(), 1u);
  const LeakReport& report = answer.reports.front();
  EXPECT_TRUE(report.is_live);
  EXPECT_EQ(report.blocks_total, 3u);
  EXPECT_EQ(report.bytes_total, Bytes(600));
  ASSERT_EQ(report.blocks.size(), 2u);
  EXPECT_EQ(report.blocks.at(0).size, 300u);
  EXPECT_EQ(report.blocks.at(1).size, 200u);
  ASSERT_EQ(report.groups.size(), 1u);
  EXPECT_EQ(report.groups.front().blocks, 3u);
  EXPECT_EQ(report.groups.front().bytes, Bytes(600));
}

TEST_F(SessionTest, AnAnswersBlocksAndGroupsAreBoundedInAllTheDeadFirst) {
  // Two sessions, each with more than half of what an answer may hold.
  constexpr uint64_t kBlocks = 60'000;
  const auto fill = [](const TestClient& client) {
    auto* const records =
        client.manifest->at<shm::BlockRecord>(client.header()->records_offset);
    for (uint64_t i = 0; i < kBlocks; ++i) {
      records[i].call_site = i;
      client.WriteBlock(i, 1, 100);
    }
  };
  const TestClient dead = Attach();
  fill(dead);
  End(dead);
  AwaitReports(1);
  const TestClient one = Attach();
  const TestClient two = Attach();
  fill(one);
  fill(two);
  const LeakAnswer answer = broker_->FindLeaks(
      {.min_age = absl::ZeroDuration(), .max_blocks = 100'000});
  ASSERT_EQ(answer.reports.size(), 3u);
  EXPECT_EQ(answer.reports[0].blocks.size(), 1000u);
  EXPECT_EQ(answer.reports[1].session.id, one.id);
  EXPECT_EQ(answer.reports[1].blocks.size(), kBlocks);
  EXPECT_EQ(answer.reports[2].blocks.size(), 100'000 - 1000 - kBlocks);
  for (const LeakReport& report : answer.reports) {
    EXPECT_EQ(report.blocks_total, kBlocks);
    EXPECT_EQ(report.groups.size(), 1000u);
    EXPECT_EQ(report.ungrouped.blocks, kBlocks - 1000);
  }
}

TEST_F(SessionTest, AReportHasTheModulesThatItsCallSitesLieIn) {
  const TestClient client = Attach();
  auto* const modules =
      client.manifest->at<shm::Module>(client.header()->modules_offset);
  const auto load = [&](uint32_t place, uint64_t begin, uint64_t bias) {
    modules[place].begin = begin;
    modules[place].end = begin + 100;
    modules[place].bias = bias;
    modules[place].is_set.store(1);
    client.header()->module_high_water.store(place + 1);
  };
  load(0, 1000, 1);  // Unloaded since.
  load(1, 5000, 2);
  load(2, 1000, 3);
  client.WriteBlock(0, 1, 100);
  client.manifest->at<shm::BlockRecord>(client.header()->records_offset)[0]
      .call_site = 1042;
  const LeakReport report = Reports().at(0);
  ASSERT_EQ(report.modules.size(), 1u);
  EXPECT_EQ(report.modules[0].bias, 3u);
}

// Writes stacks and the blocks that name them.
class StackTest : public SessionTest {
 protected:
  static shm::BlockRecord* Records(const TestClient& client) {
    return client.manifest->at<shm::BlockRecord>(
        client.header()->records_offset);
  }
  void AwaitDead() {
    Await([&] {
      const std::vector<LeakReport> reports = Reports();
      return reports.size() == 1 && !reports.front().is_live;
    });
  }
  static LeakQuery Most(size_t blocks) {
    return {.min_age = absl::ZeroDuration(), .max_blocks = blocks};
  }
  // A stack of the one frame, at the same place.
  static void WriteStack(const TestClient& client, uint32_t stack,
                         uint64_t address) {
    auto& place =
        client.manifest->at<shm::Stack>(client.header()->stacks_offset)[stack];
    place.frames[0] = address;
    place.is_set.store(1);
  }
  static void WriteBlockOf(const TestClient& client, uint64_t place,
                           uint64_t size, uint32_t stack) {
    Records(client)[place].call_site = shm::SiteOfStack(stack, 0);
    client.WriteBlock(place, 1, size);
  }
};

TEST_F(StackTest, AReportHasTheStacksThatWereRecordedAndBlocksNameThem) {
  const TestClient client = Attach();
  auto& module =
      client.manifest->at<shm::Module>(client.header()->modules_offset)[0];
  module.begin = 1000;
  module.end = 2000;
  module.is_set.store(1);
  client.header()->module_high_water.store(1);
  WriteStack(client, 4, 1042);
  WriteStack(client, 9, 1077);
  WriteBlockOf(client, 0, 100, 4);
  WriteBlockOf(client, 1, 700, 9);
  WriteBlockOf(client, 2, 50, 4);
  client.WriteBlock(3, 1, 10);
  for (const bool is_live : {true, false}) {
    if (!is_live) End(client);
    if (!is_live) AwaitDead();
    const LeakReport report = broker_->FindLeaks(Most(10)).reports.at(0);
    EXPECT_EQ(report.is_live, is_live);
    ASSERT_EQ(report.stacks.size(), 2u);
    EXPECT_EQ(report.stacks[0].frames,
              std::vector<FrameView>{{.address = 1077}});
    EXPECT_EQ(report.stacks[0].estimated_bytes, Bytes(700));
    EXPECT_EQ(report.stacks[1].sampled_blocks, 2u);
    ASSERT_EQ(report.blocks.size(), 4u);
    EXPECT_EQ(report.blocks[0].stack, 1u);
    EXPECT_EQ(report.blocks[1].stack, 2u);
    EXPECT_EQ(report.blocks[1].call_site, 1042u);
    EXPECT_EQ(report.blocks[2].stack, 2u);
    EXPECT_EQ(report.blocks[3].stack, 0u);
    EXPECT_EQ(report.groups.size(), 3u);
    EXPECT_EQ(report.modules.size(), 1u);
  }
}

TEST_F(StackTest, StacksAreBoundedAndFewerOfTheDead) {
  const TestClient client = Attach();
  for (uint32_t i = 0; i < 600; ++i) {
    WriteStack(client, i, 1000 + i);
    WriteBlockOf(client, i, 100 + i, i);
  }
  const LeakReport live = broker_->FindLeaks(Most(600)).reports.at(0);
  ASSERT_EQ(live.stacks.size(), 500u);
  EXPECT_EQ(live.stacks.front().estimated_bytes, Bytes(699));
  EXPECT_EQ(live.blocks.at(499).stack, 500u);
  EXPECT_EQ(live.blocks.at(500).stack, 0u);  // Its stack is not told.
  End(client);
  AwaitDead();
  const LeakReport dead = broker_->FindLeaks(Most(600)).reports.at(0);
  EXPECT_EQ(dead.stacks.size(), 50u);
  EXPECT_EQ(dead.blocks.at(49).stack, 50u);
  EXPECT_EQ(dead.blocks.at(50).stack, 0u);
}

TEST_F(StackTest, NobodysStacksHideThoseOfOthers) {
  const auto fill = [](const TestClient& client, uint32_t stacks) {
    for (uint32_t i = 0; i < stacks; ++i) {
      WriteStack(client, i, 1000 + i);
      WriteBlockOf(client, i, 100 + i, i);
    }
  };
  std::vector<TestClient> live;
  for (int i = 0; i < 5; ++i) {
    live.push_back(Attach());
    fill(live.back(), 600);
  }
  const std::vector<LeakReport> alone = broker_->FindLeaks(Most(1000)).reports;
  ASSERT_EQ(alone.size(), 5u);
  for (const LeakReport& report : alone) {
    EXPECT_EQ(report.stacks.size(), 200u);
    EXPECT_EQ(report.stacks_left_out, 400u);
    EXPECT_EQ(report.stacks.front().estimated_bytes, Bytes(699));
  }
  for (int i = 0; i < 4; ++i) End(live[static_cast<size_t>(i)]);
  Await([&] {
    const std::vector<LeakReport> reports = Reports();
    return reports.size() == 5 && !reports[3].is_live;
  });
  const std::vector<LeakReport> mixed = broker_->FindLeaks(Most(1000)).reports;
  EXPECT_EQ(mixed.at(3).stacks.size(), 50u);
  EXPECT_EQ(mixed.at(3).stacks_left_out, 550u);
  EXPECT_EQ(mixed.at(4).stacks.size(), 500u);
}

TEST_F(SessionTest, GarbageInAManifestIsAFaultInTheReport) {
  const TestClient client = Attach();
  client.WriteBlock(0, 1, 100);
  client.WriteBlock(1, 1, 100);
  client.manifest->at<shm::BlockRecord>(client.header()->records_offset)[1]
      .state.store(99);
  End(client);
  const LeakReport report = AwaitReports(1).at(0);
  EXPECT_EQ(report.blocks_total, 1u);
  EXPECT_THAT(report.manifest_fault, HasSubstr("1 records make no sense"));
}

TEST_F(SessionTest, SumsOfAbsurdBlocksDoNotWrap) {
  const TestClient client = Attach();
  for (uint64_t i = 0; i < 3; ++i) client.WriteBlock(i, 1, ~uint64_t{0});
  const LeakReport report = Reports().at(0);
  EXPECT_EQ(report.blocks_total, 3u);
  EXPECT_GE(report.bytes_total, Bytes(~uint64_t{0}));
}

TEST_F(SessionTest, TheBookForgetsTheOldestAndCountsIt) {
  Bounds bounds;
  bounds.leak_reports = 2;
  Start(bounds);
  for (int i = 0; i < 3; ++i) {
    const TestClient client = Attach();
    client.WriteBlock(0, 1, 100);
    End(client);
  }
  Await([&] { return broker_->FindLeaks({}).forgotten == 1; });
  EXPECT_EQ(Reports().size(), 2u);
}

TEST_F(SessionTest, TheNumberOfSessionsIsBounded) {
  Bounds bounds;
  bounds.sessions = 1;
  Start(bounds);
  const TestClient client = Attach();
  const auto refused =
      broker_->Attach({}, {}, "root/a", std::make_shared<RecordingLink>());
  EXPECT_THAT(refused, IsRefused(Reason::kLimitReached));
  End(client);
  Attach();
}

TEST_F(SessionTest, ATenantPathThatBreaksTheRulesIsRefused) {
  for (const char* const path : {"", "root//a", "/root", "a/", "root/\n"}) {
    const auto refused =
        broker_->Attach({}, {}, path, std::make_shared<RecordingLink>());
    EXPECT_THAT(refused, IsRefused(Reason::kBadArgument)) << path;
  }
}

TEST_F(SessionTest, WhatALiarKeepsIsGhostAndWhatAnHonestOneKeepsLingers) {
  const TestClient liar = Attach();
  const TestClient honest = Attach("root/b");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant lied, Lease(liar, MiB(4)));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant parked, Lease(honest, MiB(2)));
  device_.Hold(lied.slab.id);
  device_.Hold(parked.slab.id);
  ASSERT_THAT(broker_->Return(liar.id, lied.lease, ReturnMode::kUnmapped),
              IsOk());
  ASSERT_THAT(
      broker_->Return(honest.id, parked.lease, ReturnMode::kStillMapped),
      IsOk());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(Bytes ghost, broker_->GhostBytes());
  EXPECT_EQ(ghost, Bytes());
  // Clean and parked slabs go when their sessions do; the processes stay.
  broker_->SocketClosed(liar.id);
  broker_->SocketClosed(honest.id);
  const TestClient other = Attach("root/c");
  ASSERT_THAT(broker_->Lease(other.id, Request(MiB(14)), Late()), IsOk());
  Await([&] { return broker_->GhostBytes().value() == MiB(4); });
  const Snapshot now = broker_->TakeSnapshot();
  EXPECT_EQ(now.pool.of(SlabState::kLingering), MiB(2));
  const auto session =
      std::find_if(now.sessions.begin(), now.sessions.end(),
                   [&](const SessionView& s) { return s.id == honest.id; });
  ASSERT_NE(session, now.sessions.end());
  EXPECT_EQ(session->lingering, MiB(2));
  device_.LetGo(lied.slab.id);
  device_.LetGo(parked.slab.id);
  broker_->ProcessGone(honest.id);
  broker_->ProcessGone(liar.id);
  End(other);
  Await([&] { return IsWhole(); });
  EXPECT_EQ(broker_->GhostBytes().value(), Bytes());
}

TEST_F(SessionTest, UnknownSessionsAreIgnored) {
  const SessionId nobody{12345};
  broker_->Condemn(nobody, "");
  broker_->SocketClosed(nobody);
  broker_->ProcessGone(nobody);
  broker_->HoldReleased(nobody, ObjectId{1});
  EXPECT_THAT(broker_->GetBudget(nobody), IsRefused(Reason::kSessionEnded));
  EXPECT_EQ(broker_->ReadLiveUse(nobody).blocks, 0u);
  EXPECT_TRUE(IsWhole());
}

}  // namespace
}  // namespace vrampool::testing
