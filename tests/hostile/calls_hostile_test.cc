// Attacks on the gRPC socket of the real daemon.

#include <sys/socket.h>
#include <unistd.h>

#include <limits>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/hostile/hostile_fixture.h"
#include "tests/hostile/other_process.h"

namespace vrampool::testing {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();

class CallAttack : public AttackTest {
 protected:
  void Prepare() override {
    session_ = Attach();
    ASSERT_NE(session_, nullptr);
  }
  RawChannel& channel() { return session_->channel(); }
  std::string ReasonOf(const std::string& method,
                       const google::protobuf::Message& request) {
    return channel().Call(method, request).reason;
  }
  v1::LeaseResponse MustLease(uint64_t bytes = 1 << 20) {
    v1::LeaseResponse lease;
    EXPECT_EQ(Describe(session_->Lease(bytes, lease)), "OK");
    return lease;
  }
  v1::ShareRequest ShareOf(const v1::LeaseResponse& lease) {
    v1::ShareRequest request;
    v1::Buffer& buffer = *request.add_buffers();
    buffer.set_slab_id(lease.slab().slab_id());
    buffer.set_size_bytes(4096);
    return request;
  }
  UniqueFd ConnectRaw() {
    return ConnectTo(BrokerPathIn(directory()), SOCK_STREAM);
  }

  std::unique_ptr<RawSession> session_;
};

VRAMPOOL_ATTACK(CallAttack, WithoutAGoodTokenNothingWorks) {
  const std::string good = channel().token();
  std::mt19937_64 random(3);
  std::string guess(32, '\0');
  for (char& c : guess) c = static_cast<char>(random());
  std::string near = good;  // The right session, one bit of the secret wrong.
  near.back() ^= 1;
  for (const std::string& token :
       {std::string(), std::string("x"), guess, near, good + "x",
        good.substr(0, 31), std::string(4000, 'x')}) {
    channel().set_token(token);
    for (const char* const method :
         {"Lease", "Return", "ReportUnmapped", "Share", "Ready", "Open",
          "Close", "Unlink", "Wait", "Budget"}) {
      const Answer answer = channel().Call(method, v1::BudgetRequest());
      EXPECT_EQ(answer.reason, "SESSION_UNKNOWN") << method;
      EXPECT_THAT(answer.message, Not(HasSubstr(good)));
    }
  }
  channel().set_token(good);
  EXPECT_EQ(Describe(channel().Call("Budget", v1::BudgetRequest())), "OK");
}

VRAMPOOL_ATTACK(CallAttack, ATokenIsGoodInItsProcessOnly) {
  auto other = OtherProcess::Start(directory(), 0);
  ASSERT_NE(other.Get("attach"), "");
  std::string hex;
  for (const char c : channel().token()) {
    constexpr char kDigits[] = "0123456789abcdef";
    hex += kDigits[static_cast<unsigned char>(c) >> 4];
    hex += kDigits[static_cast<unsigned char>(c) & 15];
  }
  EXPECT_EQ(other.Order("token " + hex), "ok");
  EXPECT_THAT(other.Order("budget"), HasSubstr("SESSION_FOREIGN"));
  EXPECT_THAT(ReadFile(directory() + "/log"), Not(HasSubstr(hex)));
}

VRAMPOOL_ATTACK_ON_EVERY_DEVICE(CallAttack, AbsurdSizes) {
  v1::LeaseResponse lease;
  EXPECT_EQ(session_->Lease(0, lease).reason, "BAD_ARGUMENT");
  for (const uint64_t size :
       {kMax, kMax - 1, uint64_t{1} << 63, (uint64_t{1} << 63) - 1,
        uint64_t{1} << 50, (uint64_t{256} << 20) + 1}) {
    EXPECT_EQ(session_->Lease(size, lease, kMax).reason, "POOL_EXHAUSTED");
    v1::WaitRequest wait;
    wait.set_size_bytes(size);
    wait.set_wait_ms(kMax);
    EXPECT_THAT(ReasonOf("Wait", wait),
                AnyOf("BAD_ARGUMENT", "POOL_EXHAUSTED"));
  }
  v1::LeaseRequest request;
  request.set_size_bytes(1);
  request.set_idempotency_key("short");
  EXPECT_EQ(ReasonOf("Lease", request), "BAD_ARGUMENT");
  request.set_idempotency_key(std::string(16, 'k'));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto now, status());
  for (const int kind : {1, 2, 3, 4, -1, std::numeric_limits<int>::max()}) {
    if (kind == now.kinds(0)) continue;
    request.set_kind(static_cast<v1::HandleKind>(kind));
    EXPECT_EQ(ReasonOf("Lease", request), "KIND_NOT_OFFERED") << kind;
  }
}

