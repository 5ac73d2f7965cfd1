// arbiter_program_choices.h - what programs choose from, and what every answer
// must be.

#ifndef VRAMPOOL_TESTS_DAEMON_CORE_ARBITER_PROGRAM_CHOICES_H_
#define VRAMPOOL_TESTS_DAEMON_CORE_ARBITER_PROGRAM_CHOICES_H_

#include <array>
#include <string_view>

#include "absl/status/status.h"
#include "daemon/core/refusal.h"

namespace vrampool::testing {

// The last is no path.
inline constexpr std::array<std::string_view, 6> kTenants = {
    "root/a", "root/a/x", "root/b", "root/c", "root", "root//no"};
inline constexpr std::array<std::string_view, 6> kGrants = {
    "root/a", "root/b", "root", "root/c", "root/a/x", "root//no"};
inline constexpr std::array<std::string_view, 5> kNames = {"", "", "model",
                                                           "kv", "grads"};

// Every refusal that a client gets says why.
template <typename T>
bool IsOkOrRefused(const T& result) {
  return result.ok() || RefusalOf(result.status()).has_value();
}
inline bool IsOkOrRefused(const absl::Status& status) {
  return status.ok() || RefusalOf(status).has_value();
}

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_DAEMON_CORE_ARBITER_PROGRAM_CHOICES_H_
