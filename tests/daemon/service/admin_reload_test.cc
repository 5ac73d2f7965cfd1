// Reload, for admins only.

#include "daemon/core/refusal.h"
#include "gmock/gmock.h"
#include "tests/daemon/service/service_rig.h"

namespace vrampool::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// What the server was given to call, which a test can change.
struct Reload {
  std::string by;
  absl::StatusOr<std::vector<std::string>> answer = std::vector<std::string>();
};

class AdminReloadTest : public ServiceRig {
 protected:
  AdminReloadTest() : AdminReloadTest(std::make_shared<Reload>()) {}
  explicit AdminReloadTest(const std::shared_ptr<Reload>& reload)
      : ServiceRig({.bounds = {},
                    .reload =
                        [reload](std::string_view by) {
                          reload->by = std::string(by);
                          return reload->answer;
                        }}),
        reload_(reload) {}

  std::shared_ptr<Reload> reload_;
};

TEST_F(AdminReloadTest, SaysWhatHasChangedAndWhoAsked) {
  reload_->answer = std::vector<std::string>{"root/a: limit 1", "policy"};
  v1::ReloadResponse response;
  ASSERT_TRUE(admin_.admin->Reload(WithoutToken().get(), {}, &response).ok());
  EXPECT_THAT(response.changes(), ElementsAre("root/a: limit 1", "policy"));
  EXPECT_EQ(reload_->by, "uid 2000, pid 200");
}

TEST_F(AdminReloadTest, AnErrorIsPassedOn) {
  reload_->answer = Refuse(Reason::kBadArgument, "v.conf:2: pool_size: no");
  v1::ReloadResponse response;
  const grpc::Status status =
      admin_.admin->Reload(WithoutToken().get(), {}, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("v.conf:2: pool_size"));
}

TEST_F(AdminReloadTest, OthersMayNot) {
  v1::ReloadResponse response;
  EXPECT_EQ(ReasonOf(user_.admin->Reload(WithToken().get(), {}, &response)),
            "NOT_ADMIN");
  EXPECT_EQ(reload_->by, "");
}

}  // namespace
}  // namespace vrampool::testing
