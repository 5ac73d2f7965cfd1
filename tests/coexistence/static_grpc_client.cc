// static_grpc_client.cc - an application that has a gRPC, Protocol Buffers and
// Abseil of its own, linked in from the distribution's static libraries.
//
//   static_grpc_client before|after SOCKET
//
// Serves and calls an echo on SOCKET before it opens a vrampool client (or not
// until after), while it has one, and after it closed it. Prints what went
// wrong and exits with 1, or prints "OK".

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <link.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/wrappers.pb.h"
#include "vrampool/vrampool.hpp"

namespace vrampool::testing {
namespace {

using google::protobuf::StringValue;

// Answers every call with its own bytes.
class EchoReactor : public grpc::ServerGenericBidiReactor {
 public:
  EchoReactor() { StartRead(&message_); }
  void OnReadDone(bool is_ok) override {
    if (is_ok) {
      StartWriteAndFinish(&message_, {}, grpc::Status::OK);
    } else {
      Finish(grpc::Status::CANCELLED);
    }
  }
  void OnDone() override { delete this; }  // As gRPC asks of a reactor.

 private:
  grpc::ByteBuffer message_;
};

class EchoService : public grpc::CallbackGenericService {
 public:
  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext*) override {
    return new EchoReactor;
  }
};

// The application's own server, and one connection to it.
class Echo {
 public:
  explicit Echo(const std::string& socket) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + socket,
                             grpc::InsecureServerCredentials());
    builder.RegisterCallbackGenericService(&service_);
    server_ = builder.BuildAndStart();
    channel_ = grpc::CreateChannel("unix:" + socket,
                                   grpc::InsecureChannelCredentials());
  }

  // Internal if something else comes back than was sent.
  absl::Status Call(const std::string& text) {
    if (server_ == nullptr) return absl::InternalError("no server");
    grpc::TemplatedGenericStub<StringValue, StringValue> stub(channel_);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::minutes(1));
    StringValue request;
    request.set_value(text);
    StringValue reply;
    grpc::CompletionQueue queue;
    const auto call =
        stub.PrepareUnaryCall(&context, "/test.Echo/Say", request, &queue);
    call->StartCall();
    grpc::Status status;
    call->Finish(&reply, &status, nullptr);
    void* tag = nullptr;
    bool is_ok = false;
    if (!queue.Next(&tag, &is_ok) || !is_ok) {
      return absl::InternalError("no answer");
    }
    if (status.ok() && reply.value() == text) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("echo: ", status.error_code(), " ",
                                            status.error_message(), " '",
                                            reply.value(), "'"));
  }

 private:
  EchoService service_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

// Whether a shared gRPC is in this process: the vrampool module's.
bool HasSharedGrpc() {
  bool has = false;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* found) {
        const std::string_view name = info->dlpi_name;
        for (const char* const part : {"libgrpc", "libprotobuf", "libabsl"}) {
          if (absl::StrContains({name.data(), name.size()}, part)) {
            *static_cast<bool*>(found) = true;
          }
        }
        return 0;
      },
      &has);
  return has;
}

absl::Status Failed(const char* what) {
  return absl::InternalError(absl::StrCat(what, ": ", Status::Last().name(),
                                          " ", Status::Last().message()));
}

// Leases, shares, opens, and asks: every way into the module.
absl::Status UseMemory(Client& client) {
  constexpr size_t kBytes = 4 << 20;
  void* const block = client.Allocate(kBytes);
  if (block == nullptr) return Failed("allocate");
  std::memset(block, 7, kBytes);
  {
    auto shared = client.Share({{block, kBytes}});
    if (!shared.ok()) return Failed("share");
    const auto token = shared->Token();
    if (!token.ok()) return Failed("token");
    const auto opened = client.OpenToken(token->c_str());
    if (!opened.ok()) return Failed("open");
    if (opened->size() != kBytes ||
        std::memcmp(opened->data(), block, kBytes) != 0) {
      return absl::InternalError("other bytes were opened than were shared");
    }
  }
  client.Deallocate(block, kBytes);
  if (!client.Budget().ok()) return Failed("budget");
  return client.Trim().ok() ? absl::OkStatus() : Failed("trim");
}

absl::Status Run(bool is_grpc_first, const std::string& socket) {
  if (HasSharedGrpc()) return absl::InternalError("the program is not static");
  std::unique_ptr<Echo> echo;
  absl::Status status;
  if (is_grpc_first) {
    echo = std::make_unique<Echo>(socket);
    status.Update(echo->Call("before"));
  }
  {
    auto client = Client::Open();
    if (!client.ok()) return Failed("attach");
    status.Update(UseMemory(*client));
    if (!HasSharedGrpc()) return absl::InternalError("the module is static");
    if (echo == nullptr) echo = std::make_unique<Echo>(socket);
    status.Update(echo->Call("during"));
    status.Update(UseMemory(*client));
  }
  status.Update(echo->Call("after"));
  status.Update(Echo(socket + "-anew").Call("anew"));
  return status;
}

}  // namespace
}  // namespace vrampool::testing

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const absl::Status status =
      vrampool::testing::Run(std::string_view(argv[1]) == "before", argv[2]);
  std::printf("%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
