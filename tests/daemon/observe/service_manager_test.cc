#include "daemon/observe/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "base/unique_fd.h"
#include "gtest/gtest.h"

namespace vrampool {
namespace {

// The other end of sd_notify, in an abstract socket.
class ServiceManagerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    socket_.reset(
        socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const std::string name = "vrampool-test-" + std::to_string(getpid());
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    name.copy(address.sun_path + 1, name.size());
    ASSERT_EQ(bind(socket_.get(), reinterpret_cast<sockaddr*>(&address),
                   static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 +
                                          name.size())),
              0);
    setenv("NOTIFY_SOCKET", ("@" + name).c_str(), 1);
    setenv("WATCHDOG_PID", std::to_string(getpid()).c_str(), 1);
    unsetenv("WATCHDOG_USEC");
  }
  void TearDown() override {
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_PID");
    unsetenv("WATCHDOG_USEC");
  }

  // The next message, or "" when there is none.
  std::string Heard() {
    char text[256];
    const ssize_t got = recv(socket_.get(), text, sizeof(text), 0);
    return got < 0 ? "" : std::string(text, static_cast<size_t>(got));
  }

  UniqueFd socket_;
};

TEST_F(ServiceManagerTest, ReadyAndStoppingAreTold) {
  const ServiceManager manager([] { return absl::OkStatus(); });
  manager.Ready("Serving");
  EXPECT_EQ(Heard(), "READY=1\nSTATUS=Serving");
  manager.Stopping();
  EXPECT_EQ(Heard(), "STOPPING=1\nSTATUS=Stopping");
}

TEST_F(ServiceManagerTest, NoBeatUnlessAWatchdogIsWanted) {
  ServiceManager manager([] { return absl::OkStatus(); });
  manager.Beat();
  EXPECT_EQ(Heard(), "");
}

TEST_F(ServiceManagerTest, BeatsOnceInHalfTheWatchdogsTime) {
  setenv("WATCHDOG_USEC", "7200000000", 1);
  ServiceManager manager([] { return absl::OkStatus(); });
  EXPECT_EQ(manager.interval(), absl::Hours(1));
  manager.Beat();
  manager.Beat();
  EXPECT_EQ(Heard(), "WATCHDOG=1");
  EXPECT_EQ(Heard(), "");
}

TEST_F(ServiceManagerTest, DaemonThatDoesNotWorkDoesNotBeat) {
  setenv("WATCHDOG_USEC", "7200000000", 1);
  absl::Status alive = absl::DeadlineExceededError("gRPC does not answer");
  ServiceManager manager([&] { return alive; });
  manager.Beat();
  EXPECT_EQ(Heard(), "");
  alive = absl::OkStatus();
  manager.Beat();
  EXPECT_EQ(Heard(), "WATCHDOG=1");
}

}  // namespace
}  // namespace vrampool
