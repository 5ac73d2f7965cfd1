// What the door says to a connection that says Hello, or something else.

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "daemon/core/refusal.h"
#include "tests/daemon/attach/door_fixture.h"

namespace vrampool::testing {
namespace {

using attach::MessageHeader;
using attach::MessageType;
using attach::RefusedCode;

off_t FileSize(const UniqueFd& fd) {
  struct stat info = {};
  EXPECT_EQ(::fstat(fd.get(), &info), 0);
  return info.st_size;
}

class DoorGreetingTest : public DoorFixture {};

TEST_F(DoorGreetingTest, AGoodHelloIsWelcomedWithEverythingAClientNeeds) {
  StartDoor();
  AttachClient client = Connect();
  ASSERT_TRUE(client.Send(HelloBytes()));
  const ReceivedPacket packet = client.Receive();
  ASSERT_EQ(packet.type(), MessageType::kWelcome);
  const auto welcome = packet.body<attach::Welcome>();
  EXPECT_EQ(welcome.epoch, 42u);
  EXPECT_EQ(welcome.session_id, 1u);
  EXPECT_STREQ(welcome.device_uuid, "host-test");
  EXPECT_STREQ(welcome.tenant, "root/default");
  EXPECT_EQ(welcome.granule_bytes, MiB(2).count());
  EXPECT_EQ(welcome.kinds[0], static_cast<uint32_t>(HandleKind::kHostFd));
  EXPECT_EQ(welcome.kinds[1], static_cast<uint32_t>(HandleKind::kCudaIpc));
  EXPECT_EQ(welcome.kinds[2], 0u);
  ASSERT_EQ(packet.fds.size(), 2u);
  EXPECT_EQ(FileSize(packet.fds[0]),
            static_cast<off_t>(welcome.manifest_bytes));
  EXPECT_EQ(FileSize(packet.fds[1]), static_cast<off_t>(welcome.table_bytes));
  EXPECT_NE(welcome.manifest_bytes, welcome.table_bytes);
}

TEST_F(DoorGreetingTest, TheTokenIsGoodForTheProcessThatGotIt) {
  StartDoor();
  AttachClient client = Connect();
  ASSERT_TRUE(client.Send(HelloBytes()));
  const auto welcome = client.Receive().body<attach::Welcome>();
  const std::string_view token(reinterpret_cast<const char*>(welcome.token),
                               sizeof(welcome.token));
  PeerIdentity peer = broker_.AwaitAttach(1).peer;
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const SessionId session,
                                tokens_.Authenticate(token, peer));
  EXPECT_EQ(session, SessionId{1});
  ++peer.start_time_ticks;
  EXPECT_THAT(tokens_.Authenticate(token, peer),
              IsRefused(Reason::kSessionForeign));
}

TEST_F(DoorGreetingTest, TheBrokerGetsTheKernelsIdentityAndTheClientsLabels) {
  StartDoor();
  const AttachClient client = Attach();
  const FakeBroker::AttachRecord record = broker_.AwaitAttach(1);
  EXPECT_EQ(record.peer.pid, ::getpid());
  EXPECT_EQ(record.peer.uid, ::getuid());
  EXPECT_GT(record.peer.start_time_ticks, 0u);
  EXPECT_EQ(record.labels.name, "trainer");
  EXPECT_EQ(record.labels.tag, "run-7");
  EXPECT_EQ(record.labels.framework, "numpy");
}

TEST_F(DoorGreetingTest, WhatTheBrokerSendsMeanwhileFollowsTheWelcome) {
  broker_.OnAttach([](SessionLink& link) {
    link.SendReclaim(MiB(2));
    ExportedHandle handle;
    handle.kind = HandleKind::kCudaIpc;
    EXPECT_THAT(link.SendHandle(SlabId{5}, MiB(2), std::move(handle)), IsOk());
  });
  StartDoor();
  AttachClient client = Connect();
  ASSERT_TRUE(client.Send(HelloBytes()));
  EXPECT_EQ(client.Receive().type(), MessageType::kWelcome);
  EXPECT_EQ(client.Receive().type(), MessageType::kReclaim);
  EXPECT_EQ(client.Receive().type(), MessageType::kSlabHandle);
}

TEST_F(DoorGreetingTest, AnotherVersionIsToldBothVersions) {
  StartDoor();
  const attach::Refused refused = RefusedFor(HelloBytes(7));
  EXPECT_EQ(CodeOfRefusal(refused), RefusedCode::kOtherVersion);
  EXPECT_EQ(refused.daemon_version, attach::kVersion);
  const std::string text = refused.text;
  EXPECT_NE(text.find("version 7"), std::string::npos) << text;
  EXPECT_NE(text.find("version " + std::to_string(attach::kVersion)),
            std::string::npos)
      << text;
}

TEST_F(DoorGreetingTest, OfAnotherVersionNothingButTheHeaderIsLookedAt) {
  StartDoor();
  const MessageHeader header = {
      .magic = attach::kMagic, .version = 9, .type = 999};
  EXPECT_EQ(CodeOfRefusal(RefusedFor(RawBytes(header, 3))),
            RefusedCode::kOtherVersion);
}

TEST_F(DoorGreetingTest, APeerThatThePolicyDoesNotAdmitIsRefused) {
  options_.default_tenant = "";
  StartDoor();
  const attach::Refused refused = RefusedFor(HelloBytes());
  EXPECT_EQ(CodeOfRefusal(refused), RefusedCode::kPolicy);
  EXPECT_NE(std::string(refused.text).find("policy"), std::string::npos);
  EXPECT_TRUE(broker_.events().empty());
}

struct AttachError {
  Reason reason;
  RefusedCode code;
};

class DoorAttachErrorTest : public DoorFixture,
                            public ::testing::WithParamInterface<AttachError> {
};

TEST_P(DoorAttachErrorTest, TheBrokersReasonReachesTheClient) {
  broker_.RefuseAttach(Refuse(GetParam().reason, "for this very reason"));
  StartDoor();
  const attach::Refused refused = RefusedFor(HelloBytes());
  EXPECT_EQ(CodeOfRefusal(refused), GetParam().code);
  EXPECT_STREQ(refused.text, "for this very reason");
}

INSTANTIATE_TEST_SUITE_P(
    Reasons, DoorAttachErrorTest,
    ::testing::Values(
        AttachError{Reason::kLimitReached, RefusedCode::kBound},
        AttachError{Reason::kShuttingDown, RefusedCode::kStopping},
        AttachError{Reason::kDeviceLost, RefusedCode::kStopping},
        AttachError{Reason::kTenantUnknown, RefusedCode::kPolicy}));

struct BadFirstPacket {
  const char* name;
  std::string bytes;
};
std::string NameOf(const ::testing::TestParamInfo<BadFirstPacket>& info) {
  return info.param.name;
}

class DoorBadFirstPacketTest
    : public DoorFixture,
      public ::testing::WithParamInterface<BadFirstPacket> {};

TEST_P(DoorBadFirstPacketTest, IsRefusedAsABreachOfTheProtocol) {
  StartDoor();
  EXPECT_EQ(CodeOfRefusal(RefusedFor(GetParam().bytes)),
            RefusedCode::kProtocol);
  EXPECT_TRUE(broker_.events().empty());
}

INSTANTIATE_TEST_SUITE_P(
    Packets, DoorBadFirstPacketTest,
    ::testing::Values(
        BadFirstPacket{"Empty", ""}, BadFirstPacket{"Short", "VMP1"},
        BadFirstPacket{"Text", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"},
        BadFirstPacket{"NoBody",
                       RawBytes({attach::kMagic, attach::kVersion, 1}, 0)},
        BadFirstPacket{"LongBody", HelloBytes() + "x"},
        BadFirstPacket{"UnknownType",
                       RawBytes({attach::kMagic, attach::kVersion, 77}, 192)},
        BadFirstPacket{"DaemonsType",
                       RawBytes({attach::kMagic, attach::kVersion, 101}, 280)},
        BadFirstPacket{"HoldReleased", HoldReleasedBytes(1)},
        BadFirstPacket{"TooLong",
                       std::string(attach::kMaxPacketBytes + 1, 'x')},
        BadFirstPacket{"Huge", std::string(100000, 'x')}),
    NameOf);

TEST_F(DoorGreetingTest, AHelloWithDescriptorsIsRefusedAndLeaksNone) {
  OpenTheDoor();
  const size_t before = OpenDescriptors();
  RunDoor();
  {
    AttachClient client = Connect();
    ASSERT_TRUE(client.SendWithDescriptor(HelloBytes(), STDERR_FILENO, 8));
    EXPECT_EQ(CodeOfRefusal(ReceiveRefusal(client)), RefusedCode::kProtocol);
  }
  HaltDoor();
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(DoorGreetingTest, WhoSaysNothingIsRefusedWhenTheTimeIsUp) {
  limits_.greeting_time = std::chrono::milliseconds(20);
  StartDoor();
  AttachClient client = Connect();
  const attach::Refused refused = ReceiveRefusal(client);
  EXPECT_EQ(CodeOfRefusal(refused), RefusedCode::kProtocol);
  EXPECT_NE(std::string(refused.text).find("Hello"), std::string::npos);
}

TEST_F(DoorGreetingTest, AUserHasSoManySilentConnectionsAndNoMore) {
  limits_.greetings_per_uid = 2;
  StartDoor();
  AttachClient one = Connect();
  AttachClient two = Connect();
  AttachClient three = Connect();
  EXPECT_EQ(CodeOfRefusal(ReceiveRefusal(three)), RefusedCode::kBound);
  ASSERT_TRUE(one.Send(HelloBytes()));
  EXPECT_EQ(one.Receive().type(), MessageType::kWelcome);
  const AttachClient four = Attach();  // In the place that one left.
  EXPECT_TRUE(two.IsQuiet());
}

// The socket is shared with a child that connects it and dies before the door
// looks: the kernel names the child.
TEST_F(DoorGreetingTest, AProcessThatHasGoneHasNoIdentity) {
  OpenTheDoor();
  AttachClient client{
      UniqueFd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0))};
  const pid_t child = ::fork();
  if (child == 0) ::_exit(ConnectSocket(client.socket(), AttachPath()) ? 0 : 1);
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  RunDoor();
  ASSERT_TRUE(client.Send(HelloBytes()));
  EXPECT_EQ(CodeOfRefusal(ReceiveRefusal(client)), RefusedCode::kIdentity);
  EXPECT_TRUE(broker_.events().empty());
}

TEST_F(DoorGreetingTest, AClientThatLeavesAfterItsHelloLeavesNothing) {
  OpenTheDoor();
  const size_t before = OpenDescriptors();
  {
    AttachClient client = Connect();
    ASSERT_TRUE(client.Send(HelloBytes()));
  }
  RunDoor();
  EXPECT_TRUE(broker_.Await("closed 1"));
  const FakeBroker::AttachRecord record = broker_.AwaitAttach(1);
  EXPECT_THAT(record.link->SendHandle(SlabId{1}, MiB(2), ExportedHandle{}),
              IsRefused(Reason::kSessionEnded));
  StopDoor();
  EXPECT_LE(OpenDescriptors(), before);
}

}  // namespace
}  // namespace vrampool::testing
