// The door as a whole: the other socket, ticks, stopping, running out of
// descriptors.

#include "daemon/attach/door.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <string>
#include <utility>

#include "tests/daemon/attach/door_fixture.h"

namespace vrampool::testing {
namespace {

std::atomic<Door*> door_to_stop{nullptr};
void StopTheDoor(int) { door_to_stop.load()->Stop(); }

class TickCounter {
 public:
  void Count() {
    MutexLock lock(mu_);
    ++ticks_;
    changed_.NotifyAll();
  }
  // Waits for `count` more ticks.
  bool Await(int count) {
    const auto deadline =
        std::chrono::steady_clock::now() + std::chrono::seconds(20);
    MutexLock lock(mu_);
    const int until = ticks_ + count;
    while (ticks_ < until) {
      if (!changed_.WaitUntil(lock, deadline)) return false;
    }
    return true;
  }

 private:
  Mutex mu_;
  CondVar changed_;
  int ticks_ VRAMPOOL_GUARDED_BY(mu_) = 0;
};

class DoorTest : public DoorFixture {
 protected:
  void CountTicks(absl::Duration tick) {
    door_options_.tick = tick;
    door_options_.on_tick = [this] {
      ticks_.Count();
      return absl::InfiniteDuration();
    };
  }
  TickCounter ticks_;
};

TEST_F(DoorTest, ABrokerConnectionGoesToTheSinkWithItsIdentity) {
  StartDoor();
  const UniqueFd client = ConnectTo(BrokerPath(), SOCK_STREAM);
  ASSERT_TRUE(client.is_valid());
  const auto [connection, peer] = sink_.Take();
  ASSERT_TRUE(connection.is_valid());
  EXPECT_EQ(peer.pid, ::getpid());
  EXPECT_NE(::fcntl(connection.get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(::fcntl(connection.get(), F_GETFD) & FD_CLOEXEC, 0);
  ASSERT_EQ(::send(client.get(), "x", 1, MSG_NOSIGNAL), 1);
  char byte = 0;
  EXPECT_EQ(::recv(connection.get(), &byte, 1, 0), 1);
}

TEST_F(DoorTest, TicksComeWithoutAnybodyConnecting) {
  CountTicks(absl::Milliseconds(5));
  StartDoor();
  EXPECT_TRUE(ticks_.Await(3));
}

TEST_F(DoorTest, ATickComesSoonerIfTheLastOneSaysSo) {
  door_options_.tick = absl::Hours(1);
  door_options_.on_tick = [this] {
    ticks_.Count();
    return -absl::InfiniteDuration();
  };
  StartDoor();
  EXPECT_TRUE(ticks_.Await(3));
}

TEST_F(DoorTest, TicksComeWhileClientsKeepItBusy) {
  CountTicks(absl::Milliseconds(5));
  StartDoor();
  AttachClient client = Attach();
  std::atomic<bool> is_done{false};
  std::thread busy([&] {
    while (!is_done) (void)client.Send(HoldReleasedBytes(1));
  });
  EXPECT_TRUE(ticks_.Await(5));
  is_done = true;
  StopDoor();  // Ends a send that waits for room.
  busy.join();
}

TEST_F(DoorTest, ASignalHandlerCanStopIt) {
  OpenTheDoor();
  door_to_stop = door_.get();
  struct sigaction action = {};
  action.sa_handler = StopTheDoor;
  struct sigaction before = {};
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
  RunDoor();
  const AttachClient client = Attach();
  ASSERT_EQ(::raise(SIGUSR1), 0);
  thread_.join();
  ASSERT_EQ(::sigaction(SIGUSR1, &before, nullptr), 0);
}

TEST_F(DoorTest, AStopBeforeRunIsNotForgotten) {
  OpenTheDoor();
  door_->Stop();
  RunDoor();
  thread_.join();
}

TEST_F(DoorTest, WithoutDescriptorsClientsWaitUntilThereAreSome) {
  CountTicks(absl::Milliseconds(5));
  OpenTheDoor();
  AttachClient client = Connect();  // Into the backlog.
  ASSERT_TRUE(client.Send(HelloBytes()));
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const UniqueFd lowest_free(::dup(STDERR_FILENO));
  const rlimit none = {.rlim_cur = static_cast<rlim_t>(lowest_free.get()) + 1,
                       .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  RunDoor();
  const bool ticked = ticks_.Await(3);
  const bool was_quiet = client.IsQuiet();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(ticked);
  EXPECT_TRUE(was_quiet);
  EXPECT_EQ(client.Receive().type(), attach::MessageType::kWelcome);
}

TEST_F(DoorTest, ItsEndRemovesItsFiles) {
  StartDoor();
  const AttachClient client = Attach();
  StopDoor();
  EXPECT_FALSE(std::filesystem::exists(AttachPath()));
  EXPECT_FALSE(std::filesystem::exists(BrokerPath()));
  EXPECT_FALSE(std::filesystem::is_symlink(directory_.path() + "/gpu0"));
  OpenTheDoor();
}

TEST_F(DoorTest, ASecondDoorIsRefusedAndTheFirstGoesOn) {
  StartDoor();
  Policy policy{options_};
  const auto second =
      Door::Open(door_options_, broker_, tokens_, policy, sink_);
  EXPECT_THAT(second, StatusIs(absl::StatusCode::kAlreadyExists));
  const std::string text(second.status().message());
  EXPECT_NE(text.find("pid " + std::to_string(::getpid())), std::string::npos)
      << text;
  const AttachClient client = Attach();
  // The question for the pid is answered any number of times.
  for (int i = 0; i < 100; ++i) {
    ASSERT_THAT(Door::Open(door_options_, broker_, tokens_, policy, sink_),
                StatusIs(absl::StatusCode::kAlreadyExists));
  }
  const AttachClient another = Attach();
}

}  // namespace
}  // namespace vrampool::testing
