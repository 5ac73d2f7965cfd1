// The order of streams where there is no more room, and where memory is given
// back: nothing leaves the client while work may still touch it, and no call
// but quiesce waits for that work.

#include <atomic>
#include <thread>

#include "tests/cuda/client_stream_rig.h"

namespace vrampool::testing {
namespace {

class StreamRoomTest : public StreamTest {};
VRAMPOOL_INSTANTIATE_FOR_KINDS(StreamRoomTest);

// Shown to be able to fail: without the wait that the client enqueues, `reader`
// is not busy, and its data is overwritten.
TEST_P(StreamRoomTest, WithoutRoomTheGpuWaitsForTheWriterNotTheCaller) {
  const TestStream writer(gpu_);
  const TestStream reader(gpu_);
  Gate gate(gpu_);
  void* const given = Take(kQuota, writer.get());
  gate.HoldBack(writer.get());
  gpu_.Fill(writer.get(), WordsAt(given, kQuota), kOld);
  Give(given, kQuota, writer.get());
  void* const got = Take(kQuota, reader.get());
  EXPECT_EQ(got, given);
  EXPECT_TRUE(IsBusy(writer)) << "a call has waited for the GPU";
  gpu_.Fill(reader.get(), WordsAt(got, kQuota), kNew);
  LetRun(gpu_, reader.get());
  EXPECT_TRUE(IsBusy(reader)) << "it has overtaken the writer";
  gate.Open();
  gpu_.Synchronize(writer.get());
  EXPECT_EQ(gpu_.CountMismatches(reader.get(), WordsAt(got, kQuota), kNew), 0u);
  Give(got, kQuota, reader.get());
}

// Pieces of several streams in one block: the reader waits for every one.
TEST_P(StreamRoomTest, TheGpuWaitsForTheWritersOfAllPieces) {
  const TestStream first(gpu_);
  const TestStream second(gpu_);
  const TestStream reader(gpu_);
  Gate first_gate(gpu_);
  Gate second_gate(gpu_);
  // One slab of the whole quota, in two halves of different streams.
  void* const all = Take(kQuota, first.get());
  Give(all, kQuota, first.get());
  void* const low = Take(kQuota / 2, first.get());
  gpu_.Synchronize(first.get());
  void* const high = Take(kQuota / 2, second.get());
  ASSERT_EQ(leased_bytes(), kQuota);
  first_gate.HoldBack(first.get());
  second_gate.HoldBack(second.get());
  gpu_.Fill(first.get(), WordsAt(low, kQuota / 2), kOld);
  gpu_.Fill(second.get(), WordsAt(high, kQuota / 2), kOld);
  Give(low, kQuota / 2, first.get());
  Give(high, kQuota / 2, second.get());
  void* const got = Take(kQuota, reader.get());
  EXPECT_EQ(got, all);
  gpu_.Fill(reader.get(), WordsAt(got, kQuota), kNew);
  first_gate.Open();
  gpu_.Synchronize(first.get());
  LetRun(gpu_, reader.get());
  EXPECT_TRUE(IsBusy(reader)) << "it has overtaken the second writer";
  second_gate.Open();
  gpu_.Synchronize(second.get());
  EXPECT_EQ(gpu_.CountMismatches(reader.get(), WordsAt(got, kQuota), kNew), 0u);
  Give(got, kQuota, reader.get());
}

// The slab of a free whose work goes on is not the daemon's to lend: another
// session of the tenant would write into that work's memory.
TEST_P(StreamRoomTest, ASlabThatWorkMayTouchStaysWithItsClient) {
  const TestStream writer(gpu_);
  const TestStream reader(gpu_);
  Client next = Open();
  Gate gate(gpu_);
  void* const given = Take(kQuota, writer.get());
  gate.HoldBack(writer.get());
  gpu_.Fill(writer.get(), WordsAt(given, kQuota), kOld);
  Give(given, kQuota, writer.get());
  EXPECT_TRUE(client_.Trim().ok()) << vrampool_last_error_message();
  EXPECT_EQ(leased_bytes(), kQuota);
  EXPECT_EQ(next.Allocate(kSlab, reader.get()), nullptr);
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_OVER_QUOTA);
  EXPECT_TRUE(IsBusy(writer)) << "a call has waited for the GPU";
  gate.Open();
  EXPECT_TRUE(client_.Quiesce().ok()) << vrampool_last_error_message();
  EXPECT_EQ(leased_bytes(), 0u);
  void* const got = next.Allocate(kQuota, reader.get());
  ASSERT_NE(got, nullptr) << vrampool_last_error_message();
  gpu_.Fill(reader.get(), WordsAt(got, kQuota), kNew);
  EXPECT_EQ(gpu_.CountMismatches(reader.get(), WordsAt(got, kQuota), kNew), 0u);
  next.Deallocate(got, kQuota, reader.get());
}

// By itself, when the work is done: a slab that can be unmapped goes back to
// the daemon, and one that cannot is parked.
TEST_P(StreamRoomTest, ItsSlabGoesBackByItselfWhenTheWorkIsDone) {
  const TestStream writer(gpu_);
  Gate gate(gpu_);
  void* const given = Take(kQuota, writer.get());
  gate.HoldBack(writer.get());
  gpu_.Fill(writer.get(), WordsAt(given, kQuota), kOld);
  Give(given, kQuota, writer.get());
  EXPECT_TRUE(client_.Trim().ok()) << vrampool_last_error_message();
  EXPECT_EQ(client_.Usage()->parked_bytes, 0u);
  gate.Open();
  const uint64_t parked = kind() == VRAMPOOL_KIND_CUDA_IPC ? kQuota : 0;
  EXPECT_TRUE(Eventually([&] {
    const vrampool_usage usage = *client_.Usage();
    return usage.leased_bytes == 0 && usage.parked_bytes == parked;
  }));
}

// A parked slab is leased again, while it is mapped here, and another stream's
// new work has it: the old work is done.
TEST_P(StreamRoomTest, AParkedSlabComesBackBehindItsOldWork) {
  const TestStream writer(gpu_);
  const TestStream reader(gpu_);
  void* const given = Take(kQuota, writer.get());
  gpu_.Spin(writer.get(), std::chrono::milliseconds(50));
  gpu_.Fill(writer.get(), WordsAt(given, kQuota), kOld);
  Give(given, kQuota, writer.get());
  EXPECT_TRUE(Eventually([&] { return leased_bytes() == 0; }));
  void* const got = Take(kQuota, reader.get());
  gpu_.Fill(reader.get(), WordsAt(got, kQuota), kNew);
  EXPECT_FALSE(IsBusy(writer)) << "a slab was given up under its work";
  EXPECT_EQ(gpu_.CountMismatches(reader.get(), WordsAt(got, kQuota), kNew), 0u);
  Give(got, kQuota, reader.get());
}

// What the library gives back by itself, because it has more than one idle
// slab, and what quiesce gives back meanwhile: nothing stays charged, though
// the process lives on.
TEST_P(StreamRoomTest, QuiesceLeavesNothingOfWhatIsJustBeingParked) {
  const TestStream stream(gpu_);
  for (int i = 0; i < 500; ++i) {
    void* const first = Take(kSlab, stream.get());
    void* const second = Take(kSlab, stream.get());
    Give(first, kSlab, stream.get());
    Give(second, kSlab, stream.get());
    ASSERT_TRUE(client_.Quiesce().ok()) << vrampool_last_error_message();
    ASSERT_EQ(client_.Budget()->used_bytes, 0u) << "after round " << i;
  }
}

// Memory of the client's own that is on its way to the daemon makes the quota
// look used up for a moment, which nobody is to hear of.
TEST_P(StreamRoomTest, WhatIsJustGoingBackIsNoReasonToRefuse) {
  const TestStream stream(gpu_);
  Client hasty = Open(/*idle_ms=*/0);
  for (int i = 0; i < 100; ++i) {
    void* const p = hasty.Allocate(kQuota, stream.get());
    ASSERT_NE(p, nullptr) << vrampool_last_error_message() << " in round " << i;
    hasty.Deallocate(p, kQuota, stream.get());
    // At the moment when another thread begins to give it back.
    while (hasty.Usage()->leased_bytes != 0) std::this_thread::yield();
  }
}

// Quiesce is the one call that waits: what it unmaps, no work may touch.
TEST_P(StreamRoomTest, QuiesceReturnsWhenTheWorkIsDone) {
  const TestStream writer(gpu_);
  Gate gate(gpu_);
  void* const given = Take(kSlab, writer.get());
  gate.HoldBack(writer.get());
  gpu_.Fill(writer.get(), WordsAt(given, kSlab), kOld);
  Give(given, kSlab, writer.get());
  std::atomic<bool> is_back{false};
  bool was_busy = true;
  std::thread quiescing([&] {
    gpu_.MakeCurrent();
    EXPECT_TRUE(client_.Quiesce().ok()) << vrampool_last_error_message();
    was_busy = IsBusy(writer);
    is_back = true;
  });
  LetRun(gpu_, writer.get());
  EXPECT_FALSE(is_back) << "it has not waited for the writer";
  gate.Open();
  quiescing.join();
  EXPECT_FALSE(was_busy);
  EXPECT_EQ(leased_bytes(), 0u);
}

}  // namespace
}  // namespace vrampool::testing