VRAMPOOL_ATTACK(CallAttack, IdsThatAreNobodys) {
  MustLease();
  for (const uint64_t id : {uint64_t{0}, kMax, uint64_t{1} << 63}) {
    EXPECT_EQ(session_->Return(id, v1::ReturnRequest::MAPPING_UNMAPPED).reason,
              "LEASE_UNKNOWN");
    v1::CloseRequest close;
    close.set_epoch(session_->epoch());
    close.set_object_id(id);
    EXPECT_EQ(ReasonOf("Close", close), "OBJECT_UNKNOWN");
    EXPECT_EQ(ReasonOf("Ready", close), "OBJECT_UNKNOWN");
    v1::OpenRequest open;
    open.mutable_token()->set_epoch(session_->epoch());
    open.mutable_token()->set_object_id(id);
    open.mutable_token()->set_secret(std::string(16, 's'));
    EXPECT_EQ(ReasonOf("Open", open), "OBJECT_UNKNOWN");
  }
  v1::ReportUnmappedRequest report;
  report.set_epoch(session_->epoch());
  for (uint64_t i = 0; i < 1024; ++i) report.add_slab_ids(kMax - i);
  EXPECT_EQ(Describe(channel().Call("ReportUnmapped", report)), "OK");
  report.add_slab_ids(1);
  EXPECT_EQ(ReasonOf("ReportUnmapped", report), "BAD_ARGUMENT");
}

VRAMPOOL_ATTACK_ON_EVERY_DEVICE(CallAttack,
                                OthersLeasesAndObjectsAreOutOfReach) {
  const auto other = Attach();
  ASSERT_NE(other, nullptr);
  const v1::LeaseResponse mine = MustLease();
  EXPECT_EQ(other->Return(mine.lease_id(), v1::ReturnRequest::MAPPING_UNMAPPED)
                .reason,
            "LEASE_UNKNOWN");
  EXPECT_EQ(other->channel().Call("Share", ShareOf(mine)).reason,
            "LEASE_UNKNOWN");
  v1::ShareResponse object;
  ASSERT_TRUE(channel().Call("Share", ShareOf(mine), object).ok());
  v1::OpenRequest open;
  open.mutable_token()->set_epoch(object.epoch());
  open.mutable_token()->set_object_id(object.object_id());
  std::string secret = object.secret();
  secret[15] = static_cast<char>(secret[15] ^ 1);
  open.mutable_token()->set_secret(secret);
  EXPECT_EQ(other->channel().Call("Open", open).reason, "OBJECT_UNKNOWN");
  v1::CloseRequest close;
  close.set_epoch(object.epoch());
  close.set_object_id(object.object_id());
  EXPECT_EQ(other->channel().Call("Close", close).reason, "OBJECT_UNKNOWN");
  EXPECT_EQ(Describe(channel().Call("Close", close)), "OK");
  EXPECT_EQ(ReasonOf("Close", close), "OBJECT_UNKNOWN");  // Twice.
}

