// status_macros.h - passing errors on, for absl::Status and for the client
// library's vrampool::Status alike (anything with ok()).
//
//   VRAMPOOL_RETURN_IF_ERROR(device.Destroy(slab));
//   VRAMPOOL_ASSIGN_OR_RETURN(UniqueFd fd, OpenManifest(path));
//
// The second expands to several statements: never the sole body of an `if`.

#ifndef VRAMPOOL_BASE_STATUS_MACROS_H_
#define VRAMPOOL_BASE_STATUS_MACROS_H_

#include <utility>

#define VRAMPOOL_RETURN_IF_ERROR(expression)                            \
  do {                                                                  \
    if (auto vrampool_outcome = (expression); !vrampool_outcome.ok()) { \
      return vrampool_outcome;                                          \
    }                                                                   \
  } while (false)

#define VRAMPOOL_MACRO_CONCAT_INNER(a, b) a##b
#define VRAMPOOL_MACRO_CONCAT(a, b) VRAMPOOL_MACRO_CONCAT_INNER(a, b)

#define VRAMPOOL_ASSIGN_OR_RETURN(target, expression) \
  VRAMPOOL_ASSIGN_OR_RETURN_INNER(                    \
      VRAMPOOL_MACRO_CONCAT(vrampool_result_, __LINE__), target, expression)

#define VRAMPOOL_ASSIGN_OR_RETURN_INNER(result, target, expression) \
  auto result = (expression);                                       \
  if (!result.ok()) return std::move(result).status();              \
  target = *std::move(result)

#endif  // VRAMPOOL_BASE_STATUS_MACROS_H_
