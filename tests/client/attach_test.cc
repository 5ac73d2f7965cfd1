// The greeting, against peers that refuse, lie, or die at each point of it.

#include "client/session/attach.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <string>
#include <thread>

#include "client/session/discovery.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_daemon.h"

namespace vrampool::client {
namespace {

using ::testing::HasSubstr;

// Answers one connection as told.
class Peer {
 public:
  Peer(const std::string& folder, std::function<void(int)> answer) {
    const std::string path = folder + "/" + attach::kAttachSocketName;
    listener_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    EXPECT_EQ(
        ::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address),
               sizeof(address)),
        0);
    EXPECT_EQ(::listen(listener_.get(), 1), 0);
    thread_ = std::thread([this, answer] {
      const UniqueFd one(::accept(listener_.get(), nullptr, nullptr));
      answer(one.get());
    });
  }
  ~Peer() { thread_.join(); }

 private:
  UniqueFd listener_;
  std::thread thread_;
};

class AttachTest : public ::testing::Test {
 protected:
  Result<Greeting> GreetPeer(std::function<void(int)> answer) {
    Peer peer(directory_.path(), std::move(answer));
    return Greet(directory_.path(), {.name = "n", .tag = "t", .framework = "f"},
                 std::chrono::steady_clock::now() + std::chrono::seconds(5));
  }

  static void AwaitHello(int socket) {
    attach::Packet<attach::Hello> hello{};
    EXPECT_EQ(::recv(socket, &hello, sizeof(hello), 0), ssize_t{sizeof(hello)});
    EXPECT_STREQ(hello.body.name, "n");
  }

  static void SendRefusal(int socket, attach::RefusedCode code,
                          uint16_t version = attach::kVersion) {
    attach::Packet<attach::Refused> packet{};
    packet.header = {
        .magic = attach::kMagic,
        .version = version,
        .type = static_cast<uint16_t>(attach::MessageType::kRefused)};
    packet.body.code = static_cast<uint32_t>(code);
    packet.body.daemon_version = version;
    std::strcpy(packet.body.text, "the daemon's words");
    EXPECT_EQ(::send(socket, &packet, sizeof(packet), MSG_NOSIGNAL),
              ssize_t{sizeof(packet)});
  }

  TemporaryDirectory directory_;
};

struct RefusalCase {
  attach::RefusedCode code;
  vrampool_status expected;
  const char* text;
};

class RefusalTest : public AttachTest,
                    public ::testing::WithParamInterface<RefusalCase> {};

TEST_P(RefusalTest, EachRefusalHasItsStatusAndSaysWhatToDo) {
  const auto greeting = GreetPeer([](int socket) {
    AwaitHello(socket);
    SendRefusal(socket, GetParam().code);
  });
  EXPECT_EQ(greeting.status().code(), GetParam().expected);
  EXPECT_THAT(greeting.status().message(), HasSubstr(GetParam().text));
}

INSTANTIATE_TEST_SUITE_P(
    All, RefusalTest,
    ::testing::Values(RefusalCase{attach::RefusedCode::kOtherVersion,
                                  VRAMPOOL_VERSION_MISMATCH,
                                  "install matching"},
                      RefusalCase{attach::RefusedCode::kPolicy,
                                  VRAMPOOL_PERMISSION, "the daemon's words"},
                      RefusalCase{attach::RefusedCode::kBound, VRAMPOOL_LIMIT,
                                  "the daemon's words"},
                      RefusalCase{attach::RefusedCode::kStopping,
                                  VRAMPOOL_UNAVAILABLE, "shutting down"},
                      RefusalCase{attach::RefusedCode::kProtocol,
                                  VRAMPOOL_INTERNAL, "the daemon's words"},
                      RefusalCase{attach::RefusedCode::kIdentity,
                                  VRAMPOOL_PERMISSION, "pid namespace"}));

