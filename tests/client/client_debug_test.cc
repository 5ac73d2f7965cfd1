// The debug mode through a whole client (debug_mode.h).

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "client/allocator/client.h"
#include "client/allocator/debug_place.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_daemon.h"
#include "tests/client/fake_streams.h"

namespace vrampool::client {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr uint64_t kMiB = uint64_t{1} << 20;

class ClientDebugTest : public ::testing::Test {
 protected:
  ClientDebugTest() {
    settings_.debug.is_on = true;
    settings_.tag = "batch";
  }
  ~ClientDebugTest() override {
    SetDebugPlace(nullptr);
    EXPECT_EQ(streams_->misuses(), 0u);
  }

  void Open(bool has_streams = false) {
    auto client = Client::Open(settings_, daemon_.Channels(),
                               has_streams ? streams_ : nullptr);
    ASSERT_TRUE(client.ok()) << client.status().message();
    client_ = *std::move(client);
  }
  Result<void*> Ask(uint64_t bytes, cudaStream_t stream = nullptr) {
    BlockRequest request;
    request.bytes = bytes;
    request.stream = stream;
    return client_->Allocate(request);
  }
  char* Take(uint64_t bytes, cudaStream_t stream = nullptr) {
    const Result<void*> p = Ask(bytes, stream);
    EXPECT_TRUE(p.ok()) << p.status().message();
    return p.ok() ? static_cast<char*>(*p) : nullptr;
  }
  Status Free(void* p, uint64_t bytes, cudaStream_t stream = nullptr) {
    return client_->Free(p, bytes, stream);
  }
  // What `act` makes the library write to stderr.
  static std::string Told(const std::function<void()>& act) {
    ::testing::internal::CaptureStderr();
    act();
    return ::testing::internal::GetCapturedStderr();
  }
  // That nothing was found, to the client's end.
  void ExpectQuiet() {
    EXPECT_EQ(Told([&] { client_.reset(); }), "");
  }
  void LimitTo(uint64_t bytes) {
    daemon_.Change([&](auto& ledger) { ledger.limit_bytes = bytes; });
  }

  // The object has ended, and all that was freed has left.
  void EndAndReclaim(ObjectId object) {
    daemon_.SendObjectEnded(object);
    daemon_.SendReclaim();
    EXPECT_TRUE(daemon_.Await([](auto& l) { return l.leases.empty(); }));
  }

