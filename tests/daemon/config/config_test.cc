#include "daemon/config/config.h"

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/daemon/config/config_device.h"
#include "tests/testing/matchers.h"

namespace vrampool {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::vrampool::testing::IsOk;
using ::vrampool::testing::StatusIs;

class ConfigTest : public ::testing::Test {
 protected:
  void SetUp() override { unsetenv("VRAMPOOL_DIR"); }

  // What a device of 1 GiB with one kind makes of `text`.
  absl::StatusOr<Config> Validate(const std::string& text) {
    const absl::Status status = source_.ReadText(text, "v.conf");
    if (!status.ok()) return status;
    return ValidateConfig(source_, device_);
  }

  Config MustValidate(const std::string& text) {
    absl::StatusOr<Config> config = Validate(text);
    EXPECT_THAT(config, IsOk());
    return config.ok() ? *std::move(config) : Config();
  }

  std::string ProblemsOf(const std::string& text) {
    const absl::StatusOr<Config> config = Validate(text);
    EXPECT_THAT(config, StatusIs(absl::StatusCode::kInvalidArgument));
    return std::string(config.status().message());
  }

  ConfigSource source_;
  DeviceInfo device_ = testing::ConfigDevice();
};

TEST_F(ConfigTest, EmptyConfigurationHasTheDocumentedDefaults) {
  const Config config = MustValidate("");
  EXPECT_EQ(config.core.capacity, MiB(512));
  EXPECT_EQ(config.core.granule, MiB(2));
  EXPECT_THAT(config.core.kinds, ElementsAre(HandleKind::kHostFd));
  EXPECT_EQ(config.core.default_limit, MiB(512));
  EXPECT_THAT(config.core.tenants, IsEmpty());
  EXPECT_TRUE(config.preallocate_slab.is_zero());
  EXPECT_EQ(config.policy.default_tenant, "root/default");
  EXPECT_EQ(config.directory, "/run/vrampool");
  EXPECT_EQ(config.socket_mode, mode_t{0666});
  EXPECT_EQ(config.log_level, "info");
  EXPECT_EQ(config.core.bounds.sessions, Bounds().sessions);
}

TEST_F(ConfigTest, MetricsAreServedOnThisMachineOnly) {
  EXPECT_EQ(MustValidate("").metrics_address, "");
  for (const char* const good : {"127.0.0.1:9478", "[::1]:0"}) {
    EXPECT_EQ(MustValidate(absl::StrCat("metrics_address: \"", good, "\""))
                  .metrics_address,
              good);
  }
  for (const char* const bad :
       {"0.0.0.0:9478", "9478", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536",
        "127.0.0.1:-1", "127.0.0.1:80,0.0.0.0:80", "localhost:80"}) {
    EXPECT_THAT(ProblemsOf(absl::StrCat("metrics_address: \"", bad, "\"")),
                HasSubstr("metrics_address"))
        << bad;
  }
}

TEST_F(ConfigTest, DirectoryComesFromTheEnvironmentUnlessWritten) {
  setenv("VRAMPOOL_DIR", "/tmp/from-env", 1);
  EXPECT_EQ(MustValidate("").directory, "/tmp/from-env");
  EXPECT_EQ(MustValidate("directory: \"/tmp/written\"").directory,
            "/tmp/written");
  unsetenv("VRAMPOOL_DIR");
}

TEST_F(ConfigTest, PoolIsRoundedDownToTheGranule) {
  EXPECT_EQ(MustValidate("pool_size: \"5MiB\"").core.capacity, MiB(4));
}

TEST_F(ConfigTest, WhereDescriptorsAreFewTheGranuleIsLarger) {
  ASSERT_THAT(source_.ReadText("pool_size: \"60MiB\" preallocate: true "
                               "preallocate_slab: \"2MiB\"",
                               "v.conf"),
              IsOk());
  const absl::StatusOr<Config> config = ValidateConfig(source_, device_, 16);
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->core.granule, MiB(8));
  EXPECT_EQ(config->core.capacity, MiB(56));
  EXPECT_EQ(config->preallocate_slab, MiB(8));
  EXPECT_EQ(config->descriptors, 16u);
}

