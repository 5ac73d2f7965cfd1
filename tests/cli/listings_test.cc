// `sessions`, `tenants`, `leases` and `objects`: tables, JSON, order, filters.

#include "tests/cli/cli_fixture.h"

namespace vrampool::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class ListingsTest : public CliTest {
 protected:
  ListingsTest() : daemon_(directory(), "host-1") {
    AddSession({.id = 1, .tenant = "root/a", .charged = 64 << 20},
               absl::Hours(1), "trainer");
    AddSession({.id = 2, .tenant = "root/b", .charged = 512}, absl::Minutes(1),
               "bad\x1b[2Jname");
    AddTenants();
    AddLeases();
    AddObjects();
  }

  struct Attached {
    uint64_t id;
    const char* tenant;
    uint64_t charged;
  };
  void AddSession(const Attached& attached, absl::Duration age,
                  const std::string& name) {
    v1::SessionInfo* session = daemon_.replies().sessions.add_sessions();
    session->set_session_id(attached.id);
    session->set_tenant(attached.tenant);
    session->set_charged_bytes(attached.charged);
    session->set_state(v1::SessionInfo::STATE_LIVE);
    session->set_attached_unix_ns(Ago(age));
    session->set_name(name);
    session->set_tag("run-7");
    session->set_framework("torch");
    session->mutable_process()->set_pid(4000 +
                                        static_cast<uint32_t>(attached.id));
    session->mutable_process()->set_uid(1000);
    session->mutable_process()->set_command_line("python train.py");
  }

  void AddTenants() {
    for (const char* path : {"root", "root/a", "root/a/x", "root/ab"}) {
      v1::TenantInfo* tenant = daemon_.replies().tenants.add_tenants();
      tenant->set_tenant(path);
      tenant->set_limit_bytes(4ull << 30);
      tenant->set_used_bytes(1ull << 30);
      tenant->set_available_bytes(3ull << 30);
    }
  }

  void AddLeases() {
    v1::LeaseInfo* lease = daemon_.replies().leases.add_leases();
    lease->set_lease_id(9);
    lease->set_slab_id(5);
    lease->set_session_id(1);
    lease->set_tenant("root/a");
    lease->set_size_bytes(64 << 20);
    lease->set_kind(v1::HANDLE_KIND_HOST_FD);
    lease->set_payer("root/a");
    lease->set_state("leased");
    lease->set_since_unix_ns(Ago(absl::Minutes(10)));
    lease->add_mapped_by(1);
    lease->add_mapped_by(2);
    v1::LeaseInfo* lingering = daemon_.replies().leases.add_leases();
    lingering->set_slab_id(6);
    lingering->set_tenant("root/b");
    lingering->set_payer("root/c");
    lingering->set_size_bytes(2 << 20);
    lingering->set_kind(v1::HANDLE_KIND_HOST_FD);
    lingering->set_state("lingering");
    lingering->set_since_unix_ns(Ago(absl::Seconds(5)));
  }

  void AddObjects() {
    v1::ObjectInfo* object = daemon_.replies().objects.add_objects();
    object->set_object_id((3ull << 24) | 17);
    object->set_name("weights");
    object->set_tenant("root/a");
    object->add_grants("root/b");
    object->add_grants("root/c");
    object->set_state("live");
    object->set_size_bytes(1 << 20);
    object->set_buffers(2);
    object->set_producer_session(1);
    object->set_producer_alive(true);
    object->set_holds(1);
    object->add_holders(2);
    object->set_sealed(true);
    object->set_expires_unix_ns(Ago(absl::Minutes(-5)));
    object->set_created_unix_ns(Ago(absl::Hours(3)));
    v1::ObjectInfo* other = daemon_.replies().objects.add_objects();
    other->set_object_id((1ull << 24) | 18);
    other->set_tenant("root/b");
    other->set_state("broken");
    other->set_producer_session(7);
    other->set_created_unix_ns(Ago(absl::Minutes(3)));
    other->set_last_opened_unix_ns(Ago(absl::Minutes(2)));
  }

  FakeDaemon daemon_;
};

TEST_F(ListingsTest, SessionsAreATable) {
  const Outcome outcome = Run({"sessions", "--session", "1"});
  EXPECT_EQ(outcome.code, ExitCode::kOk) << outcome.err;
  EXPECT_EQ(outcome.out,
            "SESSION  TENANT  STATE   PID   UID   CHARGED  LEASES  HOLDS  "
            "BLOCKS  LIVE    UNUSED  LINGERING    AGE  NAME     TAG    "
            "FRAMEWORK  COMMAND\n"
            "      1  root/a  live   4001  1000  64.0 MiB       0      0  "
            "     0   0 B  64.0 MiB        0 B  1h00m  trainer  run-7  "
            "torch      "
            "python train.py\n");
}

