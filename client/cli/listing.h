// listing.h - the steps that the list commands share: connect, filter, and
// print sorted rows as a table or as JSON.

#ifndef VRAMPOOL_CLIENT_CLI_LISTING_H_
#define VRAMPOOL_CLIENT_CLI_LISTING_H_

#include <memory>

#include "absl/status/statusor.h"
#include "base/status_macros.h"
#include "client/cli/admin_client.h"
#include "client/cli/commands.h"
#include "client/cli/json.h"
#include "client/cli/table.h"
#include "google/protobuf/repeated_field.h"

namespace vrampool::cli {

// Connects to the one device that the options choose.
absl::StatusOr<std::unique_ptr<AdminClient>> ConnectChosen(
    const Options& options);

// At least `min_age` has passed since `unix_ns`; 0 counts as long ago.
bool IsOlderThan(int64_t unix_ns, absl::Duration min_age, absl::Time now);

// Keeps the rows for which `keep` holds, in their order.
template <typename Row, typename Keep>
void KeepOnly(google::protobuf::RepeatedPtrField<Row>* rows, Keep keep) {
  int kept = 0;
  for (int i = 0; i < rows->size(); ++i) {
    if (!keep(rows->Get(i))) continue;
    if (i != kept) rows->SwapElements(i, kept);
    ++kept;
  }
  rows->DeleteSubrange(kept, rows->size() - kept);
}

// Sorts `rows`, which belong to `reply`, and prints them, or `reply` as JSON.
template <typename Row, typename Reply>
absl::StatusOr<ExitCode> PrintListing(
    const Context& context, const TableOf<Row>& table, const Reply& reply,
    google::protobuf::RepeatedPtrField<Row>* rows) {
  VRAMPOOL_RETURN_IF_ERROR(Sort(table, context.options.order, rows));
  if (context.options.is_json) {
    VRAMPOOL_RETURN_IF_ERROR(PrintJson(reply, context.out));
  } else {
    Print(table, *rows, context.options.header, context.out);
  }
  return ExitCode::kOk;
}

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_LISTING_H_