TEST_F(ConfigTest, PoolBelowOneGranuleIsRefused) {
  EXPECT_THAT(ProblemsOf("pool_size: \"1MiB\""),
              HasSubstr("v.conf:1: pool_size: 1.0 MiB is less than one slab"));
  EXPECT_THAT(ProblemsOf("pool_size: \"0\""), HasSubstr("pool_size: 0 B"));
}

TEST_F(ConfigTest, PoolBeyondTheDeviceIsRefused) {
  EXPECT_THAT(ProblemsOf("pool_size: \"2GiB\""),
              HasSubstr("2.0 GiB is more than the device has (1.0 GiB)"));
}

TEST_F(ConfigTest, AllProblemsAreNamedAtOnce) {
  EXPECT_THAT(ProblemsOf("pool_size: \"lots\"\n"
                         "socket_mode: \"999\"\n"
                         "log_level: \"loud\"\n"
                         "tenants { path: \"a\" limit: \"x\" }\n"
                         "policy { uids: 5 }\n"),
              AllOf(HasSubstr("v.conf:1: pool_size: \"lots\""),
                    HasSubstr("v.conf:2: socket_mode: \"999\""),
                    HasSubstr("v.conf:3: log_level: \"loud\""),
                    HasSubstr("v.conf:4: tenants.path: \"a\""),
                    HasSubstr("v.conf:4: tenants.limit: \"x\" is no size"),
                    HasSubstr("v.conf:5: policy.tenant: the rule needs")));
}

TEST_F(ConfigTest, KindThatTheDeviceLacksIsRefused) {
  EXPECT_THAT(ProblemsOf("kinds: \"HOST_FD\"\nkinds: \"VMM_FD\""),
              HasSubstr("v.conf:2: kinds: the device test does not offer"));
  EXPECT_THAT(ProblemsOf("kinds: \"FLOPPY\""), HasSubstr("no handle kind"));
  EXPECT_THAT(ProblemsOf("kinds: \"HOST_FD\" kinds: \"HOST_FD\""),
              HasSubstr("listed twice"));
}

TEST_F(ConfigTest, FirstKindIsTheDefault) {
  device_.kinds = {HandleKind::kCudaIpc, HandleKind::kVmmFd};
  EXPECT_THAT(MustValidate("kinds: \"VMM_FD\" kinds: \"CUDA_IPC\"").core.kinds,
              ElementsAre(HandleKind::kVmmFd, HandleKind::kCudaIpc));
}

TEST_F(ConfigTest, TenantsWithoutALimitGetTheDefault) {
  const Config config = MustValidate(
      "default_limit: \"64MiB\"\n"
      "tenants { path: \"root/a\" }\n"
      "tenants { path: \"root/b\" limit: \"1.5GiB\" }\n");
  ASSERT_EQ(config.core.tenants.size(), 2u);
  EXPECT_EQ(config.core.tenants[0].quota.limit, std::nullopt);
  EXPECT_EQ(config.core.default_limit, MiB(64));
  EXPECT_EQ(config.core.tenants[1].path, "root/b");
  EXPECT_EQ(config.core.tenants[1].quota.limit, MiB(1536));
}

TEST_F(ConfigTest, AQuotaIsReadWhole) {
  const Config config = MustValidate(
      "tenants { path: \"root/a\" guarantee: \"64MiB\" limit: \"128MiB\"\n"
      "  priority: -3 weight: 5 lend_unused: true unreclaimable_burst: false\n"
      "  evict: true sessions: 3 objects: 0 metadata: \"1KiB\" }");
  EXPECT_EQ(config.core.tenants.at(0).quota,
            (Quota{.limit = MiB(128),
                   .guarantee = MiB(64),
                   .priority = -3,
                   .weight = 5,
                   .lends = true,
                   .unreclaimable_burst = false,
                   .evict = true,
                   .sessions = 3,
                   .objects = 0,
                   .metadata = KiB(1)}));
}

