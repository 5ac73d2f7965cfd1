// Memory that a client keeps though it gave it back, and manifests full of
// garbage. The tenants are users of their own, so this needs root.

#include <unistd.h>

#include <string>

#include "tests/hostile/hostile_fixture.h"
#include "tests/hostile/other_process.h"

namespace vrampool::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

constexpr unsigned kRed = 21001;
constexpr unsigned kBlue = 21002;
constexpr uint64_t kMiB = uint64_t{1} << 20;

class MemoryAttack : public DefenceTest,
                     public ::testing::WithParamInterface<Served> {
 protected:
  void SetUp() override {
    ASSERT_EQ(::geteuid(), 0u) << "run this as root: it needs other users";
    Start({.served = GetParam(),
           .pool_size = "16MiB",
           .config = "policy { uids: 21001 tenant: \"root/red\" }\n"
                     "policy { gids: 21002 tenant: \"root/blue\" }\n"});
  }
  void TearDown() override {
    ExpectUnharmed();
    EXPECT_EQ(daemon_->Terminate(), 0) << daemon_->ReadLog();
  }
  OtherProcess Become(unsigned id) const {
    return OtherProcess::Start(directory(), id, daemon_->ClientEnvironment());
  }
  void AwaitGhosts(bool is_there) const {
    EXPECT_THAT(daemon_->Await([is_there](const v1::GetStatusResponse& seen) {
      return (seen.ghost_bytes() > 0) == is_there;
    }),
                IsOk());
  }
  // All of the pool, leased by a tenant of its own.
  static std::string TakeAll(OtherProcess& client) {
    EXPECT_NE(client.Get("attach"), "");
    return client.Get("lease 16777216");
  }
};

INSTANTIATE_TEST_SUITE_P(Devices, MemoryAttack, EveryDevice(), DeviceName());

TEST_P(MemoryAttack, ASlabKeptAndSaidSoLingersAndIsNobodyElses) {
  auto red = Become(kRed);
  auto blue = Become(kBlue);
  ASSERT_NE(red.Get("attach"), "");
  const std::string lease = red.Get("lease 4194304");
  ASSERT_NE(lease, "");
  EXPECT_EQ(red.Order("fill 170"), "ok");
  EXPECT_EQ(red.Order("return " + lease + " no"), "ok");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(auto now, daemon_->status());
  EXPECT_EQ(now.pool().parked_bytes(), 4 * kMiB);
  // Blue never gets what red may still map, also when it wants everything.
  ASSERT_NE(blue.Get("attach"), "");
  ASSERT_NE(blue.Get("lease 12582912"), "");
  EXPECT_EQ(blue.Order("is 0"), "ok");
  EXPECT_EQ(blue.Order("fill 85"), "ok");
  EXPECT_EQ(red.Order("is 170"), "ok");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(now, daemon_->status());
  EXPECT_TRUE(now.conservation_holds());
  EXPECT_EQ(now.ghost_bytes(), 0u);
  EXPECT_EQ(now.pool().leased_bytes(), 12 * kMiB);
  // Its session ends and its process goes on: the bytes linger, and the ledger
  // knows why the device lacks them.
  EXPECT_EQ(red.Order("detach"), "ok");
  EXPECT_THAT(daemon_->Await([](const v1::GetStatusResponse& seen) {
    return seen.pool().lingering_bytes() == 4 * kMiB &&
           seen.ghost_bytes() == 0 && seen.conservation_holds();
  }),
              IsOk());
  EXPECT_EQ(red.Order("is 170"), "ok");
  red.Kill();
  EXPECT_THAT(daemon_->Await([](const v1::GetStatusResponse& seen) {
    return seen.pool().lingering_bytes() == 0;
  }),
              IsOk());
  EXPECT_EQ(blue.Order("is 85"), "ok");
  blue.Kill();
}

TEST_P(MemoryAttack, WhoLiesAboutUnmappingSeesAndTouchesNothingOfTheNext) {
  auto red = Become(kRed);
  auto blue = Become(kBlue);
  const std::string lease = TakeAll(red);
  ASSERT_NE(lease, "");
  EXPECT_EQ(red.Order("fill 170"), "ok");
  EXPECT_EQ(red.Order("return " + lease + " yes"), "ok");
  ASSERT_NE(TakeAll(blue), "");
  EXPECT_EQ(blue.Order("is 0"), "ok");
  EXPECT_EQ(blue.Order("fill 85"), "ok");
  EXPECT_THAT(red.Order("is 85"), Not("ok"));
  EXPECT_EQ(red.Order("fill 17"), "ok");
  EXPECT_EQ(blue.Order("is 85"), "ok");
  AwaitGhosts(true);
  red.Kill();
  AwaitGhosts(false);
  EXPECT_EQ(blue.Order("is 85"), "ok");
  blue.Kill();
}