VRAMPOOL_ATTACK_ON_EVERY_DEVICE(CallAttack, BuffersAndLayoutsThatOverflow) {
  const v1::LeaseResponse lease = MustLease();
  const auto share = [&](uint64_t offset, uint64_t size) {
    v1::ShareRequest request = ShareOf(lease);
    request.mutable_buffers(0)->set_offset_bytes(offset);
    request.mutable_buffers(0)->set_size_bytes(size);
    return ReasonOf("Share", request);
  };
  EXPECT_EQ(share(kMax, 2), "BAD_ARGUMENT");
  EXPECT_EQ(share(2, kMax), "BAD_ARGUMENT");
  EXPECT_EQ(share(lease.slab().size_bytes(), 1), "BAD_ARGUMENT");
  constexpr int64_t kFar = std::numeric_limits<int64_t>::max();
  constexpr int64_t kLow = std::numeric_limits<int64_t>::min();
  for (const int64_t extent : {kFar, kLow, int64_t{-1}, int64_t{1} << 32}) {
    for (const int64_t stride : {kFar, kLow, int64_t{1} << 62}) {
      v1::ShareRequest request = ShareOf(lease);
      v1::TensorLayout& layout = *request.add_layouts();
      layout.set_dtype_bits(32);
      for (int i = 0; i < 16; ++i) {
        layout.add_shape(extent);
        layout.add_strides(stride);
      }
      EXPECT_EQ(ReasonOf("Share", request), "BAD_ARGUMENT");
      layout.clear_strides();
      EXPECT_EQ(ReasonOf("Share", request), "BAD_ARGUMENT");
    }
  }
}

VRAMPOOL_ATTACK(CallAttack, HugeNamesAndMetadata) {
  const v1::LeaseResponse lease = MustLease();
  v1::ShareRequest request = ShareOf(lease);
  request.set_name(std::string(256, 'n'));
  EXPECT_EQ(ReasonOf("Share", request), "BAD_ARGUMENT");
  request.set_name(std::string("a\0b", 3));
  EXPECT_EQ(ReasonOf("Share", request), "BAD_ARGUMENT");
  request.clear_name();
  request.set_metadata(std::string((64 << 10) + 1, 'm'));
  EXPECT_EQ(ReasonOf("Share", request), "LIMIT_REACHED");
  request.clear_metadata();
  for (int i = 0; i < 64; ++i) {
    *request.add_buffers() = request.buffers(0);
  }
  EXPECT_EQ(ReasonOf("Share", request), "LIMIT_REACHED");
  request.set_metadata(std::string(8 << 20, 'm'));  // Beyond any message.
  EXPECT_FALSE(channel().Call("Share", request).ok());
  v1::OpenRequest open;
  open.set_name(std::string(100000, 'n'));
  EXPECT_EQ(ReasonOf("Open", open), "BAD_ARGUMENT");
  EXPECT_EQ(Describe(channel().Call("Budget", v1::BudgetRequest())), "OK");
}

VRAMPOOL_ATTACK(CallAttack, MetadataOfATenantIsBounded) {
  const v1::LeaseResponse lease = MustLease();
  v1::ShareRequest request = ShareOf(lease);
  request.set_metadata(std::string(64 << 10, 'm'));
  Answer answer;
  int made = 0;
  for (; made < 2000 && answer.ok(); ++made) {
    answer = channel().Call("Share", request);
  }
  EXPECT_EQ(answer.reason, "LIMIT_REACHED");
  EXPECT_LE(made, 1025);  // 64 MiB of it.
}

VRAMPOOL_ATTACK(CallAttack, StaleAndMissingEpochs) {
  const v1::LeaseResponse lease = MustLease();
  for (const uint64_t epoch : {session_->epoch() - 1, session_->epoch() + 1}) {
    v1::ReturnRequest request;
    request.set_epoch(epoch);
    request.set_lease_id(lease.lease_id());
    request.set_mapping(v1::ReturnRequest::MAPPING_UNMAPPED);
    EXPECT_EQ(ReasonOf("Return", request), "STALE_EPOCH");
  }
  v1::ReturnRequest request;
  request.set_lease_id(lease.lease_id());
  request.set_mapping(v1::ReturnRequest::MAPPING_UNMAPPED);
  EXPECT_EQ(ReasonOf("Return", request), "BAD_ARGUMENT");
  request.set_epoch(session_->epoch());
  request.set_mapping(static_cast<v1::ReturnRequest::Mapping>(77));
  EXPECT_EQ(ReasonOf("Return", request), "BAD_ARGUMENT");
}

