// `vrampool leases`: every slab, whose it is, and who may map it.

#include <string>

#include "absl/strings/str_join.h"
#include "client/cli/commands.h"
#include "client/cli/handle_kind.h"
#include "client/cli/listing.h"
#include "client/cli/text.h"

namespace vrampool::cli {
namespace {

// An id, or "-" for the 0 that means none.
Cell Id(uint64_t id) {
  return {.text = id == 0 ? "-" : std::to_string(id), .key = id};
}

TableOf<v1::LeaseInfo> LeaseTable(absl::Time now) {
  using Row = v1::LeaseInfo;
  return {
      {"LEASE", Align::kRight,
       [](const Row& row) { return Id(row.lease_id()); }},
      {"SLAB", Align::kRight, [](const Row& row) { return Id(row.slab_id()); }},
      {"SESSION", Align::kRight,
       [](const Row& row) { return Id(row.session_id()); }},
      {"TENANT", Align::kLeft,
       [](const Row& row) { return Text(row.tenant()); }},
      {"PAYER", Align::kLeft,
       [](const Row& row) {
         return Text(row.payer() == row.tenant() ? "" : row.payer());
       }},
      {"SIZE", Align::kRight,
       [](const Row& row) { return Size(row.size_bytes()); }},
      {"KIND", Align::kLeft,
       [](const Row& row) { return Text(KindText(row.kind())); }},
      {"STATE", Align::kLeft, [](const Row& row) { return Text(row.state()); }},
      {"AGE", Align::kRight,
       [now](const Row& row) { return Age(row.since_unix_ns(), now); }},
      {"OBJECTS", Align::kRight,
       [](const Row& row) { return Number(row.objects()); }},
      {"MAPPED_BY", Align::kLeft,
       [](const Row& row) {
         return Text(absl::StrJoin(row.mapped_by(), ","));
       }},
  };
}

}  // namespace

absl::StatusOr<ExitCode> RunLeases(const Context& context) {
  const Options& options = context.options;
  VRAMPOOL_ASSIGN_OR_RETURN(const auto client, ConnectChosen(options));
  v1::ListLeasesRequest request;
  request.set_session_id(options.session);
  VRAMPOOL_ASSIGN_OR_RETURN(v1::ListLeasesResponse reply,
                            client->ListLeases(request));
  KeepOnly(reply.mutable_leases(), [&](const v1::LeaseInfo& lease) {
    return IsWithinTenant(lease.tenant(), options.tenant) &&
           IsOlderThan(lease.since_unix_ns(), options.min_age, context.now);
  });
  return PrintListing(context, LeaseTable(context.now), reply,
                      reply.mutable_leases());
}

}  // namespace vrampool::cli
