// flame_graph.h - who holds how many bytes, as a picture.
//
// A flame graph of leak reports: tenant, session, tag, call site from top to
// bottom, each as wide as its bytes. Where stacks were recorded, a call site's
// blocks are shared out among those that lead to it, as their estimates are,
// with the outermost frame on top. One SVG file that stands alone: no script,
// nothing fetched; what a rectangle is shows when the mouse rests on it. All
// texts of clients are escaped.

#ifndef VRAMPOOL_CLIENT_CLI_FLAME_GRAPH_H_
#define VRAMPOOL_CLIENT_CLI_FLAME_GRAPH_H_

#include <string>

#include "client/cli/options.h"
#include "vrampool/v1/admin.pb.h"

namespace vrampool::cli {

// Rectangles that would be narrower than a third of a pixel are left out, so
// the picture is bounded whatever the reports hold.
std::string FlameGraph(const v1::ListLeaksResponse& leaks,
                       const Options& options);

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_FLAME_GRAPH_H_
