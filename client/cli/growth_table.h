// growth_table.h - which tags of live sessions grew, and how fast.

#ifndef VRAMPOOL_CLIENT_CLI_GROWTH_TABLE_H_
#define VRAMPOOL_CLIENT_CLI_GROWTH_TABLE_H_

#include "client/cli/options.h"
#include "vrampool/v1/admin.pb.h"

namespace vrampool::cli {

// Prints the tags that grew in their longest window, suspects first, then by
// growth; nothing if there are none.
void PrintGrowth(const v1::ListLeaksResponse& reply, const Context& context);

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_GROWTH_TABLE_H_
