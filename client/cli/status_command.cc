// `vrampool status`: the pool as a whole, of one device or of all.

#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/device_directory.h"
#include "client/cli/handle_kind.h"
#include "client/cli/listing.h"
#include "client/cli/text.h"

namespace vrampool::cli {
namespace {

std::string Share(uint64_t part, uint64_t whole) {
  if (whole == 0) return "-";
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f%%",
                100.0 * static_cast<double>(part) / static_cast<double>(whole));
  return text;
}

std::string KindsText(const v1::GetStatusResponse& status) {
  std::string text;
  for (int i = 0; i < status.kinds_size(); ++i) {
    absl::StrAppend(&text, i == 0 ? "" : ", ", KindText(status.kinds(i)));
  }
  return text;
}

void PrintPool(const v1::PoolUsage& pool, Header header, std::ostream& out) {
  TextTable table;
  table.AddColumn("STATE", Align::kLeft);
  table.AddColumn("SIZE", Align::kRight);
  table.AddColumn("SHARE", Align::kRight);
  const auto add = [&](const char* state, uint64_t bytes) {
    table.AddRow({state, FormatBytes(Bytes(bytes)),
                  Share(bytes, pool.capacity_bytes())});
  };
  add("capacity", pool.capacity_bytes());
  add("free", pool.free_bytes());
  add("creating", pool.creating_bytes());
  add("clean", pool.clean_bytes());
  add("leased", pool.leased_bytes());
  add("parked", pool.parked_bytes());
  add("kept", pool.kept_bytes());
  add("destroying", pool.destroying_bytes());
  add("lingering", pool.lingering_bytes());
  table.Print(header, out);
}

std::string DeviceUseText(const v1::DeviceUse& use) {
  std::string text =
      absl::StrCat(FormatBytes(Bytes(use.free_bytes())), " of ",
                   FormatBytes(Bytes(use.total_bytes())), " are free");
  if (use.missing_bytes() > 0) {
    absl::StrAppend(&text, "; others have ",
                    FormatBytes(Bytes(use.missing_bytes())),
                    " OF THE POOL'S FREE MEMORY");
  }
  return text;
}

std::string AlertsText(uint64_t raised) {
  if (raised == 0) return "none raised";
  return absl::StrCat(raised, " RAISED; vrampool tenants says which");
}

void PrintOne(const Device& device, const v1::GetStatusResponse& status,
              const Context& context) {
  TextTable facts;
  facts.AddColumn("", Align::kLeft);
  facts.AddColumn("", Align::kLeft);
  facts.AddRow({"device", absl::StrCat(device.Title(), ", ",
                                       Printable(status.device_name()))});
  facts.AddRow(
      {"daemon",
       absl::StrCat("version ", Printable(status.version()), ", pid ",
                    status.pid(), ", epoch ", status.epoch(), ", up ",
                    FormatSince(status.started_unix_ns(), context.now), ", ",
                    status.serving() ? "serving" : "NOT SERVING")});
  facts.AddRow({"health", Printable(status.device_health())});
  facts.AddRow(
      {"slabs",
       absl::StrCat("granule ", FormatBytes(Bytes(status.granule_bytes())),
                    ", kinds ", KindsText(status),
                    status.preallocated() ? ", preallocated" : "")});
  facts.AddRow(
      {"use", absl::StrCat(status.sessions(), " sessions, ", status.leases(),
                           " leases, ", status.objects(), " objects, ",
                           status.waiting(), " waiting")});
  facts.AddRow(
      {"refused", absl::StrCat(status.refused_quota(), " by quota, ",
                               status.refused_pool(), " by a full pool, ",
                               status.refused_rate(), " by a rate")});
  facts.AddRow({"alerts", AlertsText(status.alerts_raised())});
  if (status.has_device_use()) {
    facts.AddRow({"memory", DeviceUseText(status.device_use())});
  }
  facts.AddRow({"ghosts", FormatBytes(Bytes(status.ghost_bytes()))});
  facts.AddRow({"ledger", status.conservation_holds()
                              ? "adds up to the capacity"
                              : "DOES NOT ADD UP to the capacity"});
  for (const v1::DeviceNote& note : status.device_notes()) {
    facts.AddRow(
        {note.is_warning() ? "WARNING" : "note", Printable(note.text())});
  }
  facts.Print(Header::kHidden, context.out);
  context.out << '\n';
  PrintPool(status.pool(), context.options.header, context.out);
}

absl::Status ShowOne(const Device& device, const Context& context) {
  VRAMPOOL_ASSIGN_OR_RETURN(const auto client, AdminClient::Connect(device));
  VRAMPOOL_ASSIGN_OR_RETURN(const v1::GetStatusResponse status,
                            client->GetStatus());
  if (context.options.is_json) return PrintJson(status, context.out);
  PrintOne(device, status, context);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ExitCode> RunStatus(const Context& context) {
  VRAMPOOL_ASSIGN_OR_RETURN(
      const std::vector<Device> devices,
      SelectDevices(context.options.directory, context.options.device));
  if (devices.size() == 1) {
    VRAMPOOL_RETURN_IF_ERROR(ShowOne(devices.front(), context));
    return ExitCode::kOk;
  }
  // One daemon that does not answer must not hide the others.
  ExitCode code = ExitCode::kOk;
  bool is_first = true;
  for (const Device& device : devices) {
    if (!is_first && !context.options.is_json) context.out << '\n';
    is_first = false;
    const absl::Status shown = ShowOne(device, context);
    if (shown.ok()) continue;
    context.err << "vrampool: " << device.Title() << ": "
                << std::string(shown.message()) << '\n';
    code = ExitCodeOf(shown);
  }
  return code;
}

}  // namespace vrampool::cli
