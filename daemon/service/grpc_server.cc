#include "daemon/service/grpc_server.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "daemon/service/admin_service.h"
#include "daemon/service/auth.h"
#include "daemon/service/broker_service.h"
#include "daemon/service/call_gate.h"
#include "daemon/service/connections.h"
#include "grpcpp/create_channel_posix.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/resource_quota.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "grpcpp/server_posix.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
// gRPC serves health checks and unknown methods by its callback API, and the
// distribution's libraries are not instrumented: what orders their threads is
// invisible to ThreadSanitizer, while the templates they share with us are not.
// Our own handlers are all synchronous, so nothing of ours is under these
// names.
extern "C" const char* __tsan_default_suppressions() {
  return "race:grpc::internal::Callback\n";
}
#endif
#endif

namespace vrampool {
namespace {

constexpr int kMaxRequestBytes = 1 << 20;
// Enough for a client library with a call per thread; a bound on what one
// connection can have under way.
constexpr int kStreamsPerConnection = 128;
constexpr std::array<const char*, 2> kHealthNames = {"vrampool.v1.Broker",
                                                     "vrampool.v1.Admin"};

std::chrono::system_clock::time_point After(absl::Duration patience) {
  return std::chrono::system_clock::now() +
         absl::ToChronoMilliseconds(patience);
}

class GrpcServerImpl final : public GrpcServer {
 public:
  GrpcServerImpl(const Options& options, Broker& broker, EventHub& events,
                 const SessionTokens& tokens, const Policy& policy,
                 const Clock& clock)
      : connections_({.per_uid = options.bounds.connections_per_uid,
                      .in_all = options.bounds.connections_per_uid +
                                options.bounds.sessions},
                     [this](int fd) {
                       grpc::AddInsecureChannelFromFd(server_.get(), fd);
                     }),
        auth_(connections_, tokens, policy),
        gate_({.open = options.bounds.open_rpcs, .patience = options.patience},
              connections_, clock),
        broker_service_(broker, auth_, gate_, clock),
        admin_service_({.started_at = clock.Now(),
                        .is_preallocated = options.is_preallocated,
                        .reload = options.reload},
                       broker, events, auth_, gate_) {}

  ~GrpcServerImpl() override { Drain(absl::ZeroDuration()); }

  absl::Status Start();

  ConnectionSink& connections() override { return connections_; }
  void SetServing(bool is_serving) override;
  absl::Status Probe(absl::Duration patience) override;
  void Drain(absl::Duration patience) override;

 private:
  absl::Status ConnectProbe();

  Connections connections_;
  Auth auth_;
  CallGate gate_;
  BrokerService broker_service_;
  AdminService admin_service_;
  // After what it uses: destroyed first.
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::Broker::Stub> probe_;
};

absl::Status GrpcServerImpl::Start() {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  builder.RegisterService(&broker_service_);
  builder.RegisterService(&admin_service_);
  builder.SetMaxReceiveMessageSize(kMaxRequestBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                             kStreamsPerConnection);
  // The kernel says at once when the other end of a unix socket is gone, and a
  // process that is stopped must not lose its connection: no pings.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, INT_MAX);
  grpc::ResourceQuota quota("vrampoold");
  quota.SetMaxThreads(static_cast<int>(gate_.threads()));
  builder.SetResourceQuota(quota);
  std::vector<
      std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>>
      interceptors;
  interceptors.push_back(gate_.MakeFactory());
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) {
    return absl::InternalError("the gRPC server does not start");
  }
  SetServing(true);
  return ConnectProbe();
}

void GrpcServerImpl::SetServing(bool is_serving) {
  admin_service_.SetServing(is_serving);
  grpc::HealthCheckServiceInterface* const health =
      server_->GetHealthCheckService();
  health->SetServingStatus(is_serving);  // All names known so far.
  for (const char* const name : kHealthNames) {
    health->SetServingStatus(name, is_serving);
  }
}

absl::Status GrpcServerImpl::ConnectProbe() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                 ends) != 0) {
    return absl::InternalError(
        absl::StrCat("no socket pair: ", std::strerror(errno)));
  }
  PeerIdentity self;
  self.pid = getpid();
  self.uid = getuid();
  self.gid = getgid();
  connections_.Adopt(UniqueFd(ends[0]), self);
  probe_ = v1::Broker::NewStub(
      grpc::CreateInsecureChannelFromFd("vrampoold-probe", ends[1]));
  return absl::OkStatus();
}

absl::Status GrpcServerImpl::Probe(absl::Duration patience) {
  grpc::ClientContext context;
  context.set_deadline(After(patience));
  v1::BudgetResponse response;
  // Without a token: the answer that counts as life is the refusal, which a
  // thread of the service has made. So is a refusal for want of threads.
  const grpc::Status status =
      probe_->Budget(&context, v1::BudgetRequest(), &response);
  if (status.error_code() == grpc::StatusCode::UNAUTHENTICATED ||
      status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) {
    return absl::OkStatus();
  }
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      status.error_message());
}

void GrpcServerImpl::Drain(absl::Duration patience) {
  connections_.Stop();
  if (server_ == nullptr) return;
  // Shutdown() alone would sit out its deadline for every idle connection whose
  // client does not read that the server is going away.
  if (gate_.AwaitIdle(patience)) patience = absl::ZeroDuration();
  server_->Shutdown(After(patience));
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(
    Options options, Broker& broker, EventHub& events,
    const SessionTokens& tokens, const Policy& policy, const Clock& clock) {
  auto server = std::make_unique<GrpcServerImpl>(options, broker, events,
                                                 tokens, policy, clock);
  VRAMPOOL_RETURN_IF_ERROR(server->Start());
  return server;
}

}  // namespace vrampool
