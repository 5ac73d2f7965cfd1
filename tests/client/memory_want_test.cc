// What happens when the process's own memory ends in the middle of a call: it
// throws std::bad_alloc and nothing has changed, or it has done its work.
//
// Each call is made again and again, and fails at its first request for memory,
// at its second, and so on until it needs no more. Blocks that get lost on the
// way would keep their slab.

#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "client/allocator/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_daemon.h"
#include "tests/client/fake_streams.h"

namespace {

// So many requests of this thread are served; then none, or all but one.
constinit thread_local int64_t served_ = -1;  // -1: all.
constinit thread_local bool is_once_ = false;
constinit thread_local bool has_failed_ = false;

}  // namespace

// Not inlined: the compiler would take new and free() for a mismatch.
__attribute__((noinline)) void* operator new(std::size_t size) {
  if (served_ == 0) {
    has_failed_ = true;
    if (is_once_) served_ = -1;
    throw std::bad_alloc();
  }
  if (served_ > 0) --served_;
  void* const p = std::malloc(size);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}
__attribute__((noinline)) void operator delete(void* p) noexcept {
  std::free(p);
}
__attribute__((noinline)) void operator delete(void* p, std::size_t) noexcept {
  std::free(p);
}

namespace vrampool::client {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kLargeBytes = 3 * kMiB / 2;

// True if `call` threw: memory ended before it was done. `*has_more`: it wanted
// more than it got.
bool Starve(int64_t served, bool is_once, const std::function<void()>& call,
            bool& has_more) {
  has_failed_ = false;
  is_once_ = is_once;
  served_ = served;
  bool has_thrown = false;
  try {
    call();
  } catch (const std::bad_alloc&) {
    has_thrown = true;
  }
  served_ = -1;
  has_more = has_failed_;
  return has_thrown;
}

// The daemon has memory of its own.
class Fed {
 public:
  Fed() : before_(std::exchange(served_, -1)) {}
  ~Fed() { served_ = before_; }
  Fed(const Fed&) = delete;
  Fed& operator=(const Fed&) = delete;

 private:
  const int64_t before_;
};

class FedChannel final : public ControlChannel {
 public:
  explicit FedChannel(std::unique_ptr<ControlChannel> channel)
      : channel_(std::move(channel)) {}
  CallOutcome Lease(const LeaseCall& call, LeaseReply& reply) override {
    const Fed fed;
    return channel_->Lease(call, reply);
  }
  CallOutcome Return(const ReturnCall& call) override {
    const Fed fed;
    return channel_->Return(call);
  }
  CallOutcome ReportUnmapped(Epoch epoch, const SlabId* slabs, size_t count,
                             uint32_t& kept) override {
    const Fed fed;
    return channel_->ReportUnmapped(epoch, slabs, count, kept);
  }
  // Not needed here.
  CallOutcome Share(const ShareCall&, ShareReply&) override { return None(); }
  CallOutcome Ready(const ObjectCall&, ReadyOutcome) override { return None(); }
  CallOutcome Open(const OpenCall&, OpenReply&) override { return None(); }
  CallOutcome Close(const ObjectCall&) override { return None(); }
  CallOutcome Unlink(const Text&) override { return None(); }
  CallOutcome Wait(const WaitCall&) override { return None(); }
  CallOutcome Budget(BudgetReply&) override { return None(); }
  CallOutcome Reserve(const ReserveCall&, ReserveReply&) override {
    return None();
  }
  CallOutcome ReleaseReservation(const ReserveReply&) override {
    return None();
  }

 private:
  static CallOutcome None() { return {.code = CallCode::kUnimplemented}; }

  const std::unique_ptr<ControlChannel> channel_;
};

class MemoryWantTest : public ::testing::TestWithParam<bool> {
 protected:
  static constexpr int64_t kMost = 200;  // No call wants more.

  // Each time on a client of its own; afterwards everything can be given back.
  void ForEachWant(
      const std::function<void(Client&, int64_t served, bool& has_more)>& run) {
    bool has_more = true;
    for (int64_t served = 0; has_more; ++served) {
      ASSERT_LT(served, kMost);
      auto client = Client::Open(daemon_.MakeSettings(), Channels(), streams_);
      ASSERT_TRUE(client.ok()) << client.status().message();
      run(**client, served, has_more);
      EXPECT_EQ((*client)->ReadUsage().totals.live_blocks, 0u) << served;
      ASSERT_TRUE((*client)->Quiesce().ok());
      EXPECT_TRUE(daemon_.ledger().leases.empty()) << served;
      client->reset();
      EXPECT_EQ(streams_->misuses(), 0u);
      EXPECT_EQ(streams_->living_events(), 0u) << served;
    }
  }
  ChannelFactory Channels() {
    return
        [inner = daemon_.Channels()](
            const std::string& path,
            const uint8_t* token) -> Result<std::unique_ptr<ControlChannel>> {
          auto channel = inner(path, token);
          if (!channel.ok()) return channel;
          return std::unique_ptr<ControlChannel>(
              new FedChannel(*std::move(channel)));
        };
  }
  static Result<void*> Ask(Client& client, uint64_t bytes,
                           cudaStream_t stream) {
    BlockRequest request;
    request.bytes = bytes;
    request.stream = stream;
    return client.Allocate(request);
  }
  static void* Take(Client& client, uint64_t bytes, cudaStream_t stream) {
    const Result<void*> p = Ask(client, bytes, stream);
    EXPECT_TRUE(p.ok()) << p.status().message();
    return p.ok() ? *p : nullptr;
  }
  static void Give(Client& client, void* p, uint64_t bytes,
                   cudaStream_t stream) {
    EXPECT_TRUE(client.Free(p, bytes, stream).ok());
  }

