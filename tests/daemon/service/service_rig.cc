#include "tests/daemon/service/service_rig.h"

#include <sys/socket.h>

#include <chrono>
#include <utility>
#include <vector>

#include "grpcpp/completion_queue.h"
#include "grpcpp/create_channel_posix.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/support/byte_buffer.h"

namespace vrampool::testing {
namespace {

// Far beyond what any call takes: a hang becomes a failure, not a timeout of
// the whole run.
constexpr std::chrono::seconds kPatience(60);

grpc::ByteBuffer BufferOf(const std::string& text) {
  const grpc::Slice slice(text);
  return grpc::ByteBuffer(&slice, 1);
}

std::string TextOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string text;
  if (!buffer.Dump(&slices).ok()) return text;
  for (const grpc::Slice& slice : slices) {
    text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return text;
}

// Waits for the operation with `tag`; false when it failed.
bool Await(grpc::CompletionQueue& queue) {
  void* tag = nullptr;
  bool is_ok = false;
  return queue.Next(&tag, &is_ok) && is_ok;
}

}  // namespace

SocketPair MakeSocketPair() {
  int ends[2] = {-1, -1};
  EXPECT_EQ(
      socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends),
      0);
  return {.server = UniqueFd(ends[0]), .client = UniqueFd(ends[1])};
}

PeerIdentity MakePeer(pid_t pid, uid_t uid) {
  PeerIdentity peer;
  peer.pid = pid;
  peer.uid = uid;
  peer.gid = uid;
  peer.start_time_ticks = static_cast<uint64_t>(pid) * 7;
  return peer;
}

Details DetailsOf(const grpc::Status& status) {
  Details details;
  EXPECT_TRUE(details.status.ParseFromString(status.error_details()));
  for (const google::protobuf::Any& any : details.status.details()) {
    const std::string& type = any.type_url();
    if (type == "type.googleapis.com/google.rpc.ErrorInfo") {
      EXPECT_TRUE(details.info.ParseFromString(any.value()));
    } else if (type == "type.googleapis.com/google.rpc.QuotaFailure") {
      details.has_quota = details.quota.ParseFromString(any.value());
    } else if (type == "type.googleapis.com/google.rpc.RetryInfo") {
      details.has_retry = details.retry.ParseFromString(any.value());
    } else {
      ADD_FAILURE() << "unknown detail " << type;
    }
  }
  return details;
}

std::string ReasonOf(const grpc::Status& status) {
  return DetailsOf(status).info.reason();
}

ServiceRig::ServiceRig(GrpcServer::Options options)
    : policy_({.rules = {},
               .default_tenant = "root/default",
               .admin_uids = {kAdminUid},
               .admin_gids = {},
               .daemon_uid = 3000}) {
  absl::StatusOr<std::unique_ptr<GrpcServer>> server =
      GrpcServer::Start(options, broker_, events_, tokens_, policy_, clock_);
  EXPECT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  const absl::StatusOr<SessionToken> token =
      tokens_.Issue(kSession, user_peer_);
  EXPECT_TRUE(token.ok()) << token.status();
  token_.assign(token->begin(), token->end());
  user_ = Connect(user_peer_);
  admin_ = Connect(MakePeer(200, kAdminUid));
}

Client ServiceRig::Connect(const PeerIdentity& peer) {
  SocketPair pair = MakeSocketPair();
  server_->connections().Adopt(std::move(pair.server), peer);
  Client client;
  client.channel =
      grpc::CreateInsecureChannelFromFd("test", pair.client.release());
  client.broker = v1::Broker::NewStub(client.channel);
  client.admin = v1::Admin::NewStub(client.channel);
  return client;
}

ServiceRig::Context ServiceRig::WithToken() {
  Context context = WithoutToken();
  context->AddMetadata("vrampool-session-bin", token_);
  return context;
}

ServiceRig::Context ServiceRig::WithoutToken() {
  Context context(new grpc::ClientContext(), EndOfCall{&broker_});
  broker_.Order();
  context->set_deadline(std::chrono::system_clock::now() + kPatience);
  return context;
}

RawAnswer RawUnary(const std::shared_ptr<grpc::Channel>& channel,
                   const std::string& method, const std::string& request) {
  grpc::GenericStub stub(channel);
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  RawAnswer answer;
  grpc::ByteBuffer reply;
  const auto call =
      stub.PrepareUnaryCall(&context, method, BufferOf(request), &queue);
  call->StartCall();
  call->Finish(&reply, &answer.status, nullptr);
  EXPECT_TRUE(Await(queue));
  if (answer.status.ok()) answer.bytes = TextOf(reply);
  return answer;
}

RawAnswer RawStream(const std::shared_ptr<grpc::Channel>& channel,
                    const std::string& method, const std::string& request) {
  grpc::GenericStub stub(channel);
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  RawAnswer answer;
  const auto call = stub.PrepareCall(&context, method, &queue);
  call->StartCall(nullptr);
  if (Await(queue)) {
    call->Write(BufferOf(request), nullptr);
    Await(queue);
    call->WritesDone(nullptr);
    Await(queue);
    grpc::ByteBuffer reply;
    call->Read(&reply, nullptr);
    if (Await(queue)) answer.bytes = TextOf(reply);
  }
  call->Finish(&answer.status, nullptr);
  Await(queue);
  return answer;
}

}  // namespace vrampool::testing
