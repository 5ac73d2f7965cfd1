// Who may call: session tokens as service Broker sees them.

#include "daemon/service/broker_service.h"
#include "gmock/gmock.h"
#include "tests/daemon/service/service_rig.h"

namespace vrampool::testing {
namespace {

using ::testing::HasSubstr;
using BrokerAuthTest = ServiceRig;

TEST_F(BrokerAuthTest, CallWithoutATokenIsUnauthenticated) {
  v1::BudgetResponse response;
  const grpc::Status status = user_.broker->Budget(
      WithoutToken().get(), v1::BudgetRequest(), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(ReasonOf(status), "SESSION_UNKNOWN");
}

TEST_F(BrokerAuthTest, MalformedAndDoubledTokensAreUnauthenticated) {
  v1::BudgetResponse response;
  auto context = WithoutToken();
  context->AddMetadata("vrampool-session-bin", "short");
  EXPECT_EQ(ReasonOf(user_.broker->Budget(context.get(), v1::BudgetRequest(),
                                          &response)),
            "SESSION_UNKNOWN");
  context = WithToken();
  context->AddMetadata("vrampool-session-bin", token_);
  EXPECT_EQ(ReasonOf(user_.broker->Budget(context.get(), v1::BudgetRequest(),
                                          &response)),
            "SESSION_UNKNOWN");
}

TEST_F(BrokerAuthTest, TokenIsNoGoodInAnotherProcess) {
  const Client thief = Connect(MakePeer(101, kUserUid));
  v1::BudgetResponse response;
  const grpc::Status status =
      thief.broker->Budget(WithToken().get(), v1::BudgetRequest(), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(ReasonOf(status), "SESSION_FOREIGN");
}

TEST_F(BrokerAuthTest, TokenIsGoodOnEveryConnectionOfItsProcess) {
  broker_.on_get_budget = [](SessionId) {
    return absl::StatusOr<Budget>(Budget());
  };
  const Client second = Connect(user_peer_);
  v1::BudgetResponse response;
  EXPECT_TRUE(
      second.broker->Budget(WithToken().get(), v1::BudgetRequest(), &response)
          .ok());
}

TEST_F(BrokerAuthTest, RevokedTokenIsUnknown) {
  tokens_.Revoke(kSession);
  v1::BudgetResponse response;
  EXPECT_EQ(ReasonOf(user_.broker->Budget(WithToken().get(),
                                          v1::BudgetRequest(), &response)),
            "SESSION_UNKNOWN");
}

TEST_F(BrokerAuthTest, NoErrorTextHoldsTheToken) {
  const Client thief = Connect(MakePeer(101, kUserUid));
  v1::BudgetResponse response;
  const grpc::Status status =
      thief.broker->Budget(WithToken().get(), v1::BudgetRequest(), &response);
  EXPECT_THAT(status.error_message(), ::testing::Not(HasSubstr(token_)));
  EXPECT_THAT(status.error_details(), ::testing::Not(HasSubstr(token_)));
}

}  // namespace
}  // namespace vrampool::testing
