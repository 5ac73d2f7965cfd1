// Writes past the end of blocks and after their free, in memory of a GPU: what
// the debug mode finds, and that nothing waits for it. All of them are done by
// kernels.

#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "tests/cuda/client_stream_rig.h"

namespace vrampool::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr uint64_t kBytes = 1000;
constexpr uint64_t kLarge = 3 * kMiB + 4;  // Looked at in several steps.

class ClientCanaryTest : public StreamTest {
 protected:
  // Before the client is opened.
  static void SetUpTestSuite() { ::setenv("VRAMPOOL_DEBUG", "1", 1); }
  static void TearDownTestSuite() { ::unsetenv("VRAMPOOL_DEBUG"); }

  // Anew, with a quarantine of so many bytes.
  void OpenWith(uint64_t quarantine_bytes) {
    client_.Close();
    vrampool_options options;
    vrampool_options_init(&options);
    options.kind = kind();
    options.slab_bytes = kSlab;
    options.debug_quarantine_bytes = quarantine_bytes;
    Result<Client> opened = Client::Open(&options);
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    client_ = *std::move(opened);
  }
  static std::string Told(const std::function<void()>& act) {
    ::testing::internal::CaptureStderr();
    act();
    return ::testing::internal::GetCapturedStderr();
  }
  std::string ToldByTrim() {
    return Told([&] { EXPECT_TRUE(client_.Trim().ok()); });
  }
  // One word, `offset` bytes behind `p`.
  void WriteAt(const void* p, uint64_t offset, cuda::Stream stream) {
    gpu_.Fill(stream, WordsAt(static_cast<const char*>(p) + offset, 4), kOld);
  }
  void FillAll(void* p, uint64_t bytes, cuda::Stream stream) {
    gpu_.Fill(stream, WordsAt(p, bytes), kNew);
  }
  // A block that was used and given back, and then written to.
  void* TakeAndMisuse(uint64_t bytes, uint64_t offset, cuda::Stream stream) {
    void* const p = Take(bytes, stream);
    FillAll(p, bytes, stream);
    Give(p, bytes, stream);
    WriteAt(p, offset, stream);
    gpu_.Synchronize(stream);
    return p;
  }
};
VRAMPOOL_INSTANTIATE_FOR_KINDS(ClientCanaryTest);

TEST_P(ClientCanaryTest, AWritePastTheEndIsToldOnce) {
  const TestStream stream(gpu_);
  void* const p = Take(kBytes, stream.get());
  FillAll(p, kBytes, stream.get());
  WriteAt(p, kBytes + 4, stream.get());
  Give(p, kBytes, stream.get());
  gpu_.Synchronize(stream.get());
  EXPECT_THAT(
      ToldByTrim(),
      AllOf(HasSubstr("write past the end of the block of 1000 bytes"),
            HasSubstr("4 bytes changed"),
            HasSubstr("1004 bytes from its beginning"), HasSubstr("freed at"),
            HasSubstr("allocated at"), Not(HasSubstr("write after"))));
  EXPECT_EQ(Told([&] { client_.Close(); }), "");
}

// Whatever the size is rounded up to.
TEST_P(ClientCanaryTest, TheFirstWordBehindEverySizeIsWatched) {
  const TestStream stream(gpu_);
  for (const uint64_t bytes :
       {uint64_t{4}, uint64_t{256}, uint64_t{2048}, kMiB, kMiB + 4, 3 * kMiB}) {
    void* const p = Take(bytes, stream.get());
    WriteAt(p, bytes, stream.get());
    Give(p, bytes, stream.get());
    gpu_.Synchronize(stream.get());
    EXPECT_THAT(ToldByTrim(), HasSubstr("write past the end")) << bytes;
  }
}

