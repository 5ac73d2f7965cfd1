// `vrampool leaks`: what is or was held and should not be.

#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/cli/call_sites.h"
#include "client/cli/commands.h"
#include "client/cli/file.h"
#include "client/cli/flame_graph.h"
#include "client/cli/growth_table.h"
#include "client/cli/listing.h"
#include "client/cli/memory_viz.h"
#include "client/cli/object_table.h"
#include "client/cli/session_text.h"
#include "client/cli/stack_list.h"
#include "client/cli/text.h"

namespace vrampool::cli {
namespace {

std::string Hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof(text), "0x%llx",
                static_cast<unsigned long long>(value));
  return text;
}

// A time for the reader of a table: how long ago, and how it ended.
std::string EndText(const v1::LeakReport& leak, absl::Time now) {
  if (leak.session_live()) return "live";
  return absl::StrCat(Printable(leak.end_cause()), ", ",
                      FormatSince(leak.ended_unix_ns(), now), " ago");
}

TableOf<v1::LeakReport> ReportTable(absl::Time now) {
  using Row = v1::LeakReport;
  return {
      {"SESSION", Align::kRight,
       [](const Row& row) { return Number(row.session().session_id()); }},
      {"TENANT", Align::kLeft,
       [](const Row& row) { return Text(row.session().tenant()); }},
      {"PID", Align::kRight,
       [](const Row& row) { return Number(row.session().process().pid()); }},
      {"BLOCKS", Align::kRight,
       [](const Row& row) { return Number(row.blocks_total()); }},
      {"BYTES", Align::kRight,
       [](const Row& row) { return Size(row.bytes_total()); }},
      {"LEASED", Align::kRight,
       [](const Row& row) { return Size(row.leased_bytes()); }},
      {"ENDED", Align::kLeft,
       [now](const Row& row) {
         return Cell{.text = EndText(row, now), .key = row.ended_unix_ns()};
       }},
      {"NAME", Align::kLeft,
       [](const Row& row) { return Text(row.session().name()); }},
      {"TAG", Align::kLeft,
       [](const Row& row) { return Text(row.session().tag()); }},
      {"COMMAND", Align::kLeft,
       [](const Row& row) {
         return Text(CommandText(row.session().process()));
       }},
  };
}

// `sites` says call sites in words.
TableOf<v1::BlockInfo> BlockTable(absl::Time now, const Sites& sites) {
  using Row = v1::BlockInfo;
  return {
      {"  SLAB", Align::kRight,
       [](const Row& row) { return Number(row.slab_id()); }},
      {"OFFSET", Align::kRight,
       [](const Row& row) { return Text(Hex(row.offset_bytes())); }},
      {"SIZE", Align::kRight,
       [](const Row& row) { return Size(row.size_bytes()); }},
      {"AGE", Align::kRight,
       [now](const Row& row) { return Age(row.allocated_unix_ns(), now); }},
      {"STREAM", Align::kRight,
       [](const Row& row) { return Text(Hex(row.stream())); }},
      {"THREAD", Align::kRight,
       [](const Row& row) { return Number(row.thread()); }},
      {"TAG", Align::kLeft, [](const Row& row) { return Text(row.tag()); }},
      {"CALL_SITE", Align::kLeft,
       [&sites](const Row& row) { return Text(sites.Text(row.call_site())); }},
  };
}

TableOf<v1::BlockGroup> GroupTable(absl::Time now, const Sites& sites) {
  using Row = v1::BlockGroup;
  return {
      {"  BLOCKS", Align::kRight,
       [](const Row& row) { return Number(row.blocks()); }},
      {"BYTES", Align::kRight,
       [](const Row& row) { return Size(row.bytes()); }},
      {"OLDEST", Align::kRight,
       [now](const Row& row) { return Age(row.oldest_unix_ns(), now); }},
      {"TAG", Align::kLeft, [](const Row& row) { return Text(row.tag()); }},
      {"CALL_SITE", Align::kLeft,
       [&sites](const Row& row) { return Text(sites.Text(row.call_site())); }},
  };
}

