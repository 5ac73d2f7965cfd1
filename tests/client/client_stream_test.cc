// The order of streams through a whole client: memory of a fake daemon, streams
// of a fake clock.

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <thread>
#include <vector>

#include "client/allocator/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_daemon.h"
#include "tests/client/fake_streams.h"

namespace vrampool::client {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

cuda::Graph Graph(uintptr_t number) {
  return reinterpret_cast<cuda::Graph>(number * 16);
}

class ClientStreamTest : public ::testing::Test {
 protected:
  // The client is closed before: then no event is left.
  ~ClientStreamTest() override {
    EXPECT_EQ(streams_->misuses(), 0u);
    EXPECT_EQ(streams_->living_events(), 0u);
  }

  std::unique_ptr<Client> Open() {
    auto client =
        Client::Open(daemon_.MakeSettings(), daemon_.Channels(), streams_);
    EXPECT_TRUE(client.ok()) << client.status().message();
    return *std::move(client);
  }

  Result<void*> Ask(Client& client, uint64_t bytes, cudaStream_t stream) {
    BlockRequest request;
    request.bytes = bytes;
    request.stream = stream;
    return client.Allocate(request);
  }
  void* Take(Client& client, uint64_t bytes, cudaStream_t stream) {
    const Result<void*> p = Ask(client, bytes, stream);
    EXPECT_TRUE(p.ok()) << p.status().message();
    return p.ok() ? *p : nullptr;
  }
  Result<void*> AskCarefully(Client& client, uint64_t bytes,
                             cudaStream_t stream) {
    BlockRequest request;
    request.bytes = bytes;
    request.stream = stream;
    request.is_careful = true;
    return client.Allocate(request);
  }
  // The device is full, and what was freed on `s_` is in reach only for an
  // event of all streams.
  void FillWithUncovered(Client& client) {
    LimitTo(4 * kMiB);
    void* const p = Take(client, 4 * kMiB, s_);
    streams_->FailRecording(true);
    EXPECT_TRUE(client.Free(p, 4 * kMiB, s_).ok());
    streams_->FailRecording(false);
  }
  static bool Eventually(const std::function<bool()>& is_true) {
    const auto limit =
        std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!is_true() && std::chrono::steady_clock::now() < limit) {
      std::this_thread::yield();
    }
    return is_true();
  }
  void LimitTo(uint64_t bytes) {
    daemon_.Change([&](auto& ledger) { ledger.limit_bytes = bytes; });
  }

  TemporaryDirectory directory_;
  FakeDaemon daemon_{directory_.path()};
  const std::shared_ptr<FakeStreams> streams_ = std::make_shared<FakeStreams>();
  const cudaStream_t s_ = streams_->Make();
  const cudaStream_t t_ = streams_->Make();
};

TEST_F(ClientStreamTest, GrowingComesBeforeMakingAStreamWait) {
  const auto client = Open();
  void* const p = Take(*client, 4 * kMiB, s_);
  streams_->Enqueue(s_);
  ASSERT_TRUE(client->Free(p, 4 * kMiB, s_).ok());
  EXPECT_NE(Take(*client, 4 * kMiB, t_), p);
  EXPECT_EQ(streams_->waits(), 0u);
  EXPECT_EQ(Take(*client, 4 * kMiB, s_), p);
}

TEST_F(ClientStreamTest, DoneMemoryIsFoundBeforeGrowing) {
  const auto client = Open();
  void* const p = Take(*client, 4 * kMiB, s_);
  streams_->Enqueue(s_);
  ASSERT_TRUE(client->Free(p, 4 * kMiB, s_).ok());
  streams_->FinishAll();
  EXPECT_EQ(Take(*client, 4 * kMiB, t_), p);
  EXPECT_EQ(daemon_.ledger().lease_sizes.size(), 1u);
}

TEST_F(ClientStreamTest, StreamWaitsOnTheGpuBeforeARequestFails) {
  const auto client = Open();
  LimitTo(4 * kMiB);
  void* const p = Take(*client, 4 * kMiB, s_);
  const auto work = streams_->Enqueue(s_);
  ASSERT_TRUE(client->Free(p, 4 * kMiB, s_).ok());
  streams_->Destroy(s_);
  EXPECT_EQ(Take(*client, 4 * kMiB, t_), p);
  EXPECT_TRUE(streams_->IsOrderedAfter(t_, work));
  EXPECT_EQ(client->ReadUsage().totals.live_blocks, 1u);
}