TEST_F(ConfigTest, TheAuditLogIsAWholePathOrTheLog) {
  EXPECT_EQ(MustValidate("").audit_log, "");
  EXPECT_EQ(MustValidate("audit_log: \"log\"").audit_log, "log");
  EXPECT_EQ(MustValidate("audit_log: \"/var/log/a\"").audit_log, "/var/log/a");
  EXPECT_THAT(ProblemsOf("log_level: \"warn\" audit_log: \"log\""),
              HasSubstr("which log_level \"warn\" leaves out"));
  for (const char* const text : {"audit", "./a", "/", "/var/log/"}) {
    EXPECT_THAT(ProblemsOf(absl::StrCat("audit_log: \"", text, "\"")),
                HasSubstr("v.conf:1: audit_log: "));
  }
}

TEST_F(ConfigTest, RatesAreRead) {
  const Config config = MustValidate(
      "tenants { path: \"root/a\" leases_per_second: 10 leases_burst: 20\n"
      "  bytes_per_second: \"1GiB\" rpcs_per_second: 0 }");
  const auto& rates = config.core.tenants.at(0).quota.rates;
  EXPECT_EQ(rates[0], (RateSetting{.per_second = 10, .burst = 20}));
  EXPECT_EQ(rates[1], (RateSetting{.per_second = GiB(1).count()}));
  EXPECT_EQ(rates[2], (RateSetting{.per_second = 0}));
}

TEST_F(ConfigTest, RatesThatMakeNoSenseAreRefusedWhereTheyStand) {
  EXPECT_THAT(ProblemsOf("tenants { path: \"root/a\"\n"
                         "  leases_per_second: 1\n"
                         "  leases_burst: 0 }"),
              HasSubstr("v.conf:3: tenants.leases_burst: root/a: 0 would let "
                        "nothing through"));
  EXPECT_THAT(ProblemsOf("tenants { path: \"root/a\"\n"
                         "  bytes_burst: \"2MiB\" }"),
              HasSubstr("v.conf:2: tenants.bytes_burst: root/a: says nothing "
                        "without bytes_per_second"));
  EXPECT_THAT(ProblemsOf("tenants { path: \"root/a\"\n"
                         "  bytes_per_second: \"fast\" }"),
              HasSubstr("v.conf:2: tenants.bytes_per_second: \"fast\" is no "
                        "size"));
}

TEST_F(ConfigTest, GuaranteesThatDoNotFitAreRefused) {
  EXPECT_THAT(
      ProblemsOf("tenants { path: \"root/a\"\n"
                 "  guarantee: \"64MiB\" }\n"
                 "tenants { path: \"root/a/x\" guarantee: \"65MiB\" }\n"),
      HasSubstr("v.conf:2: tenants.guarantee: root/a: the guarantees of the "
                "tenants below root/a add up to 65.0 MiB"));
  EXPECT_THAT(ProblemsOf("tenants { path: \"root/a\" guarantee: \"2MiB\"\n"
                         "  limit: \"1MiB\" }\n"),
              HasSubstr("v.conf:1: tenants.guarantee: root/a: the guarantee of "
                        "2.0 MiB is above the limit of 1.0 MiB"));
  // Where a tenant is not listed, there is no line to name.
  EXPECT_THAT(
      ProblemsOf("tenants { path: \"root/a/x\" guarantee: \"300MiB\" }\n"
                 "tenants { path: \"root/b\" guarantee: \"300MiB\" }\n"),
      HasSubstr("root: the guarantees of the tenants below root add up"));
  EXPECT_THAT(ProblemsOf("tenants { path: \"root/a\" weight: 0 }"),
              HasSubstr("v.conf:1: tenants.weight: root/a: 0 is not between"));
}

TEST_F(ConfigTest, TenantListedTwiceIsRefused) {
  EXPECT_THAT(ProblemsOf("tenants { path: \"root/a\" }\n"
                         "tenants { path: \"root/a\" }\n"),
              HasSubstr("v.conf:2: tenants.path: \"root/a\" is listed twice"));
}

