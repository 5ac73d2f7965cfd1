// `vrampool version`: this program's version, and those of the daemons that
// answer. Without any, it is no error: the question was about this program.

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/listing.h"
#include "client/cli/text.h"
#include "proto/attach/messages.h"

namespace vrampool::cli {
namespace {

void AddDaemon(const Device& device, report::VersionReport* versions) {
  const auto client = AdminClient::Connect(device);
  if (!client.ok()) return;
  const auto status = (*client)->GetStatus();
  if (!status.ok()) return;
  report::VersionReport::Daemon* daemon = versions->add_daemons();
  daemon->set_device_uuid(status->device_uuid());
  daemon->set_version(status->version());
  daemon->set_pid(status->pid());
}

}  // namespace

absl::StatusOr<ExitCode> RunVersion(const Context& context) {
  report::VersionReport versions;
  versions.set_version(VRAMPOOL_VERSION);
  versions.set_attach_protocol(attach::kVersion);
  const auto devices =
      SelectDevices(context.options.directory, context.options.device);
  if (devices.ok()) {
    for (const Device& device : *devices) AddDaemon(device, &versions);
  }
  if (context.options.is_json) {
    VRAMPOOL_RETURN_IF_ERROR(PrintJson(versions, context.out));
    return ExitCode::kOk;
  }
  context.out << "vrampool " << versions.version() << ", attach protocol "
              << versions.attach_protocol() << '\n';
  for (const report::VersionReport::Daemon& daemon : versions.daemons()) {
    context.out << "daemon " << Printable(daemon.version()) << " serves "
                << Printable(daemon.device_uuid()) << ", pid " << daemon.pid()
                << '\n';
  }
  return ExitCode::kOk;
}

}  // namespace vrampool::cli