TEST_F(ClientStreamTest, MemoryOfOtherStreamsIsUsedWhileTheDaemonIsAway) {
  const auto client = Open();
  void* const p = Take(*client, 4 * kMiB, s_);
  const auto work = streams_->Enqueue(s_);
  ASSERT_TRUE(client->Free(p, 4 * kMiB, s_).ok());
  daemon_.SendFarewell(attach::FarewellCode::kStopping, "bye");
  while (client->session()->is_live()) std::this_thread::yield();
  EXPECT_EQ(Take(*client, 4 * kMiB, t_), p);
  EXPECT_TRUE(streams_->IsOrderedAfter(t_, work));
}

TEST_F(ClientStreamTest, NoSlabLeavesWhileWorkMayTouchIt) {
  const auto client = Open();
  void* const p = Take(*client, 4 * kMiB, s_);
  streams_->Enqueue(s_);
  ASSERT_TRUE(client->Free(p, 4 * kMiB, s_).ok());
  ASSERT_TRUE(client->Trim().ok());
  EXPECT_EQ(daemon_.ledger().leases.size(), 1u);
  streams_->FinishAll();
  ASSERT_TRUE(client->Trim().ok());
  EXPECT_TRUE(daemon_.ledger().leases.empty());
}

TEST_F(ClientStreamTest, IdleSlabsLeaveByThemselvesWhenTheirWorkIsDone) {
  Settings settings = daemon_.MakeSettings();
  settings.idle_ms = 1;
  auto opened = Client::Open(settings, daemon_.Channels(), streams_);
  ASSERT_TRUE(opened.ok());
  const auto client = *std::move(opened);
  void* const a = Take(*client, 4 * kMiB, s_);
  void* const b = Take(*client, 4 * kMiB, s_);
  streams_->Enqueue(s_);
  ASSERT_TRUE(client->Free(a, 4 * kMiB, s_).ok());
  ASSERT_TRUE(client->Free(b, 4 * kMiB, s_).ok());
  EXPECT_EQ(daemon_.ledger().leases.size(), 2u);
  streams_->FinishAll();
  EXPECT_TRUE(daemon_.Await([](auto& l) { return l.leases.empty(); }));
}

TEST_F(ClientStreamTest, QuiesceWaitsForTheGpuAndReturnsEverything) {
  const auto client = Open();
  void* const p = Take(*client, 4 * kMiB, s_);
  streams_->Enqueue(s_);
  streams_->FailRecording(true);
  ASSERT_TRUE(client->Free(p, 4 * kMiB, s_).ok());
  ASSERT_TRUE(client->Quiesce().ok());
  EXPECT_TRUE(daemon_.ledger().leases.empty());
}

