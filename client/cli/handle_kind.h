// handle_kind.h - a slab's handle kind in words.

#ifndef VRAMPOOL_CLIENT_CLI_HANDLE_KIND_H_
#define VRAMPOOL_CLIENT_CLI_HANDLE_KIND_H_

#include <string>

#include "base/ids.h"
#include "vrampool/v1/broker.pb.h"

namespace vrampool::cli {

// "HOST_FD"; "NONE" for a kind that a newer daemon may have.
inline std::string KindText(v1::HandleKind kind) {
  return HandleKindName(static_cast<HandleKind>(kind));
}

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_HANDLE_KIND_H_
