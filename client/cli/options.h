// options.h - what the command line asked for, and what every command gets.

#ifndef VRAMPOOL_CLIENT_CLI_OPTIONS_H_
#define VRAMPOOL_CLIENT_CLI_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/bytes.h"
#include "client/cli/table.h"

namespace vrampool::cli {

// What is not set stays as it is.
struct QuotaChange {
  std::optional<Bytes> limit;
  std::optional<Bytes> guarantee;
  std::optional<int32_t> priority;
  std::optional<uint32_t> weight;
  std::optional<bool> lend_unused;
  std::optional<bool> unreclaimable_burst;
  std::optional<bool> evict;
  // Rates; 0 lifts one.
  std::optional<uint64_t> leases_per_second;
  std::optional<uint64_t> leases_burst;
  std::optional<Bytes> bytes_per_second;
  std::optional<Bytes> bytes_burst;
  std::optional<uint64_t> rpcs_per_second;
  std::optional<uint64_t> rpcs_burst;
  bool operator==(const QuotaChange&) const = default;
};

struct Options {
  std::string directory;
  std::string device;  // Empty: the only one, or all.
  bool is_json = false;
  Header header = Header::kShown;
  Order order;
  std::string tenant;                    // Empty: all.
  uint64_t session = 0;                  // 0: all.
  absl::Duration min_age;                // Zero: all.
  uint32_t max_blocks = 20;              // Of each leak report.
  uint32_t max_stacks = 5;               // Likewise.
  std::string quota_tenant;              // quota get and set.
  QuotaChange quota_change;              // quota set.
  std::vector<std::string> event_kinds;  // watch; empty: all.
  uint64_t event_count = 0;              // watch; 0: without end.
  bool is_symbolized = false;            // leaks: name code by addr2line.
  std::string flame_graph;               // leaks; a file to write; empty: none.
  std::string memory_viz;                // Likewise.
  std::string file;                 // snapshot save; the earlier one of a diff.
  std::string other_file;           // The later one of a diff.
  uint32_t snapshot_blocks = 1000;  // Of each session.
  Bytes min_growth{1};              // Smaller changes are not shown.
};

// Where a command reads its arguments and puts its output; all outlive it.
struct Context {
  const Options& options;
  std::ostream& out;
  std::ostream& err;
  absl::Time now;
};

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_OPTIONS_H_