TEST_P(ClientCanaryTest, AWriteAfterTheFreeIsTold) {
  const TestStream stream(gpu_);
  (void)TakeAndMisuse(kLarge, 2 * kMiB + 16, stream.get());
  EXPECT_THAT(ToldByTrim(),
              AllOf(HasSubstr("write after the free of the block of 3145732"),
                    HasSubstr("4 bytes changed"),
                    HasSubstr("2097168 bytes from its beginning"),
                    HasSubstr("freed at"), HasSubstr("allocated at"),
                    Not(HasSubstr("past the end"))));
  EXPECT_EQ(Told([&] { client_.Close(); }), "");
}

TEST_P(ClientCanaryTest, TheDefaultStreamsBlocksAreWatchedToo) {
  (void)TakeAndMisuse(kBytes, 16, nullptr);
  EXPECT_THAT(ToldByTrim(), HasSubstr("write after the free"));
}

TEST_P(ClientCanaryTest, ABlockIsLookedAtWhenEnoughWasFreedAfterIt) {
  OpenWith(kMiB);
  const TestStream stream(gpu_);
  (void)TakeAndMisuse(kBytes, 16, stream.get());
  EXPECT_THAT(Told([&] {
                void* const next = Take(2 * kMiB, stream.get());
                Give(next, 2 * kMiB, stream.get());
              }),
              HasSubstr("write after the free of the block of 1000"));
}

// It is handed out as if nothing had been.
TEST_P(ClientCanaryTest, ABlockIsLookedAtBeforeARequestFails) {
  constexpr uint64_t kMost = 12 * kMiB;
  const TestStream stream(gpu_);
  void* const p = TakeAndMisuse(kMost, kMost - 4, stream.get());
  void* again = nullptr;
  EXPECT_THAT(Told([&] { again = Take(kMost, stream.get()); }),
              HasSubstr("write after the free of the block of 12582912"));
  EXPECT_EQ(again, p);
  FillAll(again, kMost, stream.get());
  EXPECT_EQ(gpu_.CountMismatches(stream.get(), WordsAt(again, kMost), kNew),
            0u);
  EXPECT_EQ(Told([&] {
              Give(again, kMost, stream.get());
              client_.Close();
            }),
            "");
}

TEST_P(ClientCanaryTest, AtTheClientsEndWhatIsInQuarantineIsLookedAt) {
  const TestStream stream(gpu_);
  const TestStream other(gpu_);
  void* const p = Take(kBytes, stream.get());
  WriteAt(p, kBytes, stream.get());
  Give(p, kBytes, stream.get());
  void* const q = Take(2 * kBytes, other.get());
  gpu_.Spin(other.get(), std::chrono::milliseconds(100));
  Give(q, 2 * kBytes, other.get());
  WriteAt(q, 16, other.get());
  EXPECT_THAT(
      Told([&] { client_.Close(); }),
      AllOf(HasSubstr("write past the end of the block of 1000 bytes"),
            HasSubstr("write after the free of the block of 2000 bytes")));
}

TEST_P(ClientCanaryTest, WhatTheGpuIsNotDoneWithIsLookedAtLater) {
  const TestStream stream(gpu_);
  Gate gate(gpu_);
  void* const p = Take(kLarge, stream.get());
  gate.HoldBack(stream.get());
  FillAll(p, kLarge, stream.get());
  EXPECT_EQ(Told([&] {
              Give(p, kLarge, stream.get());
              WriteAt(p, kMiB, stream.get());
              EXPECT_TRUE(client_.Trim().ok());
            }),
            "");
  EXPECT_TRUE(IsBusy(stream)) << "a call has waited for the GPU";
  // By the trim, or by itself before that.
  EXPECT_THAT(Told([&] {
                gate.Open();
                gpu_.Synchronize(stream.get());
                EXPECT_TRUE(client_.Trim().ok());
              }),
              AllOf(HasSubstr("write after the free"),
                    HasSubstr("1048576 bytes from its")));
}