  TemporaryDirectory directory_;
  FakeDaemon daemon_{directory_.path()};
  const std::shared_ptr<FakeStreams> streams_ = std::make_shared<FakeStreams>();
  const cudaStream_t s_ = streams_->Make();
  const cudaStream_t t_ = streams_->Make();
};
INSTANTIATE_TEST_SUITE_P(Modes, MemoryWantTest, ::testing::Bool(),
                         [](const auto& tested) {
                           return tested.param ? "OnceFails" : "AllFail";
                         });

TEST_P(MemoryWantTest, AnAllocationIsHadWholeOrNotAtAll) {
  int thrown = 0;
  ForEachWant([&](Client& client, int64_t served, bool& has_more) {
    void* const first = Take(client, 4096, s_);
    void* p = nullptr;
    if (Starve(
            served, GetParam(), [&] { p = *Ask(client, 300, t_); }, has_more)) {
      ++thrown;
      EXPECT_EQ(client.ReadUsage().totals.live_blocks, 1u) << served;
      p = Take(client, 300, t_);
    }
    Give(client, p, 300, t_);
    Give(client, first, 4096, s_);
  });
  EXPECT_GT(thrown, 0);
}

// Of memory that other streams have freed, for which the stream waits.
TEST_P(MemoryWantTest, AnAllocationAcrossStreamsIsHadWholeOrNotAtAll) {
  daemon_.Change([](auto& ledger) { ledger.limit_bytes = 4 * kMiB; });
  int thrown = 0;
  ForEachWant([&](Client& client, int64_t served, bool& has_more) {
    void* const a = Take(client, 2 * kMiB, s_);
    void* const b = Take(client, 2 * kMiB, t_);
    const cudaStream_t third = streams_->Make();
    Give(client, a, 2 * kMiB, s_);
    Give(client, b, 2 * kMiB, t_);
    void* p = nullptr;
    if (Starve(
            served, GetParam(),
            [&] {
              const Result<void*> got = Ask(client, 4 * kMiB, third);
              if (got.ok()) p = *got;
            },
            has_more) ||
        p == nullptr) {
      ++thrown;
      EXPECT_EQ(client.ReadUsage().totals.live_blocks, 0u) << served;
      p = Take(client, 4 * kMiB, third);
    }
    Give(client, p, 4 * kMiB, third);
    streams_->Destroy(third);
  });
  EXPECT_GT(thrown, 0);
}

TEST_P(MemoryWantTest, AFreedBlockIsFreedOrStillTheApplications) {
  int thrown = 0;
  ForEachWant([&](Client& client, int64_t served, bool& has_more) {
    void* const p = Take(client, kLargeBytes, s_);
    if (Starve(
            served, GetParam(),
            [&] {
              EXPECT_TRUE(client
                              .FreeSlowly({.p = p,
                                           .bytes = kLargeBytes,
                                           .stream = t_,
                                           .is_careful = true})
                              .ok());
            },
            has_more)) {
      ++thrown;
      EXPECT_EQ(client.ReadUsage().totals.live_blocks, 1u) << served;
      Give(client, p, kLargeBytes, t_);
    }
  });
  EXPECT_GT(thrown, 0);
}

TEST_P(MemoryWantTest, AFreedBlockThatOthersUseIsFreedOrStillTheApplications) {
  ForEachWant([&](Client& client, int64_t served, bool& has_more) {
    void* const p = Take(client, kLargeBytes, s_);
    EXPECT_TRUE(client.RecordStream(p, t_).ok());
    if (Starve(
            served, GetParam(),
            [&] {
              EXPECT_TRUE(
                  client
                      .FreeSlowly({.p = p, .bytes = kLargeBytes, .stream = s_})
                      .ok());
            },
            has_more)) {
      EXPECT_EQ(client.ReadUsage().totals.live_blocks, 1u) << served;
      Give(client, p, kLargeBytes, s_);
    }
  });
}

// What leaves a full cache has been freed before: its call never throws.
TEST_P(MemoryWantTest, WhatLeavesACacheIsNotLost) {
  constexpr int kBlocks = StreamCache::kMaxLarge + 1;
  ForEachWant([&](Client& client, int64_t served, bool& has_more) {
    Give(client, Take(client, 256, s_), 256, s_);  // It has a cache now.
    void* all[kBlocks];
    for (void*& p : all) p = Take(client, kLargeBytes, s_);
    for (int i = 0; i + 1 < kBlocks; ++i) {
      Give(client, all[i], kLargeBytes, s_);
    }
    EXPECT_FALSE(Starve(
        served, GetParam(),
        [&] {
          EXPECT_TRUE(
              client.TryFree(all[kBlocks - 1], kLargeBytes, s_).is_done);
        },
        has_more));
  });
}

TEST_P(MemoryWantTest, ACaptureIsBegunAndEndedOrIsAsBefore) {
  ForEachWant([&](Client& client, int64_t served, bool& has_more) {
    Give(client, Take(client, 4096, s_), 4096, s_);  // It has a cache now.
    void* const p = Take(client, kLargeBytes, s_);
    bool had_more = false;
    if (Starve(
            served, GetParam(),
            [&] { EXPECT_TRUE(client.BeginCapture(t_).ok()); }, had_more)) {
      EXPECT_FALSE(streams_->captures().is_any_announced()) << served;
      EXPECT_TRUE(client.BeginCapture(t_).ok());
    }
    Give(client, p, kLargeBytes, t_);
    if (Starve(
            served, GetParam(),
            [&] { EXPECT_TRUE(client.EndCapture(t_, nullptr).ok()); },
            has_more)) {
      EXPECT_TRUE(streams_->captures().is_any_announced()) << served;
      EXPECT_TRUE(client.EndCapture(t_, nullptr).ok());
    }
    EXPECT_FALSE(streams_->captures().is_any_announced()) << served;
    has_more = has_more || had_more;
    // The caches work as before.
    Give(client, Take(client, 4096, s_), 4096, s_);
    void* const again = client.TryAllocate(4096, s_, 0).block;
    ASSERT_NE(again, nullptr) << served;
    Give(client, again, 4096, s_);
  });
}

TEST_P(MemoryWantTest, ATrimThatFailsLosesNothing) {
  ForEachWant([&](Client& client, int64_t served, bool& has_more) {
    for (const cudaStream_t stream : {s_, t_}) {
      Give(client, Take(client, 256, stream), 256, stream);
      void* const p = Take(client, 4096, stream);
      Give(client, p, 4096, stream);
    }
    streams_->FinishAll();
    (void)Starve(
        served, GetParam(), [&] { (void)client.Trim(); }, has_more);
  });
}

// One life of an allocator's pieces, of several owners, which begins anew and
// wants memory at every place where it can. What a step has not done can be
// done afterwards.
TEST(MemoryWantOfPiecesTest, EveryStepHappensOrHasChangedNothing) {
  constexpr Owner kOwners[] = {
      {.stream = StreamKey{5}},
      {.stream = StreamKey{6}},
      {.stream = StreamKey{5}, .capture = CaptureId{4}}};
  bool has_more = true;
  int64_t served = 0;
  for (; has_more; ++served) {
    ASSERT_LT(served, 200);
    has_more = false;
    BlockAllocator pieces;
    const auto step = [&](const std::function<void()>& act) {
      bool wanted = false;
      if (Starve(served, true, act, wanted)) {
        pieces.CheckInvariants();
        act();
      }
      pieces.CheckInvariants();
      has_more |= wanted;
    };
    step([&] { pieces.AddSlab(SlabKey{1}, 2 * kMiB, kMiB); });
    Block* blocks[6] = {};
    for (Block*& block : blocks) {
      step([&] { block = pieces.Allocate(1000, 4096); });
    }
    for (size_t i = 0; i < 3; ++i) {
      step([&] { pieces.Free(blocks[2 * i], kOwners[i], i + 1); });
    }
    std::vector<BlockAllocator::Part> parts;
    Block* across = nullptr;
    step([&] {
      parts.clear();
      across = pieces.AllocateWhere(
          2048, 256,
          [&](const Owner& owner, uint64_t) { return owner == kOwners[0]; },
          &parts);
    });
    EXPECT_EQ(across, nullptr);  // Its piece is smaller.
    step([&] {
      parts.clear();
      across = pieces.AllocateWhere(
          8192, 256, [](const Owner&, uint64_t) { return true; }, &parts);
    });
    ASSERT_NE(across, nullptr);
    step([&] {
      pieces.PutBack(across, parts,
                     [](const auto& part) { return part.owner; });
    });
    for (const Owner& owner : kOwners) {
      step([&] { (void)pieces.Pass(owner, 3, {}); });
    }
    for (size_t i = 0; i < 3; ++i) {
      step([&] { pieces.Free(blocks[2 * i + 1]); });
    }
    EXPECT_EQ(pieces.BlocksIn(SlabKey{1}) + pieces.OwnedIn(SlabKey{1}), 0u);
    pieces.RemoveSlab(SlabKey{1});
    pieces.CheckInvariants();
  }
  EXPECT_GT(served, 3);
}

}  // namespace
}  // namespace vrampool::client
