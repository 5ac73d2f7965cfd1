#include "daemon/attach/listener.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "tests/daemon/attach/attach_client.h"
#include "tests/daemon/attach/temp_directory.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {
namespace {

namespace fs = std::filesystem;
constexpr auto kAlreadyExists = absl::StatusCode::kAlreadyExists;
constexpr auto kFailedPrecondition = absl::StatusCode::kFailedPrecondition;

class ListenerTest : public ::testing::Test {
 protected:
  using Result = absl::StatusOr<std::unique_ptr<Listener>>;

  Result Open() { return Open(uuid_); }
  Result Open(const std::string& uuid) {
    options_.target = {.directory = directory(), .device_uuid = uuid};
    return Listener::Open(options_);
  }

  std::string directory() const { return temp_.path() + subdirectory_; }
  std::string own() const { return directory() + "/" + uuid_; }
  std::string attach_path() const { return own() + "/attach.sock"; }
  std::string broker_path() const { return own() + "/broker.sock"; }

  static mode_t ModeOf(const std::string& path) {
    struct stat info = {};
    EXPECT_EQ(::lstat(path.c_str(), &info), 0) << path;
    return info.st_mode & 07777;
  }
  static bool CanConnect(const std::string& path, int type) {
    return ConnectTo(path, type).is_valid();
  }
  static bool Contains(const absl::Status& status, const std::string& text) {
    return std::string(status.message()).find(text) != std::string::npos;
  }

  const TempDirectory temp_;
  std::string subdirectory_;
  std::string uuid_ = UniqueUuid();
  Listener::Options options_;
};

TEST_F(ListenerTest, BothSocketsAreOfTheirTypes) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto listener, Open());
  EXPECT_TRUE(CanConnect(attach_path(), SOCK_SEQPACKET));
  EXPECT_TRUE(CanConnect(broker_path(), SOCK_STREAM));
  EXPECT_FALSE(CanConnect(attach_path(), SOCK_STREAM));
  EXPECT_FALSE(CanConnect(broker_path(), SOCK_SEQPACKET));
}

TEST_F(ListenerTest, SocketsHaveTheirModeWhateverTheUmask) {
  options_.socket_mode = 0666;
  const mode_t before = ::umask(0077);
  const Result open = Open();
  const mode_t after = ::umask(before);
  ASSERT_THAT(open, IsOk());
  EXPECT_EQ(after, 0077u);
  EXPECT_EQ(ModeOf(attach_path()), 0666u);
  EXPECT_EQ(ModeOf(broker_path()), 0666u);
}

TEST_F(ListenerTest, ANarrowModeIsKeptToo) {
  options_.socket_mode = 0600;
  const mode_t before = ::umask(0);
  const Result open = Open();
  ::umask(before);
  ASSERT_THAT(open, IsOk());
  EXPECT_EQ(ModeOf(attach_path()), 0600u);
  EXPECT_EQ(ModeOf(broker_path()), 0600u);
}

TEST_F(ListenerTest, MissingDirectoriesAreMadeForEverybodyToEnter) {
  subdirectory_ = "/a/b";
  const mode_t before = ::umask(0077);
  const Result open = Open();
  ::umask(before);
  ASSERT_THAT(open, IsOk());
  EXPECT_EQ(ModeOf(temp_.path() + "/a"), 0755u);
  EXPECT_EQ(ModeOf(directory()), 0755u);
  EXPECT_EQ(ModeOf(own()), 0755u);
}

TEST_F(ListenerTest, ASecondOneIsToldThePidAndTheFirstGoesOn) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto first, Open());
  const Result second = Open();
  EXPECT_THAT(second, StatusIs(kAlreadyExists));
  EXPECT_TRUE(Contains(second.status(), "pid " + std::to_string(::getpid())));
  EXPECT_TRUE(CanConnect(attach_path(), SOCK_SEQPACKET));
  EXPECT_TRUE(CanConnect(broker_path(), SOCK_STREAM));
}

TEST_F(ListenerTest, ADeviceIsClaimedInEveryDirectory) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto first, Open());
  subdirectory_ = "/elsewhere";
  EXPECT_THAT(Open(), StatusIs(kAlreadyExists));
  EXPECT_FALSE(fs::exists(directory()));
}

