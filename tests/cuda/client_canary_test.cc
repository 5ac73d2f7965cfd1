// Writes past the end of blocks and after their free, in memory of a GPU: what
// the debug mode finds, and that nothing waits for it. All of them are done by
// kernels.

#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "tests/cuda/client_canary_rig.h"

namespace vrampool::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class ClientCanaryTest : public CanaryRig {};
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
  // Looked at by a trim, or by the client's timer.
  EXPECT_THAT(
      Told([&] {
        EXPECT_TRUE(shared->Close().ok());
        EXPECT_TRUE(Eventually([&] {
          EXPECT_TRUE(client_.Trim().ok());
          return leased_bytes() == 0;
        }));
      }),
      AllOf(HasSubstr("write past the end"), Not(HasSubstr("write after"))));
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
  gate.Open();
  EXPECT_EQ(gpu_.CountMismatches(reader.get(), WordsAt(p, kBytes), kNew), 0u);
  WriteAt(p, kBytes, reader.get());
  gpu_.Synchronize(reader.get());
  EXPECT_THAT(ToldByTrim(), HasSubstr("write past the end"));
}

// Little is kept, so that memory goes round; and all together is less than the
// tenant may have, so that nobody depends on how fast the GPU is.
TEST_P(ClientCanaryTest, GoodUseOnManyStreamsIsQuiet) {
  OpenWith(kMiB / 4);
  EXPECT_EQ(Told([&] {
              std::vector<std::thread> threads;
              for (int i = 0; i < 4; ++i) {
                threads.emplace_back([this, i] {
                  gpu_.MakeCurrent();
                  const TestStream mine(gpu_);
                  const TestStream other(gpu_);
                  for (uint64_t round = 1; round < 60; ++round) {
                    const uint64_t bytes = round * (i % 2 == 0 ? 500 : 2000);
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
