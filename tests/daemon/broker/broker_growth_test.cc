// What live sessions have by tag is sampled over time.

#include <cstring>

#include "tests/daemon/broker/broker_fixture.h"

namespace vrampool::testing {
namespace {

class GrowthTest : public BrokerTest {
 protected:
  // A block with tag number `tag`, counted as the library does.
  static void Allocate(const TestClient& client, uint64_t place, uint32_t tag,
                       Bytes size) {
    auto* const records =
        client.manifest->at<shm::BlockRecord>(client.header()->records_offset);
    records[place].tag = tag;
    client.WriteBlock(place, 1, size.count());
    auto* const cells =
        client.manifest->at<shm::Counters>(client.header()->counters_offset);
    cells[0].blocks_allocated.fetch_add(1);
    cells[0].bytes_allocated.fetch_add(size.count());
  }
  static void NameTag(const TestClient& client, uint32_t tag,
                      const char* text) {
    auto& entry =
        client.manifest->at<shm::Tag>(client.header()->tags_offset)[tag - 1];
    std::strncpy(entry.text, text, sizeof(entry.text) - 1);
    entry.is_set.store(1);
  }
  std::vector<TagGrowth> GrowthOf(const TestClient& client) {
    for (LeakReport& report : broker_->FindLeaks({}).reports) {
      if (report.session.id == client.id) return std::move(report.growth);
    }
    return {};
  }
  // A sample, seen by the blocks that the first tag has in it.
  void Sample(const TestClient& client, uint64_t blocks) {
    Await([&] {
      clock_.Advance(absl::Seconds(1));
      broker_->SampleUse();
      const std::vector<TagGrowth> growth = GrowthOf(client);
      return !growth.empty() && growth.front().blocks == blocks;
    });
  }
};

TEST_F(GrowthTest, ATagThatGrowsIsTold) {
  const TestClient client = Attach();
  NameTag(client, 1, "batch");
  Allocate(client, 0, 1, MiB(1));
  Sample(client, 1);
  clock_.Advance(absl::Minutes(5));
  Allocate(client, 1, 1, MiB(2));
  Allocate(client, 2, 1, MiB(3));
  Sample(client, 3);
  const std::vector<TagGrowth> growth = GrowthOf(client);
  ASSERT_EQ(growth.size(), 1u);
  EXPECT_EQ(growth[0].tag, "batch");
  EXPECT_EQ(growth[0].bytes, MiB(6));
  ASSERT_FALSE(growth[0].windows.empty());
  EXPECT_EQ(growth[0].windows.back().bytes, 5 << 20);
  EXPECT_EQ(growth[0].windows.back().blocks, 2);
}

TEST_F(GrowthTest, WhatDidNotChangeIsNotReadAgainButSampled) {
  const TestClient client = Attach();
  Allocate(client, 0, 0, MiB(1));
  Sample(client, 1);
  // A block that no counter counts: only who reads all records sees it.
  client.WriteBlock(1, 1, MiB(1).count());
  clock_.Advance(absl::Minutes(4));
  Await([&] {
    clock_.Advance(absl::Seconds(1));
    broker_->SampleUse();
    return !GrowthOf(client).at(0).windows.empty();
  });
  EXPECT_EQ(GrowthOf(client).at(0).blocks, 1u);
  EXPECT_EQ(GrowthOf(client).at(0).windows.at(0).bytes, 0);
}

TEST_F(GrowthTest, ASessionThatEndsIsForgottenAndItsReportHasNoGrowth) {
  const TestClient client = Attach();
  Allocate(client, 0, 0, MiB(1));
  Sample(client, 1);
  End(client);
  Await([&] {
    const LeakAnswer answer = broker_->FindLeaks({});
    return !answer.reports.empty() && !answer.reports.front().is_live;
  });
  EXPECT_TRUE(GrowthOf(client).empty());
}

}  // namespace
}  // namespace vrampool::testing
