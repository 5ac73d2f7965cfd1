#include "daemon/service/admin_service.h"

#include <unistd.h>

#include <string>
#include <vector>

#include "daemon/core/refusal.h"
#include "daemon/service/layout.h"
#include "gmock/gmock.h"
#include "tests/daemon/service/service_rig.h"

namespace vrampool::testing {
namespace {

using ::testing::ElementsAre;

Snapshot MakeSnapshot() {
  Snapshot snapshot;
  snapshot.epoch = FakeBroker::kEpoch;
  snapshot.pool.capacity = MiB(100);
  snapshot.pool.free = MiB(72);
  for (int i = 0; i < kSlabStates; ++i) {
    snapshot.pool.by_state[i] = MiB(static_cast<uint64_t>(i) + 1);
  }
  SessionView session;
  session.id = SessionId{5};
  session.tenant = "root/a/x";
  session.peer = MakePeer(100, 1000);
  session.peer.cgroup = "/user.slice";
  session.peer.executable = "/bin/train";
  session.peer.command_line = "train --fast";
  session.labels = {.name = "n", .tag = "t", .framework = "f"};
  session.attached_at = absl::FromUnixSeconds(10);
  session.charged = MiB(6);
  session.lingering = MiB(2);
  session.leases = 3;
  session.holds = 4;
  snapshot.sessions.push_back(session);
  session.id = SessionId{6};
  session.tenant = "root/ab";
  session.state = SessionState::kEnded;
  snapshot.sessions.push_back(session);
  snapshot.tenants = {{.path = "root",
                       .limit = MiB(100),
                       .used = MiB(28),
                       .available = MiB(72),
                       .peak = MiB(30),
                       .clean = MiB(2),
                       .sessions = 2},
                      {.path = "root/a",
                       .limit = MiB(10),
                       .used = MiB(8),
                       .available = MiB(2),
                       .peak = MiB(9),
                       .clean = MiB(1),
                       .sessions = 1}};
  SlabView slab;
  slab.id = SlabId{1};
  slab.lease = LeaseId{11};
  slab.session = SessionId{5};
  slab.tenant = "root/a/x";
  slab.size = MiB(4);
  slab.kind = HandleKind::kHostFd;
  slab.state = SlabState::kLeased;
  slab.since = absl::FromUnixSeconds(20);
  slab.objects = 2;
  slab.mapped_by = {SessionId{5}};
  snapshot.slabs.push_back(slab);
  slab.id = SlabId{2};
  slab.lease = LeaseId{};
  slab.session = SessionId{};
  slab.state = SlabState::kLingering;
  slab.mapped_by = {SessionId{6}, SessionId{99}};
  snapshot.slabs.push_back(slab);
  slab.id = SlabId{3};
  slab.state = SlabState::kClean;
  slab.mapped_by = {};
  snapshot.slabs.push_back(slab);
  ObjectView object;
  object.id = ObjectId{41};
  object.name = "weights";
  object.tenant = "root/a/x";
  object.producer = SessionId{5};
  object.producer_is_live = true;
  object.size = Bytes(64);
  object.buffers = 1;
  object.holders = {SessionId{5}, SessionId{6}};
  object.phase = ObjectPhase::kLive;
  object.created_at = absl::FromUnixSeconds(30);
  object.last_opened_at = absl::InfinitePast();
  object.metadata_bytes = 7;
  Layouts layouts;
  layouts.Add()->set_dtype_bits(32);
  object.layout = EncodeLayouts(layouts);
  snapshot.objects.push_back(object);
  object.id = ObjectId{42};
  object.name = "orphan";
  object.holders = {};
  snapshot.objects.push_back(object);
  object.id = ObjectId{43};
  object.name = "";
  snapshot.objects.push_back(object);
  snapshot.waiting = 9;
  snapshot.counters.refused_quota = 12;
  snapshot.counters.refused_pool = 13;
  return snapshot;
}

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

LeakReport MakeReport(size_t blocks) {
  LeakReport report;
  report.session = MakeSnapshot().sessions[0];
  report.ended_at = absl::FromUnixSeconds(40);
  report.end_cause = "died";
  report.blocks_total = 1'000'000;
  report.bytes_total = MiB(5);
  report.blocks.assign(blocks, {.slab = 1,
                                .offset = 2,
                                .size = 3,
                                .stream = 4,
                                .allocated_unix_ns = 5,
                                .tag = "b",
                                .call_site = 6,
                                .thread = 7});
  report.leased = MiB(6);
  report.manifest_fault = "torn";
  report.groups = {{"b", 6, 999'998, MiB(4), 5}};
  report.ungrouped = {"", 0, 2, MiB(1), 4};
  return report;
}

TEST_F(AdminServiceTest, LeaksAreTranslated) {
  broker_.SetLeaks({.reports = {MakeReport(1)}, .forgotten = 8});
  v1::ListLeaksResponse response;
  ASSERT_TRUE(
      admin_.admin->ListLeaks(WithoutToken().get(), {}, &response).ok());
  ASSERT_EQ(response.reports_size(), 1);
  const v1::LeakReport& report = response.reports(0);
  EXPECT_EQ(report.session().session_id(), 5u);
  EXPECT_EQ(report.session().tag(), "t");
  EXPECT_FALSE(report.session_live());
  EXPECT_EQ(report.ended_unix_ns(), 40'000'000'000);
  EXPECT_EQ(report.end_cause(), "died");
  EXPECT_EQ(report.blocks_total(), 1'000'000u);
  EXPECT_EQ(report.bytes_total(), MiB(5).count());
  EXPECT_EQ(report.leased_bytes(), MiB(6).count());
  EXPECT_EQ(report.manifest_fault(), "torn");
  ASSERT_EQ(report.blocks_size(), 1);
  const v1::BlockInfo& block = report.blocks(0);
  EXPECT_EQ(block.slab_id(), 1u);
  EXPECT_EQ(block.offset_bytes(), 2u);
  EXPECT_EQ(block.size_bytes(), 3u);
  EXPECT_EQ(block.stream(), 4u);
  EXPECT_EQ(block.allocated_unix_ns(), 5);
  EXPECT_EQ(block.tag(), "b");
  EXPECT_EQ(block.call_site(), 6u);
  EXPECT_EQ(block.thread(), 7u);
  ASSERT_EQ(report.groups_size(), 1);
  EXPECT_EQ(report.groups(0).tag(), "b");
  EXPECT_EQ(report.groups(0).call_site(), 6u);
  EXPECT_EQ(report.groups(0).blocks(), 999'998u);
  EXPECT_EQ(report.groups(0).bytes(), MiB(4).count());
  EXPECT_EQ(report.groups(0).oldest_unix_ns(), 5);
  EXPECT_EQ(report.ungrouped().blocks(), 2u);
  EXPECT_EQ(response.forgotten_reports(), 8u);
  EXPECT_EQ(response.ghost_bytes(), 4096u);
  EXPECT_EQ(response.device_use().missing_bytes(), 512u);
  ASSERT_EQ(response.outside_size(), 1);
  EXPECT_EQ(response.outside(0).pid(), 77u);
  EXPECT_EQ(response.outside(0).used_bytes(), 128u);
  EXPECT_EQ(response.outside(0).name(), "outsider");
}

TEST_F(AdminServiceTest, LeaksNameLingeringSlabsAndNamedObjectsWithoutHolder) {
  v1::ListLeaksResponse response;
  ASSERT_TRUE(
      admin_.admin->ListLeaks(WithoutToken().get(), {}, &response).ok());
  ASSERT_EQ(response.lingering_size(), 1);
  EXPECT_EQ(response.lingering(0).slab_id(), 2u);
  EXPECT_EQ(response.lingering(0).size_bytes(), MiB(4).count());
  ASSERT_EQ(response.lingering(0).suspects_size(), 1);
  EXPECT_EQ(response.lingering(0).suspects(0).session_id(), 6u);
  ASSERT_EQ(response.unheld_objects_size(), 1);
  EXPECT_EQ(response.unheld_objects(0).name(), "orphan");
}

TEST_F(AdminServiceTest, LeakQueryIsBoundedAndDefaulted) {
  v1::ListLeaksRequest request;
  v1::ListLeaksResponse response;
  ASSERT_TRUE(
      admin_.admin->ListLeaks(WithoutToken().get(), request, &response).ok());
  EXPECT_EQ(broker_.last_leak_query().max_blocks, 20u);
  EXPECT_EQ(broker_.last_leak_query().min_age, absl::ZeroDuration());
  request.set_max_blocks(UINT32_MAX);
  request.set_min_age_ms(1500);
  ASSERT_TRUE(
      admin_.admin->ListLeaks(WithoutToken().get(), request, &response).ok());
  EXPECT_EQ(broker_.last_leak_query().max_blocks, 1000u);
  EXPECT_EQ(broker_.last_leak_query().min_age, absl::Milliseconds(1500));
  request.set_min_age_ms(-1);
  ASSERT_TRUE(
      admin_.admin->ListLeaks(WithoutToken().get(), request, &response).ok());
  EXPECT_EQ(broker_.last_leak_query().min_age, absl::ZeroDuration());
}

TEST_F(AdminServiceTest, GroupsBeyondTheBoundJoinTheRest) {
  std::vector<LeakReport> reports(101, MakeReport(0));
  for (LeakReport& report : reports) {
    report.groups.assign(1000, {"b", 6, 1, Bytes(10), 3});
  }
  broker_.SetLeaks({.reports = reports});
  v1::ListLeaksResponse response;
  ASSERT_TRUE(
      admin_.admin->ListLeaks(WithoutToken().get(), {}, &response).ok());
  EXPECT_EQ(response.reports(99).groups_size(), 1000);
  EXPECT_EQ(response.reports(100).groups_size(), 0);
  EXPECT_EQ(response.reports(100).ungrouped().blocks(), 1002u);
  EXPECT_EQ(response.reports(100).ungrouped().bytes(),
            MiB(1).count() + 10'000u);
  EXPECT_EQ(response.reports(100).ungrouped().oldest_unix_ns(), 3);
}

TEST_F(AdminServiceTest, ASnapshotHasEverythingAndSaysWhatItLacks) {
  broker_.SetLeaks({.reports = {MakeReport(3)}, .forgotten = 8});
  v1::TakeSnapshotRequest request;
  request.set_max_blocks(UINT32_MAX);
  v1::FullSnapshot snapshot;
  ASSERT_TRUE(
      admin_.admin->TakeSnapshot(WithoutToken().get(), request, &snapshot)
          .ok());
  EXPECT_EQ(broker_.last_leak_query().max_blocks, 100'000u);
  EXPECT_EQ(snapshot.status().sessions(), 2u);
  EXPECT_EQ(snapshot.tenants_size(), 2);
  ASSERT_EQ(snapshot.sessions_size(), 2);
  EXPECT_EQ(snapshot.sessions(0).live_blocks(), 50u);
  EXPECT_EQ(snapshot.leases_size(), 3);
  EXPECT_EQ(snapshot.objects_size(), 3);
  EXPECT_EQ(snapshot.leaks().reports_size(), 1);
  EXPECT_EQ(snapshot.leaks().lingering_size(), 1);
  EXPECT_THAT(
      snapshot.missing(),
      ElementsAre("session 5: the largest 3 of 1000000 blocks are listed",
                  "session 5: 2 blocks are in no group",
                  "session 5: blocks that could not be read: torn",
                  "8 reports of ended sessions were dropped before"));
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
  Bytes limit;
  broker_.on_set_limit = [&](std::string_view path, Bytes bytes) {
    tenant = path;
    limit = bytes;
    Snapshot snapshot = MakeSnapshot();
    snapshot.tenants[1].limit = bytes;
    broker_.SetSnapshot(snapshot);
    return absl::OkStatus();
  };
  v1::SetQuotaRequest request;
  request.set_tenant("root/a");
  request.set_limit_bytes(4096);
  v1::SetQuotaResponse response;
  ASSERT_TRUE(
      admin_.admin->SetQuota(WithoutToken().get(), request, &response).ok());
  EXPECT_EQ(tenant, "root/a");
  EXPECT_EQ(limit, Bytes(4096));
  EXPECT_EQ(response.tenant().limit_bytes(), 4096u);
}

TEST_F(AdminServiceTest, QuotaErrorsArePassedOn) {
  broker_.on_set_limit = [](std::string_view, Bytes) {
    return Refuse(Reason::kTenantUnknown, "no such tenant");
  };
  v1::SetQuotaRequest request;
  v1::SetQuotaResponse response;
  EXPECT_EQ(ReasonOf(admin_.admin->SetQuota(WithoutToken().get(), request,
                                            &response)),
            "BAD_ARGUMENT");
  request.set_tenant("root/nobody");
  EXPECT_EQ(ReasonOf(admin_.admin->SetQuota(WithoutToken().get(), request,
                                            &response)),
            "TENANT_UNKNOWN");
}

}  // namespace
}  // namespace vrampool::testing