  TemporaryDirectory directory_;
  FakeDaemon daemon_{directory_.path()};
  Settings settings_ = daemon_.MakeSettings();
  const std::shared_ptr<FakeStreams> streams_ = std::make_shared<FakeStreams>();
  const cudaStream_t s_ = streams_->Make();
  const cudaStream_t t_ = streams_->Make();
  std::unique_ptr<Client> client_;
};

TEST_F(ClientDebugTest, GoodUseIsQuiet) {
  Open();
  std::vector<char*> blocks;
  for (uint64_t bytes = 1; bytes < 8 * kMiB; bytes = bytes * 2 + 1) {
    blocks.push_back(Take(bytes));
    std::memset(blocks.back(), 1, bytes);
  }
  uint64_t bytes = 1;
  for (char* const p : blocks) {
    EXPECT_TRUE(Free(p, bytes).ok());
    bytes = bytes * 2 + 1;
  }
  EXPECT_EQ(client_->ReadUsage().totals.live_blocks, 0u);
  EXPECT_EQ(client_->ReadUsage().totals.live_bytes, 0u);
  EXPECT_THAT(daemon_.RecordStates(), Each(shm::BlockState::kFree));
  ExpectQuiet();
}

TEST_F(ClientDebugTest, ADoubleFreeNamesBothFreesAndTheAllocation) {
  Open();
  SetDebugPlace("first.py:1");
  char* const p = Take(1000);
  SetDebugPlace("second.py:2");
  ASSERT_TRUE(Free(p, 1000).ok());
  SetDebugPlace("third.py:3");
  Status refused;
  const std::string told = Told([&] { refused = Free(p, 1000); });
  EXPECT_EQ(refused.code(), VRAMPOOL_INVALID_ARGUMENT);
  const auto names_all =
      AllOf(HasSubstr("double free of the block of 1000 bytes"),
            HasSubstr("(tag batch)"), HasSubstr("third.py:3"),
            HasSubstr("second.py:2"), HasSubstr("first.py:1"),
            HasSubstr("thread " + std::to_string(::gettid())));
  EXPECT_THAT(refused.message(), names_all);
  EXPECT_THAT(told, names_all);
  ExpectQuiet();
}

TEST_F(ClientDebugTest, EachWrongFreeIsToldAndChangesNothing) {
  Open();
  char* const p = Take(1000);
  std::memset(p, 5, 1000);
  char own = 0;
  std::vector<std::string> errors;
  const std::string told = Told([&] {
    errors.push_back(Free(p, 999).message());
    errors.push_back(Free(p + 256, 744).message());
    errors.push_back(Free(&own, 1).message());
  });
  EXPECT_THAT(errors[0], HasSubstr("free with a wrong size: 999 bytes for the "
                                   "block of 1000 bytes"));
  EXPECT_THAT(errors[1], HasSubstr("256 bytes into the block of 1000 bytes"));
  EXPECT_THAT(errors[2], HasSubstr("free of a foreign pointer"));
  for (const std::string& error : errors) {
    EXPECT_THAT(told, HasSubstr(error.substr(0, error.find(';'))));
  }
  EXPECT_EQ(p[999], 5);
  EXPECT_TRUE(Free(p, 1000).ok());
  ExpectQuiet();
}

TEST_F(ClientDebugTest, AFreeThroughAnotherClientIsTold) {
  Open();
  TemporaryDirectory elsewhere;
  FakeDaemon daemon(elsewhere.path());
  Settings settings = daemon.MakeSettings();
  settings.debug.is_on = true;
  auto other = Client::Open(settings, daemon.Channels());
  ASSERT_TRUE(other.ok());
  char* const p = Take(1000);
  Status refused;
  EXPECT_THAT(Told([&] { refused = (*other)->Free(p, 1000); }),
              HasSubstr("free through the wrong client"));
  EXPECT_EQ(refused.code(), VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_TRUE(Free(p, 1000).ok());
}

TEST_F(ClientDebugTest, UsesOfFreedBlocksInOtherCallsAreTold) {
  Open(true);
  char* const p = Take(1000, s_);
  ASSERT_TRUE(Free(p, 1000, s_).ok());
  Client::ShareRequest share;
  share.buffers = {{p, 1000}};
  Status refused;
  EXPECT_THAT(Told([&] { refused = client_->Share(share).status(); }),
              AllOf(HasSubstr("share of freed memory"), HasSubstr("freed at"),
                    HasSubstr("allocated at")));
  EXPECT_EQ(refused.code(), VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_THAT(Told([&] { refused = client_->RecordStream(p, t_); }),
              HasSubstr("record_stream of freed memory"));
  EXPECT_EQ(refused.code(), VRAMPOOL_INVALID_ARGUMENT);
}

TEST_F(ClientDebugTest, AWritePastTheEndIsToldWithTheFree) {
  Open();
  SetDebugPlace("alloc.py:1");
  char* const p = Take(1000);
  p[1000] = 1;
  p[1003] = 1;
  SetDebugPlace("free.py:2");
  EXPECT_THAT(Told([&] { EXPECT_TRUE(Free(p, 1000).ok()); }),
              AllOf(HasSubstr("write past the end of the block of 1000 bytes"),
                    HasSubstr("2 bytes changed"),
                    HasSubstr("1000 bytes from its beginning"),
                    HasSubstr("free.py:2"), HasSubstr("alloc.py:1")));
  ExpectQuiet();  // Told once.
}

// Whatever the size is rounded up to.
TEST_F(ClientDebugTest, TheFirstByteBehindEverySizeIsWatched) {
  Open();
  for (const uint64_t bytes :
       {uint64_t{1}, uint64_t{256}, uint64_t{2048}, kMiB, kMiB + 1, 3 * kMiB}) {
    char* const p = Take(bytes);
    p[bytes] = 1;
    EXPECT_THAT(Told([&] { EXPECT_TRUE(Free(p, bytes).ok()); }),
                HasSubstr("write past the end"))
        << bytes;
  }
}

TEST_F(ClientDebugTest, AWriteAfterTheFreeIsToldWhenTheBlockLeaves) {
  Open();
  SetDebugPlace("alloc.py:1");
  char* const p = Take(1000);
  SetDebugPlace("free.py:2");
  ASSERT_TRUE(Free(p, 1000).ok());
  p[17] = 1;
  EXPECT_THAT(Told([&] { EXPECT_TRUE(client_->Trim().ok()); }),
              AllOf(HasSubstr("write after the free of the block"),
                    HasSubstr("1 byte changed"),
                    HasSubstr("17 bytes from its beginning"),
                    HasSubstr("free.py:2"), HasSubstr("alloc.py:1")));
}

TEST_F(ClientDebugTest, AtTheClientsEndWhatIsInQuarantineIsLookedAt) {
  Open();
  char* const p = Take(1000);
  ASSERT_TRUE(Free(p, 1000).ok());
  p[17] = 1;
  EXPECT_THAT(Told([&] { client_.reset(); }),
              HasSubstr("write after the free"));
}

TEST_F(ClientDebugTest, AFreedBlockIsNotReusedBeforeSoMuchWasFreedAfterIt) {
  settings_.debug.quarantine = MiB(4);
  Open();
  char* const p = Take(kMiB);
  ASSERT_TRUE(Free(p, kMiB).ok());
  uint64_t freed_after = 0;
  char* q = nullptr;
  while (q != p && freed_after < 64 * kMiB) {
    q = Take(kMiB);
    EXPECT_TRUE(q != p || freed_after >= 4 * kMiB);
    EXPECT_TRUE(Free(q, kMiB).ok());
    freed_after += kMiB;
  }
  EXPECT_EQ(q, p);
  EXPECT_LE(client_->ReadUsage().totals.leased_bytes, 16 * kMiB);
  ExpectQuiet();
}

TEST_F(ClientDebugTest, TheQuarantineGivesWayBeforeARequestFails) {
  LimitTo(8 * kMiB);
  Open();
  for (int i = 0; i < 20; ++i) {
    char* const p = Take(6 * kMiB);
    ASSERT_NE(p, nullptr);
    std::memset(p, i, 6 * kMiB);
    ASSERT_TRUE(Free(p, 6 * kMiB).ok());
  }
  EXPECT_EQ(Ask(16 * kMiB).status().code(), VRAMPOOL_OVER_QUOTA);
  ExpectQuiet();
}

TEST_F(ClientDebugTest, TheQuarantineGivesWayWhenTheDaemonWantsMemory) {
  settings_.idle_ms = 3600 * 1000;
  Open();
  char* const p = Take(4 * kMiB);
  ASSERT_TRUE(Free(p, 4 * kMiB).ok());
  EXPECT_EQ(daemon_.ledger().leases.size(), 1u);
  EXPECT_GE(client_->ReadUsage().pending_bytes, 4 * kMiB);
  daemon_.SendReclaim();
  EXPECT_TRUE(daemon_.Await([](auto& l) { return l.leases.empty(); }));
  ExpectQuiet();
}

TEST_F(ClientDebugTest, QuarantineAndDaemonThatIsAwayGoTogether) {
  auto daemon = std::make_unique<FakeDaemon>(directory_.path() + "/two");
  settings_ = daemon->MakeSettings();
  settings_.debug.is_on = true;
  auto client = Client::Open(settings_, daemon->Channels());
  ASSERT_TRUE(client.ok()) << client.status().message();
  client_ = *std::move(client);
  char* const p = Take(kMiB);
  ASSERT_TRUE(Free(p, kMiB).ok());
  const uint64_t leased = client_->ReadUsage().totals.leased_bytes;
  daemon.reset();
  // Only what is in quarantine can serve it.
  EXPECT_EQ(Take(leased - 4096), p);
  ASSERT_TRUE(Free(p, leased - 4096).ok());
  ExpectQuiet();
}

TEST_F(ClientDebugTest, ASharedBlockIsUntouchedWhileItsObjectLives) {
  Open();
  char* const p = Take(1000);
  std::memset(p, 5, 1000);
  Client::ShareRequest share;
  share.buffers = {{p, 1000}};
  auto object = client_->Share(share);
  ASSERT_TRUE(object.ok()) << object.status().message();
  const ObjectId id = (*object)->token.object;
  ASSERT_TRUE(Free(p, 1000).ok());
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(p[i], 5);
  EXPECT_THAT(Told([&] { (void)Free(p, 1000); }), HasSubstr("double free"));
  p[3] = 6;  // Others may write to it, too.
  client_->Close(*std::move(object));
  EXPECT_EQ(Told([&] { EndAndReclaim(id); }), "");
  EXPECT_EQ(client_->ReadUsage().totals.live_blocks, 0u);
}

TEST_F(ClientDebugTest, AWritePastTheEndOfASharedBlockIsToldLater) {
  Open();
  char* const p = Take(1000);
  Client::ShareRequest share;
  share.buffers = {{p, 1000}};
  auto object = client_->Share(share);
  ASSERT_TRUE(object.ok()) << object.status().message();
  const ObjectId id = (*object)->token.object;
  p[1000] = 1;
  EXPECT_EQ(Told([&] { ASSERT_TRUE(Free(p, 1000).ok()); }), "");
  client_->Close(*std::move(object));
  EXPECT_THAT(Told([&] { EndAndReclaim(id); }),
              HasSubstr("write past the end"));
}

// Leaving the quarantine changes nothing about whose the memory is: another
// stream gets it only behind the work before the free.
TEST_F(ClientDebugTest, BlocksThatLeaveAreInTheOrderOfTheirStreams) {
  settings_.debug.quarantine = Bytes();
  LimitTo(8 * kMiB);
  Open(true);
  char* const p = Take(4 * kMiB, s_);
  const auto work = streams_->Enqueue(s_);
  ASSERT_TRUE(Free(p, 4 * kMiB, s_).ok());
  EXPECT_EQ(Take(4 * kMiB, s_), p);  // Its own, at once.
  ASSERT_TRUE(Free(p, 4 * kMiB, s_).ok());
  char* const q = Take(4 * kMiB, t_);
  EXPECT_EQ(q, p);
  EXPECT_TRUE(streams_->IsOrderedAfter(t_, work));
}

TEST_F(ClientDebugTest, ABlockInQuarantineWaitsForOtherStreamsToo) {
  LimitTo(4 * kMiB);
  Open(true);
  char* const p = Take(3 * kMiB, s_);
  ASSERT_TRUE(client_->RecordStream(p, t_).ok());
  const auto work = streams_->Enqueue(t_);
  ASSERT_TRUE(Free(p, 3 * kMiB, s_).ok());
  EXPECT_EQ(Ask(3 * kMiB, s_).status().code(), VRAMPOOL_OVER_QUOTA);
  streams_->FinishUpTo(work);
  EXPECT_EQ(Take(3 * kMiB, s_), p);
}

// The work is done while it lies in quarantine: it stays there.
TEST_F(ClientDebugTest, OtherStreamsEndsDoNotShortenTheQuarantine) {
  Open(true);
  char* const p = Take(kMiB, s_);
  ASSERT_TRUE(client_->RecordStream(p, t_).ok());
  const auto work = streams_->Enqueue(t_);
  ASSERT_TRUE(Free(p, kMiB, s_).ok());
  streams_->FinishUpTo(work);
  for (int i = 0; i < 8; ++i) {
    char* const q = Take(kMiB, s_);
    EXPECT_NE(q, p);
    ASSERT_TRUE(Free(q, kMiB, s_).ok());
  }
  EXPECT_TRUE(client_->Quiesce().ok());
  EXPECT_EQ(client_->ReadUsage().totals.leased_bytes, 0u);
}

TEST_F(ClientDebugTest, NothingIsDoneOnAStreamThatCaptures) {
  Open(true);
  ASSERT_TRUE(client_->BeginCapture(s_).ok());
  streams_->BeginCapture(s_);
  char* const p = Take(1000, s_);
  ASSERT_TRUE(Free(p, 1000, s_).ok());
  ASSERT_TRUE(client_->Trim().ok());
  char* const q = Take(1000, t_);
  EXPECT_NE(q, p);
  streams_->EndCapture(s_);
  ASSERT_TRUE(client_->EndCapture(s_, nullptr).ok());
  ASSERT_TRUE(Free(q, 1000, t_).ok());
}

// The client has threads.
class ClientDebugDeathTest : public ClientDebugTest {
 protected:
  ClientDebugDeathTest() {
    ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  }
};

TEST_F(ClientDebugDeathTest, AbortEndsTheProcessAfterTheReport) {
  settings_.debug.aborts = true;
  Open();
  char* const p = Take(1000);
  ASSERT_TRUE(Free(p, 1000).ok());
  EXPECT_DEATH((void)Free(p, 1000), "double free of the block of 1000 bytes");
}

TEST_F(ClientDebugDeathTest, ProtectedMemoryFaultsAtTheInstruction) {
  settings_.debug.protects = true;
  Open();
  char* const p = Take(64 << 10);
  ASSERT_TRUE(Free(p, 64 << 10).ok());
  EXPECT_DEATH(p[8192] = 1, "");
  // All that there is: the quarantine gives way.
  const uint64_t leased = client_->ReadUsage().totals.leased_bytes;
  LimitTo(leased);
  EXPECT_EQ(Take(leased - 4096), p);
  std::memset(p, 1, leased - 4096);
  ASSERT_TRUE(Free(p, leased - 4096).ok());
  ExpectQuiet();
}

}  // namespace
}  // namespace vrampool::client
