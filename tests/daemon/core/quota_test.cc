// What a tree of quotas must fulfil as a whole.

#include "daemon/core/quota.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vrampool {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

QuotaTree Resolve(const std::vector<TenantSetting>& tenants) {
  return ResolveQuotas(tenants, /*default_limit=*/Bytes(50),
                       /*capacity=*/Bytes(100));
}

// "path key: text" of the first, or nothing.
std::string ProblemOf(const std::vector<TenantSetting>& tenants) {
  const QuotaTree tree = Resolve(tenants);
  if (tree.problems.empty()) return "";
  const QuotaProblem& problem = tree.problems.front();
  return problem.path + " " + problem.key + ": " + problem.text;
}

TEST(QuotaTest, WhatIsOpenComesFromTheDefaultTheParentOrTheChildren) {
  const QuotaTree tree = Resolve(
      {{.path = "root", .quota = {.unreclaimable_burst = true}},
       {.path = "root/a", .quota = {.priority = 5, .weight = 3}},
       {.path = "root/a/x", .quota = {.guarantee = Bytes(10), .lends = true}},
       {.path = "root/a/y",
        .quota = {.limit = Bytes(7), .guarantee = Bytes(7), .priority = -1}}});
  ASSERT_THAT(tree.problems, IsEmpty());
  EXPECT_EQ(tree.tenants.at("root").limit, Bytes(100));
  const ResolvedQuota& a = tree.tenants.at("root/a");
  EXPECT_EQ(a.limit, Bytes(50));
  EXPECT_EQ(a.guarantee, Bytes(17));
  EXPECT_EQ(a.weight, 3u);
  EXPECT_FALSE(a.lends);
  const ResolvedQuota& x = tree.tenants.at("root/a/x");
  EXPECT_EQ(x.priority, 5);
  EXPECT_EQ(x.weight, 1u);
  EXPECT_TRUE(x.lends);
  EXPECT_TRUE(x.unreclaimable_burst);
  EXPECT_EQ(tree.tenants.at("root/a/y").priority, -1);
}

TEST(QuotaTest, AncestorsThatAreNotListedAreThereToo) {
  const QuotaTree tree =
      Resolve({{.path = "root/a/b/c", .quota = {.guarantee = Bytes(1)}}});
  ASSERT_THAT(tree.problems, IsEmpty());
  EXPECT_EQ(tree.tenants.size(), 4u);
  EXPECT_EQ(tree.tenants.at("root/a").guarantee, Bytes(1));
}

TEST(QuotaTest, GuaranteesOfChildrenAddUpToAtMostTheParents) {
  EXPECT_THAT(
      ProblemOf({{.path = "root/a", .quota = {.guarantee = Bytes(19)}},
                 {.path = "root/a/x", .quota = {.guarantee = Bytes(10)}},
                 {.path = "root/a/y", .quota = {.guarantee = Bytes(10)}}}),
      HasSubstr("root/a guarantee: the guarantees of the tenants below "
                "root/a add up to 20 B, more than its own 19 B"));
  EXPECT_THAT(
      ProblemOf({{.path = "root/a",
                  .quota = {.limit = Bytes(60), .guarantee = Bytes(60)}},
                 {.path = "root/b", .quota = {.guarantee = Bytes(41)}}}),
      HasSubstr("add up to 101 B, more than the pool's 100 B"));
}

TEST(QuotaTest, AGuaranteeIsAtMostTheLimit) {
  EXPECT_THAT(
      ProblemOf({{.path = "root/a", .quota = {.guarantee = Bytes(51)}}}),
      HasSubstr("root/a guarantee: the guarantee of 51 B is above the "
                "limit of 50 B"));
  // Also one that is the sum of the children's.
  EXPECT_THAT(
      ProblemOf({{.path = "root/a/x", .quota = {.guarantee = Bytes(30)}},
                 {.path = "root/a/y", .quota = {.guarantee = Bytes(30)}}}),
      HasSubstr("root/a guarantee: the guarantee of 60 B"));
}

TEST(QuotaTest, TheRootHasThePoolAndNoGuaranteeOfItsOwn) {
  EXPECT_THAT(ProblemOf({{.path = "root", .quota = {.limit = Bytes(101)}}}),
              HasSubstr("root limit: "));
  EXPECT_THAT(ProblemOf({{.path = "root", .quota = {.guarantee = Bytes(1)}}}),
              HasSubstr("root guarantee: "));
  EXPECT_THAT(
      ProblemOf({{.path = "root", .quota = {.limit = Bytes(9)}},
                 {.path = "root/a", .quota = {.guarantee = Bytes(10)}}}),
      HasSubstr("root limit: the guarantees of the tenants below root"));
}

