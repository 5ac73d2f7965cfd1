// The client's use of the driver: finding the GPU, mapping what another process
// made, streams. Runs on the fake driver and on a real GPU.

#include <fcntl.h>

#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "base/cuda/driver.h"
#include "client/cuda/gpu_context.h"
#include "client/cuda/gpu_mapping.h"
#include "client/cuda/gpu_stream_events.h"
#include "gtest/gtest.h"
#include "tests/cuda/gpu.h"
#include "tests/cuda/helper_process.h"

namespace vrampool::client {
namespace {

using testing::AnswerPacket;
using testing::Gpu;
using testing::HelperProcess;
using testing::Order;
using testing::TestStream;
using testing::Words;

constexpr uint64_t kBytes = uint64_t{4} << 20;

class ClientGpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto uuid = GpuContext::UuidOf(0);
    ASSERT_TRUE(uuid.ok()) << uuid.status().message();
    auto opened = GpuContext::Open(*uuid);
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    context_ = *opened;
  }

  Gpu gpu_;
  std::shared_ptr<const GpuContext> context_;
};

TEST_F(ClientGpuTest, PrimaryContextIsFoundByUuidAndStrangersAreNot) {
  EXPECT_EQ(context_->context(), gpu_.context());
  EXPECT_EQ(GpuContext::Open("GPU-00000000-0000-0000-0000-00000000dead")
                .status()
                .code(),
            VRAMPOOL_NOT_FOUND);
  EXPECT_EQ(GpuContext::UuidOf(63).status().code(), VRAMPOOL_NOT_FOUND);
}

TEST_F(ClientGpuTest, ScopeRestoresWhatWasCurrent) {
  ASSERT_EQ(gpu_.api().CtxSetCurrent(nullptr), cuda::kSuccess);
  { const GpuContext::Scope scope(*context_); }
  cuda::Context now = context_->context();
  ASSERT_EQ(gpu_.api().CtxGetCurrent(&now), cuda::kSuccess);
  EXPECT_EQ(now, nullptr);
  gpu_.MakeCurrent();
}

TEST_F(ClientGpuTest, LegacySlabOfAnotherProcessIsMappedAndItsSizeChecked) {
  HelperProcess owner;
  const AnswerPacket made = owner.Do({.order = Order::kAllocate, .a = kBytes});
  std::array<uint8_t, 64> handle;
  std::memcpy(handle.data(), made.handle, handle.size());
  EXPECT_EQ(GpuMapping::OpenIpc(context_, handle, 2 * kBytes).status().code(),
            VRAMPOOL_INTERNAL);
  auto mapping = GpuMapping::OpenIpc(context_, handle, kBytes);
  ASSERT_TRUE(mapping.ok()) << mapping.status().message();
  const Words words{.at = mapping->base(), .count = kBytes / 4};
  const TestStream stream(gpu_);
  gpu_.Fill(stream.get(), words, 7);
  EXPECT_EQ(gpu_.CountMismatches(stream.get(), words, 7), 0u);
  EXPECT_TRUE(mapping->Close());
}

TEST_F(ClientGpuTest, VmmSlabOfAnotherProcessIsMapped) {
  HelperProcess owner;
  (void)owner.Do({.order = Order::kCreateVmm, .a = kBytes});
  const UniqueFd fd = owner.TakeDescriptor();
  auto mapping = GpuMapping::ImportVmm(context_, fd.get(), kBytes);
  ASSERT_TRUE(mapping.ok()) << mapping.status().message();
  EXPECT_EQ(mapping->base() % GpuMapping::kVmmAlignment, 0u);
  const TestStream stream(gpu_);
  const Words words{.at = mapping->base(), .count = kBytes / 4};
  gpu_.Fill(stream.get(), words, 9);
  EXPECT_EQ(gpu_.CountMismatches(stream.get(), words, 9), 0u);
  EXPECT_TRUE(mapping->Close());
}

TEST_F(ClientGpuTest, DescriptorThatIsNoAllocationFailsCleanly) {
  const UniqueFd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_FALSE(GpuMapping::ImportVmm(context_, fd.get(), kBytes).ok());
  EXPECT_FALSE(GpuMapping::ImportVmm(context_, -1, kBytes).ok());
}

