// `vrampool snapshot save` and `diff`: the whole state, kept and compared.

#include <string>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/file.h"
#include "client/cli/listing.h"
#include "client/cli/snapshot_diff.h"
#include "client/cli/text.h"

namespace vrampool::cli {
namespace {

using report::Change;

const char* KindText(Change::Kind kind) {
  switch (kind) {
    case Change::KIND_TENANT:
      return "tenant";
    case Change::KIND_SESSION:
      return "session";
    case Change::KIND_TAG:
      return "tag";
    case Change::KIND_CALL_SITE:
      return "call site";
    case Change::KIND_OBJECT:
      return "object";
    default:
      return "?";
  }
}

std::string SignedSize(uint64_t before, uint64_t after) {
  return after >= before
             ? absl::StrCat("+", FormatBytes(Bytes(after - before)))
             : absl::StrCat("-", FormatBytes(Bytes(before - after)));
}

TableOf<Change> ChangeTable() {
  using Row = Change;
  return {
      {"WHAT", Align::kLeft,
       [](const Row& row) { return Text(KindText(row.kind())); }},
      {"VERDICT", Align::kLeft,
       [](const Row& row) { return Text(row.verdict()); }},
      {"CHANGE", Align::kRight,
       [](const Row& row) {
         return Cell{.text = SignedSize(row.bytes_before(), row.bytes_after()),
                     .key = static_cast<int64_t>(row.bytes_after() -
                                                 row.bytes_before())};
       }},
      {"BYTES", Align::kRight,
       [](const Row& row) { return Size(row.bytes_after()); }},
      {"BLOCKS_BEFORE", Align::kRight,
       [](const Row& row) { return Number(row.blocks_before()); }},
      {"BLOCKS", Align::kRight,
       [](const Row& row) { return Number(row.blocks_after()); }},
      {"TENANT", Align::kLeft,
       [](const Row& row) { return Text(row.tenant()); }},
      {"SESSION", Align::kRight,
       [](const Row& row) { return Number(row.session_id()); }},
      {"PID", Align::kRight, [](const Row& row) { return Number(row.pid()); }},
      {"NAME", Align::kLeft, [](const Row& row) { return Text(row.name()); }},
      {"TAG", Align::kLeft, [](const Row& row) { return Text(row.tag()); }},
      {"CALL_SITE", Align::kLeft,
       [](const Row& row) { return Text(row.call_site()); }},
  };
}

absl::StatusOr<v1::FullSnapshot> ReadSnapshot(const std::string& path) {
  VRAMPOOL_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  v1::FullSnapshot snapshot;
  VRAMPOOL_RETURN_IF_ERROR(ParseJson(text, path, &snapshot));
  return snapshot;
}

void PrintDiff(const report::SnapshotDiff& diff, const Context& context) {
  Print(ChangeTable(), diff.changes(), context.options.header, context.out);
  if (!diff.same_daemon()) {
    context.out << "\nthe daemon was started anew in between\n";
  }
  for (const std::string& text : diff.missing()) {
    context.out << "not compared, " << Printable(text) << '\n';
  }
}

}  // namespace

absl::StatusOr<ExitCode> RunSnapshotSave(const Context& context) {
  const Options& options = context.options;
  VRAMPOOL_ASSIGN_OR_RETURN(const auto client, ConnectChosen(options));
  v1::TakeSnapshotRequest request;
  request.set_max_blocks(options.snapshot_blocks);
  VRAMPOOL_ASSIGN_OR_RETURN(const v1::FullSnapshot snapshot,
                            client->TakeSnapshot(request));
  if (options.file == "-") {
    VRAMPOOL_RETURN_IF_ERROR(PrintJson(snapshot, context.out));
  } else {
    VRAMPOOL_ASSIGN_OR_RETURN(const std::string text, JsonText(snapshot));
    VRAMPOOL_RETURN_IF_ERROR(WriteFile(options.file, text));
  }
  for (const std::string& text : snapshot.missing()) {
    context.err << "not in the snapshot: " << Printable(text) << '\n';
  }
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> RunSnapshotDiff(const Context& context) {
  const Options& options = context.options;
  VRAMPOOL_ASSIGN_OR_RETURN(const v1::FullSnapshot before,
                            ReadSnapshot(options.file));
  VRAMPOOL_ASSIGN_OR_RETURN(const v1::FullSnapshot after,
                            ReadSnapshot(options.other_file));
  report::SnapshotDiff diff = Compare(before, after, options.min_growth);
  KeepOnly(diff.mutable_changes(), [&](const Change& change) {
    return IsWithinTenant(change.tenant(), options.tenant);
  });
  VRAMPOOL_RETURN_IF_ERROR(
      Sort(ChangeTable(), options.order, diff.mutable_changes()));
  if (options.is_json) {
    VRAMPOOL_RETURN_IF_ERROR(PrintJson(diff, context.out));
  } else {
    PrintDiff(diff, context);
  }
  return HasGrowth(diff) ? ExitCode::kGrew : ExitCode::kOk;
}

}  // namespace vrampool::cli
