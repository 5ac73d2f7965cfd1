#include "client/cli/admin_client.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "client/cli/trouble.h"
#include "vrampool/v1/admin.grpc.pb.h"
#include "vrampool/v1/errors.pb.h"

namespace vrampool::cli {
namespace {

constexpr std::chrono::seconds kDeadline(5);
// A leak report of many sessions is larger than gRPC's default of 4 MiB.
constexpr int kMaxReplyBytes = 256 << 20;
constexpr char kHealthMethod[] = "/grpc.health.v1.Health/Check";
constexpr char kReasonPayload[] = "vrampool/reason";

// The reason in the details of a refusal, or "".
std::string ReasonIn(const grpc::Status& status) {
  v1::Status details;
  if (!details.ParseFromString(status.error_details())) return "";
  for (const google::protobuf::Any& any : details.details()) {
    v1::ErrorInfo info;
    if (any.type_url() == "type.googleapis.com/google.rpc.ErrorInfo" &&
        info.ParseFromString(any.value())) {
      return info.reason();
    }
  }
  return "";
}

// What gRPC's own errors (no reason: the daemon did not answer) mean here.
Trouble Explain(absl::StatusCode code, const std::string& reason,
                const std::string& message, const std::string& path) {
  if (reason == "NOT_ADMIN") {
    return {.what = message,
            .remedy =
                "Run it as root or as the daemon's user, or add your uid "
                "to admin_uids in the daemon's configuration."};
  }
  if (!reason.empty()) return {.what = message, .remedy = ""};
  switch (code) {
    case absl::StatusCode::kDeadlineExceeded:
      return {.what = absl::StrCat("the daemon on ", path,
                                   " did not answer within 5 s"),
              .remedy = "It may be stuck: see its log."};
    case absl::StatusCode::kUnavailable:
      return {.what = absl::StrCat("the daemon on ", path,
                                   " does not answer: ", message),
              .remedy =
                  "It may be stopping, or refuse this user's "
                  "connections: see its log."};
    case absl::StatusCode::kUnimplemented:
      return {.what = absl::StrCat("the daemon on ", path,
                                   " does not know this call"),
              .remedy = "Install the same version of vrampool and vrampoold."};
    default:
      return {.what = message, .remedy = ""};
  }
}

absl::Status Translate(const grpc::Status& status, const std::string& path) {
  if (status.ok()) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  const std::string reason = ReasonIn(status);
  absl::Status translated =
      MakeError(code, Explain(code, reason, status.error_message(), path));
  if (!reason.empty()) {
    translated.SetPayload(kReasonPayload, absl::Cord(reason));
  }
  return translated;
}

void SetDeadline(grpc::ClientContext* context) {
  context->set_deadline(std::chrono::system_clock::now() + kDeadline);
}

}  // namespace

std::string ReasonOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kReasonPayload);
  return payload.has_value() ? std::string(*payload) : "";
}

struct AdminClient::Rpc {
  using Stub = v1::Admin::Stub;

  Rpc(std::shared_ptr<grpc::Channel> connection, std::string socket_path)
      : channel(std::move(connection)),
        path(std::move(socket_path)),
        stub(v1::Admin::NewStub(channel)) {}

  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(
      grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                   Response*),
      const Request& request) {
    grpc::ClientContext context;
    SetDeadline(&context);
    Response response;
    VRAMPOOL_RETURN_IF_ERROR(
        Translate((stub.get()->*method)(&context, request, &response), path));
    return response;
  }

  const std::shared_ptr<grpc::Channel> channel;  // gRPC counts its owners.
  const std::string path;
  const std::unique_ptr<Stub> stub;
};

AdminClient::AdminClient(std::unique_ptr<Rpc> rpc) : rpc_(std::move(rpc)) {}
AdminClient::~AdminClient() = default;

