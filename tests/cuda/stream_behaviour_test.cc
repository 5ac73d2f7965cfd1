// What streams, events, captures and graphs do, on the fake driver and the real
// one.

#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include "gtest/gtest.h"
#include "tests/cuda/gpu.h"

namespace vrampool::testing {
namespace {

constexpr std::chrono::milliseconds kKernel{100};

class StreamBehaviourTest : public ::testing::Test {
 protected:
  cuda::Graph Capture(int mode, const TestStream& stream,
                      const DeviceBuffer& buffer, uint32_t value) {
    cuda::Graph graph = nullptr;
    EXPECT_EQ(gpu_.test().StreamBeginCapture(stream.get(), mode),
              cuda::kSuccess);
    gpu_.Fill(stream.get(), buffer.words(), value);
    EXPECT_EQ(gpu_.test().StreamEndCapture(stream.get(), &graph),
              cuda::kSuccess);
    return graph;
  }

  // A user object of the graph that counts its end in `destroyed`.
  void Attach(cuda::Graph graph, std::atomic<int>& destroyed) {
    const auto destroy = [](void* count) {
      auto* const times = static_cast<std::atomic<int>*>(count);
      ++*times;
      times->notify_all();
    };
    cuda::UserObject object = nullptr;
    ASSERT_EQ(gpu_.api().UserObjectCreate(&object, &destroyed, destroy, 1,
                                          cuda::kUserObjectNoDestructorSync),
              cuda::kSuccess);
    ASSERT_EQ(gpu_.api().GraphRetainUserObject(graph, object, 1,
                                               cuda::kGraphUserObjectMove),
              cuda::kSuccess);
  }