TEST_F(ConfigTest, RulesBecomeThePolicy) {
  const Config config = MustValidate(
      "policy { uids: 5 uids: 6 gids: 7 cgroup_prefix: \"/a\" "
      "tenant: \"root/x\" }\n"
      "policy { uids: 8 refuse: true }\n"
      "default_tenant: \"root/rest\" admin_uids: 9 admin_gids: 10");
  ASSERT_EQ(config.policy.rules.size(), 2u);
  EXPECT_THAT(config.policy.rules[0].uids, ElementsAre(5, 6));
  EXPECT_THAT(config.policy.rules[0].gids, ElementsAre(7));
  EXPECT_EQ(config.policy.rules[0].cgroup_prefix, "/a");
  EXPECT_EQ(config.policy.rules[0].tenant, "root/x");
  EXPECT_EQ(config.policy.rules[1].tenant, "");
  EXPECT_EQ(config.policy.default_tenant, "root/rest");
  EXPECT_THAT(config.policy.admin_uids, ElementsAre(9));
  EXPECT_THAT(config.policy.admin_gids, ElementsAre(10));
}

TEST_F(ConfigTest, ContradictingRulesAreRefused) {
  EXPECT_THAT(ProblemsOf("policy { tenant: \"root/a\" refuse: true }"),
              HasSubstr("either names a tenant or refuses"));
  EXPECT_THAT(ProblemsOf("policy { tenant: \"elsewhere\" }"),
              HasSubstr("policy.tenant: \"elsewhere\": a tenant path is"));
  EXPECT_THAT(ProblemsOf("policy { tenant: \"root\" cgroup_prefix: \"a\" }"),
              HasSubstr("must start with '/'"));
  EXPECT_THAT(ProblemsOf("default_tenant: \"root/a\" refuse_unmatched: true"),
              HasSubstr("contradicts refuse_unmatched"));
}

TEST_F(ConfigTest, RefuseUnmatchedLeavesNoDefaultTenant) {
  EXPECT_EQ(MustValidate("refuse_unmatched: true").policy.default_tenant, "");
}

TEST_F(ConfigTest, PreallocationHasASlabSizeThatFits) {
  EXPECT_EQ(MustValidate("preallocate: true").preallocate_slab, MiB(64));
  EXPECT_EQ(MustValidate("preallocate: true preallocate_slab: \"3MiB\"")
                .preallocate_slab,
            MiB(4));
  EXPECT_EQ(
      MustValidate("preallocate: true pool_size: \"8MiB\"").preallocate_slab,
      MiB(8));
  EXPECT_THAT(ProblemsOf("preallocate: true preallocate_slab: \"0\""),
              HasSubstr("preallocate_slab: a slab of 0 B does not fit"));
  EXPECT_THAT(ProblemsOf("preallocate: true preallocate_slab: \"1GiB\""),
              HasSubstr("at most 512.0 MiB"));
  EXPECT_THAT(ProblemsOf("preallocate_slab: \"18446744073709551615\""),
              HasSubstr("does not fit"));
}

TEST_F(ConfigTest, BoundsAreTakenWhereWritten) {
  const Config config = MustValidate(
      "bounds { sessions: 7 waiting: 20 open_rpcs: 64 "
      "metadata_bytes_per_tenant: 99 }");
  EXPECT_EQ(config.core.bounds.sessions, 7u);
  EXPECT_EQ(config.core.bounds.open_rpcs, 64u);
  EXPECT_EQ(config.core.bounds.metadata_per_tenant, Bytes(99));
  EXPECT_EQ(config.core.bounds.objects, Bounds().objects);
}

TEST_F(ConfigTest, BoundsBeyondReasonAreRefused) {
  EXPECT_THAT(ProblemsOf("bounds { objects: 1048577 }"),
              HasSubstr("bounds.objects: 1048577 is more than 1048576"));
  EXPECT_THAT(ProblemsOf("bounds {\n open_rpcs: 100\n}"),
              HasSubstr("v.conf:2: bounds.open_rpcs: 100 leaves no room"));
}

