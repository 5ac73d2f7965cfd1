// `vrampool sessions`: who is attached, and what each holds.

#include <algorithm>
#include <cstdint>
#include <string>

#include "client/cli/commands.h"
#include "client/cli/listing.h"
#include "client/cli/session_text.h"

namespace vrampool::cli {
namespace {

// What the session is charged for and its application does not have: the rest
// of its slabs, what its library caches, what is parked. Zero where the client
// says that it has more.
uint64_t UnusedBytes(const v1::SessionInfo& session) {
  const uint64_t charged = session.charged_bytes();
  const uint64_t gone = std::min(charged, session.lingering_bytes());
  return charged - gone - std::min(charged - gone, session.live_bytes());
}

TableOf<v1::SessionInfo> SessionTable(absl::Time now) {
  using Row = v1::SessionInfo;
  return {
      {"SESSION", Align::kRight,
       [](const Row& row) { return Number(row.session_id()); }},
      {"TENANT", Align::kLeft,
       [](const Row& row) { return Text(row.tenant()); }},
      {"STATE", Align::kLeft,
       [](const Row& row) { return Text(StateText(row.state())); }},
      {"PID", Align::kRight,
       [](const Row& row) { return Number(row.process().pid()); }},
      {"UID", Align::kRight,
       [](const Row& row) { return Number(row.process().uid()); }},
      {"CHARGED", Align::kRight,
       [](const Row& row) { return Size(row.charged_bytes()); }},
      {"LEASES", Align::kRight,
       [](const Row& row) { return Number(row.leases()); }},
      {"HOLDS", Align::kRight,
       [](const Row& row) { return Number(row.holds()); }},
      {"BLOCKS", Align::kRight,
       [](const Row& row) { return Number(row.live_blocks()); }},
      {"LIVE", Align::kRight,
       [](const Row& row) { return Size(row.live_bytes()); }},
      {"UNUSED", Align::kRight,
       [](const Row& row) { return Size(UnusedBytes(row)); }},
      {"LINGERING", Align::kRight,
       [](const Row& row) { return Size(row.lingering_bytes()); }},
      {"AGE", Align::kRight,
       [now](const Row& row) { return Age(row.attached_unix_ns(), now); }},
      {"NAME", Align::kLeft, [](const Row& row) { return Text(row.name()); }},
      {"TAG", Align::kLeft, [](const Row& row) { return Text(row.tag()); }},
      {"FRAMEWORK", Align::kLeft,
       [](const Row& row) { return Text(row.framework()); }},
      {"COMMAND", Align::kLeft,
       [](const Row& row) { return Text(CommandText(row.process())); }},
  };
}

}  // namespace

absl::StatusOr<ExitCode> RunSessions(const Context& context) {
  const Options& options = context.options;
  VRAMPOOL_ASSIGN_OR_RETURN(const auto client, ConnectChosen(options));
  v1::ListSessionsRequest request;
  request.set_tenant(options.tenant);
  VRAMPOOL_ASSIGN_OR_RETURN(v1::ListSessionsResponse reply,
                            client->ListSessions(request));
  KeepOnly(reply.mutable_sessions(), [&](const v1::SessionInfo& session) {
    return (options.session == 0 || session.session_id() == options.session) &&
           IsOlderThan(session.attached_unix_ns(), options.min_age,
                       context.now);
  });
  return PrintListing(context, SessionTable(context.now), reply,
                      reply.mutable_sessions());
}

}  // namespace vrampool::cli