  Gpu gpu_;
};

TEST_F(StreamBehaviourTest, AStreamsIdNeverComesBackThoughItsHandleDoes) {
  uint64_t first_id = 0;
  cuda::Stream first = nullptr;
  {
    const TestStream stream(gpu_);
    first_id = stream.id();
    first = stream.get();
    gpu_.Spin(stream.get(), kKernel);
  }
  const TestStream second(gpu_);
  EXPECT_NE(second.id(), first_id);
  RecordProperty("handle_came_back", second.get() == first ? 1 : 0);
}

TEST_F(StreamBehaviourTest, NullAndLegacyAreOneStreamAndPerThreadAnother) {
  unsigned long long null = 0;
  unsigned long long legacy = 0;
  unsigned long long own = 0;
  ASSERT_EQ(gpu_.api().StreamGetId(nullptr, &null), cuda::kSuccess);
  ASSERT_EQ(gpu_.api().StreamGetId(cuda::kLegacyStream, &legacy),
            cuda::kSuccess);
  ASSERT_EQ(gpu_.api().StreamGetId(cuda::kPerThreadStream, &own),
            cuda::kSuccess);
  EXPECT_EQ(null, legacy);
  EXPECT_NE(own, legacy);
}

TEST_F(StreamBehaviourTest, AnEventOfTheContextComesAfterAllStreams) {
  cuda::Context context = nullptr;
  ASSERT_EQ(gpu_.api().CtxGetCurrent(&context), cuda::kSuccess);
  const TestEvent all(gpu_);
  const TestEvent waited(gpu_);
  {
    const TestStream gone(gpu_);
    gpu_.Spin(gone.get(), kKernel);
    ASSERT_EQ(gpu_.test().CtxRecordEvent(context, all.get()), cuda::kSuccess);
  }
  EXPECT_EQ(gpu_.api().EventQuery(all.get()), cuda::kNotReady);
  const TestStream other(gpu_);
  ASSERT_EQ(gpu_.api().StreamWaitEvent(other.get(), all.get(), 0),
            cuda::kSuccess);
  ASSERT_EQ(gpu_.api().EventRecord(waited.get(), other.get()), cuda::kSuccess);
  EXPECT_EQ(gpu_.api().EventQuery(waited.get()), cuda::kNotReady);
  ASSERT_EQ(gpu_.api().EventSynchronize(waited.get()), cuda::kSuccess);
  EXPECT_EQ(gpu_.api().EventQuery(all.get()), cuda::kSuccess);
}

TEST_F(StreamBehaviourTest, AnEventOfTheContextSpoilsEveryCapture) {
  cuda::Context context = nullptr;
  ASSERT_EQ(gpu_.api().CtxGetCurrent(&context), cuda::kSuccess);
  const TestEvent all(gpu_);
  for (const int mode :
       {cuda::kModeGlobal, cuda::kModeThreadLocal, cuda::kModeRelaxed}) {
    const TestStream stream(gpu_);
    ASSERT_EQ(gpu_.test().StreamBeginCapture(stream.get(), mode),
              cuda::kSuccess);
    int own_mode = cuda::kModeRelaxed;
    ASSERT_EQ(gpu_.api().ThreadExchangeStreamCaptureMode(&own_mode),
              cuda::kSuccess);
    EXPECT_EQ(gpu_.test().CtxRecordEvent(context, all.get()),
              cuda::kStreamCaptureUnsupported);
    ASSERT_EQ(gpu_.api().ThreadExchangeStreamCaptureMode(&own_mode),
              cuda::kSuccess);
    cuda::Graph graph = nullptr;
    EXPECT_EQ(gpu_.test().StreamEndCapture(stream.get(), &graph),
              cuda::kCaptureInvalidatedError);
  }
}

TEST_F(StreamBehaviourTest, AnEventOfADestroyedStreamStaysUsable) {
  const TestEvent event(gpu_);
  const DeviceBuffer buffer(gpu_, 4096);
  HostFlag stop(gpu_);
  {
    const TestStream stream(gpu_);
    gpu_.FillUntil(stream.get(), buffer.words(), 1, stop.at());
    ASSERT_EQ(gpu_.api().EventRecord(event.get(), stream.get()),
              cuda::kSuccess);
  }
  EXPECT_EQ(gpu_.api().EventQuery(event.get()), cuda::kNotReady);
  stop.Set();
  EXPECT_EQ(gpu_.api().EventSynchronize(event.get()), cuda::kSuccess);
  EXPECT_EQ(gpu_.api().EventQuery(event.get()), cuda::kSuccess);
}

TEST_F(StreamBehaviourTest, AnEventThatWasNeverRecordedIsComplete) {
  const TestEvent event(gpu_);
  EXPECT_EQ(gpu_.api().EventQuery(event.get()), cuda::kSuccess);
}

TEST_F(StreamBehaviourTest, AStreamThatWaitsForAnEventComesAfterIt) {
  const TestStream first(gpu_);
  const TestStream second(gpu_);
  const TestEvent event(gpu_);
  const DeviceBuffer buffer(gpu_, 1 << 20);
  gpu_.Spin(first.get(), kKernel);
  gpu_.Fill(first.get(), buffer.words(), 1);
  ASSERT_EQ(gpu_.api().EventRecord(event.get(), first.get()), cuda::kSuccess);
  ASSERT_EQ(gpu_.api().StreamWaitEvent(second.get(), event.get(), 0),
            cuda::kSuccess);
  EXPECT_EQ(gpu_.CountMismatches(second.get(), buffer.words(), 1), 0u);
}

// To pinned memory. It waits for no other stream.
TEST_F(StreamBehaviourTest, ACopyToTheHostIsDoneInTheOrderOfItsStreamAlone) {
  const TestStream copying(gpu_);
  const TestStream held(gpu_);
  const DeviceBuffer buffer(gpu_, 1 << 20);
  const DeviceBuffer scratch(gpu_, 4096);
  HostFlag stop(gpu_);
  void* pinned = nullptr;
  ASSERT_EQ(gpu_.api().MemHostAlloc(&pinned, 1 << 20, 0), cuda::kSuccess);
  auto* const words = static_cast<volatile uint32_t*>(pinned);
  words[1] = 5;
  gpu_.Fill(copying.get(), scratch.words(), 1);  // Its first launch may wait.
  gpu_.Synchronize(copying.get());
  gpu_.FillUntil(held.get(), scratch.words(), 1, stop.at());
  gpu_.Fill(copying.get(), buffer.words(), 7);
  ASSERT_EQ(gpu_.api().MemcpyDtoHAsync(pinned, buffer.at() + 4, (1 << 20) - 4,
                                       copying.get()),
            cuda::kSuccess);
  gpu_.Synchronize(copying.get());
  EXPECT_EQ(words[0], 7u);
  EXPECT_EQ(words[(1 << 18) - 2], 7u);
  gpu_.Fill(held.get(), buffer.words(), 8);
  ASSERT_EQ(
      gpu_.api().MemcpyDtoHAsync(pinned, buffer.at(), 1 << 20, held.get()),
      cuda::kSuccess);
  EXPECT_EQ(words[0], 7u);
  stop.Set();
  gpu_.Synchronize(held.get());
  EXPECT_EQ(words[0], 8u);
  EXPECT_EQ(gpu_.api().MemFreeHost(pinned), cuda::kSuccess);
}

// Though the driver may have to load a kernel for it.
TEST_F(StreamBehaviourTest, TheFirstFillingOfAProcessWaitsForNoOtherStream) {
  const TestStream filling(gpu_);
  const TestStream held(gpu_);
  const TestEvent event(gpu_);
  const DeviceBuffer buffer(gpu_, 1 << 20);
  const DeviceBuffer scratch(gpu_, 4096);
  HostFlag stop(gpu_);
  gpu_.FillUntil(held.get(), scratch.words(), 1, stop.at());
  // From a thread, so that one that waits does not do so for ever.
  std::promise<cuda::Result> filled;
  std::future<cuda::Result> answer = filled.get_future();
  std::thread filler([&] {
    gpu_.MakeCurrent();
    for (const size_t bytes : {size_t{128}, size_t{1} << 20}) {
      const cuda::Result result = gpu_.api().MemsetD8Async(
          buffer.at() + (1 << 20) - bytes, 7, bytes, filling.get());
      if (result != cuda::kSuccess) return filled.set_value(result);
    }
    filled.set_value(gpu_.test().StreamSynchronize(filling.get()));
  });
  const bool is_done =
      answer.wait_for(std::chrono::seconds(20)) == std::future_status::ready;
  stop.Set();
  filler.join();
  EXPECT_TRUE(is_done);
  EXPECT_EQ(answer.get(), cuda::kSuccess);
}

TEST_F(StreamBehaviourTest, TheLegacyStreamComesAfterBlockingStreams) {
  cuda::Stream blocking = nullptr;
  ASSERT_EQ(gpu_.test().StreamCreate(&blocking, cuda::kStreamDefault),
            cuda::kSuccess);
  const DeviceBuffer buffer(gpu_, 4096);
  gpu_.Spin(blocking, kKernel);
  gpu_.Fill(blocking, buffer.words(), 1);
  ASSERT_EQ(gpu_.api().MemsetD32(buffer.at(), 2, 1024), cuda::kSuccess);
  EXPECT_EQ(gpu_.CountMismatches(blocking, buffer.words(), 2), 0u);
  ASSERT_EQ(gpu_.test().StreamDestroy(blocking), cuda::kSuccess);
}

TEST_F(StreamBehaviourTest, FreeingReturnsOnlyAfterTheRunningKernel) {
  const TestStream stream(gpu_);
  DeviceBuffer buffer(gpu_, 4096);
  gpu_.Spin(stream.get(), kKernel);
  buffer.Free();
  EXPECT_EQ(gpu_.test().StreamQuery(stream.get()), cuda::kSuccess);
}

TEST_F(StreamBehaviourTest, AllocatingDoesNotWaitForTheRunningKernel) {
  const TestStream stream(gpu_);
  const DeviceBuffer busy(gpu_, 4096);
  HostFlag stop(gpu_);
  gpu_.FillUntil(stream.get(), busy.words(), 1, stop.at());
  const DeviceBuffer buffer(gpu_, 1 << 20);
  EXPECT_EQ(gpu_.test().StreamQuery(stream.get()), cuda::kNotReady);
  stop.Set();
}

TEST_F(StreamBehaviourTest, ACapturedKernelRunsAtEachLaunchAndNotBefore) {
  const TestStream stream(gpu_);
  const DeviceBuffer buffer(gpu_, 4096);
  const cuda::Graph graph = Capture(cuda::kModeRelaxed, stream, buffer, 4);
  EXPECT_EQ(gpu_.CountMismatches(stream.get(), buffer.words(), 0), 0u);
  cuda::GraphExec exec = nullptr;
  ASSERT_EQ(gpu_.test().GraphInstantiate(&exec, graph, 0), cuda::kSuccess);
  ASSERT_EQ(gpu_.test().GraphLaunch(exec, stream.get()), cuda::kSuccess);
  EXPECT_EQ(gpu_.CountMismatches(stream.get(), buffer.words(), 4), 0u);
  EXPECT_EQ(gpu_.test().GraphExecDestroy(exec), cuda::kSuccess);
  EXPECT_EQ(gpu_.test().GraphDestroy(graph), cuda::kSuccess);
}

TEST_F(StreamBehaviourTest, CreatingAndMappingVmmMemoryLeavesACaptureValid) {
  const TestStream stream(gpu_);
  cuda::Graph graph = nullptr;
  ASSERT_EQ(gpu_.test().StreamBeginCapture(stream.get(), cuda::kModeGlobal),
            cuda::kSuccess);
  int status = cuda::kCaptureNone;
  EXPECT_EQ(gpu_.api().StreamIsCapturing(stream.get(), &status),
            cuda::kSuccess);
  EXPECT_EQ(status, cuda::kCaptureActive);
  const VmmBuffer buffer(gpu_, 2 << 20);
  EXPECT_EQ(gpu_.test().StreamEndCapture(stream.get(), &graph), cuda::kSuccess);
  EXPECT_EQ(gpu_.test().GraphDestroy(graph), cuda::kSuccess);
}

TEST_F(StreamBehaviourTest, AnEventQueryEndsACaptureUnlessInRelaxedMode) {
  const TestStream stream(gpu_);
  const TestEvent event(gpu_);
  cuda::Graph graph = nullptr;
  int mode = cuda::kModeRelaxed;
  ASSERT_EQ(gpu_.test().StreamBeginCapture(stream.get(), cuda::kModeGlobal),
            cuda::kSuccess);
  ASSERT_EQ(gpu_.test().ThreadExchangeStreamCaptureMode(&mode), cuda::kSuccess);
  EXPECT_EQ(gpu_.api().EventQuery(event.get()), cuda::kSuccess);
  ASSERT_EQ(gpu_.test().ThreadExchangeStreamCaptureMode(&mode), cuda::kSuccess);
  EXPECT_EQ(gpu_.api().EventQuery(event.get()),
            cuda::kStreamCaptureUnsupported);
  EXPECT_NE(gpu_.test().StreamEndCapture(stream.get(), &graph), cuda::kSuccess);
}

TEST_F(StreamBehaviourTest, AskingACapturingStreamForItsIdEndsTheCapture) {
  const TestStream stream(gpu_);
  const TestStream other(gpu_);
  unsigned long long id = 0;
  cuda::Graph graph = nullptr;
  ASSERT_EQ(gpu_.test().StreamBeginCapture(stream.get(), cuda::kModeRelaxed),
            cuda::kSuccess);
  int status = cuda::kCaptureNone;
  EXPECT_EQ(gpu_.api().StreamGetId(other.get(), &id), cuda::kSuccess);
  EXPECT_EQ(gpu_.api().StreamIsCapturing(stream.get(), &status),
            cuda::kSuccess);
  EXPECT_EQ(status, cuda::kCaptureActive);
  EXPECT_EQ(gpu_.api().StreamGetId(stream.get(), &id),
            cuda::kStreamCaptureUnsupported);
  EXPECT_NE(gpu_.test().StreamEndCapture(stream.get(), &graph), cuda::kSuccess);
}

// The legacy stream would wait for a stream that captures, if that is not a
// non-blocking one: whether it captures may be asked, who it is may not.
TEST_F(StreamBehaviourTest, AskingTheLegacyStreamForItsIdEndsACapture) {
  cuda::Stream blocking = nullptr;
  ASSERT_EQ(gpu_.test().StreamCreate(&blocking, cuda::kStreamDefault),
            cuda::kSuccess);
  for (const bool is_asked : {false, true}) {
    ASSERT_EQ(gpu_.test().StreamBeginCapture(blocking, cuda::kModeRelaxed),
              cuda::kSuccess);
    int status = cuda::kCaptureNone;
    EXPECT_EQ(gpu_.api().StreamIsCapturing(nullptr, &status),
              cuda::kCaptureImplicit);
    unsigned long long id = 0;
    if (is_asked) {
      EXPECT_EQ(gpu_.api().StreamGetId(nullptr, &id), cuda::kCaptureImplicit);
    }
    cuda::Graph graph = nullptr;
    const cuda::Result ended = gpu_.test().StreamEndCapture(blocking, &graph);
    EXPECT_EQ(ended == cuda::kSuccess, !is_asked);
    if (graph != nullptr) (void)gpu_.test().GraphDestroy(graph);
  }
  EXPECT_EQ(gpu_.test().StreamDestroy(blocking), cuda::kSuccess);
}

TEST_F(StreamBehaviourTest, ACapturingStreamCannotBeWaitedFor) {
  const TestStream stream(gpu_);
  cuda::Graph graph = nullptr;
  ASSERT_EQ(gpu_.test().StreamBeginCapture(stream.get(), cuda::kModeRelaxed),
            cuda::kSuccess);
  EXPECT_NE(gpu_.test().StreamSynchronize(stream.get()), cuda::kSuccess);
  EXPECT_NE(gpu_.test().StreamEndCapture(stream.get(), &graph), cuda::kSuccess);
}

TEST_F(StreamBehaviourTest, AnEventOfACaptureCannotBeAskedFor) {
  const TestStream stream(gpu_);
  const TestEvent event(gpu_);
  cuda::Graph graph = nullptr;
  ASSERT_EQ(gpu_.test().StreamBeginCapture(stream.get(), cuda::kModeRelaxed),
            cuda::kSuccess);
  EXPECT_EQ(gpu_.api().EventRecord(event.get(), stream.get()), cuda::kSuccess);
  EXPECT_NE(gpu_.api().EventQuery(event.get()), cuda::kSuccess);
  (void)gpu_.test().StreamEndCapture(stream.get(), &graph);  // Either way.
}

TEST_F(StreamBehaviourTest, AUserObjectLivesAsLongAsItsLastGraph) {
  std::atomic<int> destroyed{0};
  const TestStream stream(gpu_);
  const DeviceBuffer buffer(gpu_, 4096);
  const cuda::Graph graph = Capture(cuda::kModeRelaxed, stream, buffer, 4);
  Attach(graph, destroyed);
  cuda::GraphExec exec = nullptr;
  ASSERT_EQ(gpu_.test().GraphInstantiate(&exec, graph, 0), cuda::kSuccess);
  ASSERT_EQ(gpu_.test().GraphDestroy(graph), cuda::kSuccess);
  gpu_.Synchronize(stream.get());
  EXPECT_EQ(destroyed, 0);
  ASSERT_EQ(gpu_.test().GraphExecDestroy(exec), cuda::kSuccess);
  destroyed.wait(0);  // The driver may take a thread of its own for it.
  EXPECT_EQ(destroyed, 1);
}

// Graph and executable are gone while a launch is under way: its end comes
// after the launch's.
TEST_F(StreamBehaviourTest, ALaunchUnderWayKeepsItsGraphsUserObject) {
  const TestStream stream(gpu_);
  const TestStream launching(gpu_);
  const DeviceBuffer buffer(gpu_, 4096);
  bool was_under_way = false;
  // Spinning, not a gate: it would never open if destroying waited for it.
  for (auto time = kKernel; !was_under_way && time < kKernel * 64; time *= 4) {
    std::atomic<int> destroyed{0};
    const cuda::Graph graph = Capture(cuda::kModeRelaxed, stream, buffer, 4);
    Attach(graph, destroyed);
    cuda::GraphExec exec = nullptr;
    ASSERT_EQ(gpu_.test().GraphInstantiate(&exec, graph, 0), cuda::kSuccess);
    gpu_.Spin(launching.get(), time);
    ASSERT_EQ(gpu_.test().GraphLaunch(exec, launching.get()), cuda::kSuccess);
    ASSERT_EQ(gpu_.test().GraphExecDestroy(exec), cuda::kSuccess);
    ASSERT_EQ(gpu_.test().GraphDestroy(graph), cuda::kSuccess);
    const int destroyed_first = destroyed;
    was_under_way = gpu_.test().StreamQuery(launching.get()) == cuda::kNotReady;
    if (was_under_way) {
      EXPECT_EQ(destroyed_first, 0);
    }
    gpu_.Synchronize(launching.get());
    destroyed.wait(0);
    EXPECT_EQ(destroyed, 1);
  }
  EXPECT_TRUE(was_under_way) << "destroying has waited for the launch";
}

}  // namespace
}  // namespace vrampool::testing
