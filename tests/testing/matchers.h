// matchers.h - what tests say about a Status.
//
//   EXPECT_THAT(broker.Return(...), IsOk());
//   EXPECT_THAT(pool.Lease(...), IsRefused(Reason::kQuotaExceeded));
//   VRAMPOOL_ASSERT_OK_AND_ASSIGN(LeaseGrant grant, broker.Lease(...));

#ifndef VRAMPOOL_TESTS_TESTING_MATCHERS_H_
#define VRAMPOOL_TESTS_TESTING_MATCHERS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/status_macros.h"
#include "daemon/core/refusal.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vrampool::testing {

inline const absl::Status& AsStatus(const absl::Status& status) {
  return status;
}
template <typename T>
const absl::Status& AsStatus(const absl::StatusOr<T>& result) {
  return result.status();
}

MATCHER(IsOk, "is OK") {
  *result_listener << AsStatus(arg).ToString();
  return AsStatus(arg).ok();
}

MATCHER_P(StatusIs, code, "has the code " + absl::StatusCodeToString(code)) {
  *result_listener << AsStatus(arg).ToString();
  return AsStatus(arg).code() == code;
}

// The refusal has the reason, and the status the code that belongs to it.
MATCHER_P(IsRefused, reason, "is refused with the expected reason") {
  const absl::Status& status = AsStatus(arg);
  *result_listener << status.ToString();
  const auto refusal = ::vrampool::RefusalOf(status);
  return refusal.has_value() && refusal->reason == reason &&
         status.code() == ::vrampool::CodeOf(reason);
}

}  // namespace vrampool::testing

#define VRAMPOOL_ASSERT_OK_AND_ASSIGN(target, expression) \
  VRAMPOOL_ASSERT_OK_AND_ASSIGN_INNER(                    \
      VRAMPOOL_MACRO_CONCAT(vrampool_result_, __LINE__), target, expression)
#define VRAMPOOL_ASSERT_OK_AND_ASSIGN_INNER(result, target, expression) \
  auto result = (expression);                                           \
  ASSERT_THAT(result, ::vrampool::testing::IsOk());                     \
  target = *std::move(result)

#endif  // VRAMPOOL_TESTS_TESTING_MATCHERS_H_
