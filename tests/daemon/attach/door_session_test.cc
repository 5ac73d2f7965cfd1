// The life of an admitted session, as the door sees it.

#include <unistd.h>

#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "daemon/core/refusal.h"
#include "tests/daemon/attach/client_process.h"
#include "tests/daemon/attach/door_fixture.h"

namespace vrampool::testing {
namespace {

using attach::MessageType;
using ::testing::ElementsAre;

class DoorSessionTest : public DoorFixture {
 protected:
  // A later connection is served only after everything that came before it.
  void LetTheDoorCatchUp() { const AttachClient barrier = Attach(); }

  ExportedHandle HostHandle() {
    ExportedHandle handle;
    handle.kind = HandleKind::kHostFd;
    handle.fd.reset(::dup(STDERR_FILENO));
    return handle;
  }
};

TEST_F(DoorSessionTest, AReleasedHoldReachesTheBroker) {
  StartDoor();
  AttachClient client = Attach();
  ASSERT_TRUE(client.Send(HoldReleasedBytes(77)));
  EXPECT_TRUE(broker_.Await("released 1 77"));
}

TEST_F(DoorSessionTest, CallsWithoutAnAnswerReachTheBroker) {
  StartDoor();
  AttachClient client = Attach();
  ASSERT_TRUE(client.Send(ReadyBytes(77, attach::ReadyCode::kComplete)));
  EXPECT_TRUE(broker_.Await("complete 1 77"));
  ASSERT_TRUE(client.Send(ReadyBytes(78, attach::ReadyCode::kFailed)));
  EXPECT_TRUE(broker_.Await("failed 1 78"));
  ASSERT_TRUE(client.Send(ClosedBytes(78)));
  EXPECT_TRUE(broker_.Await("left 1 78"));
}

// It was said before the session's end, which breaks what is pending.
TEST_F(DoorSessionTest, WhatAClientSaidBeforeItLeftIsHeardFirst) {
  StartDoor();
  AttachClient client = Attach();
  std::promise<void> has_left;
  broker_.OnReady([&has_left] { has_left.get_future().wait(); });
  std::vector<std::string> expected;
  for (uint64_t object = 1; object <= 8; ++object) {
    ASSERT_TRUE(client.Send(ReadyBytes(object, attach::ReadyCode::kComplete)));
    expected.push_back("complete 1 " + std::to_string(object));
  }
  expected.push_back("closed 1");
  // It leaves without having read this.
  broker_.AwaitAttach(1).link->SendObjectEnded(ObjectId{1});
  client.Close();
  has_left.set_value();
  ASSERT_TRUE(broker_.Await("closed 1"));
  EXPECT_EQ(broker_.events(), expected);
}

// Each object that was promised pays for a Ready and a Closed.
TEST_F(DoorSessionTest, ReadyAndClosedOfNothingAreAFlood) {
  limits_.packet_burst = 10;
  limits_.packets_per_second = 0;
  StartDoor();
  AttachClient client = Attach();
  for (uint64_t object = 2; object <= 100; object += 2) {
    ASSERT_TRUE(client.Send(SharedBytes(object)));
    ASSERT_TRUE(client.Send(ReadyBytes(object, attach::ReadyCode::kComplete)));
    ASSERT_TRUE(client.Send(ClosedBytes(object)));
  }
  ASSERT_TRUE(broker_.Await("left 1 100"));
  for (uint64_t object = 101; object <= 111; ++object) {
    ASSERT_TRUE(client.Send(ReadyBytes(object, attach::ReadyCode::kComplete)));
  }
  EXPECT_TRUE(broker_.Await("condemned 1"));
}

TEST_F(DoorSessionTest, TheEndOfTheSocketEndsSessionAndToken) {
  StartDoor();
  AttachClient client = Connect();
  ASSERT_TRUE(client.Send(HelloBytes()));
  const auto welcome = client.Receive().body<attach::Welcome>();
  client.Close();
  ASSERT_TRUE(broker_.Await("closed 1"));
  const std::string_view token(reinterpret_cast<const char*>(welcome.token),
                               sizeof(welcome.token));
  EXPECT_THAT(tokens_.Authenticate(token, broker_.AwaitAttach(1).peer),
              IsRefused(Reason::kSessionUnknown));
}

TEST_F(DoorSessionTest, ASlabsDescriptorTravelsBesideItsHandle) {
  StartDoor();
  AttachClient client = Attach();
  const auto link = broker_.AwaitAttach(1).link;
  ASSERT_THAT(link->SendHandle(SlabId{9}, MiB(4), HostHandle()), IsOk());
  const ReceivedPacket packet = client.Receive();
  ASSERT_EQ(packet.type(), MessageType::kSlabHandle);
  const auto slab = packet.body<attach::SlabHandle>();
  EXPECT_EQ(slab.slab_id, 9u);
  EXPECT_EQ(slab.size_bytes, MiB(4).count());
  EXPECT_EQ(slab.kind, static_cast<uint32_t>(HandleKind::kHostFd));
  EXPECT_EQ(packet.fds.size(), 1u);
}

TEST_F(DoorSessionTest, ACudaHandleTravelsAsBytesAlone) {
  StartDoor();
  AttachClient client = Attach();
  ExportedHandle handle;
  handle.kind = HandleKind::kCudaIpc;
  handle.bytes[63] = std::byte{0x5a};
  const auto link = broker_.AwaitAttach(1).link;
  ASSERT_THAT(link->SendHandle(SlabId{9}, MiB(4), std::move(handle)), IsOk());
  const ReceivedPacket packet = client.Receive();
  EXPECT_EQ(packet.body<attach::SlabHandle>().handle[63], 0x5a);
  EXPECT_TRUE(packet.fds.empty());
}

TEST_F(DoorSessionTest, NoticesReachTheClient) {
  StartDoor();
  AttachClient client = Attach();
  const auto link = broker_.AwaitAttach(1).link;
  link->SendReclaim(MiB(6));
  link->SendObjectEnded(ObjectId{12});
  link->SendObjectSettled(ObjectId{13});
  link->SendFarewell(false, "the daemon stops");
  EXPECT_EQ(client.Receive().body<attach::Reclaim>().bytes, MiB(6).count());
  EXPECT_EQ(client.Receive().body<attach::ObjectEnded>().object_id, 12u);
  EXPECT_EQ(client.Receive().body<attach::ObjectSettled>().object_id, 13u);
  const auto farewell = client.Receive().body<attach::Farewell>();
  EXPECT_EQ(farewell.code,
            static_cast<uint32_t>(attach::FarewellCode::kStopping));
  EXPECT_STREQ(farewell.text, "the daemon stops");
}

TEST_F(DoorSessionTest, AClientThatDoesNotReadGetsABacklogAndBlocksNobody) {
  StartDoor();
  AttachClient client = Attach();
  const auto link = broker_.AwaitAttach(1).link;
  absl::Status last = absl::OkStatus();
  int sent = 0;
  while (last.ok() && sent < 100000) {
    last = link->SendHandle(SlabId{1}, MiB(2), HostHandle());
    ++sent;
  }
  EXPECT_THAT(last, IsRefused(Reason::kDescriptorBacklog));
  EXPECT_GT(sent, 32);
  link->SendReclaim(MiB(2));  // Lost without harm, as is the next.
  link->SendObjectSettled(ObjectId{13});
  LetTheDoorCatchUp();
  client.Receive();
  client.Receive();
  EXPECT_THAT(link->SendHandle(SlabId{1}, MiB(2), HostHandle()), IsOk());
}

TEST_F(DoorSessionTest, ALinkCanEndItsProcessByForce) {
  ClientProcess process(AttachPath());
  StartDoor();
  ASSERT_TRUE(process.Attach());
  const auto link = broker_.AwaitAttach(1).link;
  EXPECT_TRUE(link->Kill());
  EXPECT_TRUE(broker_.Await("closed 1"));
  EXPECT_TRUE(broker_.Await("gone 1"));
  process.Kill();  // Reaps it.
  EXPECT_FALSE(link->Kill());
}

TEST_F(DoorSessionTest, AfterTheEndTheLinkSaysSo) {
  StartDoor();
  AttachClient client = Attach();
  const auto link = broker_.AwaitAttach(1).link;
  client.Close();
  ASSERT_TRUE(broker_.Await("closed 1"));
  EXPECT_THAT(link->SendHandle(SlabId{1}, MiB(2), HostHandle()),
              IsRefused(Reason::kSessionEnded));
  link->SendReclaim(MiB(2));
  StopDoor();
  EXPECT_THAT(link->SendHandle(SlabId{1}, MiB(2), HostHandle()),
              IsRefused(Reason::kSessionEnded));
}

TEST_F(DoorSessionTest, ManySendersAndAnEndingSocketDoNotMeet) {
  StartDoor();
  AttachClient client = Attach();
  const auto link = broker_.AwaitAttach(1).link;
  std::vector<std::thread> senders;
  for (int i = 0; i < 4; ++i) {
    senders.emplace_back([&] {
      absl::Status status = absl::OkStatus();
      while (!RefusalOf(status).has_value() ||
             RefusalOf(status)->reason != Reason::kSessionEnded) {
        status = link->SendHandle(SlabId{1}, MiB(2), HostHandle());
      }
    });
  }
  EXPECT_EQ(client.Receive().type(), MessageType::kSlabHandle);
  client.Close();
  for (std::thread& sender : senders) sender.join();
  EXPECT_TRUE(broker_.Await("closed 1"));
}

struct Breach {
  const char* name;
  std::string bytes;
};
std::string NameOf(const ::testing::TestParamInfo<Breach>& info) {
  return info.param.name;
}

class DoorBreachTest : public DoorSessionTest,
                       public ::testing::WithParamInterface<Breach> {};

TEST_P(DoorBreachTest, CondemnsTheSessionAndNobodyElse) {
  StartDoor();
  AttachClient innocent = Attach();
  AttachClient client = Attach();
  ASSERT_TRUE(client.Send(GetParam().bytes));
  EXPECT_TRUE(broker_.Await("condemned 2"));
  EXPECT_FALSE(broker_.condemned_for().empty());
  const auto farewell = client.Receive().body<attach::Farewell>();
  EXPECT_EQ(farewell.code,
            static_cast<uint32_t>(attach::FarewellCode::kCondemned));
  ASSERT_TRUE(innocent.Send(HoldReleasedBytes(5)));
  EXPECT_TRUE(broker_.Await("released 1 5"));
}

INSTANTIATE_TEST_SUITE_P(
    Packets, DoorBreachTest,
    ::testing::Values(
        Breach{"Empty", ""}, Breach{"Short", "VM"},
        Breach{"BadMagic", std::string(16, '\0')},
        Breach{"OtherVersion", HelloBytes(attach::kVersion + 1)},
        Breach{"ReadyOfNoCode", ReadyBytes(1, attach::ReadyCode{3})},
        Breach{"SecondHello", HelloBytes()},
        Breach{"NotPromised", SharedBytes(1)},
        Breach{"ShortShared",
               RawBytes({attach::kMagic, attach::kVersion, 3}, 39)},
        Breach{"LongShared", SharedBytes(2) + "x"},
        Breach{"UnknownFlag", SharedBytes(2, 4)},
        Breach{"DaemonsPromises",
               RawBytes({attach::kMagic, attach::kVersion, 108},
                        sizeof(attach::Promises))},
        Breach{"ShortBody", RawBytes({attach::kMagic, attach::kVersion, 2}, 7)},
        Breach{"LongClosed", ClosedBytes(1) + "x"},
        Breach{"LongBody", HoldReleasedBytes(1) + "x"},
        Breach{"UnknownType",
               RawBytes({attach::kMagic, attach::kVersion, 0}, 8)},
        Breach{"DaemonsType",
               RawBytes({attach::kMagic, attach::kVersion, 103}, 88)},
        Breach{"TooLong", std::string(attach::kMaxPacketBytes + 1, 'x')}),
    NameOf);

TEST_F(DoorSessionTest, DescriptorsThatNobodyAskedForCondemnAndDoNotLeak) {
  OpenTheDoor();
  const size_t before = OpenDescriptors();
  RunDoor();
  AttachClient client = Attach();
  ASSERT_TRUE(
      client.SendWithDescriptor(HoldReleasedBytes(1), STDERR_FILENO, 8));
  ASSERT_TRUE(broker_.Await("condemned 1"));
  EXPECT_NE(broker_.condemned_for().find("descriptors"), std::string::npos);
  HaltDoor();
  // Both ends, and a pidfd to watch and one to kill by.
  EXPECT_EQ(OpenDescriptors(), before + 4);
}

TEST_F(DoorSessionTest, ACondemnedSessionIsNotReadButItsSocketStays) {
  StartDoor();
  AttachClient client = Attach();
  ASSERT_TRUE(client.Send("nonsense"));
  ASSERT_TRUE(broker_.Await("condemned 1"));
  EXPECT_EQ(client.Receive().type(), MessageType::kFarewell);
  ASSERT_TRUE(client.Send(HoldReleasedBytes(1)));
  LetTheDoorCatchUp();
  ASSERT_TRUE(broker_.Await("closed 2"));
  EXPECT_TRUE(client.IsQuiet());
  EXPECT_THAT(broker_.events(), ElementsAre("condemned 1", "closed 2"));
  client.Close();
  EXPECT_TRUE(broker_.Await("closed 1"));
}

TEST_F(DoorSessionTest, AFloodCondemns) {
  limits_.packet_burst = 10;
  limits_.packets_per_second = 0;
  StartDoor();
  AttachClient client = Attach();
  for (uint64_t i = 1; i <= 11; ++i) {
    ASSERT_TRUE(client.Send(HoldReleasedBytes(i)));
  }
  ASSERT_TRUE(broker_.Await("condemned 1"));
  EXPECT_EQ(broker_.events().size(), 11u);
  EXPECT_TRUE(broker_.Await("released 1 10"));
}

// Each is paid for by a promise.
TEST_F(DoorSessionTest, SharesOfPromisesAreNoFlood) {
  limits_.packet_burst = 1;
  limits_.packets_per_second = 0;
  StartDoor();
  AttachClient client = Attach();
  for (uint64_t i = 1; i <= 100; ++i) {
    ASSERT_TRUE(client.Send(SharedBytes(2 * i)));
  }
  ASSERT_TRUE(client.Send(HoldReleasedBytes(1)));
  ASSERT_TRUE(broker_.Await("released 1 1"));
  EXPECT_EQ(broker_.events().size(), 101u);
  EXPECT_EQ(broker_.events()[99], "shared 1 200");
}

TEST_F(DoorSessionTest, PromisesTravelInOnePacket) {
  StartDoor();
  AttachClient client = Attach();
  const auto link = broker_.AwaitAttach(1).link;
  std::vector<PromisedObject> promises(attach::kMaxPromises);
  for (size_t i = 0; i < promises.size(); ++i) {
    promises[i].object = ObjectId{100 + i};
    promises[i].secret.fill(static_cast<uint8_t>(i));
  }
  ASSERT_TRUE(link->SendPromises(promises));
  ASSERT_TRUE(link->SendPromises({promises[7]}));
  const auto all = client.Receive().body<attach::Promises>();
  EXPECT_EQ(all.count, attach::kMaxPromises);
  EXPECT_EQ(all.promises[31].object_id, 131u);
  EXPECT_EQ(all.promises[31].secret[15], 31);
  const auto one = client.Receive().body<attach::Promises>();
  EXPECT_EQ(one.count, 1u);
  EXPECT_EQ(one.promises[0].object_id, 107u);
  EXPECT_EQ(one.promises[1].object_id, 0u);
}

TEST_F(DoorSessionTest, PromisesThatDoNotFitAreNotGiven) {
  StartDoor();
  const AttachClient deaf = Attach();
  const auto link = broker_.AwaitAttach(1).link;
  const std::vector<PromisedObject> promises(attach::kMaxPromises);
  int sent = 0;
  while (sent < 100000 && link->SendPromises(promises)) ++sent;
  EXPECT_LT(sent, 100000);
}

TEST_F(DoorSessionTest, TheDeathOfAProcessIsSeenTwice) {
  auto process = std::make_unique<ClientProcess>(AttachPath());
  StartDoor();
  ASSERT_TRUE(process->Attach());
  EXPECT_EQ(broker_.AwaitAttach(1).peer.pid, process->pid());
  process->Kill();
  EXPECT_TRUE(broker_.Await("closed 1"));
  EXPECT_TRUE(broker_.Await("gone 1"));
}

TEST_F(DoorSessionTest, AForkedChildKeepsTheSessionOpenUntilItExits) {
  ClientProcess process(AttachPath());
  StartDoor();
  ASSERT_TRUE(process.Attach());
  ASSERT_TRUE(process.Fork());
  process.Kill();
  ASSERT_TRUE(broker_.Await("gone 1"));
  LetTheDoorCatchUp();
  ASSERT_TRUE(broker_.Await("closed 2"));
  EXPECT_THAT(broker_.events(), ElementsAre("gone 1", "closed 2"));
  process.EndChild();
  EXPECT_TRUE(broker_.Await("closed 1"));
}

TEST_F(DoorSessionTest, AProcessThatClosesItsSocketIsWatchedUntilItDies) {
  ClientProcess process(AttachPath());
  StartDoor();
  ASSERT_TRUE(process.Attach());
  ASSERT_TRUE(process.CloseSocket());
  ASSERT_TRUE(broker_.Await("closed 1"));
  LetTheDoorCatchUp();
  ASSERT_TRUE(broker_.Await("closed 2"));
  EXPECT_THAT(broker_.events(), ElementsAre("closed 1", "closed 2"));
  process.Kill();
  EXPECT_TRUE(broker_.Await("gone 1"));
}

TEST_F(DoorSessionTest, ACondemnedProcessIsSeenToDieAsWell) {
  ClientProcess process(AttachPath());
  limits_.packet_burst = 0;
  limits_.packets_per_second = 0;
  StartDoor();
  AttachClient client = Attach();
  ASSERT_TRUE(process.Attach());
  ASSERT_TRUE(client.Send(HoldReleasedBytes(1)));
  ASSERT_TRUE(broker_.Await("condemned 1"));
  process.Kill();
  EXPECT_TRUE(broker_.Await("closed 2"));
  EXPECT_TRUE(broker_.Await("gone 2"));
}

TEST_F(DoorSessionTest, SessionsThatComeAndGoLeaveNoDescriptors) {
  OpenTheDoor();
  const size_t before = OpenDescriptors();
  RunDoor();
  std::vector<AttachClient> clients;
  for (int i = 0; i < 50; ++i) clients.push_back(Attach());
  clients.clear();
  for (int i = 1; i <= 50; ++i) {
    ASSERT_TRUE(broker_.Await("closed " + std::to_string(i)));
  }
  HaltDoor();
  // This process lives, so the door goes on watching it.
  EXPECT_EQ(OpenDescriptors(), before + 50);
  StopDoor();
  EXPECT_LT(OpenDescriptors(), before);
}

}  // namespace
}  // namespace vrampool::testing