TEST_F(ClientGpuTest, StreamsAreToldApartAndEventsOrderThem) {
  GpuStreamEvents events(context_);
  const TestStream stream(gpu_);
  const TestStream other(gpu_);
  const auto use = events.Identify(stream.get());
  ASSERT_TRUE(use.ok()) << use.status().message();
  EXPECT_EQ(use->id, stream.id());
  EXPECT_NE(use->key, events.Identify(other.get())->key);
  EXPECT_EQ(events.Identify(nullptr)->key,
            events.Identify(cuda::kLegacyStream)->key);
  const cuda::Event event = *events.Create();
  ASSERT_TRUE(events.Record(event, stream.get()).ok());
  ASSERT_TRUE(events.MakeWait(other.get(), event).ok());
  ASSERT_TRUE(events.Synchronize().ok());
  EXPECT_TRUE(events.IsDone(event));
  events.Destroy(event);
}

TEST_F(ClientGpuTest, CaptureIsSeenAndNotSpoiledByQuestions) {
  GpuStreamEvents events(context_);
  const TestStream stream(gpu_);
  const TestStream other(gpu_);
  const cuda::Event event = *events.Create();
  ASSERT_TRUE(events.Record(event, other.get()).ok());
  const auto announced = events.Announce(stream.get());
  ASSERT_TRUE(announced.ok()) << announced.status().message();
  gpu_.Expect(gpu_.test().StreamBeginCapture(stream.get(), cuda::kModeGlobal),
              "capturing");
  const auto capturing = events.Identify(stream.get());
  ASSERT_TRUE(capturing.ok()) << capturing.status().message();
  EXPECT_TRUE(capturing->is_capturing);
  EXPECT_FALSE(capturing->takes_events);
  EXPECT_EQ(capturing->key, announced->key);
  EXPECT_FALSE(events.captures().may_be_unannounced());
  EXPECT_EQ(events.Announce(stream.get()).status().code(),
            VRAMPOOL_INVALID_ARGUMENT);
  (void)events.IsDone(event);
  cuda::Graph graph = nullptr;
  EXPECT_EQ(gpu_.test().StreamEndCapture(stream.get(), &graph), cuda::kSuccess);
  gpu_.Expect(gpu_.test().GraphDestroy(graph), "destroying the graph");
  events.Withdraw(stream.get());
  EXPECT_EQ(events.Identify(stream.get())->key, announced->key);
  events.Destroy(event);
}

TEST_F(ClientGpuTest, CaptureThatNobodyAnnouncedIsEachTimeAStranger) {
  GpuStreamEvents events(context_);
  const TestStream stream(gpu_);
  gpu_.Expect(gpu_.test().StreamBeginCapture(stream.get(), cuda::kModeGlobal),
              "capturing");
  const auto first = events.Identify(stream.get());
  const auto second = events.Identify(stream.get());
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_TRUE(first->is_capturing && second->is_capturing);
  EXPECT_NE(first->key, second->key);
  EXPECT_TRUE(GpuStreamEvents(context_).captures().may_be_unannounced());
  cuda::Graph graph = nullptr;
  EXPECT_EQ(gpu_.test().StreamEndCapture(stream.get(), &graph), cuda::kSuccess);
  gpu_.Expect(gpu_.test().GraphDestroy(graph), "destroying the graph");
}

// A stream that the legacy one waits for captures.
TEST_F(ClientGpuTest, TheLegacyStreamTellsOfACaptureWithoutSpoilingIt) {
  GpuStreamEvents events(context_);
  cuda::Stream blocking = nullptr;
  gpu_.Expect(gpu_.test().StreamCreate(&blocking, cuda::kStreamDefault),
              "making a stream");
  for (const bool is_announced : {true, false}) {
    if (is_announced) {
      ASSERT_TRUE(events.Announce(blocking).ok());
    }
    gpu_.Expect(gpu_.test().StreamBeginCapture(blocking, cuda::kModeRelaxed),
                "capturing");
    const auto legacy = events.Identify(nullptr);
    ASSERT_TRUE(legacy.ok()) << legacy.status().message();
    EXPECT_FALSE(legacy->takes_events || legacy->is_capturing);
    EXPECT_EQ(events.captures().may_be_unannounced(), !is_announced);
    cuda::Graph graph = nullptr;
    EXPECT_EQ(gpu_.test().StreamEndCapture(blocking, &graph), cuda::kSuccess);
    gpu_.Expect(gpu_.test().GraphDestroy(graph), "destroying the graph");
    if (is_announced) events.Withdraw(blocking);
  }
  EXPECT_TRUE(events.Identify(nullptr)->takes_events);
  gpu_.Expect(gpu_.test().StreamDestroy(blocking), "destroying a stream");
}

