#include "tests/daemon/core/arbiter_program.h"

#include "gtest/gtest.h"

namespace vrampool::testing {
namespace {

TEST(ArbiterProgramTest, NoProgramBreaksAnInvariantOrLosesAByte) {
  ArbiterProgram::Coverage coverage;
  for (uint64_t seed = 0; seed < 2500; ++seed) {
    SCOPED_TRACE(seed);
    coverage.Add(ArbiterProgram::Run(RandomProgram(seed)));
  }
  // The programs did reach what they are there for.
  EXPECT_GT(coverage.grants, 5000u);
  EXPECT_GT(coverage.settled, 5000u);
  EXPECT_GT(coverage.opened, 4000u);
  EXPECT_GT(coverage.guests, 500u);
  EXPECT_GT(coverage.left, 500u);
  EXPECT_GT(coverage.passed_on, 100u);
  EXPECT_GT(coverage.ended_objects, 2000u);
  EXPECT_GT(coverage.expired, 20u);
  EXPECT_GT(coverage.known, 100u);
  EXPECT_GT(coverage.lingered, 200u);
  EXPECT_GT(coverage.failed_destroys, 500u);
  EXPECT_GT(coverage.restarts, 1500u);
  EXPECT_GT(coverage.shortages, 500u);
  EXPECT_GT(coverage.quotas, 1000u);
  EXPECT_GT(coverage.evictions, 20u);
  EXPECT_GT(coverage.reservations, 500u);
  EXPECT_GT(coverage.promises, 400u);
  EXPECT_GT(coverage.dues, 40u);
  EXPECT_GT(coverage.fulfilled, 300u);
}

}  // namespace
}  // namespace vrampool::testing