VRAMPOOL_ATTACK_ON_EVERY_DEVICE(CallAttack,
                                AReplayedKeyIsTheSameLeaseOrAConflict) {
  v1::LeaseRequest request;
  request.set_size_bytes(1 << 20);
  request.set_idempotency_key(std::string(16, 'r'));
  v1::LeaseResponse first;
  ASSERT_TRUE(channel().Call("Lease", request, first).ok());
  for (int i = 0; i < 10; ++i) {
    v1::LeaseResponse again;
    ASSERT_TRUE(channel().Call("Lease", request, again).ok());
    EXPECT_EQ(again.lease_id(), first.lease_id());
  }
  request.set_size_bytes(4 << 20);
  EXPECT_EQ(ReasonOf("Lease", request), "IDEMPOTENCY_CONFLICT");
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto now, status());
  EXPECT_EQ(now.leases(), 1u);
}

VRAMPOOL_ATTACK(CallAttack, BodiesThatAreNoMessages) {
  std::mt19937_64 random(4);
  for (int i = 0; i < 200; ++i) {
    std::string body(random() % 300, '\0');
    for (char& c : body) c = static_cast<char>(random());
    channel().CallBytes("/vrampool.v1.Broker/Lease", body);
    channel().CallBytes("/vrampool.v1.Broker/Share", body);
    channel().CallBytes("/vrampool.v1.Admin/SetQuota", body);
  }
  EXPECT_FALSE(channel().CallBytes("/vrampool.v1.Broker/Nothing", "").ok());
  EXPECT_FALSE(channel().CallBytes("/", "").ok());
  EXPECT_EQ(Describe(channel().Call("Budget", v1::BudgetRequest())), "OK");
}

VRAMPOOL_ATTACK_ON_EVERY_DEVICE(CallAttack, CallsCancelledMidwayLeaveTheQueue) {
  const v1::LeaseResponse all = MustLease(uint64_t{256} << 20);
  const auto other = Attach();
  ASSERT_NE(other, nullptr);
  for (int i = 0; i < 50; ++i) {
    v1::LeaseRequest request;
    request.set_size_bytes(1 << 20);
    request.set_wait_ms(200);
    request.set_idempotency_key(std::string(15, 'c') + static_cast<char>(i));
    other->channel().CallAndCancel("Lease", request);
  }
  EXPECT_TRUE(Eventually([&] {
    const auto now = status();
    return now.ok() && now->waiting() == 0;
  }));
  EXPECT_EQ(Describe(session_->Return(all.lease_id(),
                                      v1::ReturnRequest::MAPPING_UNMAPPED)),
            "OK");
  ExpectServesOthers();
}

VRAMPOOL_ATTACK(CallAttack, GarbageOnTheSocketItself) {
  std::mt19937_64 random(5);
  for (int i = 0; i < 60; ++i) {
    const UniqueFd socket = ConnectRaw();
    ASSERT_TRUE(socket.is_valid());
    std::string bytes(random() % 5000, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    if (i % 2 == 0) bytes = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes;
    // It may be thrown out halfway.
    (void)::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  ExpectServesOthers();
}

VRAMPOOL_ATTACK(CallAttack, HundredsOfSilentConnections) {
  std::vector<UniqueFd> silent;
  for (int i = 0; i < 500; ++i) silent.push_back(ConnectRaw());
  ExpectServesOthers();
  ExpectAliveAndSound();
}

VRAMPOOL_ATTACK_ON_EVERY_DEVICE(CallAttack, ManyThreadsOfCallsAtOnce) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 16; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 40; ++i) {
        v1::LeaseRequest request;
        request.set_size_bytes(uint64_t{1} << (20 + t % 4));
        request.set_wait_ms(1);
        request.set_idempotency_key(std::string(14, 't') +
                                    static_cast<char>(t % 8) +
                                    static_cast<char>(i));
        v1::LeaseResponse lease;
        if (!channel().Call("Lease", request, lease).ok()) continue;
        v1::ReturnRequest back;
        back.set_epoch(lease.epoch());
        back.set_lease_id(lease.lease_id());
        back.set_mapping(i % 2 == 0 ? v1::ReturnRequest::MAPPING_UNMAPPED
                                    : v1::ReturnRequest::MAPPING_STILL_MAPPED);
        channel().Call("Return", back);  // Another thread may have been first.
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ExpectServesOthers();
}

}  // namespace
}  // namespace vrampool::testing
