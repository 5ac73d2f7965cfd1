#include "daemon/service/admin_service.h"

#include <unistd.h>

#include <string>
#include <vector>

#include "daemon/core/refusal.h"
#include "gmock/gmock.h"
#include "tests/daemon/service/admin_snapshot.h"
#include "tests/daemon/service/service_rig.h"

namespace vrampool::testing {
namespace {

using ::testing::ElementsAre;

class AdminServiceTest : public ServiceRig {
 protected:
  AdminServiceTest() { broker_.SetSnapshot(MakeSnapshot()); }

  v1::GetStatusResponse GetStatus(Client& client) {
    v1::GetStatusResponse response;
    EXPECT_TRUE(
        client.admin
            ->GetStatus(WithoutToken().get(), v1::GetStatusRequest(), &response)
            .ok());
    return response;
  }
};

TEST_F(AdminServiceTest, StatusIsForEverybodyAndComplete) {
  const v1::GetStatusResponse status = GetStatus(user_);
  EXPECT_EQ(status.version(), VRAMPOOL_VERSION);
  EXPECT_EQ(status.device_uuid(), "host-test");
  EXPECT_EQ(status.device_name(), "A test's memory");
  EXPECT_EQ(status.epoch(), static_cast<uint64_t>(FakeBroker::kEpoch));
  EXPECT_EQ(status.started_unix_ns(), absl::ToUnixNanos(clock_.Now()));
  EXPECT_EQ(status.granule_bytes(), MiB(2).count());
  EXPECT_THAT(status.kinds(), ElementsAre(v1::HANDLE_KIND_HOST_FD));
  EXPECT_EQ(status.sessions(), 2u);
  EXPECT_EQ(status.leases(), 1u);
  EXPECT_EQ(status.objects(), 3u);
  EXPECT_EQ(status.waiting(), 9u);
  EXPECT_EQ(status.ghost_bytes(), 4096u);
  EXPECT_EQ(status.device_use().total_bytes(), 1000u);
  EXPECT_EQ(status.device_use().free_bytes(), 300u);
  EXPECT_TRUE(status.conservation_holds());
  EXPECT_EQ(status.device_health(), "ok");
  EXPECT_EQ(status.pid(), static_cast<uint32_t>(getpid()));
  EXPECT_TRUE(status.serving());
  EXPECT_EQ(status.refused_quota(), 12u);
  EXPECT_EQ(status.refused_pool(), 13u);
  EXPECT_FALSE(status.preallocated());
}

TEST_F(AdminServiceTest, PoolStatesAddUpToTheCapacity) {
  const v1::PoolUsage pool = GetStatus(user_).pool();
  EXPECT_EQ(pool.capacity_bytes(), MiB(100).count());
  EXPECT_EQ(pool.creating_bytes(), MiB(1).count());
  EXPECT_EQ(pool.clean_bytes(), MiB(2).count());
  EXPECT_EQ(pool.leased_bytes(), MiB(3).count());
  EXPECT_EQ(pool.parked_bytes(), MiB(4).count());
  EXPECT_EQ(pool.kept_bytes(), MiB(5).count());
  EXPECT_EQ(pool.destroying_bytes(), MiB(6).count());
  EXPECT_EQ(pool.lingering_bytes(), MiB(7).count());
  EXPECT_EQ(pool.free_bytes() + MiB(28).count(), pool.capacity_bytes());
}

TEST_F(AdminServiceTest, StatusTellsOfALostDeviceAndOfStopping) {
  broker_.SetHealth(absl::UnavailableError("the device fell off the bus"));
  server_->SetServing(false);
  const v1::GetStatusResponse status = GetStatus(user_);
  EXPECT_EQ(status.device_health(), "the device fell off the bus");
  EXPECT_FALSE(status.serving());
}

TEST_F(AdminServiceTest, EverythingButStatusNeedsAnAdmin) {
  const auto expect_refused = [](const grpc::Status& status) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
    EXPECT_EQ(ReasonOf(status), "NOT_ADMIN");
  };
  v1::ListSessionsResponse sessions;
  expect_refused(user_.admin->ListSessions(WithToken().get(), {}, &sessions));
  v1::ListTenantsResponse tenants;
  expect_refused(user_.admin->ListTenants(WithToken().get(), {}, &tenants));
  v1::ListLeasesResponse leases;
  expect_refused(user_.admin->ListLeases(WithToken().get(), {}, &leases));
  v1::ListObjectsResponse objects;
  expect_refused(user_.admin->ListObjects(WithToken().get(), {}, &objects));
  v1::ListLeaksResponse leaks;
  expect_refused(user_.admin->ListLeaks(WithToken().get(), {}, &leaks));
  v1::FullSnapshot snapshot;
  expect_refused(user_.admin->TakeSnapshot(WithToken().get(), {}, &snapshot));
  v1::GetQuotaResponse quota;
  expect_refused(user_.admin->GetQuota(WithToken().get(), {}, &quota));
  v1::SetQuotaResponse set;
  expect_refused(user_.admin->SetQuota(WithToken().get(), {}, &set));
}

TEST_F(AdminServiceTest, RootAndTheDaemonsUserAreAdmins) {
  v1::ListTenantsResponse tenants;
  Client root = Connect(MakePeer(300, 0));
  EXPECT_TRUE(root.admin->ListTenants(WithoutToken().get(), {}, &tenants).ok());
  Client daemon = Connect(MakePeer(301, 3000));
  EXPECT_TRUE(
      daemon.admin->ListTenants(WithoutToken().get(), {}, &tenants).ok());
}

TEST_F(AdminServiceTest, SessionsAreTranslated) {
  v1::ListSessionsResponse response;
  ASSERT_TRUE(
      admin_.admin->ListSessions(WithoutToken().get(), {}, &response).ok());
  ASSERT_EQ(response.sessions_size(), 2);
  const v1::SessionInfo& session = response.sessions(0);
  EXPECT_EQ(session.session_id(), 5u);
  EXPECT_EQ(session.tenant(), "root/a/x");
  EXPECT_EQ(session.process().pid(), 100u);
  EXPECT_EQ(session.process().uid(), 1000u);
  EXPECT_EQ(session.process().gid(), 1000u);
  EXPECT_EQ(session.process().start_time_ticks(), 700u);
  EXPECT_EQ(session.process().cgroup(), "/user.slice");
  EXPECT_EQ(session.process().executable(), "/bin/train");
  EXPECT_EQ(session.process().command_line(), "train --fast");
  EXPECT_EQ(session.name(), "n");
  EXPECT_EQ(session.tag(), "t");
  EXPECT_EQ(session.framework(), "f");
  EXPECT_EQ(session.state(), v1::SessionInfo::STATE_LIVE);
  EXPECT_EQ(session.attached_unix_ns(), 10'000'000'000);
  EXPECT_EQ(session.charged_bytes(), MiB(8).count());
  EXPECT_EQ(session.lingering_bytes(), MiB(2).count());
  EXPECT_EQ(session.leases(), 3u);
  EXPECT_EQ(session.holds(), 4u);
  EXPECT_EQ(session.live_blocks(), 50u);
  EXPECT_EQ(session.live_bytes(), 5000u);
  EXPECT_EQ(response.sessions(1).state(), v1::SessionInfo::STATE_ENDED);
}

TEST_F(AdminServiceTest, SessionsAreFilteredByWholeTenantComponents) {
  v1::ListSessionsRequest request;
  request.set_tenant("root/a");
  v1::ListSessionsResponse response;
  ASSERT_TRUE(
      admin_.admin->ListSessions(WithoutToken().get(), request, &response)
          .ok());
  ASSERT_EQ(response.sessions_size(), 1);
  EXPECT_EQ(response.sessions(0).tenant(), "root/a/x");
}

TEST_F(AdminServiceTest, TenantsAreTranslated) {
  v1::ListTenantsResponse response;
  ASSERT_TRUE(
      admin_.admin->ListTenants(WithoutToken().get(), {}, &response).ok());
  ASSERT_EQ(response.tenants_size(), 2);
  const v1::TenantInfo& tenant = response.tenants(1);
  EXPECT_EQ(tenant.tenant(), "root/a");
  EXPECT_EQ(tenant.limit_bytes(), MiB(10).count());
  EXPECT_EQ(tenant.used_bytes(), MiB(8).count());
  EXPECT_EQ(tenant.available_bytes(), MiB(2).count());
  EXPECT_EQ(tenant.sessions(), 1u);
  EXPECT_EQ(tenant.peak_bytes(), MiB(9).count());
  EXPECT_EQ(tenant.clean_bytes(), MiB(1).count());
}

TEST_F(AdminServiceTest, LeasesAreTheSlabsThatSomebodyHas) {
  v1::ListLeasesResponse response;
  ASSERT_TRUE(
      admin_.admin->ListLeases(WithoutToken().get(), {}, &response).ok());
  ASSERT_EQ(response.leases_size(), 2);
  const v1::LeaseInfo& lease = response.leases(0);
  EXPECT_EQ(lease.lease_id(), 11u);
  EXPECT_EQ(lease.slab_id(), 1u);
  EXPECT_EQ(lease.session_id(), 5u);
  EXPECT_EQ(lease.tenant(), "root/a/x");
  EXPECT_EQ(lease.size_bytes(), MiB(4).count());
  EXPECT_EQ(lease.kind(), v1::HANDLE_KIND_HOST_FD);
  EXPECT_EQ(lease.state(), "leased");
  EXPECT_EQ(lease.since_unix_ns(), 20'000'000'000);
  EXPECT_EQ(lease.objects(), 2u);
  EXPECT_THAT(lease.mapped_by(), ElementsAre(5));
  EXPECT_EQ(response.leases(1).state(), "lingering");
}

TEST_F(AdminServiceTest, LeasesOfASessionAreThoseItHasOrMaps) {
  v1::ListLeasesRequest request;
  request.set_session_id(6);
  v1::ListLeasesResponse response;
  ASSERT_TRUE(
      admin_.admin->ListLeases(WithoutToken().get(), request, &response).ok());
  ASSERT_EQ(response.leases_size(), 1);
  EXPECT_EQ(response.leases(0).slab_id(), 2u);
}

TEST_F(AdminServiceTest, ObjectsAreTranslated) {
  v1::ListObjectsResponse response;
  ASSERT_TRUE(
      admin_.admin->ListObjects(WithoutToken().get(), {}, &response).ok());
  ASSERT_EQ(response.objects_size(), 3);
  const v1::ObjectInfo& object = response.objects(0);
  EXPECT_EQ(object.object_id(), 41u);
  EXPECT_EQ(object.name(), "weights");
  EXPECT_EQ(object.tenant(), "root/a/x");
  EXPECT_EQ(object.producer_session(), 5u);
  EXPECT_TRUE(object.producer_alive());
  EXPECT_EQ(object.size_bytes(), 64u);
  EXPECT_EQ(object.buffers(), 1u);
  EXPECT_EQ(object.holds(), 2u);
  EXPECT_THAT(object.holders(), ElementsAre(5, 6));
  EXPECT_EQ(object.state(), "live");
  EXPECT_EQ(object.created_unix_ns(), 30'000'000'000);
  EXPECT_EQ(object.last_opened_unix_ns(), 0);
  EXPECT_EQ(object.metadata_bytes(), 7u);
  ASSERT_EQ(object.layouts_size(), 1);
  EXPECT_EQ(object.layouts(0).dtype_bits(), 32u);
}

TEST_F(AdminServiceTest, QuotaIsReadByTenant) {
  v1::GetQuotaRequest request;
  request.set_tenant("root/a");
  v1::GetQuotaResponse response;
  ASSERT_TRUE(
      admin_.admin->GetQuota(WithoutToken().get(), request, &response).ok());
  EXPECT_EQ(response.tenant().limit_bytes(), MiB(10).count());
  request.set_tenant("root/nobody");
  const grpc::Status status =
      admin_.admin->GetQuota(WithoutToken().get(), request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ReasonOf(status), "TENANT_UNKNOWN");
}

TEST_F(AdminServiceTest, QuotaIsSetAndToldBack) {
  std::string tenant;
  Quota quota;
  broker_.on_set_quota = [&](std::string_view path, const Quota& change) {
    tenant = path;
    quota = change;
    Snapshot snapshot = MakeSnapshot();
    snapshot.tenants[1].limit = *change.limit;
    snapshot.tenants[1].priority = *change.priority;
    broker_.SetSnapshot(snapshot);
    return absl::OkStatus();
  };
  v1::SetQuotaRequest request;
  request.set_tenant("root/a");
  request.set_limit_bytes(4096);
  request.set_guarantee_bytes(0);
  request.set_priority(-7);
  request.set_lend_unused(false);
  v1::SetQuotaResponse response;
  ASSERT_TRUE(
      admin_.admin->SetQuota(WithoutToken().get(), request, &response).ok());
  EXPECT_EQ(tenant, "root/a");
  EXPECT_EQ(quota, (Quota{.limit = Bytes(4096),
                          .guarantee = Bytes(),
                          .priority = -7,
                          .lends = false}));
  EXPECT_EQ(response.tenant().limit_bytes(), 4096u);
  EXPECT_EQ(response.tenant().priority(), -7);
}

TEST_F(AdminServiceTest, QuotaErrorsArePassedOn) {
  broker_.on_set_quota = [](std::string_view, const Quota&) {
    return Refuse(Reason::kTenantUnknown, "no such tenant");
  };
  v1::SetQuotaRequest request;
  v1::SetQuotaResponse response;
  EXPECT_EQ(ReasonOf(admin_.admin->SetQuota(WithoutToken().get(), request,
                                            &response)),
            "BAD_ARGUMENT");
  request.set_tenant("root/nobody");
  // Nothing is set.
  EXPECT_EQ(ReasonOf(admin_.admin->SetQuota(WithoutToken().get(), request,
                                            &response)),
            "BAD_ARGUMENT");
  request.set_weight(2);
  EXPECT_EQ(ReasonOf(admin_.admin->SetQuota(WithoutToken().get(), request,
                                            &response)),
            "TENANT_UNKNOWN");
}

}  // namespace
}  // namespace vrampool::testing
