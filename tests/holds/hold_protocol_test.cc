// The hold protocol of proto/shm/object_table.h in every interleaving of its
// accesses, under each memory model: the production code of both sides, on
// words of a memory that is a value.

#include <memory>
#include <string>
#include <string_view>
#include <tuple>

#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "tests/holds/check.h"
#include "tests/holds/mutants.h"
#include "tests/holds/scenarios.h"

namespace vrampool::testing {
namespace {

constexpr MemoryModel kModels[] = {
    MemoryModel::kSequential,
#ifndef VRAMPOOL_SANITIZED  // The same code, in ten times as many states.
    MemoryModel::kStoreBuffers,
    MemoryModel::kCxx,
#endif
};

class HoldProtocolTest
    : public ::testing::TestWithParam<std::tuple<Scenario, MemoryModel>> {};

TEST_P(HoldProtocolTest, EveryInterleavingIsSafeAndEnds) {
  const auto& [scenario, model] = GetParam();
  Steps steps;
  const Verdict verdict = Check(model, scenario, steps);
  EXPECT_EQ(verdict.wrong, "") << absl::StrJoin(verdict.path, "\n");
  EXPECT_GT(verdict.states, 1000u);
  EXPECT_GT(verdict.ends, 0u);
  EXPECT_GT(verdict.sights.holds_without_call, 0u);
  EXPECT_GT(verdict.sights.attempts_that_fell_back, 0u);
  EXPECT_GT(verdict.sights.objects_watched, 0u);
  RecordProperty("states", std::to_string(verdict.states));
}

INSTANTIATE_TEST_SUITE_P(All, HoldProtocolTest,
                         ::testing::Combine(::testing::ValuesIn(AllScenarios()),
                                            ::testing::ValuesIn(kModels)),
                         [](const auto& one) {
                           return std::get<0>(one.param).name +
                                  NameOf(std::get<1>(one.param));
                         });

// What the protocol has to deal with does happen.
TEST(HoldScenarioTest, ObjectsEndBehindHoldersTokensGoStaleAndHoldersDie) {
  Steps steps;
  const auto seen = [&steps](const char* scenario) {
    return Check(MemoryModel::kSequential, FindScenario(scenario), steps)
        .sights;
  };
  const Sights reuse = seen("TheSlotIsUsedAgain");
  EXPECT_GT(reuse.ends_after_watching, 0u);
  EXPECT_GT(reuse.stale_tokens_refused, 0u);
  EXPECT_GT(seen("AClientDies").deaths_of_holders, 0u);
}

// The walk is no better than what it can find.
class HoldMutantTest : public ::testing::TestWithParam<Mutant> {
 protected:
  Verdict CheckUnder(MemoryModel model, std::string_view wanted = "") {
    const std::unique_ptr<Steps> steps = GetParam().make();
    return Check(model, FindScenario(GetParam().scenario), *steps, wanted);
  }
};

TEST_P(HoldMutantTest, IsFound) {
  const Verdict verdict = CheckUnder(GetParam().found_in, GetParam().wrong);
  EXPECT_EQ(verdict.wrong, GetParam().wrong)
      << "not in " << verdict.states << " states";
  EXPECT_FALSE(verdict.path.empty());
}

// What only a weak memory makes wrong is right under the stronger ones.
TEST_P(HoldMutantTest, IsRightUnderStrongerModels) {
  for (const MemoryModel model : kModels) {
    if (model >= GetParam().found_in) continue;
    const Verdict verdict = CheckUnder(model);
    EXPECT_EQ(verdict.wrong, "") << absl::StrJoin(verdict.path, "\n");
    EXPECT_GT(verdict.states, 1000u);
  }
}

INSTANTIATE_TEST_SUITE_P(All, HoldMutantTest, ::testing::ValuesIn(AllMutants()),
                         [](const auto& one) { return one.param.name; });

}  // namespace
}  // namespace vrampool::testing