TEST_P(MemoryAttack, WhoKeepsAHandleGetsNothingOfTheNext) {
  auto red = Become(kRed);
  auto blue = Become(kBlue);
  const std::string lease = TakeAll(red);
  ASSERT_NE(lease, "");
  EXPECT_EQ(red.Order("fill 170"), "ok");
  EXPECT_EQ(red.Order("unmap"), "ok");
  EXPECT_EQ(red.Order("return " + lease + " yes"), "ok");
  ASSERT_NE(TakeAll(blue), "");
  EXPECT_EQ(blue.Order("is 0"), "ok");
  EXPECT_EQ(blue.Order("fill 85"), "ok");
  if (GetParam() == Served::kCudaIpc) {
    // The handle is a name, and names nothing now.
    EXPECT_EQ(red.Order("again"), "refused");
  } else {
    // The descriptor has kept the memory, and only that.
    EXPECT_EQ(red.Order("again"), "ok");
    EXPECT_EQ(red.Order("is 170"), "ok");
    EXPECT_EQ(red.Order("fill 17"), "ok");
    AwaitGhosts(true);
  }
  EXPECT_EQ(blue.Order("is 85"), "ok");
  red.Kill();
  AwaitGhosts(false);
  blue.Kill();
}

// A descriptor alone keeps the memory from others as a mapping does. Not of
// kind CUDA_IPC, whose handle keeps nothing.
class DescriptorAttack : public MemoryAttack {};

INSTANTIATE_TEST_SUITE_P(Devices, DescriptorAttack,
                         ::testing::Values(Served::kHost, Served::kVmmFd),
                         DeviceName());

TEST_P(DescriptorAttack, MemoryOfAKeptDescriptorIsAGhostUntilItIsClosed) {
  auto red = Become(kRed);
  const std::string lease = TakeAll(red);
  ASSERT_NE(lease, "");
  EXPECT_EQ(red.Order("unmap"), "ok");
  EXPECT_EQ(red.Order("return " + lease + " yes"), "ok");
  auto blue = Become(kBlue);
  ASSERT_NE(TakeAll(blue), "");
  AwaitGhosts(true);
  red.Kill();
  AwaitGhosts(false);
  blue.Kill();
}

TEST_P(MemoryAttack, ASlabOfTheDeadIsFreshForTheNext) {
  auto red = Become(kRed);
  auto blue = Become(kBlue);
  ASSERT_NE(TakeAll(red), "");
  EXPECT_EQ(red.Order("fill 170"), "ok");
  red.Kill();
  ASSERT_NE(TakeAll(blue), "");
  EXPECT_EQ(blue.Order("is 0"), "ok");
  blue.Kill();
}

TEST_P(MemoryAttack, AManifestOfGarbageIsAFaultInTheReportAndNoMore) {
  auto red = Become(kRed);
  auto blue = Become(kBlue);
  ASSERT_NE(red.Get("attach"), "");
  ASSERT_NE(red.Get("lease 2097152"), "");
  ASSERT_NE(blue.Get("attach"), "");
  ASSERT_EQ(red.Order("garbage"), "ok");
  // While it lives: lists and reports can be read by their readers.
  EXPECT_THAT(daemon_->sessions(), IsOk());
  EXPECT_THAT(daemon_->leaks(), IsOk());
  EXPECT_NE(blue.Get("lease 4194304"), "");
  EXPECT_EQ(blue.Order("is 0"), "ok");
  red.Kill();
  EXPECT_TRUE(Eventually([&] {
    const auto leaks = daemon_->leaks();
    if (!leaks.ok()) return false;
    for (const v1::LeakReport& report : leaks->reports()) {
      if (!report.session_live() && report.session().tenant() == "root/red") {
        return !report.manifest_fault().empty();
      }
    }
    return false;
  }));
  EXPECT_EQ(blue.Order("budget"), "ok");
  blue.Kill();
}

TEST_P(MemoryAttack, TenantsSeeEachOthersNamesAndObjectsNot) {
  auto red = Become(kRed);
  auto blue = Become(kBlue);
  ASSERT_NE(red.Get("attach"), "");
  const std::string token = blue.Get("attach");
  ASSERT_THAT(token, SizeIs(64));
  EXPECT_EQ(red.Order("token " + token), "ok");
  EXPECT_THAT(red.Order("budget"), HasSubstr("SESSION_FOREIGN"));
  EXPECT_THAT(daemon_->ReadLog(), Not(HasSubstr(token)));
  red.Kill();
  blue.Kill();
}

TEST_P(MemoryAttack, RoundsOfLiarsLeaveNothingBehind) {
  const auto round = [&] {
    auto red = Become(kRed);
    const std::string lease = TakeAll(red);
    ASSERT_NE(lease, "");
    EXPECT_EQ(red.Order("fill 1"), "ok");
    EXPECT_EQ(red.Order("garbage"), "ok");
    EXPECT_EQ(red.Order("return " + lease + " yes"), "ok");
    red.Kill();
    ASSERT_THAT(daemon_->AwaitWhole(), IsOk());
  };
  for (int i = 0; i < 2; ++i) round();
  const size_t descriptors = Descriptors();
  const size_t before = ResidentKiB();
  for (int i = 0; i < 5; ++i) round();
  EXPECT_LT(ResidentKiB(), before + 16 * 1024);
  ExpectNoMoreDescriptors(descriptors + 2);
}

}  // namespace
}  // namespace vrampool::testing
