// `vrampool reservations`: room that is held and not leased yet.

#include <algorithm>

#include "client/cli/commands.h"
#include "client/cli/handle_kind.h"
#include "client/cli/listing.h"
#include "client/cli/text.h"

namespace vrampool::cli {
namespace {

// How long until then; ordered by that.
Cell Until(int64_t unix_ns, absl::Time now) {
  const absl::Duration left =
      std::max(absl::FromUnixNanos(unix_ns) - now, absl::ZeroDuration());
  return {.text = absl::FormatDuration(absl::Trunc(left, absl::Seconds(1))),
          .key = absl::ToInt64Nanoseconds(left)};
}

TableOf<v1::ReservationInfo> ReservationTable(absl::Time now) {
  using Row = v1::ReservationInfo;
  return {
      {"RESERVATION", Align::kRight,
       [](const Row& row) { return Number(row.reservation_id()); }},
      {"SESSION", Align::kRight,
       [](const Row& row) { return Number(row.session_id()); }},
      {"TENANT", Align::kLeft,
       [](const Row& row) { return Text(row.tenant()); }},
      {"LEFT", Align::kRight,
       [](const Row& row) { return Size(row.left_bytes()); }},
      {"KIND", Align::kLeft,
       [](const Row& row) { return Text(KindText(row.kind())); }},
      {"EXPIRES_IN", Align::kRight,
       [now](const Row& row) { return Until(row.expires_unix_ns(), now); }},
  };
}

}  // namespace

absl::StatusOr<ExitCode> RunReservations(const Context& context) {
  const Options& options = context.options;
  VRAMPOOL_ASSIGN_OR_RETURN(const auto client, ConnectChosen(options));
  VRAMPOOL_ASSIGN_OR_RETURN(v1::ListReservationsResponse reply,
                            client->ListReservations());
  KeepOnly(reply.mutable_reservations(), [&](const v1::ReservationInfo& row) {
    return IsWithinTenant(row.tenant(), options.tenant) &&
           (options.session == 0 || row.session_id() == options.session);
  });
  return PrintListing(context, ReservationTable(context.now), reply,
                      reply.mutable_reservations());
}

}  // namespace vrampool::cli
