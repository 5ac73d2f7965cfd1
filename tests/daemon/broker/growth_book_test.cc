#include "daemon/broker/growth_book.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vrampool::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr SessionId kSession{7};

class GrowthBookTest : public ::testing::Test {
 protected:
  // A sample each half minute: what `tag` has, one after the other.
  void Feed(const std::string& tag, const std::vector<Bytes>& bytes) {
    for (const Bytes size : bytes) {
      now_ += absl::Seconds(30);
      book_.Add(kSession, now_, {{tag, size.count() / 1024, size}});
    }
  }
  // From `from`, `step` more with each of `count` samples.
  static std::vector<Bytes> Line(Bytes from, Bytes step, size_t count) {
    std::vector<Bytes> line;
    for (size_t i = 0; i < count; ++i) {
      line.push_back(from);
      from += step;
    }
    return line;
  }

  GrowthBook book_;
  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
};

TEST_F(GrowthBookTest, TellsGrowthOverWindowsThatHaveSamples) {
  Feed("leak", Line(MiB(100), MiB(1), 21));  // Ten minutes.
  const std::vector<TagGrowth> all = book_.Of(kSession);
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].tag, "leak");
  EXPECT_EQ(all[0].bytes, MiB(120));
  EXPECT_THAT(all[0].windows,
              ElementsAre(GrowthWindow{absl::Minutes(5), 10 << 20, 10 << 10},
                          GrowthWindow{absl::Minutes(10), 20 << 20, 20 << 10}));
  EXPECT_TRUE(all[0].is_suspect);
}

TEST_F(GrowthBookTest, SixHoursAreKeptAndNoMore) {
  Feed("leak", Line(Bytes(0), MiB(1), 2000));  // More than sixteen hours.
  const TagGrowth growth = book_.Of(kSession).at(0);
  ASSERT_EQ(growth.windows.size(), 4u);
  EXPECT_GT(growth.windows[2].span, absl::Minutes(55));
  EXPECT_LT(growth.windows[2].span, absl::Minutes(65));
  EXPECT_GT(growth.windows[3].span, absl::Minutes(355));
  EXPECT_LT(growth.windows[3].span, absl::Minutes(365));
  EXPECT_EQ(growth.windows[3].bytes,
            absl::ToInt64Seconds(growth.windows[3].span) / 30 * (1 << 20));
}

TEST_F(GrowthBookTest, WhatFillsAndEmptiesIsNoSuspect) {
  for (int i = 0; i < 10; ++i) Feed("cache", Line(MiB(10), MiB(50), 5));
  EXPECT_FALSE(book_.Of(kSession).at(0).is_suspect);
}

TEST_F(GrowthBookTest, AProgramThatStartsIsNoSuspect) {
  Feed("warm-up", Line(MiB(0), MiB(100), GrowthBook::kSuspectSamples - 1));
  EXPECT_FALSE(book_.Of(kSession).at(0).is_suspect);
}

TEST_F(GrowthBookTest, WhatStaysAsItIsOrHardlyGrowsIsNoSuspect) {
  Feed("flat", Line(MiB(500), Bytes(100), 40));
  EXPECT_FALSE(book_.Of(kSession).at(0).is_suspect);
}

TEST_F(GrowthBookTest, WhatGrowsMostIsFirst) {
  for (uint64_t i = 0; i < 20; ++i) {
    now_ += absl::Minutes(1);
    book_.Add(kSession, now_,
              {{"slow", 1, MiB(1000 + i)},
               {"fast", 1, MiB(10 + 3 * i)},
               {"less", 1, MiB(2000 - i)}});
  }
  const std::vector<TagGrowth> all = book_.Of(kSession);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].tag, "fast");
  EXPECT_EQ(all[1].tag, "slow");
  EXPECT_EQ(all[2].tag, "less");
  EXPECT_LT(all[2].windows.back().bytes, 0);
}

TEST_F(GrowthBookTest, ATagThatIsMissingHasNothingAndIsForgottenInTheEnd) {
  Feed("gone", {MiB(5)});
  now_ += absl::Minutes(5);
  book_.Add(kSession, now_, {});
  EXPECT_EQ(book_.Of(kSession).at(0).bytes, Bytes());
  EXPECT_EQ(book_.Of(kSession).at(0).windows.at(0).bytes, -(5 << 20));
  for (size_t i = 0; i < GrowthBook::kFine; ++i) {
    now_ += absl::Minutes(5);
    book_.Add(kSession, now_, {});
  }
  EXPECT_THAT(book_.Of(kSession), IsEmpty());
  EXPECT_EQ(book_.series(), 0u);
}

TEST_F(GrowthBookTest, RepeatedSamplesCountAsTime) {
  Feed("still", {MiB(5), MiB(9)});
  now_ += absl::Minutes(15);
  book_.Repeat(kSession, now_);
  EXPECT_THAT(book_.Of(kSession).at(0).windows,
              ElementsAre(GrowthWindow{absl::Minutes(15), 0, 0}));
}

TEST_F(GrowthBookTest, TheNumberOfSeriesIsBounded) {
  std::vector<TagUse> uses;
  for (uint64_t i = 0; i < 100; ++i) {
    uses.push_back({"t" + std::to_string(i), 1, MiB(i + 1)});
  }
  for (uint64_t i = 1; i <= 1000; ++i) book_.Add(SessionId{i}, now_, uses);
  EXPECT_EQ(book_.series(), GrowthBook::kSeries);
  const std::vector<TagGrowth> all = book_.Of(SessionId{1});
  EXPECT_EQ(all.size(), GrowthBook::kTagsOfASession);
  for (const TagGrowth& growth : all) EXPECT_GT(growth.bytes, MiB(68));
  for (uint64_t i = 1; i <= 1000; ++i) book_.Forget(SessionId{i});
  EXPECT_EQ(book_.series(), 0u);
}

TEST_F(GrowthBookTest, NumbersOfALiarDoNotWrap) {
  Feed("lie", {Bytes(0), Bytes(~uint64_t{0}), Bytes(~uint64_t{0})});
  now_ += absl::Minutes(4);
  book_.Repeat(kSession, now_);
  EXPECT_GT(book_.Of(kSession).at(0).windows.at(0).bytes, 0);
}

}  // namespace
}  // namespace vrampool::testing
