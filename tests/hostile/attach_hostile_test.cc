// Attacks on the attach socket of the real daemon.

#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/tensor_layout.h"
#include "tests/hostile/hostile_fixture.h"

namespace vrampool::testing {
namespace {

using attach::FarewellCode;
using attach::MessageHeader;
using attach::MessageType;
using attach::RefusedCode;

class AttachAttack : public AttackTest {
 protected:
  AttachClient Connect() {
    return AttachClient(ConnectTo(AttachPathIn(directory()), SOCK_SEQPACKET));
  }
  // The code of the refusal that is the last thing on the connection.
  static RefusedCode RefusalOf(AttachClient& client) {
    const ReceivedPacket packet = client.Receive();
    EXPECT_EQ(packet.type(), MessageType::kRefused);
    EXPECT_TRUE(client.SeesEnd());
    return static_cast<RefusedCode>(packet.body<attach::Refused>().code);
  }
  // A session that sends `bytes` is condemned for it.
  void ExpectCondemned(const std::string& bytes) {
    const auto session = Attach();
    ASSERT_NE(session, nullptr);
    ASSERT_TRUE(session->attach().Send(bytes));
    const ReceivedPacket packet = session->attach().Receive();
    EXPECT_EQ(packet.type(), MessageType::kFarewell);
    EXPECT_EQ(packet.body<attach::Farewell>().code,
              static_cast<uint32_t>(FarewellCode::kCondemned));
    v1::LeaseResponse lease;
    EXPECT_FALSE(session->Lease(1 << 20, lease).ok());
  }
};

VRAMPOOL_ATTACK(AttachAttack, GarbageInsteadOfAHello) {
  std::mt19937_64 random(1);
  for (const size_t size : {1u, 7u, 8u, 9u, 199u, 200u, 201u, 1024u}) {
    AttachClient client = Connect();
    std::string bytes(size, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    ASSERT_TRUE(client.Send(bytes));
    EXPECT_EQ(RefusalOf(client), RefusedCode::kProtocol) << size;
  }
  for (const size_t size : {1025u, 60000u}) {
    AttachClient client = Connect();
    ASSERT_TRUE(client.Send(std::string(size, 'x')));
    EXPECT_EQ(RefusalOf(client), RefusedCode::kProtocol) << size;
  }
}

VRAMPOOL_ATTACK(AttachAttack, HellosThatAreNotQuiteOne) {
  const std::string hello = HelloBytes();
  std::string wrong_magic = hello;
  wrong_magic[0] ^= 1;
  const std::string wrongs[] = {hello.substr(0, hello.size() - 1), hello + "x",
                                wrong_magic, HoldReleasedBytes(1)};
  for (const std::string& wrong : wrongs) {
    AttachClient client = Connect();
    ASSERT_TRUE(client.Send(wrong));
    EXPECT_EQ(RefusalOf(client), RefusedCode::kProtocol);
  }
  AttachClient future = Connect();
  ASSERT_TRUE(future.Send(HelloBytes(attach::kVersion + 1)));
  EXPECT_EQ(RefusalOf(future), RefusedCode::kOtherVersion);
  AttachClient smuggler = Connect();
  ASSERT_TRUE(smuggler.SendWithDescriptor(hello, STDIN_FILENO, 8));
  EXPECT_EQ(RefusalOf(smuggler), RefusedCode::kProtocol);
}

VRAMPOOL_ATTACK(AttachAttack, BreachesOfALiveSessionCondemnIt) {
  ExpectCondemned(HelloBytes());
  ExpectCondemned(HelloBytes(attach::kVersion + 1));
  ExpectCondemned("x");
  ExpectCondemned(std::string(60000, 'x'));
  const auto header = [](uint16_t type) {
    return MessageHeader{
        .magic = attach::kMagic, .version = attach::kVersion, .type = type};
  };
  ExpectCondemned(RawBytes(header(0), 0));
  ExpectCondemned(RawBytes(header(0xffff), 8));
  ExpectCondemned(RawBytes(header(101), sizeof(attach::Welcome)));
  ExpectCondemned(RawBytes(header(2), 7));
  ExpectCondemned(RawBytes(header(3), 39));
  ExpectCondemned(RawBytes(header(108), sizeof(attach::Promises)));
  ExpectCondemned(SharedBytes(0));
  ExpectCondemned(SharedBytes(~uint64_t{0}));
  ExpectCondemned(SharedBytes((uint64_t{1} << 24) | 1));
  ExpectCondemned(SharedBytes(1, ~0u));
  ExpectServesOthers();
}

// What a session that shared something by a call is promised.
class PromiseAttack : public AttachAttack {
 protected:
  struct Promised {
    std::unique_ptr<RawSession> session;
    uint64_t slab = 0;
    attach::Promises promises = {};
  };
  Promised BePromised() {
    Promised promised = {.session = Attach()};
    v1::LeaseResponse lease;
    EXPECT_EQ(Describe(promised.session->Lease(1 << 20, lease)), "OK");
    EXPECT_EQ(promised.session->attach().Receive().type(),
              MessageType::kSlabHandle);
    promised.slab = lease.slab().slab_id();
    v1::ShareRequest request;
    v1::Buffer& buffer = *request.add_buffers();
    buffer.set_slab_id(promised.slab);
    buffer.set_size_bytes(4096);
    v1::ShareResponse share;
    EXPECT_EQ(
        Describe(promised.session->channel().Call("Share", request, share)),
        "OK");
    promised.promises =
        promised.session->attach().Receive().body<attach::Promises>();
    EXPECT_GT(promised.promises.count, 2u);
    return promised;
  }
  // With a layout of so many float32.
  static std::string UseWithLayout(const Promised& promised, size_t which,
                                   int64_t elements) {
    TensorLayout layout{.dtype_code = 2, .dtype_bits = 32, .ndim = 1};
    layout.shape[0] = elements;
    std::string bytes;
    AppendLayout(layout, bytes);
    std::string packet = Use(promised, which);
    const auto size = static_cast<uint32_t>(bytes.size());
    std::memcpy(packet.data() + sizeof(attach::MessageHeader) +
                    offsetof(attach::Shared, layout_bytes),
                &size, sizeof(size));
    return packet + bytes;
  }
  static std::string Use(const Promised& promised, size_t which,
                         uint64_t offset = 0) {
    attach::Shared shared = {};
    shared.object_id = promised.promises.promises[which].object_id;
    shared.slab_id = promised.slab;
    shared.offset_bytes = offset;
    shared.size_bytes = 4096;
    return SharedBytes(shared);
  }
  // What comes next that was not on its way already.
  static void ExpectFarewell(RawSession& session) {
    MessageType type = session.attach().Receive().type();
    while (type == MessageType::kPromises ||
           type == MessageType::kObjectEnded) {
      type = session.attach().Receive().type();
    }
    EXPECT_EQ(type, MessageType::kFarewell);
  }
};

VRAMPOOL_ATTACK(PromiseAttack, APromiseThatIsUsedTwiceCondemns) {
  const Promised promised = BePromised();
  ASSERT_TRUE(promised.session->attach().Send(Use(promised, 0)));
  ASSERT_TRUE(promised.session->attach().Send(Use(promised, 0)));
  ExpectFarewell(*promised.session);
  ExpectServesOthers();
}

VRAMPOOL_ATTACK(PromiseAttack, ALayoutThatLeavesItsBufferCondemns) {
  const Promised promised = BePromised();
  ASSERT_TRUE(
      promised.session->attach().Send(UseWithLayout(promised, 0, 1024)));
  // The good one is known to all, not only to who has the token.
  v1::OpenRequest request;
  v1::OpenRequest::Token& token = *request.mutable_token();
  const attach::Promise& promise = promised.promises.promises[0];
  token.set_epoch(promised.session->welcome().epoch);
  token.set_object_id(promise.object_id);
  token.set_secret(promise.secret, sizeof(promise.secret));
  v1::OpenResponse opened;
  EXPECT_EQ(Describe(promised.session->channel().Call("Open", request, opened)),
            "OK");
  ASSERT_EQ(opened.layouts_size(), 1);
  EXPECT_EQ(opened.layouts(0).shape(0), 1024);
  ASSERT_TRUE(
      promised.session->attach().Send(UseWithLayout(promised, 1, 1025)));
  ExpectFarewell(*promised.session);
  ExpectServesOthers();
}

VRAMPOOL_ATTACK(PromiseAttack, APromiseOfAnotherSessionCondemns) {
  const Promised promised = BePromised();
  const auto thief = Attach();
  ASSERT_NE(thief, nullptr);
  ASSERT_TRUE(thief->attach().Send(Use(promised, 0)));
  ExpectFarewell(*thief);
  // The owner's is as it was.
  ASSERT_TRUE(promised.session->attach().Send(Use(promised, 0)));
  ASSERT_TRUE(promised.session->attach().Send(Use(promised, 0)));
  ExpectFarewell(*promised.session);
}

// Each is answered by the end of the object, and the promises come anew.
VRAMPOOL_ATTACK(PromiseAttack, ObjectsOutsideTheirSlabsAreNotMade) {
  Promised promised = BePromised();
  const uint64_t kMax = ~uint64_t{0};
  for (int i = 0; i < 2000; ++i) {
    const size_t which = static_cast<size_t>(i) % 16;
    const uint64_t id = promised.promises.promises[which].object_id;
    ASSERT_TRUE(promised.session->attach().Send(
        Use(promised, which, i % 2 == 0 ? kMax : kMax - 4095)));
    bool has_ended = false;
    while (!has_ended || which == 15) {
      const ReceivedPacket packet = promised.session->attach().Receive();
      if (packet.type() == MessageType::kPromises) {
        promised.promises = packet.body<attach::Promises>();
        if (which == 15 && has_ended) break;
        continue;
      }
      ASSERT_EQ(packet.type(), MessageType::kObjectEnded);
      ASSERT_EQ(packet.body<attach::ObjectEnded>().object_id, id);
      has_ended = true;
    }
  }
  ExpectServesOthers();
}

VRAMPOOL_ATTACK(AttachAttack, DescriptorsSmuggledIntoASessionAreClosed) {
  const auto session = Attach();
  ASSERT_NE(session, nullptr);
  ASSERT_TRUE(session->attach().SendWithDescriptor(HoldReleasedBytes(1),
                                                   STDIN_FILENO, 8));
  EXPECT_EQ(session->attach().Receive().type(), MessageType::kFarewell);
}

VRAMPOOL_ATTACK(AttachAttack, ReleasesOfRandomObjectsChangeNothing) {
  const auto session = Attach();
  ASSERT_NE(session, nullptr);
  std::mt19937_64 random(2);
  for (int i = 0; i < 5000; ++i) {
    ASSERT_TRUE(session->attach().Send(HoldReleasedBytes(random())));
  }
  v1::LeaseResponse lease;
  EXPECT_EQ(Describe(session->Lease(1 << 20, lease)), "OK");
}

// Whether it is condemned depends on how much of the machine it gets; the
// door's own tests see to that.
VRAMPOOL_ATTACK(AttachAttack, AFloodDelaysNobodyElse) {
  const auto session = Attach();
  ASSERT_NE(session, nullptr);
  std::atomic<bool> is_enough = false;
  std::thread flood([&] {
    const std::string packet = HoldReleasedBytes(1);
    while (!is_enough) {
      (void)::send(session->attach().socket(), packet.data(), packet.size(),
                   MSG_NOSIGNAL | MSG_DONTWAIT);
    }
  });
  for (int i = 0; i < 5; ++i) ExpectServesOthers();
  ExpectAliveAndSound();
  is_enough = true;
  flood.join();
}

VRAMPOOL_ATTACK(AttachAttack, HundredsThatNeverSayHello) {
  std::vector<AttachClient> silent;
  for (int i = 0; i < 400; ++i) silent.push_back(Connect());
  // This user has more than a user may have, so some are told so, but the
  // oldest go on waiting and every slot comes back when they leave.
  EXPECT_EQ(RefusalOf(silent.back()), RefusedCode::kBound);
  ExpectAliveAndSound();
  silent.clear();
  EXPECT_TRUE(Eventually([&] { return RawSession::Attach(directory()).ok(); }));
}

VRAMPOOL_ATTACK_ON_EVERY_DEVICE(
    AttachAttack, AClientThatNeverReadsGetsABacklogAndDelaysNobody) {
  const auto deaf = Attach();
  ASSERT_NE(deaf, nullptr);
  Answer last;
  for (int i = 0; i < 4096 && last.ok(); ++i) {
    v1::LeaseResponse lease;
    last = deaf->Lease(1, lease);
    if (last.ok()) {
      // Unmapped, as far as the daemon knows: the handle lies in the socket.
      last =
          deaf->Return(lease.lease_id(), v1::ReturnRequest::MAPPING_UNMAPPED);
    }
  }
  EXPECT_EQ(last.reason, "DESCRIPTOR_BACKLOG") << Describe(last);
  ExpectServesOthers();
  // Reading makes it a client like any other.
  while (!deaf->attach().IsQuiet()) deaf->attach().Receive();
  v1::LeaseResponse lease;
  EXPECT_EQ(Describe(deaf->Lease(1, lease)), "OK");
}

VRAMPOOL_ATTACK_ON_EVERY_DEVICE(AttachAttack,
                                ComingAndGoingInTheMiddleOfThings) {
  for (int i = 0; i < 50; ++i) {
    AttachClient client = Connect();
    if (i % 2 == 0) client.Send(std::string(static_cast<size_t>(i), 'g'));
    if (i % 3 == 0) client.SendWithDescriptor(HelloBytes(), STDIN_FILENO, 3);
  }
  for (int i = 0; i < 20; ++i) {
    const auto session = Attach();
    ASSERT_NE(session, nullptr);
    v1::LeaseResponse lease;
    EXPECT_EQ(Describe(session->Lease(1 << 20, lease)), "OK");
    if (i % 2 == 0) session->attach().Send("bad");
  }
}

}  // namespace
}  // namespace vrampool::testing