// And holds back nobody who comes after it.
TEST_P(ClientCanaryTest, WhatTheGpuIsNotDoneWithStaysWhenItsTimeHasCome) {
  OpenWith(kMiB);
  const TestStream held(gpu_);
  const TestStream stream(gpu_);
  Gate gate(gpu_);
  void* const late = Take(kBytes, held.get());
  gate.HoldBack(held.get());
  Give(late, kBytes, held.get());
  WriteAt(late, 16, held.get());
  EXPECT_THAT(Told([&] {
                (void)TakeAndMisuse(2 * kBytes, 32, stream.get());
                void* const next = Take(2 * kMiB, stream.get());
                Give(next, 2 * kMiB, stream.get());
              }),
              AllOf(HasSubstr("write after the free of the block of 2000"),
                    Not(HasSubstr("block of 1000"))));
  EXPECT_TRUE(IsBusy(held)) << "a call has waited for the GPU";
  EXPECT_THAT(Told([&] {
                gate.Open();
                gpu_.Synchronize(held.get());
                void* const next = Take(2 * kMiB, stream.get());
                Give(next, 2 * kMiB, stream.get());
                client_.Close();
              }),
              HasSubstr("write after the free of the block of 1000"));
}

// Nobody calls again: what the GPU was not done with when it was to leave goes
// back by itself.
TEST_P(ClientCanaryTest, WhatComesLateIsGivenBackWithoutACall) {
  const TestStream stream(gpu_);
  Gate gate(gpu_);
  void* const p = Take(kBytes, stream.get());
  gate.HoldBack(stream.get());
  Give(p, kBytes, stream.get());
  EXPECT_TRUE(client_.Trim().ok());
  EXPECT_EQ(leased_bytes(), kSlab);
  gate.Open();
  EXPECT_TRUE(Eventually([&] { return leased_bytes() == 0; }));
}

// It was due in the last call that there was.
TEST_P(ClientCanaryTest, WhatIsDueAndComesLateIsGivenBackWithoutACall) {
  OpenWith(1);
  const TestStream stream(gpu_);
  Gate gate(gpu_);
  void* const p = Take(kBytes, stream.get());
  void* const q = Take(kBytes, stream.get());
  gate.HoldBack(stream.get());
  Give(p, kBytes, stream.get());
  Give(q, kBytes, stream.get());
  const uint64_t before = client_.Usage()->pending_bytes;
  gate.Open();
  EXPECT_TRUE(
      Eventually([&] { return client_.Usage()->pending_bytes <= before / 2; }));
}

TEST_P(ClientCanaryTest, ATrimAfterAFreeGivesAllBackWhenTheGpuIsIdle) {
  const TestStream stream(gpu_);
  for (int i = 0; i < 20; ++i) {
    Give(Take(kBytes, stream.get()), kBytes, stream.get());
    EXPECT_TRUE(client_.Trim().ok());
    EXPECT_TRUE(
        Eventually([&] { return client_.Usage()->pending_bytes == 0; }));
  }
}

// The GPU has come to it since it was due, and the client has no slab more.
TEST_P(ClientCanaryTest, WhatIsDueIsUsedAgainBeforeTheClientGrows) {
  OpenWith(1);
  constexpr uint64_t kMost = kSlab - kMiB;
  const TestStream stream(gpu_);
  Gate gate(gpu_);
  void* const p = Take(kMost, stream.get());
  void* const q = Take(kBytes, stream.get());
  const uint64_t leased = leased_bytes();
  gate.HoldBack(stream.get());
  Give(p, kMost, stream.get());
  Give(q, kBytes, stream.get());
  EXPECT_TRUE(IsBusy(stream)) << "a call has waited for the GPU";
  gate.Open();
  gpu_.Synchronize(stream.get());
  void* const again = Take(kMost, stream.get());
  EXPECT_EQ(leased_bytes(), leased);
  Give(again, kMost, stream.get());
}