TEST(QuotaTest, SumsBeyondTheEndOfNumbersAreTooMuchToo) {
  const Bytes huge(UINT64_MAX - 1);
  EXPECT_THAT(
      ProblemOf(
          {{.path = "root/a", .quota = {.limit = huge, .guarantee = huge}},
           {.path = "root/b", .quota = {.limit = huge, .guarantee = huge}}}),
      HasSubstr("more than the pool's"));
}

TEST(QuotaTest, PrioritiesAndWeightsHaveBounds) {
  EXPECT_THAT(ProblemOf({{.path = "root/a", .quota = {.priority = 1001}}}),
              HasSubstr("root/a priority: 1001"));
  EXPECT_THAT(ProblemOf({{.path = "root/a", .quota = {.weight = 0}}}),
              HasSubstr("root/a weight: 0"));
  EXPECT_THAT(ProblemOf({{.path = "root/a", .quota = {.weight = 1001}}}),
              HasSubstr("root/a weight: 1001"));
  EXPECT_THAT(ProblemOf({{.path = "root/a",
                          .quota = {.priority = -1000, .weight = 1}}}),
              IsEmpty());
}

std::array<RateSetting, kRateKinds> Leases(RateSetting setting) {
  return {setting, RateSetting{}, RateSetting{}};
}

TEST(QuotaTest, ABurstIsWhatOneSecondGivesUnlessItIsSet) {
  const QuotaTree tree = ResolveQuotas(
      {{.path = "root/a", .quota = {.rates = Leases({.per_second = 5})}},
       {.path = "root/a/x", .quota = {}},
       {.path = "root/b",
        .quota = {.rates = Leases({.per_second = 5, .burst = 2})}}},
      GiB(1), GiB(1));
  EXPECT_THAT(tree.problems, IsEmpty());
  EXPECT_EQ(tree.tenants.at("root/a").rates[0],
            (Rate{.per_second = 5, .burst = 5}));
  // It counts above already.
  EXPECT_EQ(tree.tenants.at("root/a/x").rates[0], Rate{});
  EXPECT_EQ(tree.tenants.at("root/b").rates[0],
            (Rate{.per_second = 5, .burst = 2}));
}

TEST(QuotaTest, ABurstBelongsToARateAndLetsSomethingThrough) {
  EXPECT_THAT(
      ProblemOf({{.path = "root/a", .quota = {.rates = Leases({.burst = 2})}}}),
      HasSubstr("root/a leases_burst: says nothing without "
                "leases_per_second"));
  EXPECT_THAT(
      ProblemOf({{.path = "root/a",
                  .quota = {.rates = Leases({.per_second = 1, .burst = 0})}}}),
      HasSubstr("root/a leases_burst: 0 would let nothing through"));
  EXPECT_THAT(
      ProblemOf({{.path = "root/a",
                  .quota = {.rates = Leases({.per_second = 0, .burst = 0})}}}),
      IsEmpty());
}

TEST(QuotaTest, AChangeOfRatesSetsOnlyWhatIsInIt) {
  const Quota before{.rates = Leases({.per_second = 5, .burst = 7})};
  EXPECT_EQ(Changed(before, {.rates = Leases({.per_second = 6})}),
            (Quota{.rates = Leases({.per_second = 6, .burst = 7})}));
}

TEST(QuotaTest, AChangeSetsOnlyWhatIsInIt) {
  const Quota before{.limit = Bytes(5), .priority = 2, .lends = true};
  EXPECT_EQ(Changed(before, {.limit = Bytes(6), .lends = false}),
            (Quota{.limit = Bytes(6), .priority = 2, .lends = false}));
  EXPECT_EQ(Changed(before, {}), before);
}

TEST(TenantPathTest, RootAndWhatIsBelowItArePaths) {
  EXPECT_TRUE(IsTenantPath("root"));
  EXPECT_TRUE(IsTenantPath("root/team-a/training_1.x"));
  EXPECT_TRUE(IsTenantPath("root/" + std::string(64, 'x')));
  EXPECT_TRUE(IsTenantPath("root/2/3/4/5/6/7/8"));
}

TEST(TenantPathTest, WhateverElseIsNone) {
  EXPECT_FALSE(IsTenantPath(""));
  EXPECT_FALSE(IsTenantPath("team"));
  EXPECT_FALSE(IsTenantPath("rooty/a"));
  EXPECT_FALSE(IsTenantPath("/root/a"));
  EXPECT_FALSE(IsTenantPath("root/"));
  EXPECT_FALSE(IsTenantPath("root//a"));
  EXPECT_FALSE(IsTenantPath("root/a b"));
  EXPECT_FALSE(IsTenantPath("root/\xc3\xa4"));
  EXPECT_FALSE(IsTenantPath(std::string_view("root/a\0b", 8)));
  EXPECT_FALSE(IsTenantPath("root/" + std::string(65, 'x')));
  EXPECT_FALSE(IsTenantPath("root/2/3/4/5/6/7/8/9"));
}

}  // namespace
}  // namespace vrampool
