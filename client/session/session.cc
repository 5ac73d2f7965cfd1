#include "client/session/session.h"

#include <cstring>
#include <utility>

#include "base/status_macros.h"
#include "client/session/busy_daemon.h"
#include "client/session/discovery.h"
#include "client/session/refusal_text.h"
#include "client/session/rpc_module.h"

namespace vrampool::client {
namespace {

template <size_t N>
std::string TextOf(const char (&field)[N]) {
  return std::string(field, ::strnlen(field, N));
}

LinkSerial NextSerial() {
  static std::atomic<uint64_t> last{0};
  return LinkSerial{last.fetch_add(1, std::memory_order_relaxed) + 1};
}

Status CheckWelcome(const attach::Welcome& welcome) {
  const uint64_t granule = welcome.granule_bytes;
  if (welcome.session_id == 0 || welcome.epoch == 0 || granule == 0 ||
      (granule & (granule - 1)) != 0 || granule > (uint64_t{1} << 40)) {
    return {VRAMPOOL_INTERNAL,
            "the daemon's welcome contradicts itself; see the daemon's log"};
  }
  return {};
}

// What the client wants, if the daemon has it, or the daemon's first.
Result<HandleKind> ChooseKind(HandleKind wanted,
                              const attach::Welcome& welcome) {
  std::string offered;
  for (const uint32_t number : welcome.kinds) {
    const auto kind = static_cast<HandleKind>(number);
    if (kind == HandleKind::kNone) continue;
    if (wanted == HandleKind::kNone || wanted == kind) return kind;
    offered +=
        (offered.empty() ? "" : ", ") + std::string(HandleKindName(kind));
  }
  return Status(VRAMPOOL_INVALID_ARGUMENT,
                std::string("the daemon has no memory of kind ") +
                    HandleKindName(wanted) +
                    "; set VRAMPOOL_KIND, or the option, to one of: " +
                    (offered.empty() ? "none" : offered));
}

}  // namespace

ChannelFactory RpcChannelFactory() {
  return [](const std::string& socket_path,
            const uint8_t* token) -> Result<std::unique_ptr<ControlChannel>> {
    VRAMPOOL_ASSIGN_OR_RETURN(const RpcModule* module, LoadRpcModule());
    std::unique_ptr<ControlChannel> channel(
        module->open_channel(socket_path.c_str(), token));
    if (channel == nullptr) {
      return Status(VRAMPOOL_INTERNAL, "the RPC module made no channel");
    }
    return channel;
  };
}

Result<std::shared_ptr<Session>> Session::Attach(
    const Settings& settings, const ChannelFactory& factory, LinkEvents& events,
    std::chrono::steady_clock::time_point deadline) {
  VRAMPOOL_ASSIGN_OR_RETURN(const std::string folder,
                            FindDevice(settings.directory, settings.device));
  VRAMPOOL_ASSIGN_OR_RETURN(Greeting greeting,
                            Greet(folder,
                                  {.name = settings.name,
                                   .tag = settings.tag,
                                   .framework = settings.framework},
                                  deadline));
  const attach::Welcome& welcome = greeting.welcome;
  VRAMPOOL_RETURN_IF_ERROR(CheckWelcome(welcome));
  VRAMPOOL_ASSIGN_OR_RETURN(const HandleKind kind,
                            ChooseKind(settings.kind, welcome));
  VRAMPOOL_ASSIGN_OR_RETURN(
      ManifestWriter manifest,
      ManifestWriter::Map(std::move(greeting.manifest), welcome.manifest_bytes,
                          SessionId{welcome.session_id}, Epoch{welcome.epoch}));
  VRAMPOOL_ASSIGN_OR_RETURN(
      ObjectTable table,
      ObjectTable::Map(std::move(greeting.table), welcome.table_bytes,
                       Epoch{welcome.epoch}));
  VRAMPOOL_ASSIGN_OR_RETURN(
      ContentsWords contents,
      ContentsWords::Map(std::move(greeting.contents), welcome.contents_bytes,
                         Epoch{welcome.epoch}));
  VRAMPOOL_ASSIGN_OR_RETURN(
      std::unique_ptr<ControlChannel> channel,
      factory(folder + "/" + attach::kBrokerSocketName, welcome.token));
  std::shared_ptr<Session> session(
      new Session(greeting, kind, std::move(manifest), std::move(table),
                  std::move(contents), std::move(channel)));
  VRAMPOOL_ASSIGN_OR_RETURN(
      session->link_,
      AttachLink::Start(session->serial(), std::move(greeting.socket), events));
  return session;
}

Session::Session(Greeting& greeting, HandleKind kind, ManifestWriter manifest,
                 ObjectTable table, ContentsWords contents,
                 std::unique_ptr<ControlChannel> channel)
    : serial_(NextSerial()),
      id_(SessionId{greeting.welcome.session_id}),
      epoch_(Epoch{greeting.welcome.epoch}),
      tenant_(TextOf(greeting.welcome.tenant)),
      device_uuid_(TextOf(greeting.welcome.device_uuid)),
      granule_bytes_(greeting.welcome.granule_bytes),
      kind_(kind),
      manifest_(std::move(manifest)),
      modules_(manifest_.ModulePlaces()),
      leak_check_(manifest_),
      table_(std::move(table)),
      contents_(std::move(contents)),
      channel_(std::move(channel)) {
  ::explicit_bzero(greeting.welcome.token, sizeof(greeting.welcome.token));
  modules_.Refresh();
}

CallOutcome Session::MakeRaw(const Call& call) {
  calls_made_.fetch_add(1, std::memory_order_relaxed);
  // What allocates may have been loaded after the session began. A call takes
  // hundreds of times as long as to ask.
  modules_.Refresh();
  CallOutcome outcome = call(*channel_);
  if (WasTurnedAway(outcome)) {
    BusyDaemon daemon;
    while (WasTurnedAway(outcome) && is_live() && daemon.WaitAWhile()) {
      outcome = call(*channel_);
    }
  }
  if (outcome.reason == CallReason::kSessionUnknown ||
      outcome.reason == CallReason::kSessionForeign) {
    is_disowned_.store(true, std::memory_order_relaxed);
  }
  return outcome;
}

Status Session::Explain(const CallOutcome& outcome) const {
  if (!outcome.ok() && link_->state() == LinkState::kCondemned) {
    return {VRAMPOOL_ENDED,
            "the daemon ended this session by force: " + link_->farewell() +
                "; memory in hand goes on working, restart this process to "
                "get more"};
  }
  return StatusOf(outcome, tenant_);
}

Status Session::Make(const Call& call) { return Explain(MakeRaw(call)); }

}  // namespace vrampool::client