// One handle names the default streams of all threads.
TEST_F(ClientGpuTest, CapturesOfPerThreadStreamsAreToldApart) {
  GpuStreamEvents events(context_);
  const cuda::Stream own = cuda::kPerThreadStream;
  const auto capture = [&](const std::function<void(StreamKey)>& inside) {
    const auto announced = events.Announce(own);
    ASSERT_TRUE(announced.ok()) << announced.status().message();
    ASSERT_EQ(gpu_.test().StreamBeginCapture(own, cuda::kModeThreadLocal),
              cuda::kSuccess);
    inside(announced->key);
    EXPECT_EQ(events.Identify(own)->key, announced->key);
    cuda::Graph graph = nullptr;
    EXPECT_EQ(gpu_.test().StreamEndCapture(own, &graph), cuda::kSuccess);
    EXPECT_EQ(gpu_.test().GraphDestroy(graph), cuda::kSuccess);
    events.Withdraw(own);
    EXPECT_EQ(events.Identify(own)->key, announced->key);
  };
  capture([&](StreamKey mine) {
    std::thread([&] {
      gpu_.MakeCurrent();
      capture([&](StreamKey others) { EXPECT_NE(others, mine); });
    }).join();
  });
  EXPECT_FALSE(events.captures().may_be_unannounced());
}

// From the announcement on, not from the capture's beginning: in between it
// would be too late to look.
TEST_F(ClientGpuTest, TheLegacyStreamTakesNoEventsWhileACaptureIsAnnounced) {
  GpuStreamEvents events(context_);
  auto others = std::make_unique<GpuStreamEvents>(context_);
  const TestStream stream(gpu_);
  const TestStream other(gpu_);
  const cuda::Event event = *events.Create();
  ASSERT_TRUE(others->Announce(stream.get()).ok());
  EXPECT_FALSE(events.Identify(nullptr)->takes_events);
  EXPECT_EQ(events.RecordAll(event).code(), VRAMPOOL_UNAVAILABLE);
  for (const cuda::Stream legacy : {cuda::Stream{}, cuda::kLegacyStream}) {
    EXPECT_EQ(events.Record(event, legacy).code(), VRAMPOOL_UNAVAILABLE);
    EXPECT_EQ(events.MakeWait(legacy, event).code(), VRAMPOOL_UNAVAILABLE);
  }
  EXPECT_TRUE(events.Record(event, other.get()).ok());
  EXPECT_TRUE(events.MakeWait(other.get(), event).ok());
  others.reset();  // Its captures with it.
  EXPECT_TRUE(events.Record(event, nullptr).ok());
  EXPECT_TRUE(events.MakeWait(nullptr, event).ok());
  EXPECT_FALSE(events.captures().may_be_unannounced());
  events.Destroy(event);
}

TEST_F(ClientGpuTest, TheLegacyStreamTakesNoEventThatSpoilsACapture) {
  GpuStreamEvents events(context_);
  const testing::DeviceBuffer buffer(gpu_, 4096);
  cuda::Stream blocking = nullptr;
  gpu_.Expect(gpu_.test().StreamCreate(&blocking, cuda::kStreamDefault),
              "making a stream");
  const cuda::Event event = *events.Create();
  gpu_.Expect(gpu_.test().StreamBeginCapture(blocking, cuda::kModeRelaxed),
              "capturing");
  EXPECT_EQ(events.Record(event, nullptr).code(), VRAMPOOL_UNAVAILABLE);
  EXPECT_EQ(events.RecordAll(event).code(), VRAMPOOL_UNAVAILABLE);
  EXPECT_FALSE(events.Identify(blocking)->is_spoilt);
  // As anybody else would spoil it.
  EXPECT_NE(gpu_.api().MemsetD32(buffer.at(), 2, 1024), cuda::kSuccess);
  const auto spoilt = events.Identify(blocking);
  ASSERT_TRUE(spoilt.ok()) << spoilt.status().message();
  EXPECT_TRUE(spoilt->is_capturing && spoilt->is_spoilt);
  EXPECT_FALSE(spoilt->takes_events);
  cuda::Graph graph = nullptr;
  EXPECT_NE(gpu_.test().StreamEndCapture(blocking, &graph), cuda::kSuccess);
  gpu_.Expect(gpu_.test().StreamDestroy(blocking), "destroying a stream");
  events.Destroy(event);
}

}  // namespace
}  // namespace vrampool::client