absl::StatusOr<std::unique_ptr<AdminClient>> AdminClient::Connect(
    const Device& device) {
  // gRPC hides why a connection failed; connect(2) tells.
  VRAMPOOL_RETURN_IF_ERROR(Probe(device));
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxReplyBytes);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return std::unique_ptr<AdminClient>(new AdminClient(std::make_unique<Rpc>(
      grpc::CreateCustomChannel("unix:" + device.SocketPath(),
                                grpc::InsecureChannelCredentials(), arguments),
      device.SocketPath())));
}

absl::StatusOr<v1::GetStatusResponse> AdminClient::GetStatus() {
  return rpc_->Call(&Rpc::Stub::GetStatus, v1::GetStatusRequest());
}
absl::StatusOr<v1::ListSessionsResponse> AdminClient::ListSessions(
    const v1::ListSessionsRequest& request) {
  return rpc_->Call(&Rpc::Stub::ListSessions, request);
}
absl::StatusOr<v1::ListTenantsResponse> AdminClient::ListTenants() {
  return rpc_->Call(&Rpc::Stub::ListTenants, v1::ListTenantsRequest());
}
absl::StatusOr<v1::ListLeasesResponse> AdminClient::ListLeases(
    const v1::ListLeasesRequest& request) {
  return rpc_->Call(&Rpc::Stub::ListLeases, request);
}
absl::StatusOr<v1::ListReservationsResponse> AdminClient::ListReservations() {
  return rpc_->Call(&Rpc::Stub::ListReservations,
                    v1::ListReservationsRequest());
}
absl::StatusOr<v1::ListObjectsResponse> AdminClient::ListObjects() {
  return rpc_->Call(&Rpc::Stub::ListObjects, v1::ListObjectsRequest());
}
absl::StatusOr<v1::ListLeaksResponse> AdminClient::ListLeaks(
    const v1::ListLeaksRequest& request) {
  return rpc_->Call(&Rpc::Stub::ListLeaks, request);
}
absl::StatusOr<v1::FullSnapshot> AdminClient::TakeSnapshot(
    const v1::TakeSnapshotRequest& request) {
  return rpc_->Call(&Rpc::Stub::TakeSnapshot, request);
}
absl::StatusOr<v1::GetQuotaResponse> AdminClient::GetQuota(
    const v1::GetQuotaRequest& request) {
  return rpc_->Call(&Rpc::Stub::GetQuota, request);
}
absl::StatusOr<v1::SetQuotaResponse> AdminClient::SetQuota(
    const v1::SetQuotaRequest& request) {
  return rpc_->Call(&Rpc::Stub::SetQuota, request);
}

absl::StatusOr<v1::ReloadResponse> AdminClient::Reload() {
  return rpc_->Call(&Rpc::Stub::Reload, v1::ReloadRequest());
}
absl::Status AdminClient::Watch(
    const v1::WatchRequest& request,
    const std::function<bool(const v1::Event&)>& each) {
  grpc::ClientContext context;
  const auto reader = rpc_->stub->Watch(&context, request);
  v1::Event event;
  while (reader->Read(&event)) {
    if (each(event)) continue;
    context.TryCancel();
    while (reader->Read(&event)) continue;
    (void)reader->Finish();  // Says that it was cancelled.
    return absl::OkStatus();
  }
  return Translate(reader->Finish(), rpc_->path);
}

absl::StatusOr<report::HealthResponse> AdminClient::Health() {
  grpc::TemplatedGenericStub<report::HealthRequest, report::HealthResponse>
      stub(rpc_->channel);
  grpc::ClientContext context;
  SetDeadline(&context);
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareUnaryCall(&context, kHealthMethod,
                                          report::HealthRequest(), &queue);
  call->StartCall();
  report::HealthResponse response;
  grpc::Status status;
  call->Finish(&response, &status, &queue);
  void* tag = nullptr;
  bool is_ok = false;
  // Comes back by the call's own deadline at the latest.
  if (!queue.Next(&tag, &is_ok) || !is_ok) {
    return absl::InternalError("the health call ended without an answer");
  }
  VRAMPOOL_RETURN_IF_ERROR(Translate(status, rpc_->path));
  return response;
}

}  // namespace vrampool::cli
