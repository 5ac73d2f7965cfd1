// `vrampool reload`: the daemon reads its configuration again.

#include "client/cli/commands.h"
#include "client/cli/listing.h"

namespace vrampool::cli {

absl::StatusOr<ExitCode> RunReload(const Context& context) {
  VRAMPOOL_ASSIGN_OR_RETURN(const auto client, ConnectChosen(context.options));
  VRAMPOOL_ASSIGN_OR_RETURN(const v1::ReloadResponse reply, client->Reload());
  if (context.options.is_json) {
    VRAMPOOL_RETURN_IF_ERROR(PrintJson(reply, context.out));
    return ExitCode::kOk;
  }
  for (const std::string& change : reply.changes()) {
    context.out << change << '\n';
  }
  if (reply.changes().empty()) context.out << "nothing has changed\n";
  return ExitCode::kOk;
}

}  // namespace vrampool::cli
