#include "daemon/attach/identity.h"

#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "base/check.h"
#include "gtest/gtest.h"
#include "tests/testing/matchers.h"

namespace vrampool {
namespace {

using ::vrampool::testing::IsOk;
using ::vrampool::testing::StatusIs;

struct Pair {
  Pair() {
    int fds[2];
    VRAMPOOL_CHECK(
        ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
    ours.reset(fds[0]);
    theirs.reset(fds[1]);
  }
  UniqueFd ours;
  UniqueFd theirs;
};

// A stat line with 22 fields and more.
std::string Stat(const std::string& name, const std::string& start_time) {
  return "4711 (" + name +
         ") S 1 4711 4711 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 " + start_time +
         " 10000 200 18446744073709551615\n";
}

TEST(StartTimeTest, IsTheTwentySecondField) {
  EXPECT_EQ(StartTimeFromStat(Stat("bash", "123456")), 123456u);
}

TEST(StartTimeTest, ANameMayContainAnything) {
  EXPECT_EQ(StartTimeFromStat(Stat("a) b (c", "77")), 77u);
  EXPECT_EQ(StartTimeFromStat(Stat(") S 1 2 3 4 5 6 7 8 9", "78")), 78u);
  EXPECT_EQ(StartTimeFromStat(Stat("((((", "79")), 79u);
  EXPECT_EQ(StartTimeFromStat(Stat("", "80")), 80u);
  EXPECT_EQ(StartTimeFromStat(Stat("new\nline", "81")), 81u);
}

TEST(StartTimeTest, OtherTextIsRefused) {
  EXPECT_EQ(StartTimeFromStat(""), std::nullopt);
  EXPECT_EQ(StartTimeFromStat("4711"), std::nullopt);
  EXPECT_EQ(StartTimeFromStat("4711 (bash)"), std::nullopt);
  EXPECT_EQ(StartTimeFromStat("4711 (bash) S 1 2 3"), std::nullopt);
  EXPECT_EQ(StartTimeFromStat(Stat("bash", "-1")), std::nullopt);
  EXPECT_EQ(StartTimeFromStat(Stat("bash", "12x")), std::nullopt);
  EXPECT_EQ(StartTimeFromStat(Stat("bash", "99999999999999999999")),
            std::nullopt);
}

TEST(StatusUidTest, TheEffectiveUidIsTheSecond) {
  EXPECT_EQ(EffectiveUidFromStatus("Name:\tx\nUid:\t5\t7\t8\t9\n"), 7u);
  EXPECT_EQ(EffectiveUidFromStatus("Name:\tUid:\t1\t2\n"), std::nullopt);
  EXPECT_EQ(EffectiveUidFromStatus("Name:\tx\nUid:\t5\n"), std::nullopt);
}

TEST(CgroupTest, ThePathIsThatOfTheSecondVersion) {
  EXPECT_EQ(CgroupFromProc("0::/user.slice/job\n"), "/user.slice/job");
  EXPECT_EQ(CgroupFromProc("4:memory:/old\n0::/new\n"), "/new");
  EXPECT_EQ(CgroupFromProc("4:memory:/old\n"), "");
  EXPECT_EQ(CgroupFromProc("10::/x\n0::/y"), "/y");
  EXPECT_EQ(CgroupFromProc(""), "");
}

TEST(CommandLineTest, ArgumentsAreSeparatedBySpacesAndCut) {
  EXPECT_EQ(CommandLineFromProc(std::string("python\0train.py\0-v\0", 19)),
            "python train.py -v");
  EXPECT_EQ(CommandLineFromProc(std::string(1000, 'x')).size(), 256u);
  EXPECT_EQ(CommandLineFromProc("a\x1b[2Jb"), "a\xEF\xBF\xBD[2Jb");
  EXPECT_EQ(CommandLineFromProc(""), "");
}

TEST(IdentifyPeerTest, ThisProcessIsWhoItIs) {
  const Pair pair;
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Peer peer, IdentifyPeer(pair.ours.get()));
  EXPECT_EQ(peer.identity.pid, ::getpid());
  EXPECT_EQ(peer.identity.uid, ::geteuid());
  EXPECT_EQ(peer.identity.gid, ::getegid());
  EXPECT_EQ(peer.identity.executable,
            std::filesystem::read_symlink("/proc/self/exe"));
  std::ifstream stat("/proc/self/stat");
  std::stringstream text;
  text << stat.rdbuf();
  EXPECT_EQ(peer.identity.start_time_ticks, StartTimeFromStat(text.str()));
  EXPECT_TRUE(peer.pidfd.is_valid());
  EXPECT_NE(peer.identity.command_line.find("test"), std::string::npos);
}

TEST(IdentifyPeerTest, AProcessThatHasGoneIsRefused) {
  int fds[2] = {-1, -1};
  int pipe_fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pipe_fds), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    // A pair made by the child: both ends say that it is the peer.
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds) != 0) ::_exit(1);
    char byte = 'x';
    iovec part = {.iov_base = &byte, .iov_len = 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    __builtin_memcpy(CMSG_DATA(header), &fds[0], sizeof(int));
    ::_exit(::sendmsg(pipe_fds[1], &message, 0) == 1 ? 0 : 1);
  }
  const UniqueFd near(pipe_fds[0]);
  const UniqueFd far(pipe_fds[1]);
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  char byte = 0;
  iovec part = {.iov_base = &byte, .iov_len = 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ASSERT_EQ(::recvmsg(near.get(), &message, 0), 1);
  int raw = -1;
  __builtin_memcpy(&raw, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(raw));
  const UniqueFd orphan(raw);
  const auto peer = IdentifyPeer(orphan.get());
  EXPECT_THAT(peer, StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_NE(std::string(peer.status().message()).find("gone"),
            std::string::npos);
}

// From inside a pid namespace, a process outside has no pid.
TEST(IdentifyPeerTest, AProcessWithoutAPidHereIsRefused) {
  const Pair pair;
  const pid_t outer = ::fork();
  if (outer == 0) {
    if (::unshare(CLONE_NEWPID) != 0 &&
        ::unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0) {
      ::_exit(10);
    }
    const pid_t inner = ::fork();
    if (inner == 0) {
      const auto peer = IdentifyPeer(pair.ours.get());
      const bool is_refused =
          absl::IsPermissionDenied(peer.status()) &&
          std::string(peer.status().message()).find("pid 0") !=
              std::string::npos;
      ::_exit(is_refused ? 0 : 11);
    }
    int status = -1;
    ::waitpid(inner, &status, 0);
    ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 12);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(outer, &status, 0), outer);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(IdentifyPeerTest, SomethingThatIsNoSocketIsAnError) {
  EXPECT_THAT(IdentifyPeer(STDERR_FILENO),
              StatusIs(absl::StatusCode::kInternal));
}

}  // namespace
}  // namespace vrampool
