#include "tests/cli/fake_daemon.h"

#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <thread>

#include "base/check.h"
#include "base/unique_fd.h"
#include "health.grpc.pb.h"
#include "proto/attach/messages.h"
#include "vrampool/v1/admin.grpc.pb.h"
#include "vrampool/v1/errors.pb.h"

namespace vrampool::cli {
namespace {

grpc::Status Refuse(grpc::StatusCode code, const std::string& reason,
                    const std::string& message) {
  v1::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("vrampool");
  v1::Status details;
  details.set_code(code);
  details.set_message(message);
  google::protobuf::Any* const any = details.add_details();
  any->set_type_url("type.googleapis.com/google.rpc.ErrorInfo");
  any->set_value(info.SerializeAsString());
  return grpc::Status(code, message, details.SerializeAsString());
}

class FakeAdmin final : public v1::Admin::Service {
 public:
  FakeDaemon::Replies replies;
  FakeDaemon::Requests requests;

  grpc::Status GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*,
                         v1::GetStatusResponse* reply) override {
    const MutexLock lock(FakeDaemonMutex());
    *reply = replies.status;
    return grpc::Status::OK;
  }
  grpc::Status ListSessions(grpc::ServerContext*,
                            const v1::ListSessionsRequest* request,
                            v1::ListSessionsResponse* reply) override {
    const MutexLock lock(FakeDaemonMutex());
    requests.sessions = *request;
    return Answer(replies.sessions, reply);
  }
  grpc::Status ListTenants(grpc::ServerContext*, const v1::ListTenantsRequest*,
                           v1::ListTenantsResponse* reply) override {
    const MutexLock lock(FakeDaemonMutex());
    return Answer(replies.tenants, reply);
  }
  grpc::Status ListLeases(grpc::ServerContext*,
                          const v1::ListLeasesRequest* request,
                          v1::ListLeasesResponse* reply) override {
    const MutexLock lock(FakeDaemonMutex());
    requests.leases = *request;
    return Answer(replies.leases, reply);
  }
  grpc::Status ListReservations(grpc::ServerContext*,
                                const v1::ListReservationsRequest*,
                                v1::ListReservationsResponse* reply) override {
    const MutexLock lock(FakeDaemonMutex());
    return Answer(replies.reservations, reply);
  }
  grpc::Status ListObjects(grpc::ServerContext*, const v1::ListObjectsRequest*,
                           v1::ListObjectsResponse* reply) override {
    const MutexLock lock(FakeDaemonMutex());
    return Answer(replies.objects, reply);
  }
  grpc::Status ListLeaks(grpc::ServerContext*,
                         const v1::ListLeaksRequest* request,
                         v1::ListLeaksResponse* reply) override {
    const MutexLock lock(FakeDaemonMutex());
    requests.leaks = *request;
    return Answer(replies.leaks, reply);
  }
  grpc::Status Watch(grpc::ServerContext* context,
                     const v1::WatchRequest* request,
                     grpc::ServerWriter<v1::Event>* writer) override {
    std::vector<v1::Event> events(1);
    events[0].set_kind(v1::Event::KIND_WATCHING);
    bool stays = false;
    {
      const MutexLock lock(FakeDaemonMutex());
      requests.watch = *request;
      events.insert(events.end(), replies.events.begin(), replies.events.end());
      stays = replies.watch_stays;
    }
    for (const v1::Event& event : events) writer->Write(event);
    while (stays && !context->IsCancelled()) std::this_thread::yield();
    return grpc::Status::OK;
  }
  grpc::Status TakeSnapshot(grpc::ServerContext*,
                            const v1::TakeSnapshotRequest* request,
                            v1::FullSnapshot* reply) override {
    const MutexLock lock(FakeDaemonMutex());
    requests.snapshot = *request;
    return Answer(replies.snapshot, reply);
  }
  grpc::Status GetQuota(grpc::ServerContext*,
                        const v1::GetQuotaRequest* request,
                        v1::GetQuotaResponse* reply) override {
    const MutexLock lock(FakeDaemonMutex());
    requests.get_quota = *request;
    return AnswerQuota(replies.get_quota, reply);
  }
  grpc::Status SetQuota(grpc::ServerContext*,
                        const v1::SetQuotaRequest* request,
                        v1::SetQuotaResponse* reply) override {
    const MutexLock lock(FakeDaemonMutex());
    requests.set_quota = *request;
    return AnswerQuota(replies.set_quota, reply);
  }
  grpc::Status Reload(grpc::ServerContext*, const v1::ReloadRequest*,
                      v1::ReloadResponse* reply) override {
    const MutexLock lock(FakeDaemonMutex());
    return AnswerQuota(replies.reload, reply);
  }