TEST_F(ClientStreamTest, WrongStreamChangesNothing) {
  const auto client = Open();
  void* const p = Take(*client, kMiB, s_);
  const auto nowhere = reinterpret_cast<cudaStream_t>(uintptr_t{7});
  EXPECT_EQ(client->Free(p, kMiB, nowhere).code(), VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(Ask(*client, kMiB, nowhere).status().code(),
            VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(client->ReadUsage().totals.live_blocks, 1u);
  EXPECT_TRUE(client->Free(p, kMiB, s_).ok());
}

TEST_F(ClientStreamTest, StreamIsRecordedInTheManifest) {
  const auto client = Open();
  (void)Take(*client, kMiB, t_);
  const auto layout = shm::LayoutFor(FakeDaemon::kRecords);
  const auto* const record =
      daemon_.InManifest<shm::BlockRecord>(layout.records_offset);
  EXPECT_EQ(record->stream, streams_->Identify(t_)->id);
}

TEST_F(ClientStreamTest, GraphKeepsItsMemoryUntilItHasEnded) {
  const auto client = Open();
  LimitTo(4 * kMiB);
  ASSERT_TRUE(client->BeginCapture(s_).ok());
  streams_->BeginCapture(s_);
  void* const p = Take(*client, 4 * kMiB, s_);
  ASSERT_TRUE(client->Free(p, 4 * kMiB, s_).ok());
  EXPECT_EQ(client->EndCapture(s_, Graph(1)).code(), VRAMPOOL_INVALID_ARGUMENT);
  streams_->EndCapture(s_);
  ASSERT_TRUE(client->EndCapture(s_, Graph(1)).ok());
  streams_->FinishAll();
  EXPECT_EQ(Ask(*client, kMiB, s_).status().code(), VRAMPOOL_OVER_QUOTA);
  EXPECT_EQ(Ask(*client, kMiB, t_).status().code(), VRAMPOOL_OVER_QUOTA);
  streams_->EndGraph(Graph(1));
  EXPECT_EQ(Take(*client, 4 * kMiB, t_), p);
}

TEST_F(ClientStreamTest, SlabOfAnEndedGraphLeavesByItself) {
  Settings settings = daemon_.MakeSettings();
  settings.idle_ms = 1;
  auto opened = Client::Open(settings, daemon_.Channels(), streams_);
  ASSERT_TRUE(opened.ok());
  const auto client = *std::move(opened);
  ASSERT_TRUE(client->BeginCapture(s_).ok());
  void* const a = Take(*client, 4 * kMiB, s_);
  void* const b = Take(*client, 4 * kMiB, s_);
  ASSERT_TRUE(client->Free(a, 4 * kMiB, s_).ok());
  ASSERT_TRUE(client->Free(b, 4 * kMiB, s_).ok());
  ASSERT_TRUE(client->EndCapture(s_, Graph(1)).ok());
  streams_->EndGraph(Graph(1));
  EXPECT_TRUE(daemon_.Await([](auto& l) { return l.leases.empty(); }));
}

TEST_F(ClientStreamTest, DiscardedCaptureKeepsNothing) {
  const auto client = Open();
  LimitTo(4 * kMiB);
  ASSERT_TRUE(client->BeginCapture(s_).ok());
  EXPECT_EQ(client->BeginCapture(s_).code(), VRAMPOOL_INVALID_ARGUMENT);
  void* const p = Take(*client, 4 * kMiB, s_);
  ASSERT_TRUE(client->Free(p, 4 * kMiB, s_).ok());
  ASSERT_TRUE(client->EndCapture(s_, nullptr).ok());
  EXPECT_EQ(client->EndCapture(s_, nullptr).code(), VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(Take(*client, 4 * kMiB, t_), p);
}

TEST_F(ClientStreamTest, UncoveredMemoryIsHadByAnEventOfAllStreams) {
  const auto client = Open();
  FillWithUncovered(*client);
  (void)Take(*client, 4 * kMiB, t_);
  EXPECT_EQ(streams_->records_of_all(), 1u);
}

TEST_F(ClientStreamTest, AnUnannouncedCaptureThatAsksIsNotSpoilt) {
  const auto client = Open();
  FillWithUncovered(*client);
  streams_->BeginCapture(t_);
  EXPECT_EQ(AskCarefully(*client, kMiB, t_).status().code(),
            VRAMPOOL_OVER_QUOTA);
  EXPECT_EQ(streams_->records_of_all(), 0u);
}

// By other streams, by other clients, by giving back: once somebody has asked
// to be careful, any stream may be capturing at any time.
TEST_F(ClientStreamTest, NothingSpoilsUnannouncedCapturesOnceOneMayCome) {
  const auto client = Open();
  const auto other = Open();
  FillWithUncovered(*client);
  EXPECT_FALSE(AskCarefully(*other, 8 * kMiB, t_).ok());
  streams_->BeginCapture(t_);
  const cudaStream_t third = streams_->Make();
  EXPECT_EQ(Ask(*client, kMiB, third).status().code(), VRAMPOOL_OVER_QUOTA);
  EXPECT_TRUE(client->Trim().ok());
  EXPECT_EQ(streams_->records_of_all(), 0u);
}

TEST_F(ClientStreamTest, NothingSpoilsCapturesThatAreToBeDetected) {
  Settings settings = daemon_.MakeSettings();
  settings.detects_captures = true;
  const auto client = Client::Open(settings, daemon_.Channels(), streams_);
  ASSERT_TRUE(client.ok());
  FillWithUncovered(**client);
  streams_->BeginCapture(t_);
  EXPECT_TRUE((*client)->Trim().ok());
  EXPECT_EQ(streams_->records_of_all(), 0u);
}

TEST_F(ClientStreamTest, AnAnnouncedCaptureIsNotSpoiltByAnyClientOfTheGpu) {
  const auto client = Open();
  const auto other = Open();
  FillWithUncovered(*client);
  ASSERT_TRUE(other->BeginCapture(t_).ok());
  streams_->BeginCapture(t_);
  const cudaStream_t third = streams_->Make();
  EXPECT_EQ(Ask(*client, kMiB, third).status().code(), VRAMPOOL_OVER_QUOTA);
  EXPECT_EQ(streams_->records_of_all(), 0u);
  streams_->EndCapture(t_);
  ASSERT_TRUE(other->EndCapture(t_, nullptr).ok());
  (void)Take(*client, kMiB, third);
  EXPECT_EQ(streams_->records_of_all(), 1u);
}

TEST_F(ClientStreamTest, ACaptureBeginsOnlyWhenNothingWouldSpoilIt) {
  const auto client = Open();
  FillWithUncovered(*client);
  std::promise<void> begun;
  std::future<void> has_begun = begun.get_future();
  std::thread capturing;
  streams_->OnRecordAll([&] {
    capturing = std::thread([&] {
      EXPECT_TRUE(client->BeginCapture(t_).ok());
      streams_->BeginCapture(t_);
      begun.set_value();
    });
    while (!streams_->captures().is_any_announced()) std::this_thread::yield();
    EXPECT_EQ(has_begun.wait_for(std::chrono::milliseconds(50)),
              std::future_status::timeout);
  });
  (void)Take(*client, 4 * kMiB, streams_->Make());
  has_begun.wait();
  capturing.join();
  EXPECT_EQ(streams_->records_of_all(), 1u);
  streams_->EndCapture(t_);
  EXPECT_TRUE(client->EndCapture(t_, nullptr).ok());
}

TEST_F(ClientStreamTest, OneEndEndsWhatWasAnnouncedTwice) {
  const auto client = Open();
  ASSERT_TRUE(client->BeginCapture(s_).ok());
  EXPECT_EQ(client->BeginCapture(s_).code(), VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_TRUE(streams_->captures().is_any_announced());
  ASSERT_TRUE(client->EndCapture(s_, nullptr).ok());
  EXPECT_FALSE(streams_->captures().is_any_announced());
}

// What was freed in it has no work that an event could tell about.
TEST_F(ClientStreamTest, AFreeInAnUnannouncedCaptureAsksForNoEvent) {
  const auto client = Open();
  streams_->BeginCapture(t_);
  const Result<void*> p = AskCarefully(*client, kMiB, t_);
  ASSERT_TRUE(p.ok());
  EXPECT_TRUE(client->Free(*p, kMiB, t_, true).ok());
  EXPECT_TRUE(client->Trim().ok());
  EXPECT_EQ(streams_->records_of_all(), 0u);
}

// Only the graph's end can make the slab idle: nothing is asked till then.
TEST_F(ClientStreamTest, ALivingGraphKeepsNobodyAwake) {
  const auto client = Open();
  ASSERT_TRUE(client->BeginCapture(s_).ok());
  void* const p = Take(*client, 4 * kMiB, s_);
  ASSERT_TRUE(client->Free(p, 4 * kMiB, s_).ok());
  streams_->Enqueue(s_);
  ASSERT_TRUE(client->EndCapture(s_, Graph(1)).ok());
  const uint64_t before = streams_->questions();
  std::promise<void> never;
  (void)never.get_future().wait_for(std::chrono::milliseconds(200));
  EXPECT_LE(streams_->questions(), before + 2);  // Every 20 ms, if at all.
  streams_->EndGraph(Graph(1));
  EXPECT_TRUE(Eventually([&] { return streams_->questions() > before + 2; }));
}

TEST_F(ClientStreamTest, AFarTimerDoesNotKeepTheGpuFromBeingAsked) {
  const auto client = Open();  // What is idle is so for an hour.
  void* const a = Take(*client, 4 * kMiB, s_);
  void* const b = Take(*client, 4 * kMiB, t_);
  ASSERT_TRUE(client->Free(a, 4 * kMiB, s_).ok());
  EXPECT_TRUE(Eventually([&] { return streams_->questions() > 0; }));
  streams_->Enqueue(t_);
  const uint64_t before = streams_->questions();
  ASSERT_TRUE(client->Free(b, 4 * kMiB, t_).ok());
  EXPECT_TRUE(Eventually([&] { return streams_->questions() > before; }));
}

// Who unwinds from a capture that failed gives back what it had.
TEST_F(ClientStreamTest, ASpoiltCaptureGetsNothingButCanGiveBack) {
  const auto client = Open();
  void* const p = Take(*client, kMiB, s_);
  streams_->BeginCapture(s_);
  streams_->Spoil(s_);
  EXPECT_EQ(AskCarefully(*client, kMiB, s_).status().code(),
            VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_TRUE(client->Free(p, kMiB, s_, true).ok());
  EXPECT_EQ(client->ReadUsage().totals.live_blocks, 0u);
}

TEST_F(ClientStreamTest, GraphMayOutliveItsClient) {
  auto client = Open();
  ASSERT_TRUE(client->BeginCapture(s_).ok());
  ASSERT_TRUE(client->EndCapture(s_, Graph(1)).ok());
  client.reset();
  streams_->EndGraph(Graph(1));
}

TEST_F(ClientStreamTest, ABlockThatAnotherStreamUsesComesBackWhenItHasDone) {
  const auto client = Open();
  LimitTo(4 * kMiB);
  void* const p = Take(*client, 4 * kMiB, s_);
  ASSERT_TRUE(client->RecordStream(p, t_).ok());
  const auto work = streams_->Enqueue(t_);
  ASSERT_TRUE(client->Free(p, 4 * kMiB, s_).ok());
  EXPECT_EQ(client->ReadUsage().totals.live_blocks, 0u);
  EXPECT_THAT(daemon_.RecordStates(), ::testing::Each(shm::BlockState::kFree));
  EXPECT_EQ(client->Free(p, 4 * kMiB, s_).code(), VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(Ask(*client, kMiB, s_).status().code(), VRAMPOOL_OVER_QUOTA);
  EXPECT_EQ(streams_->waits(), 0u);
  streams_->FinishUpTo(work);
  EXPECT_EQ(Take(*client, 4 * kMiB, s_), p);
  ASSERT_TRUE(client->Free(p, 4 * kMiB, s_).ok());
}

// The daemon's wish, too, is granted as soon as the work is done.
TEST_F(ClientStreamTest, TheSlabOfSuchABlockLeavesByItself) {
  Settings settings = daemon_.MakeSettings();
  settings.idle_ms = 1;
  auto client = Client::Open(settings, daemon_.Channels(), streams_);
  ASSERT_TRUE(client.ok());
  void* const p = Take(**client, 4 * kMiB, s_);
  ASSERT_TRUE((*client)->RecordStream(p, t_).ok());
  streams_->Enqueue(t_);
  ASSERT_TRUE((*client)->Free(p, 4 * kMiB, s_).ok());
  EXPECT_EQ(daemon_.ledger().leases.size(), 1u);
  streams_->FinishAll();
  EXPECT_TRUE(daemon_.Await([](auto& l) { return l.leases.empty(); }));
}

TEST_F(ClientStreamTest, OnlyLiveBlocksAndStreamsAreRecorded) {
  const auto client = Open();
  char* const p = static_cast<char*>(Take(*client, kMiB, s_));
  EXPECT_EQ(client->RecordStream(p + 256, t_).code(),
            VRAMPOOL_INVALID_ARGUMENT);
  const auto nowhere = reinterpret_cast<cudaStream_t>(uintptr_t{7});
  EXPECT_EQ(client->RecordStream(p, nowhere).code(), VRAMPOOL_INVALID_ARGUMENT);
  ASSERT_TRUE(client->Free(p, kMiB, s_).ok());
  EXPECT_EQ(client->RecordStream(p, t_).code(), VRAMPOOL_INVALID_ARGUMENT);
}

// As PyTorch's hook does it, who announces no captures: the fixture counts as
// misuse what would spoil one.
TEST_F(ClientStreamTest, AStreamThatCapturesUnannouncedIsRecordedWithCare) {
  const auto client = Open();
  void* const p = Take(*client, kMiB, s_);
  streams_->BeginCapture(t_);
  EXPECT_TRUE(client->RecordStream(p, t_, true).ok());
  streams_->EndCapture(t_);
  EXPECT_TRUE(client->Free(p, kMiB, s_, true).ok());
  EXPECT_EQ(client->ReadUsage().totals.live_blocks, 0u);
}

TEST_F(ClientStreamTest, ManyThreadsOnManyStreamsKeepEveryRule) {
  const auto client = Open();
  LimitTo(16 * kMiB);
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const cudaStream_t stream = t % 2 == 0 ? s_ : streams_->Make();
      for (int i = 0; i < 200; ++i) {
        const auto bytes = static_cast<uint64_t>(1 + (i * 7919 + t) % 900000);
        const Result<void*> p = Ask(*client, bytes, stream);
        streams_->Enqueue(stream);
        if (!p.ok() || !client->Free(*p, bytes, stream).ok()) ++failures;
        if (i % 32 == 0) streams_->FinishAll();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures.load(), 0);
  EXPECT_EQ(client->ReadUsage().totals.live_blocks, 0u);
  ASSERT_TRUE(client->Quiesce().ok());
  EXPECT_EQ(client->ReadUsage().totals.leased_bytes, 0u);
}

}  // namespace
}  // namespace vrampool::client