// What is live is the client's word.
TEST_F(ListingsTest, UnusedIsWhatIsChargedAndNeitherLiveNorLingering) {
  v1::SessionInfo& one = *daemon_.replies().sessions.mutable_sessions(0);
  one.set_live_bytes(40ull << 20);
  one.set_lingering_bytes(4ull << 20);
  EXPECT_THAT(Run({"sessions", "--session", "1"}).out, HasSubstr("20.0 MiB"));
  one.set_live_bytes(~0ull);
  EXPECT_THAT(Run({"sessions", "--session", "1", "--sort", "unused"}).out,
              HasSubstr("  0 B    4.0 MiB"));
}

TEST_F(ListingsTest, SessionsAsJsonAreTheReply) {
  const auto reply =
      FromJson<v1::ListSessionsResponse>(Run({"sessions", "--json"}).out);
  EXPECT_EQ(reply.SerializeAsString(),
            daemon_.replies().sessions.SerializeAsString());
}

TEST_F(ListingsTest, ANameCannotSendControlCharactersToTheTerminal) {
  const Outcome outcome = Run({"sessions"});
  EXPECT_THAT(outcome.out, Not(HasSubstr("\x1b")));
  EXPECT_THAT(outcome.out, HasSubstr("bad\\x1b[2Jname"));
}

TEST_F(ListingsTest, SortingOrdersTheTableByNumbers) {
  const Outcome outcome = Run({"sessions", "--sort", "charged", "--no-header"});
  EXPECT_THAT(outcome.out, StartsWith("2  root/b"));
}

TEST_F(ListingsTest, SortingAndReversingOrderTheJsonToo) {
  const auto reply = FromJson<v1::ListSessionsResponse>(
      Run({"sessions", "--sort", "AGE", "--reverse", "--json"}).out);
  ASSERT_EQ(reply.sessions_size(), 2);
  EXPECT_EQ(reply.sessions(0).session_id(), 1u);
  EXPECT_EQ(reply.sessions(1).session_id(), 2u);
}

TEST_F(ListingsTest, AnUnknownSortColumnIsAUsageError) {
  const Outcome outcome = Run({"sessions", "--sort", "weight"});
  EXPECT_EQ(outcome.code, ExitCode::kUsage);
  EXPECT_THAT(outcome.err, HasSubstr("there are SESSION, TENANT"));
}

TEST_F(ListingsTest, SessionsAskTheDaemonForOneTenant) {
  EXPECT_EQ(Run({"sessions", "--tenant", "root/a"}).code, ExitCode::kOk);
  EXPECT_EQ(daemon_.requests().sessions.tenant(), "root/a");
}

TEST_F(ListingsTest, SessionsYoungerThanTheAgeAreLeftOut) {
  const auto reply = FromJson<v1::ListSessionsResponse>(
      Run({"sessions", "--min-age", "30m", "--json"}).out);
  ASSERT_EQ(reply.sessions_size(), 1);
  EXPECT_EQ(reply.sessions(0).session_id(), 1u);
}

TEST_F(ListingsTest, ReservationsTellHowLongTheyLast) {
  v1::ReservationInfo* info = daemon_.replies().reservations.add_reservations();
  info->set_reservation_id(3);
  info->set_session_id(7);
  info->set_tenant("root/a");
  info->set_left_bytes(20ull << 30);
  info->set_kind(v1::HANDLE_KIND_VMM_FD);
  info->set_expires_unix_ns(Ago(-absl::Seconds(90)));
  *daemon_.replies().reservations.add_reservations() = *info;
  info->set_session_id(8);
  const Outcome outcome = Run({"reservations", "--session", "8"});
  EXPECT_EQ(outcome.code, ExitCode::kOk) << outcome.err;
  EXPECT_EQ(outcome.out,
            "RESERVATION  SESSION  TENANT      LEFT  KIND    EXPIRES_IN\n"
            "          3        8  root/a  20.0 GiB  VMM_FD       1m30s\n");
}

TEST_F(ListingsTest, TenantsAreATableOfOneSubtree) {
  const Outcome outcome = Run({"tenants", "--tenant", "root/a"});
  EXPECT_EQ(outcome.code, ExitCode::kOk) << outcome.err;
  EXPECT_EQ(
      outcome.out,
      "TENANT    GUARANTEE    LIMIT     USED  OPENED  BURST  AVAILABLE  PEAK  "
      "CLEAN  PRIORITY  WEIGHT  SESSIONS  RATES  ALERTS\n"
      "root/a          0 B  4.0 GiB  1.0 GiB     0 B    0 B    3.0 GiB   0 B  "
      "  0 B         0       0         0  -      -\n"
      "root/a/x        0 B  4.0 GiB  1.0 GiB     0 B    0 B    3.0 GiB   0 B  "
      "  0 B         0       0         0  -      -\n");
}

