// `vrampool health`: does the daemon serve? For a container's HEALTHCHECK.

#include "client/cli/commands.h"
#include "client/cli/listing.h"

namespace vrampool::cli {

absl::StatusOr<ExitCode> RunHealth(const Context& context) {
  VRAMPOOL_ASSIGN_OR_RETURN(const auto client, ConnectChosen(context.options));
  VRAMPOOL_ASSIGN_OR_RETURN(const report::HealthResponse reply,
                            client->Health());
  if (context.options.is_json) {
    VRAMPOOL_RETURN_IF_ERROR(PrintJson(reply, context.out));
  } else {
    context.out << report::HealthResponse::ServingStatus_Name(reply.status())
                << '\n';
  }
  return reply.status() == report::HealthResponse::SERVING
             ? ExitCode::kOk
             : ExitCode::kUnhealthy;
}

}  // namespace vrampool::cli
