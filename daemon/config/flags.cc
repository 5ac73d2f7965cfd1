#include "daemon/config/flags.h"

#include <sstream>

#include "CLI/CLI.hpp"

namespace vrampool {
namespace {

constexpr char kExamples[] = R"(Examples:
  vrampoold --pool-size 8GiB --directory /tmp/vrampool
      a pool of 8 GiB of this machine's memory
  vrampoold --device cuda:0 --pool-size 90% --kinds VMM_FD
      nine tenths of the first GPU's memory
  vrampoold --config /etc/vrampool/host.conf --log-level debug
      what the file says, with more to read
  vrampoold --config /etc/vrampool/host.conf --check-config
      say whether the file is right, and exit

Sizes are in powers of 1024 ("512MiB", "80GiB"). Every flag overrides the key of
the same meaning in the configuration file. Exit codes: 0 stopped in order,
1 could not run, 2 wrong usage or configuration.)";

void AddFlags(CLI::App& app, Flags& flags) {
  app.add_option("--config", flags.config_path,
                 "Configuration, protobuf text format (see config.proto)")
      ->type_name("FILE");
  app.add_option("--device", flags.device,
                 "Device to serve: host (the default), host:NAME, cuda, "
                 "cuda:INDEX or cuda:GPU-UUID")
      ->type_name("DEVICE");
  app.add_option("--pool-size", flags.pool_size,
                 "Size of the pool: bytes, or a share of the device's memory "
                 "such as 75% or 0.75")
      ->type_name("SIZE");
  app.add_option("--kinds", flags.kinds,
                 "Handle kinds to offer, the default one first: HOST_FD, "
                 "CUDA_IPC, VMM_FD")
      ->delimiter(',')
      ->type_name("KIND,...");
  app.add_option("--directory", flags.directory,
                 "Directory of the sockets (default: $VRAMPOOL_DIR, else "
                 "/run/vrampool)")
      ->type_name("DIR");
  app.add_option("--tenant-limit", flags.tenant_limit,
                 "Limit of tenants that have none of their own")
      ->type_name("SIZE");
  app.add_flag("--preallocate", flags.preallocate,
               "Create the whole pool at start");
  app.add_option("--socket-mode", flags.socket_mode,
                 "Mode of the sockets, octal (default 0666)")
      ->type_name("MODE");
  app.add_option("--log-level", flags.log_level,
                 "trace, debug, info, warn or error")
      ->type_name("LEVEL");
  app.add_flag("--check-config", flags.check_config,
               "Validate flags and configuration, and exit");
}

}  // namespace

CommandLine ParseCommandLine(int argc, const char* const* argv) {
  CommandLine line;
  CLI::App app(
      "vrampoold: owns one device's memory pool and lends it to processes.",
      "vrampoold");
  app.footer(kExamples);
  app.set_version_flag("--version", "vrampoold " VRAMPOOL_VERSION);
  AddFlags(app, line.flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::ostringstream out;
    std::ostringstream err;
    const bool is_answer = app.exit(error, out, err) == 0;
    line.exit_code = is_answer ? 0 : 2;
    line.text = is_answer ? out.str() : err.str();
  }
  return line;
}

void ApplyFlags(const Flags& flags, ConfigSource& source) {
  if (flags.device.has_value()) {
    source.Override("device", "--device").set_device(*flags.device);
  }
  if (flags.pool_size.has_value()) {
    source.Override("pool_size", "--pool-size").set_pool_size(*flags.pool_size);
  }
  if (!flags.kinds.empty()) {
    v1::Config& config = source.Override("kinds", "--kinds");
    config.clear_kinds();
    for (const std::string& kind : flags.kinds) config.add_kinds(kind);
  }
  if (flags.directory.has_value()) {
    source.Override("directory", "--directory").set_directory(*flags.directory);
  }
  if (flags.tenant_limit.has_value()) {
    source.Override("default_limit", "--tenant-limit")
        .set_default_limit(*flags.tenant_limit);
  }
  if (flags.preallocate) {
    source.Override("preallocate", "--preallocate").set_preallocate(true);
  }
  if (flags.socket_mode.has_value()) {
    source.Override("socket_mode", "--socket-mode")
        .set_socket_mode(*flags.socket_mode);
  }
  if (flags.log_level.has_value()) {
    source.Override("log_level", "--log-level").set_log_level(*flags.log_level);
  }
}

}  // namespace vrampool
