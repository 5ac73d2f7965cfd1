#include "tests/hostile/raw_session.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <chrono>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "client/cli/device_directory.h"
#include "vrampool/v1/errors.pb.h"

namespace vrampool::testing {
namespace {

constexpr char kService[] = "/vrampool.v1.Broker/";

std::string ReasonIn(const std::string& details) {
  v1::Status status;
  if (!status.ParseFromString(details)) return "";
  for (const google::protobuf::Any& detail : status.details()) {
    v1::ErrorInfo info;
    if (detail.type_url() == "type.googleapis.com/google.rpc.ErrorInfo" &&
        info.ParseFromString(detail.value())) {
      return info.reason();
    }
  }
  return "";
}

Answer AnswerOf(const grpc::Status& status) {
  return {.code = status.error_code(),
          .reason = ReasonIn(status.error_details()),
          .message = status.error_message()};
}

cli::Device DeviceIn(const std::string& directory) {
  return cli::SelectDevice(directory, "").value_or(cli::Device());
}

}  // namespace

std::string Describe(const Answer& answer) {
  if (answer.ok()) return "OK";
  return absl::StrCat(answer.code, " ", answer.reason);
}

std::string AttachPathIn(const std::string& directory) {
  return DeviceIn(directory).AttachPath();
}

std::string BrokerPathIn(const std::string& directory) {
  return DeviceIn(directory).SocketPath();
}

struct RawChannel::Rpc {
  std::shared_ptr<grpc::Channel> channel;
};

RawChannel::RawChannel(const std::string& socket_path)
    : rpc_(std::make_unique<Rpc>()) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  rpc_->channel = grpc::CreateCustomChannel(
      "unix:" + socket_path, grpc::InsecureChannelCredentials(), arguments);
}

RawChannel::~RawChannel() = default;

Answer RawChannel::Call(const std::string& method,
                        const google::protobuf::Message& request,
                        google::protobuf::Message& response) {
  std::string reply;
  const Answer answer =
      Run(kService + method, request.SerializeAsString(), reply);
  if (answer.ok() && !response.ParseFromString(reply)) {
    return {.code = -1, .reason = "", .message = "an unreadable reply"};
  }
  return answer;
}

Answer RawChannel::Call(const std::string& method,
                        const google::protobuf::Message& request) {
  std::string ignored;
  return Run(kService + method, request.SerializeAsString(), ignored);
}

Answer RawChannel::CallBytes(const std::string& path, const std::string& body) {
  std::string ignored;
  return Run(path, body, ignored);
}

Answer RawChannel::Run(const std::string& path, const std::string& body,
                       std::string& reply) {
  grpc::GenericStub stub(rpc_->channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::minutes(1));
  if (!token_.empty()) context.AddMetadata("vrampool-session-bin", token_);
  const grpc::Slice slice(body);
  const grpc::ByteBuffer request(&slice, 1);
  grpc::ByteBuffer response;
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareUnaryCall(&context, path, request, &queue);
  call->StartCall();
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool is_ok = false;
  queue.Next(&tag, &is_ok);
  grpc::Slice bytes;
  if (status.ok() && response.DumpToSingleSlice(&bytes).ok()) {
    reply.assign(reinterpret_cast<const char*>(bytes.begin()), bytes.size());
  }
  return AnswerOf(status);
}

void RawChannel::CallAndCancel(const std::string& method,
                               const google::protobuf::Message& request) {
  grpc::GenericStub stub(rpc_->channel);
  grpc::ClientContext context;
  context.AddMetadata("vrampool-session-bin", token_);
  const std::string body = request.SerializeAsString();
  const grpc::Slice slice(body);
  const grpc::ByteBuffer bytes(&slice, 1);
  grpc::ByteBuffer response;
  grpc::CompletionQueue queue;
  const auto call =
      stub.PrepareUnaryCall(&context, kService + method, bytes, &queue);
  call->StartCall();
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  context.TryCancel();
  void* tag = nullptr;
  bool is_ok = false;
  queue.Next(&tag, &is_ok);
}

absl::StatusOr<std::unique_ptr<RawSession>> RawSession::Attach(
    const std::string& directory) {
  UniqueFd socket = ConnectTo(AttachPathIn(directory), SOCK_SEQPACKET);
  if (!socket.is_valid()) return absl::UnavailableError("no connection");
  std::unique_ptr<RawSession> session(
      new RawSession(std::move(socket), BrokerPathIn(directory)));
  if (!session->attach_.Send(HelloBytes())) {
    return absl::UnavailableError("the Hello could not be sent");
  }
  ReceivedPacket packet = session->attach_.Receive();
  if (packet.type() != attach::MessageType::kWelcome || packet.fds.size() < 2) {
    return absl::InternalError(absl::StrCat(
        "no Welcome but a packet of type ", static_cast<int>(packet.type()),
        ": ", packet.body<attach::Refused>().text));
  }
  session->welcome_ = packet.body<attach::Welcome>();
  session->manifest_ = std::move(packet.fds[0]);
  session->table_ = std::move(packet.fds[1]);
  session->channel_.set_token(
      std::string(reinterpret_cast<const char*>(session->welcome_.token),
                  sizeof(session->welcome_.token)));
  return session;
}

Answer RawSession::Lease(uint64_t bytes, v1::LeaseResponse& response,
                         uint64_t wait_ms) {
  v1::LeaseRequest request;
  request.set_size_bytes(bytes);
  request.set_wait_ms(wait_ms);
  std::string key(16, '\0');
  const uint64_t number = ++keys_;
  std::memcpy(key.data(), &number, sizeof(number));
  request.set_idempotency_key(key);
  return channel_.Call("Lease", request, response);
}

Answer RawSession::Return(uint64_t lease, v1::ReturnRequest::Mapping mapping) {
  v1::ReturnRequest request;
  request.set_epoch(epoch());
  request.set_lease_id(lease);
  request.set_mapping(mapping);
  return channel_.Call("Return", request);
}

bool RawSession::FillManifestWithGarbage(uint64_t seed) {
  const size_t bytes = welcome_.manifest_bytes;
  void* const data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                            manifest_.get(), 0);
  if (data == MAP_FAILED) return false;
  std::mt19937_64 random(seed);
  auto* const words = static_cast<volatile uint64_t*>(data);
  for (size_t i = 0; i < bytes / sizeof(uint64_t); ++i) words[i] = random();
  ::munmap(data, bytes);
  return true;
}

}  // namespace vrampool::testing