// The first in the queue is late; those behind it are not.
TEST_P(ClientCanaryTest, WhatIsDoneBehindOneThatIsLateIsUsedAgain) {
  OpenWith(1);
  constexpr uint64_t kMost = kSlab - kMiB;
  const TestStream held(gpu_);
  const TestStream stream(gpu_);
  Gate gate(gpu_);
  void* const late = Take(kBytes, held.get());
  void* const p = Take(kMost, stream.get());
  void* const last = Take(kBytes, held.get());
  const uint64_t leased = leased_bytes();
  gate.HoldBack(held.get());
  Give(late, kBytes, held.get());
  Give(p, kMost, stream.get());
  Give(last, kBytes, held.get());
  gpu_.Synchronize(stream.get());
  void* const again = Take(kMost, stream.get());
  EXPECT_TRUE(IsBusy(held)) << "a call has waited for the GPU";
  EXPECT_EQ(leased_bytes(), leased);
  Give(again, kMost, stream.get());
}

// More than the hardware has queues, so that our copies may share one with work
// that does not end.
TEST_P(ClientCanaryTest, ManyBusyStreamsHoldNothingUp) {
  const TestStream stream(gpu_);
  std::vector<std::unique_ptr<TestStream>> busy(40);
  for (auto& one : busy) one = std::make_unique<TestStream>(gpu_);
  void* const before = Take(kBytes, stream.get());
  Gate gate(gpu_);
  for (const auto& one : busy) gate.HoldBack(one->get());
  const auto expect_busy = [&](const char* done) {
    for (const auto& one : busy) {
      ASSERT_TRUE(IsBusy(*one)) << "the GPU was waited for: " << done;
    }
  };
  ASSERT_NO_FATAL_FAILURE(expect_busy("holding back"));
  void* const p = Take(kBytes, stream.get());
  ASSERT_NO_FATAL_FAILURE(expect_busy("allocating"));
  Give(before, kBytes, stream.get());
  Give(p, kBytes, stream.get());
  ASSERT_NO_FATAL_FAILURE(expect_busy("freeing"));
  WriteAt(p, 16, stream.get());
  ASSERT_NO_FATAL_FAILURE(expect_busy("writing"));
  std::string told = ToldByTrim();
  ASSERT_NO_FATAL_FAILURE(expect_busy("trimming"));
  gate.Open();
  for (const auto& one : busy) gpu_.Synchronize(one->get());
  gpu_.Synchronize(stream.get());
  told += Told([&] { client_.Close(); });
  EXPECT_THAT(told, HasSubstr("write after the free of the block of 1000"));
}

TEST_P(ClientCanaryTest, WhatIsWantedIsHandedOutWithoutALook) {
  constexpr uint64_t kMost = 12 * kMiB;
  const TestStream stream(gpu_);
  Gate gate(gpu_);
  void* const p = Take(kMost, stream.get());
  gate.HoldBack(stream.get());
  FillAll(p, kMost, stream.get());
  void* again = nullptr;
  EXPECT_EQ(Told([&] {
              Give(p, kMost, stream.get());
              again = Take(kMost, stream.get());
            }),
            "");
  EXPECT_EQ(again, p);
  EXPECT_TRUE(IsBusy(stream)) << "a call has waited for the GPU";
  FillAll(again, kMost, stream.get());
  gate.Open();
  EXPECT_EQ(gpu_.CountMismatches(stream.get(), WordsAt(again, kMost), kNew),
            0u);
  EXPECT_EQ(Told([&] {
              Give(again, kMost, stream.get());
              client_.Close();
            }),
            "");
}

// Nothing makes the free wait for the stream that has yet to fill the red zone:
// until then the memory stays.
TEST_P(ClientCanaryTest, ABlockFreedOnAnotherStreamWaitsForItsRedZone) {
  const TestStream held(gpu_);
  const TestStream stream(gpu_);
  Gate gate(gpu_);
  gate.HoldBack(held.get());
  void* const p = Take(kBytes, held.get());
  Give(p, kBytes, stream.get());
  gpu_.Synchronize(stream.get());
  EXPECT_EQ(ToldByTrim(), "");
  EXPECT_TRUE(IsBusy(held)) << "a call has waited for the GPU";
  EXPECT_EQ(leased_bytes(), kSlab);
  EXPECT_EQ(Told([&] {
              gate.Open();
              gpu_.Synchronize(held.get());
              client_.Close();
            }),
            "");
}