 private:
  template <typename Reply>
  grpc::Status Answer(const Reply& set, Reply* reply) {
    if (!replies.is_caller_admin) {
      return Refuse(grpc::StatusCode::PERMISSION_DENIED, "NOT_ADMIN",
                    "uid 1000 is no admin");
    }
    *reply = set;
    return grpc::Status::OK;
  }
  template <typename Reply>
  grpc::Status AnswerQuota(const Reply& set, Reply* reply) {
    if (replies.quota_error != 0) {
      return Refuse(static_cast<grpc::StatusCode>(replies.quota_error), "ANY",
                    replies.quota_error_message);
    }
    return Answer(set, reply);
  }
};

class FakeHealth final : public grpc::health::v1::Health::Service {
 public:
  bool is_serving = true;

  grpc::Status Check(grpc::ServerContext*,
                     const grpc::health::v1::HealthCheckRequest* request,
                     grpc::health::v1::HealthCheckResponse* reply) override {
    const MutexLock lock(FakeDaemonMutex());
    if (!request->service().empty()) {
      return grpc::Status(grpc::StatusCode::NOT_FOUND, "no such service");
    }
    reply->set_status(is_serving
                          ? grpc::health::v1::HealthCheckResponse::SERVING
                          : grpc::health::v1::HealthCheckResponse::NOT_SERVING);
    return grpc::Status::OK;
  }
};

UniqueFd ListenOn(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  VRAMPOOL_CHECK(path.size() < sizeof(address.sun_path));
  std::memcpy(address.sun_path, path.c_str(), path.size());
  UniqueFd listener(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  VRAMPOOL_CHECK(bind(listener.get(),
                      reinterpret_cast<const sockaddr*>(&address),
                      sizeof(address)) == 0);
  VRAMPOOL_CHECK(listen(listener.get(), 8) == 0);
  return listener;
}

template <typename Body>
std::string PacketText(attach::MessageType type, const Body& body) {
  attach::Packet<Body> packet{};
  packet.header = {.magic = attach::kMagic,
                   .version = attach::kVersion,
                   .type = static_cast<uint16_t>(type)};
  packet.body = body;
  return std::string(reinterpret_cast<const char*>(&packet), sizeof(packet));
}

}  // namespace

struct FakeDaemon::Server {
  FakeAdmin admin;
  FakeHealth health;
  std::unique_ptr<grpc::Server> grpc;
  UniqueFd attach_listener;
  std::thread attach_thread;

  // Answers one greeting after the other, until the listener is shut down.
  void ServeAttach() {
    while (true) {
      const UniqueFd peer(
          accept4(attach_listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!peer.is_valid()) return;
      attach::Packet<attach::Hello> hello;
      const ssize_t size = recv(peer.get(), &hello, sizeof(hello), 0);
      if (size != static_cast<ssize_t>(sizeof(hello))) continue;
      const MutexLock lock(FakeDaemonMutex());
      const std::string& packet = admin.replies.attach_packet;
      if (packet.empty()) continue;
      (void)send(peer.get(), packet.data(), packet.size(), MSG_NOSIGNAL);
    }
  }
};

Mutex& FakeDaemonMutex() {
  static Mutex mutex;
  return mutex;
}

FakeDaemon::FakeDaemon(const std::string& directory, const std::string& uuid)
    : server_(std::make_unique<Server>()) {
  const std::string own = directory + "/" + uuid;
  std::filesystem::create_directories(own);
  grpc::ServerBuilder builder;
  builder.AddListeningPort("unix:" + own + "/" + attach::kBrokerSocketName,
                           grpc::InsecureServerCredentials());
  builder.RegisterService(&server_->admin);
  builder.RegisterService(&server_->health);
  server_->grpc = builder.BuildAndStart();
  VRAMPOOL_CHECK(server_->grpc != nullptr);
  server_->admin.replies.attach_packet = WelcomePacket("root/default");
  server_->attach_listener = ListenOn(own + "/" + attach::kAttachSocketName);
  server_->attach_thread =
      std::thread([server = server_.get()] { server->ServeAttach(); });
}

FakeDaemon::~FakeDaemon() {
  shutdown(server_->attach_listener.get(), SHUT_RDWR);
  server_->attach_thread.join();
  server_->grpc->Shutdown();
}

FakeDaemon::Replies& FakeDaemon::replies() { return server_->admin.replies; }

FakeDaemon::Requests FakeDaemon::requests() const {
  return server_->admin.requests;
}

void FakeDaemon::SetServing(bool is_serving) {
  server_->health.is_serving = is_serving;
}

std::string WelcomePacket(const std::string& tenant) {
  attach::Welcome welcome{};
  tenant.copy(welcome.tenant, sizeof(welcome.tenant));
  return PacketText(attach::MessageType::kWelcome, welcome);
}

std::string RefusedPacket(uint32_t code, const std::string& text) {
  attach::Refused refused{};
  refused.code = code;
  refused.daemon_version = 2;
  text.copy(refused.text, sizeof(refused.text));
  return PacketText(attach::MessageType::kRefused, refused);
}

}  // namespace vrampool::cli
