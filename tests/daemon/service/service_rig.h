// service_rig.h - the real gRPC server over a fake Broker, and clients on real
// sockets with the identity that a test gives them.

#ifndef VRAMPOOL_TESTS_DAEMON_SERVICE_SERVICE_RIG_H_
#define VRAMPOOL_TESTS_DAEMON_SERVICE_SERVICE_RIG_H_

#include <memory>
#include <string>

#include "daemon/broker/session_tokens.h"
#include "daemon/config/policy.h"
#include "daemon/service/grpc_server.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "gtest/gtest.h"
#include "tests/daemon/service/fake_broker.h"
#include "tests/testing/fake_clock.h"
#include "vrampool/v1/admin.grpc.pb.h"
#include "vrampool/v1/broker.grpc.pb.h"
#include "vrampool/v1/errors.pb.h"

namespace vrampool::testing {

// A connected pair of non-blocking stream sockets.
struct SocketPair {
  UniqueFd server;
  UniqueFd client;
};
SocketPair MakeSocketPair();

PeerIdentity MakePeer(pid_t pid, uid_t uid);

// What grpc-status-details-bin of a failed call carried.
struct Details {
  v1::Status status;
  v1::ErrorInfo info;
  v1::QuotaFailure quota;
  v1::RetryInfo retry;
  bool has_quota = false;
  bool has_retry = false;
};
Details DetailsOf(const grpc::Status& status);

// ErrorInfo.reason of a failed call.
std::string ReasonOf(const grpc::Status& status);

// A client process: its connection and the stubs on it.
struct Client {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::Broker::Stub> broker;
  std::unique_ptr<v1::Admin::Stub> admin;
};

class ServiceRig : public ::testing::Test {
 protected:
  static constexpr SessionId kSession{5};
  static constexpr uid_t kUserUid = 1000;
  static constexpr uid_t kAdminUid = 2000;

  explicit ServiceRig(GrpcServer::Options options = {});

  Client Connect(const PeerIdentity& peer);

  // A call is between the making and the end of its context.
  struct EndOfCall {
    FakeBroker* broker;
    void operator()(grpc::ClientContext* context) const {
      delete context;
      broker->Order();
    }
  };
  using Context = std::unique_ptr<grpc::ClientContext, EndOfCall>;

  // A context with the token of kSession, which user_ holds.
  Context WithToken();
  Context WithoutToken();

  const PeerIdentity user_peer_ = MakePeer(100, kUserUid);
  FakeBroker broker_;
  FakeClock clock_;
  const Policy policy_;
  SessionTokens tokens_;
  EventHub events_;
  std::string token_;
  std::unique_ptr<GrpcServer> server_;
  Client user_;
  Client admin_;
};

// A call on any method by its raw bytes, for services whose stubs no package
// carries (health, reflection). A stream gets one message and one answer.
struct RawAnswer {
  grpc::Status status;
  std::string bytes;
};
RawAnswer RawUnary(const std::shared_ptr<grpc::Channel>& channel,
                   const std::string& method, const std::string& request);
RawAnswer RawStream(const std::shared_ptr<grpc::Channel>& channel,
                    const std::string& method, const std::string& request);

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_DAEMON_SERVICE_SERVICE_RIG_H_
