// memory_viz.h - a snapshot for PyTorch's page memory_viz.
//
// The pickle that torch.cuda.memory._snapshot() gives and
// pytorch.org/memory_viz takes by drag and drop: a segment for each slab of a
// live session, cut into its blocks and the free pieces between them, and an
// `alloc` event for each block, in the order of time. Where PyTorch has frames
// of Python, ours say the call site or the stack, tag and session.
//
// Addresses are made up: slabs one after the other, since processes have their
// own. Blocks that do not lie in a slab of their session, or overlap (a client
// wrote nonsense), are left out.

#ifndef VRAMPOOL_CLIENT_CLI_MEMORY_VIZ_H_
#define VRAMPOOL_CLIENT_CLI_MEMORY_VIZ_H_

#include <cstdint>
#include <string>

#include "client/cli/options.h"
#include "vrampool/v1/admin.pb.h"

namespace vrampool::cli {

struct MemoryViz {
  std::string pickle;
  uint64_t left_out = 0;  // Blocks.
};

MemoryViz MakeMemoryViz(const v1::FullSnapshot& snapshot,
                        const Options& options);

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_MEMORY_VIZ_H_
