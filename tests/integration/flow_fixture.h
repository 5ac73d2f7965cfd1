// flow_fixture.h - several processes with one daemon, on each device.

#ifndef VRAMPOOL_TESTS_INTEGRATION_FLOW_FIXTURE_H_
#define VRAMPOOL_TESTS_INTEGRATION_FLOW_FIXTURE_H_

#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/client_process.h"
#include "tests/testing/daemon_process.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {

class FlowTest : public ::testing::TestWithParam<Served> {
 protected:
  void StartDaemon(const std::string& pool_size, const std::string& config) {
    VRAMPOOL_ASSERT_OK_AND_ASSIGN(
        daemon_,
        DaemonProcess::Start(
            {.served = GetParam(), .pool_size = pool_size, .config = config}));
  }
  // Its idle slabs stay until it is asked for them.
  std::unique_ptr<ClientProcess> StartClient(
      const std::string& wait_ms = "0", const std::string& debug_mode = "0") {
    auto client = ClientProcess::Start(
        *daemon_,
        {"VRAMPOOL_SLAB_SIZE=2MiB", "VRAMPOOL_IDLE_MS=3600000",
         "VRAMPOOL_WAIT_MS=" + wait_ms, "VRAMPOOL_DEBUG=" + debug_mode});
    EXPECT_THAT(client, IsOk());
    return client.ok() ? *std::move(client) : nullptr;
  }
  v1::TenantInfo Tenant(const std::string& tenant) {
    const auto admin = daemon_->Admin();
    EXPECT_THAT(admin, IsOk());
    v1::GetQuotaRequest request;
    request.set_tenant(tenant);
    const auto reply = (*admin)->GetQuota(request);
    EXPECT_THAT(reply, IsOk());
    return reply.ok() ? reply->tenant() : v1::TenantInfo();
  }
  void AwaitWaiters(uint64_t count) {
    ASSERT_THAT(daemon_->Await([count](const v1::GetStatusResponse& status) {
      return status.waiting() == count;
    }),
                IsOk());
  }
  void TearDown() override {
    if (daemon_ == nullptr || !daemon_->process().is_running()) return;
    EXPECT_THAT(daemon_->AwaitWhole(), IsOk());
    EXPECT_EQ(daemon_->Terminate(), 0) << daemon_->ReadLog();
  }

  std::unique_ptr<DaemonProcess> daemon_;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_INTEGRATION_FLOW_FIXTURE_H_