TEST_P(ClientCanaryTest, ABlockFreedOnAnotherStreamIsWatchedThereToo) {
  const TestStream held(gpu_);
  const TestStream stream(gpu_);
  Gate gate(gpu_);
  gate.HoldBack(held.get());
  void* const p = Take(kBytes, held.get());
  Give(p, kBytes, stream.get());
  gate.Open();
  gpu_.Synchronize(held.get());
  WriteAt(p, kBytes, stream.get());
  gpu_.Synchronize(stream.get());
  EXPECT_THAT(ToldByTrim(), HasSubstr("write past the end"));
  EXPECT_EQ(leased_bytes(), 0u);
}

// The same when the memory is wanted before.
TEST_P(ClientCanaryTest, AWantOfMemoryDoesNotTakeARedZoneThatIsNotFilledYet) {
  constexpr uint64_t kMost = 12 * kMiB;
  const TestStream held(gpu_);
  const TestStream stream(gpu_);
  Gate gate(gpu_);
  gate.HoldBack(held.get());
  void* const p = Take(kMost, held.get());
  Give(p, kMost, stream.get());
  EXPECT_EQ(client_.Allocate(kMost, stream.get()), nullptr);
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_OVER_QUOTA);
  gate.Open();
  gpu_.Synchronize(held.get());
  void* const again = Take(kMost, stream.get());
  EXPECT_EQ(Told([&] {
              FillAll(again, kMost, stream.get());
              Give(again, kMost, stream.get());
              client_.Close();
            }),
            "");
}

TEST_P(ClientCanaryTest, ASharedBlockIsUntouchedAndItsRedZoneLookedAtLater) {
  const TestStream stream(gpu_);
  void* const p = Take(kBytes, stream.get());
  FillAll(p, kBytes, stream.get());
  gpu_.Synchronize(stream.get());
  Result<Object> shared = client_.Share({{p, kBytes}});
  ASSERT_TRUE(shared.ok()) << shared.status().message();
  WriteAt(p, kBytes, stream.get());
  Give(p, kBytes, stream.get());
  EXPECT_EQ(gpu_.CountMismatches(stream.get(), WordsAt(p, kBytes), kNew), 0u);
  WriteAt(p, 16, stream.get());  // Others may.
  gpu_.Synchronize(stream.get());
  EXPECT_EQ(ToldByTrim(), "");
  EXPECT_TRUE(shared->Close().ok());
  std::string told;
  EXPECT_TRUE(Eventually([&] {
    told += ToldByTrim();
    return !told.empty();
  }));
  EXPECT_THAT(told, AllOf(HasSubstr("write past the end"),
                          Not(HasSubstr("write after"))));
}

TEST_P(ClientCanaryTest, ABlockOfSeveralStreamsIsNotFilled) {
  const TestStream stream(gpu_);
  const TestStream reader(gpu_);
  Gate gate(gpu_);
  void* const p = Take(kBytes, stream.get());
  FillAll(p, kBytes, stream.get());
  gpu_.Synchronize(stream.get());
  ASSERT_TRUE(client_.RecordStream(p, reader.get()).ok());
  gate.HoldBack(reader.get());
  Give(p, kBytes, stream.get());
  gpu_.Synchronize(stream.get());
  EXPECT_EQ(ToldByTrim(), "");
  gate.Open();
  EXPECT_EQ(gpu_.CountMismatches(reader.get(), WordsAt(p, kBytes), kNew), 0u);
  WriteAt(p, kBytes, reader.get());
  gpu_.Synchronize(reader.get());
  EXPECT_THAT(ToldByTrim(), HasSubstr("write past the end"));
}

