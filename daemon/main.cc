// main.cc - vrampoold: builds every object of the daemon, runs it, and takes it
// down in order.
//
// Exit codes: 0 stopped in order, 1 could not run, 2 wrong usage or
// configuration.

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "daemon/attach/door.h"
#include "daemon/broker/broker.h"
#include "daemon/broker/session_tokens.h"
#include "daemon/config/config.h"
#include "daemon/config/config_source.h"
#include "daemon/config/descriptors.h"
#include "daemon/config/flags.h"
#include "daemon/config/policy.h"
#include "daemon/device/cuda/peer_process.h"
#include "daemon/observe/audit_log.h"
#include "daemon/observe/event_hub.h"
#include "daemon/observe/logged_broker.h"
#include "daemon/observe/logging.h"
#include "daemon/observe/metrics_server.h"
#include "daemon/observe/service_manager.h"
#include "daemon/observe/telemetry.h"
#include "daemon/open_device.h"
#include "daemon/reloader.h"
#include "daemon/service/grpc_server.h"
#include "daemon/signals.h"

namespace vrampool {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

// Calls that wait are woken at once; this is for those that work.
constexpr absl::Duration kDrainPatience = absl::Seconds(5);
constexpr absl::Duration kProbePatience = absl::Seconds(1);
constexpr absl::Duration kRound = absl::Seconds(1);

std::string_view MessageOf(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

int Fail(const absl::Status& status, int exit_code) {
  std::fprintf(stderr, "vrampoold: %s\n",
               std::string(MessageOf(status)).c_str());
  return exit_code;
}

// Every client costs descriptors, and slabs do; the soft limit is a default of
// another age. How many there may be.
uint64_t RaiseDescriptorLimit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return kAnyDescriptors;
  const rlim_t soft = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_max : soft;
}

void PrepareDescriptors(const DeviceInfo& device, Config& config) {
  CoreSettings& core = config.core;
  if (core.granule > device.granule) {
    Log(LogLevel::kWarn,
        "slabs are larger than they would have to be, since each takes a "
        "descriptor: raise the limit of descriptors (LimitNOFILE, ulimit -n)",
        {{"descriptors", config.descriptors},
         {"granule_bytes", core.granule.count()}});
  }
  const uint64_t wanted = DescriptorsFor(core);
  if (!FitToDescriptors(config.descriptors, core)) return;
  Log(LogLevel::kWarn,
      "fewer sessions than bounds.sessions: raise the limit of descriptors "
      "(LimitNOFILE, ulimit -n)",
      {{"descriptors", config.descriptors},
       {"wanted", wanted},
       {"sessions", core.bounds.sessions},
       {"sessions_per_uid", core.bounds.sessions_per_uid}});
}

void LogNotes(const DeviceInfo& device) {
  for (const DeviceNote& note : device.notes) {
    Log(note.is_warning ? LogLevel::kWarn : LogLevel::kInfo, "device",
        {{"note", std::string_view(note.text)}});
  }
}

// A name for this life of the daemon that no earlier one had.
Epoch NewEpoch(const Clock& clock) {
  return Epoch{static_cast<uint64_t>(absl::ToUnixMillis(clock.Now()))};
}

// What one run of the daemon is made of, in the order of making.
class Daemon {
 public:
  // What there is before it; all outlive it.
  struct World {
    const Flags& flags;
    const Config& config;
    const Config& written;
    const OpenedDevice& opened;
    Signals& signals;
    AuditLog& audit;
  };
  explicit Daemon(const World& world)
      : flags_(world.flags),
        config_(world.config),
        written_(world.written),
        opened_(world.opened),
        device_(*world.opened.device),
        signals_(world.signals),
        audit_(world.audit),
        policy_(config_.policy),
        manager_([this] { return Alive(); }) {}

  // Serves until a signal.
  absl::Status Run();

 private:
  absl::Status Start();
  absl::Status Alive();
  absl::Duration Tick();  // Until there is something to do again.
  void HangUp();
  void Stop(std::string_view signal);
  std::string Serving() const;  // In words.

