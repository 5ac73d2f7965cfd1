// `vrampool watch`: what happens, as it happens.

#include <string>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/event_text.h"
#include "client/cli/json.h"
#include "client/cli/listing.h"

namespace vrampool::cli {
namespace {

absl::Status PrintEvent(const v1::Event& event, const Context& context) {
  if (context.options.is_json) {
    VRAMPOOL_ASSIGN_OR_RETURN(const std::string line, JsonLine(event));
    context.out << line;
  } else {
    context.out << EventText(event) << '\n';
  }
  context.out.flush();
  if (!context.out) return absl::CancelledError("nobody reads the output");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ExitCode> RunWatch(const Context& context) {
  const Options& options = context.options;
  v1::WatchRequest request;
  request.set_tenant(options.tenant);
  for (const std::string& name : options.event_kinds) {
    request.add_kinds(*ParseEventKind(name));  // It has passed its check.
  }
  VRAMPOOL_ASSIGN_OR_RETURN(const auto client, ConnectChosen(options));
  uint64_t left = options.event_count;
  absl::Status printed;
  const auto each = [&](const v1::Event& event) {
    if (event.kind() == v1::Event::KIND_WATCHING) {
      context.err << "watching\n";
      context.err.flush();
      return true;
    }
    printed = PrintEvent(event, context);
    return printed.ok() && (options.event_count == 0 || --left > 0);
  };
  VRAMPOOL_RETURN_IF_ERROR(client->Watch(request, each));
  VRAMPOOL_RETURN_IF_ERROR(printed);
  if (options.event_count == 0) context.err << "the daemon has stopped\n";
  return ExitCode::kOk;
}

}  // namespace vrampool::cli