TEST_F(ListingsTest, TenantsSayWhichAlertsAreRaisedAndWhatTheyMeasure) {
  v1::TenantInfo& tenant = *daemon_.replies().tenants.mutable_tenants(1);
  const auto add = [&tenant](const char* name, uint64_t value, bool is_raised) {
    v1::AlertInfo& alert = *tenant.add_alerts();
    alert.set_name(name);
    alert.set_value(value);
    alert.set_raised(is_raised);
  };
  add("used", 3ull << 30, true);
  add("growth", 1ull << 30, false);
  add("refusals", 120, true);
  add("waiting", 45, true);
  EXPECT_THAT(Run({"tenants", "--tenant", "root/a"}).out,
              HasSubstr("  used 3.0 GiB, refusals 120, waiting 45s\n"));
  const auto reply = FromJson<v1::ListTenantsResponse>(
      Run({"tenants", "--tenant", "root/a", "--json"}).out);
  EXPECT_EQ(reply.tenants(0).alerts_size(), 4);
}

TEST_F(ListingsTest, TenantsAsJsonAreFilteredAlike) {
  const auto reply = FromJson<v1::ListTenantsResponse>(
      Run({"tenants", "--tenant", "root/ab", "--json"}).out);
  ASSERT_EQ(reply.tenants_size(), 1);
  EXPECT_EQ(reply.tenants(0).tenant(), "root/ab");
}

TEST_F(ListingsTest, LeasesAreATable) {
  const Outcome outcome = Run({"leases"});
  EXPECT_EQ(outcome.code, ExitCode::kOk) << outcome.err;
  EXPECT_EQ(
      outcome.out,
      "LEASE  SLAB  SESSION  TENANT  PAYER       SIZE  KIND     STATE       "
      "  AGE  OBJECTS  MAPPED_BY\n"
      "    9     5        1  root/a  -       64.0 MiB  HOST_FD  leased     "
      "10m00s        0  1,2\n"
      "    -     6        -  root/b  root/c   2.0 MiB  HOST_FD  lingering  "
      "    5s        0  -\n");
}

TEST_F(ListingsTest, LeasesAreFilteredByTenantAgeAndSession) {
  const auto reply = FromJson<v1::ListLeasesResponse>(
      Run({"leases", "--tenant", "root/b", "--json"}).out);
  ASSERT_EQ(reply.leases_size(), 1);
  EXPECT_EQ(reply.leases(0).slab_id(), 6u);
  const auto old = FromJson<v1::ListLeasesResponse>(
      Run({"leases", "--min-age", "1m", "--session", "1", "--json"}).out);
  ASSERT_EQ(old.leases_size(), 1);
  EXPECT_EQ(old.leases(0).slab_id(), 5u);
  EXPECT_EQ(daemon_.requests().leases.session_id(), 1u);
}

TEST_F(ListingsTest, ObjectsAreATable) {
  const Outcome outcome = Run({"objects"});
  EXPECT_EQ(outcome.code, ExitCode::kOk) << outcome.err;
  EXPECT_EQ(outcome.out,
            "OBJECT  NAME     TENANT  STATE            SIZE  BUFFERS  "
            "PRODUCER  HOLDS  HOLDERS  GRANTS         METADATA    AGE  OPENED  "
            "EXPIRES\n"
            "  17.3  weights  root/a  live, sealed  1.0 MiB        2  "
            "       1      1  2        root/b,root/c       0 B  3h00m       -  "
            "  5m00s\n"
            "  18.1  -        root/b  broken            0 B        0  "
            "7 (gone)      0  -        -                   0 B  3m00s   2m00s  "
            "      -\n");
}

TEST_F(ListingsTest, ObjectsOfASessionAreThoseItMadeOrHolds) {
  const auto reply = FromJson<v1::ListObjectsResponse>(
      Run({"objects", "--session", "2", "--json"}).out);
  ASSERT_EQ(reply.objects_size(), 1);
  EXPECT_EQ(reply.objects(0).name(), "weights");
}

TEST_F(ListingsTest, WhoIsNoAdminIsToldWhatToDo) {
  daemon_.replies().is_caller_admin = false;
  const Outcome outcome = Run({"objects"});
  EXPECT_EQ(outcome.code, ExitCode::kPermission);
  EXPECT_THAT(outcome.err, HasSubstr("uid 1000 is no admin. Run it as root"));
}

}  // namespace
}  // namespace vrampool::cli
