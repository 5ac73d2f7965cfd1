// snapshot_diff.h - what grew, shrank, came and went between two snapshots.
//
// Pure. Sessions are told apart by the daemon's epoch and their id, so those of
// before a restart are gone and none of them came back.

#ifndef VRAMPOOL_CLIENT_CLI_SNAPSHOT_DIFF_H_
#define VRAMPOOL_CLIENT_CLI_SNAPSHOT_DIFF_H_

#include "base/bytes.h"
#include "client/cli/reports.pb.h"
#include "vrampool/v1/admin.pb.h"

namespace vrampool::cli {

// Changes of less than `least` bytes, in either direction, are left out.
report::SnapshotDiff Compare(const v1::FullSnapshot& before,
                             const v1::FullSnapshot& after, Bytes least);

// Something is new or grew.
bool HasGrowth(const report::SnapshotDiff& diff);

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_SNAPSHOT_DIFF_H_
