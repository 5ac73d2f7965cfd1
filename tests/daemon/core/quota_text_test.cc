#include "daemon/core/quota_text.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vrampool {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(QuotaTextTest, WhatIsSetIsNamedAsTheConfigurationDoes) {
  Quota quota{.limit = GiB(4),
              .guarantee = Bytes(),
              .priority = -3,
              .lends = false,
              .evict = true,
              .sessions = 0,
              .metadata = KiB(1)};
  quota.rates[0] = {.per_second = 5, .burst = 7};
  quota.rates[1].per_second = GiB(1).count();
  EXPECT_EQ(TextOf(quota),
            "limit 4.0 GiB, guarantee 0 B, priority -3, lend_unused false, "
            "evict true, sessions 0, metadata 1.0 KiB, leases_per_second 5, "
            "leases_burst 7, bytes_per_second 1.0 GiB");
  EXPECT_EQ(TextOf({}), "");
}

TEST(QuotaTextTest, DifferencesSayWhatWas) {
  EXPECT_THAT(
      Differences({.limit = GiB(2), .priority = 2, .weight = 3},
                  {.limit = GiB(4), .weight = 3, .objects = 9}),
      ElementsAre("limit 4.0 GiB (was 2.0 GiB)", "priority not set (was 2)",
                  "objects 9 (was not set)"));
  EXPECT_THAT(Differences({.limit = GiB(2)}, {.limit = GiB(2)}), IsEmpty());
}

}  // namespace
}  // namespace vrampool
