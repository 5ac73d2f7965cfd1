// What has become of a pending object's contents, as a message says it.

#include "daemon/service/translate.h"
#include "gtest/gtest.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {
namespace {

TEST(TranslateOutcomeTest, AnUnknownOutcomeIsRefused) {
  EXPECT_THAT(FromProto(static_cast<v1::ReadyRequest::Outcome>(2)),
              IsRefused(Reason::kBadArgument));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const ReadyOutcome usual,
                                FromProto(v1::ReadyRequest().outcome()));
  EXPECT_EQ(usual, ReadyOutcome::kComplete);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const ReadyOutcome failed,
                                FromProto(v1::ReadyRequest::OUTCOME_FAILED));
  EXPECT_EQ(failed, ReadyOutcome::kFailed);
}

}  // namespace
}  // namespace vrampool::testing
