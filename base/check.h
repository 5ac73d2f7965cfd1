// check.h - aborts when the program itself is wrong.
//
// VRAMPOOL_CHECK stays in release builds. It is for what only a bug of ours can
// break; nothing that a client, a configuration or a device says may reach one.

#ifndef VRAMPOOL_BASE_CHECK_H_
#define VRAMPOOL_BASE_CHECK_H_

#include <cstdio>
#include <cstdlib>

namespace vrampool::check_internal {

[[noreturn]] inline void Fail(const char* condition, const char* file,
                              int line) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace vrampool::check_internal

#define VRAMPOOL_CHECK(condition) \
  ((condition)                    \
       ? static_cast<void>(0)     \
       : ::vrampool::check_internal::Fail(#condition, __FILE__, __LINE__))

#endif  // VRAMPOOL_BASE_CHECK_H_