// As by a daemon in another network namespace, where abstract sockets end.
TEST_F(ListenerTest, ADirectoryThatIsLockedIsRefusedByPid) {
  fs::create_directory(own());
  const UniqueFd lock(
      ::open((own() + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  ASSERT_EQ(::flock(lock.get(), LOCK_EX | LOCK_NB), 0);
  ASSERT_EQ(::write(lock.get(), "4711\n", 5), 5);
  const Result refused = Open();
  EXPECT_THAT(refused, StatusIs(kAlreadyExists));
  EXPECT_TRUE(Contains(refused.status(), "pid 4711"));
  ASSERT_EQ(::flock(lock.get(), LOCK_UN), 0);
  EXPECT_THAT(Open(), IsOk());
}

TEST_F(ListenerTest, StaleSocketsOfAKilledDaemonAreReplaced) {
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  const pid_t daemon = ::fork();
  if (daemon == 0) {
    const Result listener = Open();
    (void)!::write(ready[1], listener.ok() ? "y" : "n", 1);
    ::pause();
    ::_exit(0);
  }
  char answer = 0;
  ASSERT_EQ(::read(ready[0], &answer, 1), 1);
  ASSERT_EQ(answer, 'y');
  EXPECT_TRUE(Contains(Open().status(), "pid " + std::to_string(daemon)));
  ASSERT_EQ(::kill(daemon, SIGKILL), 0);
  ASSERT_EQ(::waitpid(daemon, nullptr, 0), daemon);
  ::close(ready[0]);
  ::close(ready[1]);
  ASSERT_TRUE(fs::exists(attach_path()));
  EXPECT_FALSE(CanConnect(attach_path(), SOCK_SEQPACKET));

  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto listener, Open());
  EXPECT_TRUE(CanConnect(attach_path(), SOCK_SEQPACKET));
  EXPECT_TRUE(CanConnect(broker_path(), SOCK_STREAM));
  EXPECT_EQ(fs::read_symlink(directory() + "/gpu0"), uuid_);
  EXPECT_FALSE(fs::is_symlink(directory() + "/gpu1"));
}

TEST_F(ListenerTest, AFileInTheWayIsNotRemoved) {
  fs::create_directory(own());
  std::ofstream(attach_path()) << "precious";
  const Result refused = Open();
  EXPECT_THAT(refused, StatusIs(kFailedPrecondition));
  EXPECT_TRUE(Contains(refused.status(), attach_path()));
  EXPECT_EQ(fs::file_size(attach_path()), 8u);
}

TEST_F(ListenerTest, APathThatIsTooLongIsRefusedBeforeAnythingIsMade) {
  subdirectory_ = "/" + std::string(100, 'd');
  const Result refused = Open();
  EXPECT_THAT(refused, StatusIs(kFailedPrecondition));
  EXPECT_TRUE(Contains(refused.status(), "107"));
  EXPECT_FALSE(fs::exists(directory()));
}

TEST_F(ListenerTest, AUuidThatIsNoFileNameIsRefused) {
  EXPECT_THAT(Open("../escape"), StatusIs(kFailedPrecondition));
  EXPECT_THAT(Open(".."), StatusIs(kFailedPrecondition));
  EXPECT_THAT(Open(""), StatusIs(kFailedPrecondition));
  EXPECT_THAT(Open("a/b"), StatusIs(kFailedPrecondition));
}

TEST_F(ListenerTest, ADirectoryThatOthersCanWriteIsRefused) {
  subdirectory_ = "/open";
  fs::create_directory(directory());
  ASSERT_EQ(::chmod(directory().c_str(), 0777), 0);
  EXPECT_THAT(Open(), StatusIs(kFailedPrecondition));
  ASSERT_EQ(::chmod(directory().c_str(), 01777), 0);  // As /tmp.
  EXPECT_THAT(Open(), IsOk());
}

TEST_F(ListenerTest, AFileInPlaceOfTheDirectoryIsRefused) {
  subdirectory_ = "/file";
  std::ofstream(directory()) << "x";
  EXPECT_THAT(Open(), StatusIs(kFailedPrecondition));
}

TEST_F(ListenerTest, LinksTakeTheLowestFreeNumber) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(auto first, Open());
  const std::string second_uuid = UniqueUuid();
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto second, Open(second_uuid));
  EXPECT_EQ(fs::read_symlink(directory() + "/gpu0"), uuid_);
  EXPECT_EQ(fs::read_symlink(directory() + "/gpu1"), second_uuid);
  first.reset();
  EXPECT_FALSE(fs::is_symlink(directory() + "/gpu0"));
  const std::string third_uuid = UniqueUuid();
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto third, Open(third_uuid));
  EXPECT_EQ(fs::read_symlink(directory() + "/gpu0"), third_uuid);
  EXPECT_TRUE(CanConnect(directory() + "/gpu1/attach.sock", SOCK_SEQPACKET));
}

TEST_F(ListenerTest, HostDevicesHaveLinksOfTheirOwn) {
  options_.link_prefix = "host";
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto listener, Open());
  EXPECT_EQ(fs::read_symlink(directory() + "/host0"), uuid_);
}

TEST_F(ListenerTest, TheLinkHasTheNumberWishedForIfThatIsFree) {
  options_.link_number = 3;
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto listener, Open());
  EXPECT_EQ(fs::read_symlink(directory() + "/gpu3"), uuid_);
  EXPECT_FALSE(fs::is_symlink(directory() + "/gpu0"));
}

TEST_F(ListenerTest, ANumberThatIsTakenGivesTheLowestFreeOne) {
  options_.link_number = 3;
  fs::create_directory_symlink("another", directory() + "/gpu3");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto listener, Open());
  EXPECT_EQ(fs::read_symlink(directory() + "/gpu0"), uuid_);
  EXPECT_EQ(fs::read_symlink(directory() + "/gpu3"), "another");
}

TEST_F(ListenerTest, ItsEndLeavesNothingThatAClientCouldTry) {
  { VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto listener, Open()); }
  EXPECT_FALSE(fs::exists(attach_path()));
  EXPECT_FALSE(fs::exists(broker_path()));
  EXPECT_FALSE(fs::is_symlink(directory() + "/gpu0"));
  EXPECT_THAT(Open(), IsOk());
}

}  // namespace
}  // namespace vrampool::testing