// All blocks, summed up; where not all of them are listed one by one.
void PrintGroups(const v1::LeakReport& leak, const Sites& sites,
                 const Context& context) {
  const auto listed = static_cast<uint64_t>(leak.blocks_size());
  if (leak.groups().empty() || listed == leak.blocks_total()) return;
  google::protobuf::RepeatedPtrField<v1::BlockGroup> shown = leak.groups();
  const int most = static_cast<int>(context.options.max_blocks);
  if (shown.size() > most) shown.DeleteSubrange(most, shown.size() - most);
  context.out << "\n" << SessionText(leak.session());
  if (shown.size() < leak.groups_size() || leak.has_ungrouped()) {
    context.out << ", the largest " << shown.size()
                << " sums by tag and call site:\n";
  } else {
    context.out << ", its blocks by tag and call site:\n";
  }
  Print(GroupTable(context.now, sites), shown, context.options.header,
        context.out);
}

void PrintBlocks(const v1::LeakReport& leak, const Sites& sites,
                 const Context& context) {
  if (!leak.manifest_fault().empty()) {
    context.out << "\n"
                << SessionText(leak.session())
                << ": its record of blocks could not be read: "
                << Printable(leak.manifest_fault()) << '\n';
  }
  if (leak.blocks().empty()) return;
  context.out << "\n" << SessionText(leak.session()) << ", ";
  if (const auto count = static_cast<uint64_t>(leak.blocks_size());
      count < leak.blocks_total()) {
    context.out << "the largest " << count << " of " << leak.blocks_total()
                << " blocks:\n";
  } else {
    context.out << "its blocks:\n";
  }
  Print(BlockTable(context.now, sites), leak.blocks(), context.options.header,
        context.out);
}

void PrintLingering(const v1::ListLeaksResponse& reply,
                    const Context& context) {
  for (const v1::LingeringSlab& slab : reply.lingering()) {
    context.out << "\nslab " << slab.slab_id()
                << " lingers: " << FormatBytes(Bytes(slab.size_bytes()))
                << " of tenant " << Printable(slab.tenant()) << ", destroyed "
                << FormatSince(slab.since_unix_ns(), context.now)
                << " ago, may still be mapped by\n";
    for (const v1::SessionInfo& suspect : slab.suspects()) {
      context.out << "  " << SessionText(suspect) << '\n';
    }
    if (slab.suspects().empty()) context.out << "  nobody known\n";
  }
}

TableOf<v1::OutsideProcess> OutsideTable() {
  using Row = v1::OutsideProcess;
  return {
      {"  PID", Align::kRight,
       [](const Row& row) { return Number(row.pid()); }},
      {"USED", Align::kRight,
       [](const Row& row) {
         return row.used_bytes() == 0 ? Text("-") : Size(row.used_bytes());
       }},
      {"NAME", Align::kLeft, [](const Row& row) { return Text(row.name()); }},
  };
}

void PrintAll(const v1::ListLeaksResponse& reply, const Context& context) {
  Print(ReportTable(context.now), reply.reports(), context.options.header,
        context.out);
  for (const v1::LeakReport& leak : reply.reports()) {
    const Sites sites = SitesOf(leak, context.options);
    PrintGroups(leak, sites, context);
    PrintBlocks(leak, sites, context);
    PrintStacks(leak, sites, context);
  }
  PrintGrowth(reply, context);
  PrintLingering(reply, context);
  if (!reply.unheld_objects().empty()) {
    context.out << "\nnamed objects that nobody holds:\n";
    Print(ObjectTable(context.now), reply.unheld_objects(),
          context.options.header, context.out);
  }
  if (reply.ghost_bytes() > 0) {
    context.out << "\nghosts: " << FormatBytes(Bytes(reply.ghost_bytes()))
                << " that the device lacks and the ledger does not explain\n";
  }
  if (reply.device_use().missing_bytes() > 0) {
    context.out << "\nmissing: "
                << FormatBytes(Bytes(reply.device_use().missing_bytes()))
                << " of the pool's free memory, which others on the device "
                   "have\n";
  }
  if (!reply.outside().empty()) {
    context.out << "\non the device without a session:\n";
    Print(OutsideTable(), reply.outside(), context.options.header, context.out);
  }
  if (reply.forgotten_reports() > 0) {
    context.out << "\n"
                << reply.forgotten_reports()
                << " older reports were dropped (bounds.leak_reports)\n";
  }
}