TEST_F(AttachTest, RefusalOfANewerDaemonNamesBothVersions) {
  const auto greeting = GreetPeer([](int socket) {
    AwaitHello(socket);
    SendRefusal(socket, attach::RefusedCode::kOtherVersion, 7);
  });
  EXPECT_EQ(greeting.status().code(), VRAMPOOL_VERSION_MISMATCH);
  EXPECT_THAT(greeting.status().message(), HasSubstr("version 7"));
  EXPECT_THAT(greeting.status().message(),
              HasSubstr("version " + std::to_string(attach::kVersion)));
}

TEST_F(AttachTest, DaemonThatDiesBeforeTheHelloIsUnavailable) {
  const auto greeting = GreetPeer([](int) {});
  EXPECT_EQ(greeting.status().code(), VRAMPOOL_UNAVAILABLE);
}

TEST_F(AttachTest, DaemonThatDiesAfterTheHelloIsUnavailable) {
  const auto greeting = GreetPeer(AwaitHello);
  EXPECT_EQ(greeting.status().code(), VRAMPOOL_UNAVAILABLE);
}

TEST_F(AttachTest, SomethingElseOnTheSocketIsNotTrusted) {
  const auto greeting = GreetPeer([](int socket) {
    AwaitHello(socket);
    EXPECT_EQ(::send(socket, "220 mail.example.org", 20, 0), 20);
  });
  EXPECT_EQ(greeting.status().code(), VRAMPOOL_INTERNAL);
}

TEST_F(AttachTest, WelcomeWithoutDescriptorsIsNotTrusted) {
  const auto greeting = GreetPeer([](int socket) {
    AwaitHello(socket);
    attach::Packet<attach::Welcome> packet{};
    packet.header = {
        .magic = attach::kMagic,
        .version = attach::kVersion,
        .type = static_cast<uint16_t>(attach::MessageType::kWelcome)};
    EXPECT_EQ(::send(socket, &packet, sizeof(packet), 0),
              ssize_t{sizeof(packet)});
  });
  EXPECT_EQ(greeting.status().code(), VRAMPOOL_INTERNAL);
}

TEST_F(AttachTest, SilentDaemonIsUnavailableWhenTheDeadlineHasPassed) {
  UniqueFd listener(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = directory_.path() + "/" + attach::kAttachSocketName;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address),
                   sizeof(address)),
            0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  const auto greeting =
      Greet(directory_.path(), {}, std::chrono::steady_clock::now());
  EXPECT_EQ(greeting.status().code(), VRAMPOOL_UNAVAILABLE);
  EXPECT_THAT(greeting.status().message(), HasSubstr("in time"));
}

TEST_F(AttachTest, MissingSocketIsUnavailableAndNamesThePath) {
  const auto greeting =
      Greet(directory_.path(), {}, std::chrono::steady_clock::now());
  EXPECT_EQ(greeting.status().code(), VRAMPOOL_UNAVAILABLE);
  EXPECT_THAT(greeting.status().message(), HasSubstr(directory_.path()));
}

TEST_F(AttachTest, PathLongerThanASocketAddressIsInvalid) {
  const auto greeting = Greet("/tmp/" + std::string(200, 'x'), {},
                              std::chrono::steady_clock::now());
  EXPECT_EQ(greeting.status().code(), VRAMPOOL_INVALID_ARGUMENT);
}

TEST(DiscoveryTest, TheOnlyServedDeviceIsFoundAndSeveralMustBeNamed) {
  TemporaryDirectory directory;
  EXPECT_EQ(FindDevice(directory.path(), "").status().code(),
            VRAMPOOL_UNAVAILABLE);
  FakeDaemon daemon(directory.path());
  const auto only = FindDevice(directory.path(), "");
  ASSERT_TRUE(only.ok());
  EXPECT_EQ(*only, directory.path() + "/" + FakeDaemon::kUuid);
  EXPECT_EQ(*FindDevice(directory.path(), FakeDaemon::kUuid), *only);
  EXPECT_EQ(FindDevice(directory.path(), "gpu9").status().code(),
            VRAMPOOL_NOT_FOUND);
  EXPECT_EQ(FindDevice(directory.path(), "../x").status().code(),
            VRAMPOOL_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace vrampool::client