  const Flags& flags_;
  const Config& config_;   // As at the start: a reload changes parts of it.
  const Config& written_;  // The same before it was fitted to this process.
  const OpenedDevice& opened_;
  Device& device_;
  Signals& signals_;
  AuditLog& audit_;
  const RealClock clock_;
  Policy policy_;
  SessionTokens tokens_;
  ServiceManager manager_;
  std::atomic<bool> is_stopping_ = false;
  absl::Time next_round_ = absl::InfinitePast();  // Of what time alone brings.
  EventHub events_;
  Telemetry telemetry_{events_, &audit_};
  std::unique_ptr<Broker> broker_;
  std::unique_ptr<LoggedBroker> logged_;
  std::unique_ptr<Reloader> reloader_;
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<Door> door_;
  std::unique_ptr<MetricsServer> metrics_;  // Null: they are not served.
};

absl::Status Daemon::Start() {
  VRAMPOOL_ASSIGN_OR_RETURN(
      broker_, Broker::Start({.settings = config_.core,
                              .preallocate_slab = config_.preallocate_slab,
                              .observer = &telemetry_},
                             device_, clock_));
  logged_ = std::make_unique<LoggedBroker>(*broker_, telemetry_, clock_);
  reloader_ =
      std::make_unique<Reloader>(flags_, written_, device_.info(), *logged_,
                                 policy_, audit_, telemetry_, clock_);
  VRAMPOOL_ASSIGN_OR_RETURN(
      server_,
      GrpcServer::Start(
          {.bounds = config_.core.bounds,
           .is_preallocated = !config_.preallocate_slab.is_zero(),
           .reload =
               [this](std::string_view by) { return reloader_->Reload(by); }},
          *logged_, events_, tokens_, policy_, clock_));
  VRAMPOOL_ASSIGN_OR_RETURN(
      door_, Door::Open({.directory = config_.directory,
                         .device_uuid = device_.info().uuid,
                         .socket_mode = config_.socket_mode,
                         .link_prefix = opened_.link_prefix,
                         .link_number = opened_.link_number,
                         .on_tick = [this] { return Tick(); }},
                        *logged_, tokens_, policy_, server_->connections()));
  if (config_.metrics_address.empty()) return absl::OkStatus();
  VRAMPOOL_ASSIGN_OR_RETURN(metrics_,
                            MetricsServer::Start(config_.metrics_address,
                                                 {.broker = *broker_,
                                                  .telemetry = telemetry_,
                                                  .hub = events_,
                                                  .audit = &audit_,
                                                  .started_at = clock_.Now()}));
  Log(LogLevel::kInfo, "metrics served", {{"port", metrics_->port()}});
  return absl::OkStatus();
}

// What a beat of the watchdog asserts: the Door's loop runs (it is what asks),
// the broker's lock can be had, and gRPC answers a call. Each of them hanging
// stops the beat. A full daemon is alive: its refusal is an answer.
absl::Status Daemon::Alive() {
  // No session has the id 0: the answer is a refusal, given under the lock.
  (void)logged_->GetBudget(SessionId{});
  if (is_stopping_) return absl::OkStatus();
  const absl::Status status =
      server_->Probe(std::min(kProbePatience, manager_.interval() / 2));
  return is_stopping_ ? absl::OkStatus() : status;
}

// What others do on the device is seen by asking now and then, here only; and
// who has waited too long.
absl::Duration Daemon::Tick() {
  const absl::Time now = clock_.Now();
  // Also where the clock was set back.
  if (now >= next_round_ || now < next_round_ - kRound) {
    next_round_ = now + kRound;
    manager_.Beat();
    broker_->RefreshDevice();
    broker_->ExpireNames();
    broker_->SampleUse();
  }
  const absl::Time next = std::min(next_round_, logged_->Tick().next);
  return next - clock_.Now();
}

// A reload that fails changes nothing, and the log says why.
void Daemon::HangUp() {
  manager_.Reloading();
  (void)reloader_->Reload("SIGHUP");
  manager_.Ready(Serving());
}

std::string Daemon::Serving() const {
  return absl::StrCat("Serving ", device_.info().uuid, ", pool of ",
                      FormatBytes(config_.core.capacity));
}

void Daemon::Stop(std::string_view signal) {
  Log(LogLevel::kInfo, "stopping", {{"signal", signal}});
  is_stopping_ = true;
  manager_.Stopping();
  server_->SetServing(false);
  logged_->BeginShutdown();
  events_.Close();
  server_->Drain(kDrainPatience);
  door_->Stop();
}

absl::Status Daemon::Run() {
  VRAMPOOL_RETURN_IF_ERROR(Start());
  Log(LogLevel::kInfo, "serving",
      {{"version", VRAMPOOL_VERSION},
       {"device", std::string_view(device_.info().uuid)},
       {"pool_bytes", config_.core.capacity.count()},
       {"directory", std::string_view(config_.directory)},
       {"epoch", static_cast<uint64_t>(broker_->epoch())},
       {"pid", getpid()}});
  manager_.Ready(Serving());
  // Not before: a reload says that it is ready, too.
  signals_.Watch([this](std::string_view signal) { Stop(signal); },
                 [this] { HangUp(); });
  door_->Run();
  if (!is_stopping_) return absl::InternalError("the loop ended by itself");
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  if (const auto code = PeerProcess::RunIfAsked(argc, argv)) return *code;
  const CommandLine line = ParseCommandLine(argc, argv);
  if (line.exit_code.has_value()) {
    std::fputs(line.text.c_str(), *line.exit_code == 0 ? stdout : stderr);
    return *line.exit_code;
  }
  ConfigSource source;
  if (line.flags.config_path.has_value()) {
    const absl::Status status = source.ReadFile(*line.flags.config_path);
    if (!status.ok()) return Fail(status, kExitUsage);
  }
  ApplyFlags(line.flags, source);
  const absl::StatusOr<DeviceChoice> choice = ChooseDevice(source);
  if (!choice.ok()) return Fail(choice.status(), kExitUsage);
  // Before the device: its driver's threads must not get what ends the daemon.
  absl::StatusOr<std::unique_ptr<Signals>> signals = Signals::Block();
  if (!signals.ok()) return Fail(signals.status(), kExitFailure);
  const absl::StatusOr<OpenedDevice> device =
      OpenDevice(*choice, {.is_preallocated = source.proto().preallocate(),
                           .is_only_looked_at = line.flags.check_config});
  if (!device.ok()) return Fail(device.status(), kExitFailure);
  const DeviceInfo& info = device->device->info();
  absl::StatusOr<Config> config =
      ValidateConfig(source, info, RaiseDescriptorLimit());
  if (!config.ok()) return Fail(config.status(), kExitUsage);
  if (line.flags.check_config) {
    std::printf("the configuration is valid: %s, pool of %s, sockets in %s\n",
                info.uuid.c_str(), FormatBytes(config->core.capacity).c_str(),
                config->directory.c_str());
    return 0;
  }
  StartLogging(config->log_level);
  config->core.epoch = NewEpoch(RealClock());
  config->policy.daemon_uid = geteuid();
  config->device = *choice;
  const Config written = *config;
  PrepareDescriptors(info, *config);
  LogNotes(info);
  const auto audit = AuditLog::Start(config->audit_log);
  if (!audit.ok()) return Fail(audit.status(), kExitFailure);
  Daemon daemon({.flags = line.flags,
                 .config = *config,
                 .written = written,
                 .opened = *device,
                 .signals = **signals,
                 .audit = **audit});
  const absl::Status status = daemon.Run();
  signals->reset();  // Joins the thread that uses `daemon`.
  if (!status.ok()) return Fail(status, kExitFailure);
  Log(LogLevel::kInfo, "stopped");
  return 0;
}

}  // namespace
}  // namespace vrampool

int main(int argc, char** argv) { return vrampool::Main(argc, argv); }
