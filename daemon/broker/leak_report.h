// leak_report.h - makes a session's leak report of its manifest, within bounds.
//
// Threads: functions; thread-safe. They take time in proportion to the
// manifest, so they are called under no lock.

#ifndef VRAMPOOL_DAEMON_BROKER_LEAK_REPORT_H_
#define VRAMPOOL_DAEMON_BROKER_LEAK_REPORT_H_

#include <cstddef>

#include "absl/time/time.h"
#include "daemon/broker/leak_book.h"
#include "daemon/broker/manifest.h"
#include "daemon/core/snapshot.h"

namespace vrampool {

// The most sums by tag and call site that a report has, whatever room there is;
// and by tag and stack.
inline constexpr size_t kGroupsOfAReport = 1000;
inline constexpr size_t kStacksOfAReport = 500;

// How much of a report is told, or of several.
struct ReportRoom {
  size_t blocks = 0;
  size_t groups = 0;
  size_t stacks = 0;

  // What `report`, which was made for it, leaves of it.
  void Take(const LeakReport& report) {
    blocks -= report.blocks.size();
    groups -= report.groups.size();
    stacks -= report.stacks.size();
  }
};

// Of the blocks that were allocated before that time. Not filled in is what a
// manifest does not know: how the session ended, and how it grew.
LeakReport MakeLeakReport(const SessionView& session, const Manifest& manifest,
                          absl::Time allocated_before, const ReportRoom& room);

// The report with at most so much.
LeakReport Shortened(const LeakReport& whole, const ReportRoom& room);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_BROKER_LEAK_REPORT_H_
