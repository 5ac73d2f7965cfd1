// What Connections relies on, asked of the gRPC library that is linked: the
// number of a connection stays taken while a call of it runs.

#include <sys/socket.h>
#include <sys/stat.h>

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/service/connections.h"
#include "grpcpp/create_channel_posix.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "grpcpp/server_posix.h"
#include "gtest/gtest.h"
#include "tests/daemon/service/service_rig.h"

namespace vrampool::testing {
namespace {

constexpr std::chrono::seconds kPatience(60);

// Whose connection a call is on, asked before and after a pause that lasts
// until the test says so. A call that asks for a name does not pause.
class SlowService final : public v1::Broker::Service {
 public:
  explicit SlowService(const Connections& connections)
      : connections_(connections) {}

  grpc::Status Budget(grpc::ServerContext* context, const v1::BudgetRequest*,
                      v1::BudgetResponse*) override {
    entered_.set_value(connections_.Find(context->peer()));
    go_on_.get_future().wait();
    // The library has seen the client go.
    while (!context->IsCancelled()) std::this_thread::yield();
    gone_.set_value();
    look_.get_future().wait();
    looked_.set_value(connections_.Find(context->peer()));
    return grpc::Status::OK;
  }
  grpc::Status Unlink(grpc::ServerContext* context, const v1::UnlinkRequest*,
                      v1::UnlinkResponse*) override {
    const auto found = connections_.Find(context->peer());
    return found.has_value() ? grpc::Status(grpc::StatusCode::OK, "")
                             : grpc::Status(grpc::StatusCode::NOT_FOUND, "");
  }

  std::promise<std::optional<Connections::Connection>> entered_;
  std::promise<void> go_on_;
  std::promise<void> gone_;
  std::promise<void> look_;
  std::promise<std::optional<Connections::Connection>> looked_;

 private:
  const Connections& connections_;
};

class ConnectionsOverGrpcTest : public ::testing::Test {
 protected:
  ConnectionsOverGrpcTest() : service_(connections_) {
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
  }
  // Before the service and the connections, which calls use.
  ~ConnectionsOverGrpcTest() override { server_->Shutdown(); }

  // A connection of `peer`: its number in the server, and the client's number
  // and stub.
  struct Connected {
    int fd = -1;
    int client_fd = -1;
    std::unique_ptr<v1::Broker::Stub> stub;
  };
  Connected Connect(const PeerIdentity& peer) {
    SocketPair pair = MakeSocketPair();
    Connected connected;
    connected.fd = pair.server.get();
    connected.client_fd = pair.client.get();
    connections_.Adopt(std::move(pair.server), peer);
    connected.stub = v1::Broker::NewStub(
        grpc::CreateInsecureChannelFromFd("test", pair.client.release()));
    return connected;
  }

  static bool CallWorks(v1::Broker::Stub& stub) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    v1::UnlinkResponse response;
    return stub.Unlink(&context, v1::UnlinkRequest(), &response).ok();
  }

  static ino_t InodeOf(int fd) {
    struct stat info = {};
    return fstat(fd, &info) == 0 ? info.st_ino : 0;
  }

  std::unique_ptr<grpc::Server> server_;
  Connections connections_{{.per_uid = 100, .in_all = 200}, [this](int fd) {
                             grpc::AddInsecureChannelFromFd(server_.get(), fd);
                           }};
  SlowService service_;
};

TEST_F(ConnectionsOverGrpcTest, RunningCallKeepsItsNumberAndIdentity) {
  Connected first = Connect(MakePeer(10, 1000));
  const int fd = first.fd;
  const ino_t inode = InodeOf(fd);
  std::thread client([stub = std::move(first.stub)]() mutable {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    v1::BudgetResponse response;
    (void)stub->Budget(&context, v1::BudgetRequest(), &response);
  });
  const auto at_first = service_.entered_.get_future().get();
  ASSERT_TRUE(at_first.has_value());
  EXPECT_EQ(at_first->peer->pid, 10);
  // What the server sees when the client's process dies.
  ASSERT_EQ(shutdown(first.client_fd, SHUT_RDWR), 0);
  client.join();
  service_.go_on_.set_value();
  service_.gone_.get_future().wait();

  std::vector<Connected> others;
  for (int i = 0; i < 50; ++i) {
    others.push_back(Connect(MakePeer(20, 2000)));
    EXPECT_NE(others.back().fd, fd);
    EXPECT_TRUE(CallWorks(*others.back().stub));
  }
  EXPECT_EQ(InodeOf(fd), inode);
  service_.look_.set_value();
  const auto at_last = service_.looked_.get_future().get();
  ASSERT_TRUE(at_last.has_value());
  EXPECT_EQ(at_last->peer->pid, 10);
  EXPECT_EQ(at_last->generation, at_first->generation);

  // With the call over, the library closes the descriptor.
  while (InodeOf(fd) == inode) std::this_thread::yield();
  Connected heir = Connect(MakePeer(30, 3000));
  while (heir.fd != fd && heir.fd < fd) {
    others.push_back(std::move(heir));
    heir = Connect(MakePeer(30, 3000));
  }
  EXPECT_TRUE(CallWorks(*heir.stub));
  if (heir.fd == fd) {
    const auto found = connections_.Find("fd:" + std::to_string(fd));
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ(found->peer->pid, 30);
    EXPECT_NE(found->generation, at_first->generation);
  }
}

}  // namespace
}  // namespace vrampool::testing
