#include "client/rpc/grpc_channel.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/grpc_library.h>

#include <chrono>
#include <string>

#include "client/rpc/outcome.h"
#include "client/rpc/translate.h"
#include "vrampool/v1/broker.grpc.pb.h"

namespace vrampool::client {
namespace {

// What a call may take beyond the time it is allowed to wait: creating a slab
// of many gigabytes takes a good part of a second on a busy device.
constexpr std::chrono::milliseconds kCallLimit(10000);

class GrpcChannel final : public ControlChannel {
 public:
  GrpcChannel(const char* socket_path, const uint8_t* token)
      : token_(reinterpret_cast<const char*>(token), 32) {
    grpc::ChannelArguments arguments;
    // A daemon that was restarted is tried again soon, not after minutes.
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 20);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 200);
    // Despite its name: how long one attempt to connect may take. A busy daemon
    // must not be taken for one that is away; where there is none, connecting
    // fails at once.
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS,
                     static_cast<int>(kCallLimit.count()));
    // The environment of the process is no business of a local socket, and two
    // sessions must never share a connection.
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    stub_ = v1::Broker::NewStub(grpc::CreateCustomChannel(
        std::string("unix:") + socket_path, grpc::InsecureChannelCredentials(),
        arguments));
  }

  CallOutcome Lease(const LeaseCall& call, LeaseReply& reply) override {
    return Run(&v1::Broker::Stub::Lease, ToProto(call), reply, call.wait_ms);
  }
  CallOutcome Return(const ReturnCall& call) override {
    v1::ReturnResponse reply;
    return RunRaw(&v1::Broker::Stub::Return, ToProto(call), reply, 0);
  }
  CallOutcome ReportUnmapped(Epoch epoch, const SlabId* slabs, size_t count,
                             uint32_t& kept) override {
    v1::ReportUnmappedRequest request;
    request.set_epoch(static_cast<uint64_t>(epoch));
    for (size_t i = 0; i < count; ++i) {
      request.add_slab_ids(static_cast<uint64_t>(slabs[i]));
    }
    v1::ReportUnmappedResponse reply;
    const CallOutcome outcome =
        RunRaw(&v1::Broker::Stub::ReportUnmapped, request, reply, 0);
    kept = reply.kept();
    return outcome;
  }
  CallOutcome Share(const ShareCall& call, ShareReply& reply) override {
    return Run(&v1::Broker::Stub::Share, ToProto(call), reply, 0);
  }
  CallOutcome Ready(const ObjectCall& call, ReadyOutcome outcome) override {
    v1::ReadyRequest request;
    request.set_epoch(static_cast<uint64_t>(call.epoch));
    request.set_object_id(static_cast<uint64_t>(call.object));
    request.set_outcome(outcome == ReadyOutcome::kComplete
                            ? v1::ReadyRequest::OUTCOME_COMPLETE
                            : v1::ReadyRequest::OUTCOME_FAILED);
    v1::ReadyResponse reply;
    return RunRaw(&v1::Broker::Stub::Ready, request, reply, 0);
  }
  CallOutcome Open(const OpenCall& call, OpenReply& reply) override {
    return Run(&v1::Broker::Stub::Open, ToProto(call), reply, call.wait_ms);
  }
  CallOutcome Close(const ObjectCall& call) override {
    v1::CloseRequest request;
    request.set_epoch(static_cast<uint64_t>(call.epoch));
    request.set_object_id(static_cast<uint64_t>(call.object));
    v1::CloseResponse reply;
    return RunRaw(&v1::Broker::Stub::Close, request, reply, 0);
  }
  CallOutcome Unlink(const Text& name) override {
    v1::UnlinkRequest request;
    request.set_name(std::string(name.data, name.size));
    v1::UnlinkResponse reply;
    return RunRaw(&v1::Broker::Stub::Unlink, request, reply, 0);
  }
  CallOutcome Wait(const WaitCall& call) override {
    v1::WaitResponse reply;
    return RunRaw(&v1::Broker::Stub::Wait, ToProto(call), reply, call.wait_ms);
  }
  CallOutcome Budget(BudgetReply& reply) override {
    return Run(&v1::Broker::Stub::Budget, v1::BudgetRequest(), reply, 0);
  }
  CallOutcome Reserve(const ReserveCall& call, ReserveReply& reply) override {
    v1::ReserveRequest request;
    request.set_size_bytes(call.size_bytes);
    request.set_kind(static_cast<v1::HandleKind>(call.kind));
    request.set_hold_ms(call.hold_ms);
    return Run(&v1::Broker::Stub::Reserve, request, reply, 0);
  }
  CallOutcome ReleaseReservation(const ReserveReply& reservation) override {
    v1::ReleaseReservationRequest request;
    request.set_epoch(static_cast<uint64_t>(reservation.epoch));
    request.set_reservation_id(reservation.reservation);
    v1::ReleaseReservationResponse reply;
    return RunRaw(&v1::Broker::Stub::ReleaseReservation, request, reply, 0);
  }

 private:
  template <typename Request, typename Response>
  using Method = grpc::Status (v1::Broker::Stub::*)(grpc::ClientContext*,
                                                    const Request&, Response*);

  template <typename Request, typename Response>
  CallOutcome RunRaw(Method<Request, Response> method, const Request& request,
                     Response& response, uint64_t wait_ms) {
    grpc::ClientContext context;
    context.AddMetadata("vrampool-session-bin", token_);
    context.set_deadline(std::chrono::system_clock::now() + kCallLimit +
                         std::chrono::milliseconds(wait_ms));
    const grpc::Status status =
        ((*stub_).*method)(&context, request, &response);
    return MakeOutcome(status.error_code(), status.error_message(),
                       status.error_details());
  }

  template <typename Request, typename Response, typename Reply>
  CallOutcome Run(Method<Request, Response> method, const Request& request,
                  Reply& reply, uint64_t wait_ms) {
    Response response;
    const CallOutcome outcome = RunRaw(method, request, response, wait_ms);
    if (!outcome.ok() || Fill(response, reply)) return outcome;
    return MakeOutcome(grpc::StatusCode::INTERNAL,
                       "the daemon's reply breaks the protocol", "");
  }

  const std::string token_;
  std::unique_ptr<v1::Broker::Stub> stub_;
};

}  // namespace

std::unique_ptr<ControlChannel> OpenGrpcChannel(const char* socket_path,
                                                const uint8_t* token) {
  // gRPC reaches its core by two global pointers. In a program that links the
  // shared libgrpc++ they lie in the program (copy relocation) and gRPC has set
  // them there; this module, bound to the library's own, finds them null.
  static const int initialized =
      grpc::internal::GrpcLibraryInitializer().summon();
  (void)initialized;  // Its making is what counts.
  return std::make_unique<GrpcChannel>(socket_path, token);
}

}  // namespace vrampool::client