bool IsSuspect(const v1::LingeringSlab& slab, uint64_t session) {
  for (const v1::SessionInfo& suspect : slab.suspects()) {
    if (suspect.session_id() == session) return true;
  }
  return false;
}

void Filter(const Options& options, absl::Time now,
            v1::ListLeaksResponse* reply) {
  KeepOnly(reply->mutable_reports(), [&](const v1::LeakReport& leak) {
    return IsWithinTenant(leak.session().tenant(), options.tenant) &&
           (options.session == 0 ||
            leak.session().session_id() == options.session);
  });
  KeepOnly(reply->mutable_lingering(), [&](const v1::LingeringSlab& slab) {
    return IsWithinTenant(slab.tenant(), options.tenant) &&
           (options.session == 0 || IsSuspect(slab, options.session)) &&
           IsOlderThan(slab.since_unix_ns(), options.min_age, now);
  });
  KeepOnly(reply->mutable_unheld_objects(), [&](const v1::ObjectInfo& object) {
    return IsWithinTenant(object.tenant(), options.tenant) &&
           (options.session == 0 ||
            object.producer_session() == options.session) &&
           IsOlderThan(object.created_unix_ns(), options.min_age, now);
  });
}

// The reply is filtered already; the snapshot is taken anew, with the blocks of
// all sizes.
absl::Status WriteMemoryViz(AdminClient& client, const Context& context) {
  constexpr uint32_t kBlocks = 100000;
  v1::TakeSnapshotRequest request;
  request.set_max_blocks(kBlocks);
  VRAMPOOL_ASSIGN_OR_RETURN(v1::FullSnapshot snapshot,
                            client.TakeSnapshot(request));
  Filter(context.options, context.now, snapshot.mutable_leaks());
  KeepOnly(snapshot.mutable_leases(), [&](const v1::LeaseInfo& slab) {
    return IsWithinTenant(slab.tenant(), context.options.tenant) &&
           (context.options.session == 0 ||
            slab.session_id() == context.options.session);
  });
  const MemoryViz made = MakeMemoryViz(snapshot, context.options);
  if (made.left_out > 0) {
    context.err << made.left_out
                << " blocks lie in no slab of their session, or overlap: left "
                   "out\n";
  }
  for (const std::string& text : snapshot.missing()) {
    context.err << "not in the file: " << Printable(text) << '\n';
  }
  return WriteFile(context.options.memory_viz, made.pickle);
}

}  // namespace

absl::StatusOr<ExitCode> RunLeaks(const Context& context) {
  const Options& options = context.options;
  VRAMPOOL_ASSIGN_OR_RETURN(const auto client, ConnectChosen(options));
  v1::ListLeaksRequest request;
  request.set_min_age_ms(absl::ToInt64Milliseconds(options.min_age));
  request.set_max_blocks(options.max_blocks);
  VRAMPOOL_ASSIGN_OR_RETURN(v1::ListLeaksResponse reply,
                            client->ListLeaks(request));
  Filter(options, context.now, &reply);
  VRAMPOOL_RETURN_IF_ERROR(
      Sort(ReportTable(context.now), options.order, reply.mutable_reports()));
  if (!options.flame_graph.empty()) {
    VRAMPOOL_RETURN_IF_ERROR(
        WriteFile(options.flame_graph, FlameGraph(reply, options)));
  }
  if (!options.memory_viz.empty()) {
    VRAMPOOL_RETURN_IF_ERROR(WriteMemoryViz(*client, context));
  }
  if (!options.flame_graph.empty() || !options.memory_viz.empty()) {
    return ExitCode::kOk;
  }
  if (options.is_json) {
    VRAMPOOL_RETURN_IF_ERROR(PrintJson(reply, context.out));
  } else {
    PrintAll(reply, context);
  }
  return ExitCode::kOk;
}

}  // namespace vrampool::cli