// Nothing is kept for long, so that memory goes round.
TEST_P(ClientCanaryTest, GoodUseOnManyStreamsIsQuiet) {
  OpenWith(kMiB);
  EXPECT_EQ(Told([&] {
              std::vector<std::thread> threads;
              for (int i = 0; i < 4; ++i) {
                threads.emplace_back([this, i] {
                  gpu_.MakeCurrent();
                  const TestStream mine(gpu_);
                  const TestStream other(gpu_);
                  for (uint64_t round = 1; round < 60; ++round) {
                    const uint64_t bytes = round * (i % 2 == 0 ? 5000 : 20000);
                    void* const p = Take(bytes, mine.get());
                    FillAll(p, bytes, mine.get());
                    if (round % 5 == 0) {
                      FillAll(p, bytes, other.get());
                      (void)client_.RecordStream(p, other.get());
                    }
                    Give(p, bytes, mine.get());
                    // What several streams use, nobody has before they are
                    // done.
                    if (round % 5 == 0) gpu_.Synchronize(other.get());
                    if (round % 20 == 0) (void)client_.Trim();
                  }
                  gpu_.Synchronize(other.get());
                });
              }
              for (std::thread& thread : threads) thread.join();
              client_.Close();
            }),
            "");
}

// All of it is due at once, and most of it late.
TEST_P(ClientCanaryTest, ThreadsThatFreeOnOneStreamAreQuiet) {
  OpenWith(1);
  const TestStream stream(gpu_);
  EXPECT_EQ(Told([&] {
              std::vector<std::thread> threads;
              for (const uint64_t bytes : {kBytes, kBytes, kMiB}) {
                threads.emplace_back([this, &stream, bytes] {
                  gpu_.MakeCurrent();
                  for (int round = 0; round < 200; ++round) {
                    void* const p = Take(bytes, stream.get());
                    Give(p, bytes, stream.get());
                  }
                });
              }
              for (std::thread& thread : threads) thread.join();
              client_.Close();
            }),
            "");
}

// Neither is a capture spoilt, nor is what a graph may use again filled.
TEST_P(ClientCanaryTest, ACaptureGoesOnBesideIt) {
  const TestStream stream(gpu_);
  const TestStream other(gpu_);
  void* const before = Take(kBytes, stream.get());
  (void)TakeAndMisuse(2 * kBytes, 16, other.get());
  ASSERT_TRUE(client_.BeginCapture(stream.get()).ok());
  gpu_.Expect(gpu_.test().StreamBeginCapture(stream.get(), cuda::kModeGlobal),
              "beginning a capture");
  void* const within = Take(kBytes, stream.get());
  FillAll(within, kBytes, stream.get());
  Give(before, kBytes, stream.get());
  Give(within, kBytes, stream.get());
  void* const kept = Take(kBytes, stream.get());
  FillAll(kept, kBytes, stream.get());
  Give(Take(kBytes, other.get()), kBytes, other.get());
  EXPECT_THAT(ToldByTrim(), HasSubstr("write after the free of the block of "
                                      "2000 bytes"));
  cuda::Graph graph = nullptr;
  EXPECT_EQ(gpu_.test().StreamEndCapture(stream.get(), &graph), cuda::kSuccess);
  ASSERT_TRUE(client_.EndCapture(stream.get(), graph).ok());
  cuda::GraphExec exec = nullptr;
  gpu_.Expect(gpu_.test().GraphInstantiate(&exec, graph, 0), "making a graph");
  gpu_.Expect(gpu_.test().GraphLaunch(exec, stream.get()), "launching it");
  Give(kept, kBytes, stream.get());
  for (void* const p : {within, kept}) {
    EXPECT_EQ(gpu_.CountMismatches(stream.get(), WordsAt(p, kBytes), kNew), 0u);
  }
  gpu_.Expect(gpu_.test().GraphLaunch(exec, stream.get()), "launching it");
  gpu_.Synchronize(stream.get());
  (void)gpu_.test().GraphExecDestroy(exec);
  (void)gpu_.test().GraphDestroy(graph);
  EXPECT_EQ(Told([&] { client_.Close(); }), "");
}

}  // namespace
}  // namespace vrampool::testing
