// door_fixture.h - a door with a fake broker behind it, and clients in front.

#ifndef VRAMPOOL_TESTS_DAEMON_ATTACH_DOOR_FIXTURE_H_
#define VRAMPOOL_TESTS_DAEMON_ATTACH_DOOR_FIXTURE_H_

#include <sys/socket.h>

#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "daemon/attach/door.h"
#include "daemon/attach/door_limits.h"
#include "gtest/gtest.h"
#include "tests/daemon/attach/attach_client.h"
#include "tests/daemon/attach/fake_broker.h"
#include "tests/daemon/attach/temp_directory.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {

class FakeSink final : public ConnectionSink {
 public:
  void Adopt(UniqueFd connection, const PeerIdentity& peer) override {
    MutexLock lock(mu_);
    connections_.emplace_back(std::move(connection), peer);
    changed_.NotifyAll();
  }
  // Waits for the next connection.
  std::pair<UniqueFd, PeerIdentity> Take() {
    const auto deadline =
        std::chrono::steady_clock::now() + std::chrono::seconds(20);
    MutexLock lock(mu_);
    while (connections_.empty()) {
      if (!changed_.WaitUntil(lock, deadline)) return {};
    }
    auto connection = std::move(connections_.front());
    connections_.erase(connections_.begin());
    return connection;
  }

 private:
  Mutex mu_;
  CondVar changed_;
  std::vector<std::pair<UniqueFd, PeerIdentity>> connections_
      VRAMPOOL_GUARDED_BY(mu_);
};

class DoorFixture : public ::testing::Test {
 protected:
  DoorFixture() { options_.default_tenant = "root/default"; }
  ~DoorFixture() override { StopDoor(); }

  std::string OwnDirectory() const { return directory_.path() + "/" + uuid_; }
  std::string AttachPath() const { return OwnDirectory() + "/attach.sock"; }
  std::string BrokerPath() const { return OwnDirectory() + "/broker.sock"; }

  // Opens the door; connections wait in its backlog until RunDoor().
  void OpenTheDoor() {
    policy_ = std::make_unique<Policy>(options_);
    door_options_.directory = directory_.path();
    door_options_.device_uuid = uuid_;
    auto door =
        OpenDoor(door_options_, limits_, broker_, tokens_, *policy_, sink_);
    ASSERT_THAT(door, IsOk());
    door_ = *std::move(door);
  }
  void RunDoor() {
    thread_ = std::thread([this] { door_->Run(); });
  }
  void StartDoor() {
    OpenTheDoor();
    RunDoor();
  }
  // Returns when the loop has ended whatever it was about. The door itself and
  // its sessions stay.
  void HaltDoor() {
    if (!thread_.joinable()) return;
    door_->Stop();
    thread_.join();
  }
  void StopDoor() {
    HaltDoor();
    door_.reset();
  }

  AttachClient Connect() {
    return AttachClient(ConnectTo(AttachPath(), SOCK_SEQPACKET));
  }
  // Attached, its Welcome already read.
  AttachClient Attach() {
    AttachClient client = Connect();
    EXPECT_TRUE(client.Send(HelloBytes()));
    EXPECT_EQ(client.Receive().type(), attach::MessageType::kWelcome);
    return client;
  }
  // Sends `bytes` as the first packet and gives the refusal that comes back,
  // having seen the end of file behind it.
  attach::Refused RefusedFor(std::string_view bytes) {
    AttachClient client = Connect();
    EXPECT_TRUE(client.Send(bytes));
    return ReceiveRefusal(client);
  }
  static attach::Refused ReceiveRefusal(AttachClient& client) {
    const ReceivedPacket packet = client.Receive();
    EXPECT_EQ(packet.type(), attach::MessageType::kRefused);
    EXPECT_TRUE(client.SeesEnd());
    return packet.body<attach::Refused>();
  }
  static attach::RefusedCode CodeOfRefusal(const attach::Refused& refused) {
    return static_cast<attach::RefusedCode>(refused.code);
  }

  static size_t OpenDescriptors() {
    return static_cast<size_t>(
        std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                      std::filesystem::directory_iterator()));
  }

  const TempDirectory directory_;
  const std::string uuid_ = UniqueUuid();
  Policy::Options options_;
  DoorLimits limits_;
  Door::Options door_options_;
  FakeBroker broker_;
  SessionTokens tokens_;
  FakeSink sink_;
  std::unique_ptr<Policy> policy_;
  std::unique_ptr<Door> door_;
  std::thread thread_;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_DAEMON_ATTACH_DOOR_FIXTURE_H_
