// The debug mode's looks at memory that the GPU is not done with yet: they come
// later, hold nobody up, and the memory goes back all the same.

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "tests/cuda/client_canary_rig.h"

namespace vrampool::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class ClientCanaryLateTest : public CanaryRig {};
VRAMPOOL_INSTANTIATE_FOR_KINDS(ClientCanaryLateTest);

TEST_P(ClientCanaryLateTest, WhatTheGpuIsNotDoneWithIsLookedAtLater) {
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
TEST_P(ClientCanaryLateTest, WhatTheGpuIsNotDoneWithStaysWhenItsTimeHasCome) {
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
TEST_P(ClientCanaryLateTest, WhatComesLateIsGivenBackWithoutACall) {
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
TEST_P(ClientCanaryLateTest, WhatIsDueAndComesLateIsGivenBackWithoutACall) {
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

TEST_P(ClientCanaryLateTest, ATrimAfterAFreeGivesAllBackWhenTheGpuIsIdle) {
  const TestStream stream(gpu_);
  for (int i = 0; i < 20; ++i) {
    Give(Take(kBytes, stream.get()), kBytes, stream.get());
    EXPECT_TRUE(client_.Trim().ok());
    EXPECT_TRUE(
        Eventually([&] { return client_.Usage()->pending_bytes == 0; }));
  }
}

// The GPU has come to it since it was due, and the client has no slab more.
TEST_P(ClientCanaryLateTest, WhatIsDueIsUsedAgainBeforeTheClientGrows) {
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
TEST_P(ClientCanaryLateTest, WhatIsDoneBehindOneThatIsLateIsUsedAgain) {
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
TEST_P(ClientCanaryLateTest, ManyBusyStreamsHoldNothingUp) {
  ::setenv(kPatience, "1000", 1);
  OpenWith(64 * kMiB);
  ::setenv(kPatience, kEndless, 1);
  const TestStream stream(gpu_);
  std::vector<std::unique_ptr<TestStream>> busy(40);
  for (auto& one : busy) one = std::make_unique<TestStream>(gpu_);
  void* const before = Take(2 * kBytes, stream.get());
  CapturedStderr told;  // By any of what follows, or by the client's timer.
  // Done before anybody looks.
  (void)TakeAndMisuse(kBytes, 16, stream.get());
  Gate gate(gpu_);
  for (const auto& one : busy) gate.HoldBack(one->get());
  const auto expect_busy = [&](const char* done) {
    for (const auto& one : busy) {
      ASSERT_TRUE(IsBusy(*one)) << "the GPU was waited for: " << done;
    }
  };
  ASSERT_NO_FATAL_FAILURE(expect_busy("holding back"));
  void* const p = Take(2 * kBytes, stream.get());
  ASSERT_NO_FATAL_FAILURE(expect_busy("allocating"));
  Give(before, 2 * kBytes, stream.get());
  Give(p, 2 * kBytes, stream.get());
  ASSERT_NO_FATAL_FAILURE(expect_busy("freeing"));
  EXPECT_TRUE(client_.Trim().ok());
  ASSERT_NO_FATAL_FAILURE(expect_busy("trimming"));
  gate.Open();
  for (const auto& one : busy) gpu_.Synchronize(one->get());
  gpu_.Synchronize(stream.get());
  client_.Close();
  EXPECT_THAT(told.Take(),
              HasSubstr("write after the free of the block of 1000"));
}

TEST_P(ClientCanaryLateTest, WhatIsWantedIsHandedOutWithoutALook) {
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
TEST_P(ClientCanaryLateTest, ABlockFreedOnAnotherStreamWaitsForItsRedZone) {
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

TEST_P(ClientCanaryLateTest, ABlockFreedOnAnotherStreamIsWatchedThereToo) {
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
TEST_P(ClientCanaryLateTest,
       AWantOfMemoryDoesNotTakeARedZoneThatIsNotFilledYet) {
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

}  // namespace
}  // namespace vrampool::testing
