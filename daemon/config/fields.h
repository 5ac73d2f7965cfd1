// fields.h - the texts that stand for values in a configuration. (Tenant paths
// are the core's: daemon/core/ledger.h.)
//
// Threads: pure functions.

#ifndef VRAMPOOL_DAEMON_CONFIG_FIELDS_H_
#define VRAMPOOL_DAEMON_CONFIG_FIELDS_H_

#include <sys/types.h>

#include <optional>
#include <string_view>

#include "base/bytes.h"
#include "base/ids.h"
#include "daemon/core/ledger.h"

namespace vrampool {

// "CUDA_IPC", "VMM_FD" or "HOST_FD".
std::optional<HandleKind> ParseHandleKind(std::string_view name);

// "0660" or "660": octal, at most 0777.
std::optional<mode_t> ParseSocketMode(std::string_view text);

// A size ("80GiB"), or a share of `whole`: "75%", or "0.75" without a unit.
// Shares are above zero and at most the whole.
std::optional<Bytes> ParseSizeOrShare(std::string_view text, Bytes whole);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CONFIG_FIELDS_H_
