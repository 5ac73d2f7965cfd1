// How often each path of an allocation and of a free calls the driver: counted
// by the fake one, on the calling thread.

#include "base/cuda/driver.h"
#include "tests/cuda/client_stream_rig.h"
#include "tests/cuda/fake/fake_cuda.h"

namespace vrampool::testing {
namespace {

constexpr uint64_t kLargeBytes = 3 * kMiB / 2;

class ClientCallsTest : public StreamTest {
 protected:
  struct Calls {
    uint64_t all = 0;
    uint64_t keys = 0;  // cuStreamGetId
    uint64_t records = 0;
  };
  Calls Count() const {
    return {.all = fake_.count_calls(nullptr),
            .keys = fake_.count_calls("cuStreamGetId"),
            .records = fake_.count_calls("cuEventRecord")};
  }
  template <typename Work>
  Calls CallsOf(const Work& work) {
    const Calls before = Count();
    work();
    const Calls after = Count();
    return {.all = after.all - before.all,
            .keys = after.keys - before.keys,
            .records = after.records - before.records};
  }
  // From here on this thread has a cache for the stream.
  void WarmUp(const TestStream& stream) {
    for (int i = 0; i < 2; ++i) {
      Give(Take(4096, stream.get()), 4096, stream.get());
    }
  }

  const fake_cuda::Functions fake_ =
      fake_cuda::FindFunctions(cuda::FindDriverSymbol);
};
VRAMPOOL_INSTANTIATE_FOR_KINDS(ClientCallsTest);

TEST_P(ClientCallsTest, AWarmPairAsksTwiceWhoItsStreamIsAndNothingElse) {
  const TestStream stream(gpu_);
  WarmUp(stream);
  const Calls calls = CallsOf([&] {
    for (int i = 0; i < 100; ++i) {
      Give(Take(4096, stream.get()), 4096, stream.get());
    }
  });
  // Now and then the cache is being looked through by another thread.
  EXPECT_EQ(calls.all, 200u);
  EXPECT_EQ(calls.keys, 200u);
}

TEST_P(ClientCallsTest, AMissInASlabInHandAsksOnce) {
  const TestStream stream(gpu_);
  WarmUp(stream);
  void* p = nullptr;
  const Calls calls = CallsOf([&] { p = Take(kLargeBytes, stream.get()); });
  EXPECT_EQ(calls.all, 1u);
  EXPECT_EQ(calls.keys, 1u);
  Give(p, kLargeBytes, stream.get());
}

TEST_P(ClientCallsTest, AFreeThatDoesNotFitIntoTheCacheAsksOnce) {
  const TestStream stream(gpu_);
  WarmUp(stream);
  void* const keeper = Take(256, stream.get());
  void* blocks[10];
  for (void*& p : blocks) p = Take(kLargeBytes / 2 * 3 / 2, stream.get());
  const Calls calls = CallsOf([&] {
    for (void* const p : blocks) {
      Give(p, kLargeBytes / 2 * 3 / 2, stream.get());
    }
  });
  EXPECT_EQ(calls.keys, 10u);
  // At most a slab's last block has an event recorded.
  EXPECT_LE(calls.records, 2u);
  Give(keeper, 256, stream.get());
}

// The event, the thread's context and its capture mode: five calls in all.
TEST_P(ClientCallsTest, ALargeFreeOnOneOfSeveralStreamsRecordsAnEvent) {
  const TestStream stream(gpu_);
  const TestStream other(gpu_);
  WarmUp(stream);
  WarmUp(other);
  void* const keeper = Take(256, stream.get());
  Give(Take(kLargeBytes, stream.get()), kLargeBytes, stream.get());
  gpu_.Synchronize(stream.get());
  void* const second = Take(kSlab, stream.get());  // The event is spare now.
  void* const third = Take(kLargeBytes, stream.get());
  const Calls calls = CallsOf([&] { Give(third, kLargeBytes, stream.get()); });
  EXPECT_EQ(calls.keys, 1u);
  EXPECT_EQ(calls.records, 1u);
  EXPECT_LE(calls.all, 5u);
  Give(second, kSlab, stream.get());
  Give(keeper, 256, stream.get());
}

TEST_P(ClientCallsTest, TheLegacyStreamIsNotAskedAtAll) {
  Give(Take(4096, nullptr), 4096, nullptr);
  Give(Take(4096, nullptr), 4096, nullptr);
  const Calls calls =
      CallsOf([&] { Give(Take(4096, nullptr), 4096, nullptr); });
  EXPECT_EQ(calls.all, 0u);
}

}  // namespace
}  // namespace vrampool::testing
