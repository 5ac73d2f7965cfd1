#include "daemon/service/grpc_server.h"

#include <string>

#include "gmock/gmock.h"
#include "tests/daemon/service/service_rig.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {
namespace {

using ::testing::HasSubstr;

constexpr char kCheck[] = "/grpc.health.v1.Health/Check";
// HealthCheckResponse.status: field 1, a varint.
const std::string kServing = {0x08, 0x01};
const std::string kNotServing = {0x08, 0x02};

class GrpcServerTest : public ServiceRig {
 protected:
  // HealthCheckRequest.service: field 1, a string.
  RawAnswer Check(const std::string& service) {
    const std::string request =
        service.empty()
            ? ""
            : std::string("\x0a") + static_cast<char>(service.size()) + service;
    return RawUnary(user_.channel, kCheck, request);
  }
};

TEST_F(GrpcServerTest, EachNameIsHealthy) {
  EXPECT_EQ(Check("").bytes, kServing);
  EXPECT_EQ(Check("vrampool.v1.Broker").bytes, kServing);
  EXPECT_EQ(Check("vrampool.v1.Admin").bytes, kServing);
  EXPECT_EQ(Check("somebody.else").status.error_code(),
            grpc::StatusCode::NOT_FOUND);
}

TEST_F(GrpcServerTest, NotServingIsSaidForEachName) {
  server_->SetServing(false);
  EXPECT_EQ(Check("").bytes, kNotServing);
  EXPECT_EQ(Check("vrampool.v1.Broker").bytes, kNotServing);
  EXPECT_EQ(Check("vrampool.v1.Admin").bytes, kNotServing);
}

TEST_F(GrpcServerTest, ReflectionListsTheServices) {
  // ServerReflectionRequest.list_services: field 7, a string.
  const RawAnswer answer = RawStream(
      user_.channel,
      "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
      std::string("\x3a\x00", 2));
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_THAT(answer.bytes, HasSubstr("vrampool.v1.Broker"));
  EXPECT_THAT(answer.bytes, HasSubstr("vrampool.v1.Admin"));
  EXPECT_THAT(answer.bytes, HasSubstr("grpc.health.v1.Health"));
}

TEST_F(GrpcServerTest, RequestBeyondAMebibyteIsRefused) {
  v1::ShareRequest request;
  request.add_buffers()->set_size_bytes(1);
  request.set_metadata(std::string((1 << 20) + 1, 'm'));
  v1::ShareResponse response;
  EXPECT_EQ(
      user_.broker->Share(WithToken().get(), request, &response).error_code(),
      grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(GrpcServerTest, MethodThatDoesNotExistIsUnimplemented) {
  EXPECT_EQ(RawUnary(user_.channel, "/vrampool.v1.Broker/Steal", "")
                .status.error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(GrpcServerTest, BytesThatAreNoMessageAreRefused) {
  const grpc::Status status =
      RawUnary(user_.channel, "/vrampool.v1.Broker/Lease", "\xff\xff\xff")
          .status;
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(GrpcServerTest, ProbeIsAnsweredWhileTheServerLives) {
  EXPECT_THAT(server_->Probe(absl::Seconds(30)), IsOk());
  server_->Drain(absl::Seconds(1));
  EXPECT_FALSE(server_->Probe(absl::Seconds(30)).ok());
}

TEST_F(GrpcServerTest, DrainLetsRunningCallsEndAndTurnsNewOnesAway) {
  Mutex mu;
  CondVar changed;
  bool is_running = false;
  bool may_end = false;
  broker_.on_get_budget = [&](SessionId) {
    MutexLock lock(mu);
    is_running = true;
    changed.NotifyAll();
    while (!may_end) changed.Wait(lock);
    return absl::StatusOr<Budget>(
        Budget{.tenant = "root", .used = {}, .limit = {}, .available = {}});
  };
  grpc::Status status;
  std::thread caller([&] {
    v1::BudgetResponse response;
    status = user_.broker->Budget(WithToken().get(), {}, &response);
  });
  {
    MutexLock lock(mu);
    while (!is_running) changed.Wait(lock);
  }
  std::thread drainer([&] { server_->Drain(absl::Seconds(30)); });
  {
    MutexLock lock(mu);
    may_end = true;
    changed.NotifyAll();
  }
  caller.join();
  drainer.join();
  EXPECT_TRUE(status.ok()) << status.error_message();
  const Client late = Connect(user_peer_);
  v1::BudgetResponse response;
  EXPECT_EQ(late.broker->Budget(WithToken().get(), {}, &response).error_code(),
            grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace vrampool::testing
