// stack_list.h - the stacks that blocks were allocated from, as text.

#ifndef VRAMPOOL_CLIENT_CLI_STACK_LIST_H_
#define VRAMPOOL_CLIENT_CLI_STACK_LIST_H_

#include "client/cli/call_sites.h"
#include "client/cli/options.h"
#include "vrampool/v1/admin.pb.h"

namespace vrampool::cli {

// Prints the largest stacks of the report, as many as the options say, each
// with a line for each frame; nothing if none was recorded.
void PrintStacks(const v1::LeakReport& leak, const Sites& sites,
                 const Context& context);

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_STACK_LIST_H_
