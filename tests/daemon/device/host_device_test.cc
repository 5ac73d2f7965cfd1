#include "daemon/device/host/host_device.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "gtest/gtest.h"
#include "tests/testing/matchers.h"

namespace vrampool {
namespace {

using ::vrampool::testing::IsOk;
using ::vrampool::testing::StatusIs;

constexpr SlabId kSlab{1};
constexpr Bytes kSize = MiB(2);

UniqueFd OpenAgain(const UniqueFd& fd, int flags) {
  const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
  return UniqueFd(::open(path.c_str(), flags | O_CLOEXEC));
}

class HostDeviceTest : public ::testing::Test {
 protected:
  HostDeviceTest() : device_(*HostDevice::Open({})) {
    EXPECT_THAT(device_->Create(kSlab, kSize, HandleKind::kHostFd), IsOk());
  }

  UniqueFd Export() { return std::move(device_->Export(kSlab)->fd); }
  Bytes Unreleased() { return *device_->Unreleased(); }

  static off_t AllocatedBytes(const UniqueFd& fd) {
    struct stat info = {};
    EXPECT_EQ(::fstat(fd.get(), &info), 0);
    return info.st_blocks * 512;
  }

  std::unique_ptr<HostDevice> device_;
};

TEST(HostDeviceNameTest, ComesFromTheConfiguration) {
  EXPECT_EQ(*HostDevice::NameFromConfig("host"), "0");
  EXPECT_EQ(*HostDevice::NameFromConfig("host:numa-1.a_B"), "numa-1.a_B");
}

TEST(HostDeviceNameTest, ABadNameIsRefusedByName) {
  const auto refused = [](std::string_view device) {
    return HostDevice::NameFromConfig(device).status();
  };
  constexpr auto kBad = absl::StatusCode::kInvalidArgument;
  EXPECT_THAT(refused("host:"), StatusIs(kBad));
  EXPECT_THAT(refused("host:a/b"), StatusIs(kBad));
  EXPECT_THAT(refused("host:a b"), StatusIs(kBad));
  EXPECT_THAT(refused("host:" + std::string(49, 'a')), StatusIs(kBad));
  EXPECT_THAT(refused("cuda:0"), StatusIs(kBad));
  EXPECT_THAT(refused(""), StatusIs(kBad));
  EXPECT_NE(refused("host:a/b").message().find("a/b"), absl::string_view::npos);
  EXPECT_THAT(HostDevice::Open({.name = "../x"}), StatusIs(kBad));
}

TEST_F(HostDeviceTest, ItsUuidHasItsName) {
  EXPECT_EQ(device_->info().uuid, "host-0");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto named,
                                HostDevice::Open({.name = "numa-1"}));
  EXPECT_EQ(named->info().uuid, "host-numa-1");
}

TEST_F(HostDeviceTest, ThisKernelTracksReleases) {
  EXPECT_EQ(device_->release_tracking_note(), "");
}

TEST_F(HostDeviceTest, AHolderCannotResizeOrReseal) {
  const UniqueFd fd = Export();
  EXPECT_NE(::ftruncate(fd.get(), 0), 0);
  EXPECT_EQ(errno, EPERM);
  EXPECT_NE(::ftruncate(fd.get(), 2 * static_cast<off_t>(kSize.count())), 0);
  EXPECT_EQ(errno, EPERM);
  EXPECT_NE(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE), 0);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::fcntl(fd.get(), F_GET_SEALS) &
                (F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL),
            F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
}

TEST_F(HostDeviceTest, AHandleThatWasNeverMappedIsAHolderToo) {
  UniqueFd fd = Export();
  ASSERT_THAT(device_->Destroy(kSlab), IsOk());
  EXPECT_EQ(Unreleased(), kSize);
  fd.reset();
  EXPECT_EQ(Unreleased(), Bytes());
}

TEST_F(HostDeviceTest, AReadOnlyHolderCountsToo) {
  UniqueFd fd = Export();
  UniqueFd read_only = OpenAgain(fd, O_RDONLY);
  ASSERT_TRUE(read_only.is_valid());
  fd.reset();
  ASSERT_THAT(device_->Destroy(kSlab), IsOk());
  EXPECT_EQ(Unreleased(), kSize);
  read_only.reset();
  EXPECT_EQ(Unreleased(), Bytes());
}

TEST_F(HostDeviceTest, ADescriptorThatIsNotCountedKeepsNoMemory) {
  UniqueFd fd = Export();
  const char byte = 'x';
  ASSERT_EQ(::pwrite(fd.get(), &byte, 1, 0), 1);
  UniqueFd path_only = OpenAgain(fd, O_PATH);
  ASSERT_TRUE(path_only.is_valid());
  fd.reset();
  ASSERT_THAT(device_->Destroy(kSlab), IsOk());
  EXPECT_EQ(Unreleased(), Bytes());
  const UniqueFd again = OpenAgain(path_only, O_RDWR);
  ASSERT_TRUE(again.is_valid());
  EXPECT_EQ(AllocatedBytes(again), 0);
}

// Opening a file while somebody holds a lease on it makes the kernel signal the
// holder, by default with a signal that kills. A descriptor that is not counted
// lets a client open the file just then.
TEST(SlabFileTest, OpeningTheFileWhileHoldersAreLookedForKillsNobody) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(
      const SlabFile file, SlabFile::Make(kSize, SlabFile::Backing::kLazy));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(UniqueFd fd, file.Reopen());
  const UniqueFd path_only = OpenAgain(fd, O_PATH);
  ASSERT_TRUE(path_only.is_valid());
  fd.reset();
  std::atomic<int> met_a_lease{0};
  std::thread opener([&] {
    while (met_a_lease < 20) {
      const UniqueFd again = OpenAgain(path_only, O_RDWR | O_NONBLOCK);
      if (!again.is_valid() && errno == EWOULDBLOCK) ++met_a_lease;
    }
  });
  while (met_a_lease < 20) {
    EXPECT_NE(file.FindHolders(), SlabFile::Holders::kUnknown);
  }
  opener.join();
  EXPECT_EQ(file.FindHolders(), SlabFile::Holders::kNone);
}

TEST_F(HostDeviceTest, MemoryIsTakenWhenTouchedUnlessCommitted) {
  EXPECT_EQ(AllocatedBytes(Export()), 0);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(
      const auto committed,
      HostDevice::Open({.backing = SlabFile::Backing::kCommitted}));
  ASSERT_THAT(committed->Create(kSlab, kSize, HandleKind::kHostFd), IsOk());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const ExportedHandle handle,
                                committed->Export(kSlab));
  EXPECT_EQ(AllocatedBytes(handle.fd), static_cast<off_t>(kSize.count()));
}

TEST_F(HostDeviceTest, ASlabThatFitsNoFileFindsNoRoom) {
  const Bytes absurd = Bytes(uint64_t{1} << 63);
  EXPECT_THAT(device_->Create(SlabId{2}, absurd, HandleKind::kHostFd),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST_F(HostDeviceTest, BreakingARequirementAborts) {
  EXPECT_DEATH((void)device_->Create(SlabId{2}, Bytes(1), HandleKind::kHostFd),
               "check failed");
  EXPECT_DEATH((void)device_->Create(kSlab, kSize, HandleKind::kHostFd),
               "check failed");
  EXPECT_DEATH((void)device_->Create(SlabId{2}, kSize, HandleKind::kVmmFd),
               "check failed");
}

}  // namespace
}  // namespace vrampool