TEST_F(ConfigTest, DirectoryTooLongForASocketIsRefused) {
  const std::string fits(107 - 1 - 6 - 12, 'd');
  EXPECT_EQ(MustValidate("directory: \"" + fits + "\"").directory, fits);
  EXPECT_THAT(ProblemsOf("directory: \"" + fits + "d\""),
              HasSubstr("1 bytes too long"));
}

TEST_F(ConfigTest, SocketModeIsTaken) {
  EXPECT_EQ(MustValidate("socket_mode: \"0600\"").socket_mode, mode_t{0600});
}

TEST_F(ConfigTest, DevicesOfThisDaemonAreChosen) {
  ASSERT_THAT(source_.ReadText("device: \"host:blue_1\"", "v.conf"), IsOk());
  const absl::StatusOr<DeviceChoice> choice = ChooseDevice(source_);
  ASSERT_THAT(choice, IsOk());
  EXPECT_EQ(choice->backend, "host");
  EXPECT_EQ(choice->name, "blue_1");
}

TEST_F(ConfigTest, AGpuIsChosenByNothingIndexOrUuid) {
  const std::pair<const char*, const char*> choices[] = {
      {"cuda", ""},
      {"cuda:1", "1"},
      {"cuda:GPU-8f6f1f4e-0000-4000-8000-0123456789ab",
       "GPU-8f6f1f4e-0000-4000-8000-0123456789ab"}};
  for (const auto& [device, name] : choices) {
    ASSERT_THAT(
        source_.ReadText(std::string("device: \"") + device + "\"", "v.conf"),
        IsOk());
    const absl::StatusOr<DeviceChoice> choice = ChooseDevice(source_);
    ASSERT_THAT(choice, IsOk());
    EXPECT_EQ(choice->backend, "cuda");
    EXPECT_EQ(choice->name, name);
  }
}

TEST_F(ConfigTest, AGpuIsOpenedForTheKindsThatAreOffered) {
  ASSERT_THAT(source_.ReadText("device: \"cuda\" kinds: \"VMM_FD\" "
                               "kinds: \"HOST_FD\" kinds: \"FLOPPY\"",
                               "v.conf"),
              IsOk());
  EXPECT_THAT(ChooseDevice(source_)->kinds, ElementsAre(HandleKind::kVmmFd));
}

TEST_F(ConfigTest, APoolOnAGpuLeavesRoomForContexts) {
  device_.kinds = {HandleKind::kVmmFd};
  device_.total = MiB(200);
  EXPECT_EQ(MustValidate("").core.capacity, MiB(180));
}

TEST_F(ConfigTest, AKindThatFailedItsSelfTestIsLeftOut) {
  device_.kinds = {HandleKind::kVmmFd};
  device_.failed = {HandleKind::kCudaIpc};
  EXPECT_THAT(MustValidate("kinds: \"CUDA_IPC\" kinds: \"VMM_FD\"").core.kinds,
              ElementsAre(HandleKind::kVmmFd));
}

TEST_F(ConfigTest, TheCoreLearnsWhichKindsDoNotIsolate) {
  device_.kinds = {HandleKind::kCudaIpc};
  device_.not_isolating = {HandleKind::kCudaIpc};
  EXPECT_THAT(MustValidate("").core.not_isolating,
              ElementsAre(HandleKind::kCudaIpc));
}

TEST_F(ConfigTest, OtherDevicesAreRefusedByPlace) {
  for (const char* const device :
       {"abacus", "host:", "host:a/b", "host:..", "cuda:", "cuda:0/1"}) {
    ASSERT_THAT(
        source_.ReadText(std::string("device: \"") + device + "\"", "v.conf"),
        IsOk());
    EXPECT_THAT(std::string(ChooseDevice(source_).status().message()),
                HasSubstr("v.conf:1: device: "))
        << device;
  }
}

}  // namespace
}  // namespace vrampool
