// PyTorch's allocator led to the pool, by a stand-in for its library
// (stand_in/): what cudaMalloc() and cudaFree() promise still holds.

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "tests/cuda/client_stream_rig.h"

namespace vrampool::testing {
namespace {

constexpr int kOutOfMemory = 2;  // cudaErrorMemoryAllocation
constexpr uint64_t kLarge = 8 * kMiB;

TEST(TorchLeadErrorTest, AGpuThatIsNotThereIsSaid) {
  EXPECT_EQ(vrampool_torch_lead(-1), VRAMPOOL_NOT_FOUND);
  EXPECT_EQ(vrampool_torch_lead(63), VRAMPOOL_NOT_FOUND);
  vrampool_torch_leave(-1);
  vrampool_torch_leave(1000);
}

// The first suite: nobody has loaded the library yet.
TEST(TorchLeadErrorTest, WithoutPyTorchItIsSaidWhatToDo) {
  ASSERT_EQ(::dlopen(VRAMPOOL_STAND_IN, RTLD_LAZY | RTLD_NOLOAD), nullptr);
  EXPECT_EQ(vrampool_torch_lead(0), VRAMPOOL_NOT_FOUND);
  EXPECT_NE(std::string(vrampool_last_error_message()).find("import PyTorch"),
            std::string::npos);
}

class TorchLeadTest : public ::testing::Test {
 protected:
  // The library is loaded by the first test that wants it.
  void SetUp() override {
    client_ = vrampool_device_client(0);
    ASSERT_NE(client_, nullptr) << vrampool_last_error_message();
    library_ = ::dlopen(VRAMPOOL_STAND_IN, RTLD_LAZY);
    ASSERT_NE(library_, nullptr) << ::dlerror();
    Find("stand_in_malloc", malloc_);
    Find("stand_in_free", free_);
    Find("stand_in_get_info", get_info_);
    Find("stand_in_can_access", can_access_);
    Find("stand_in_begin_capture", begin_capture_);
    Find("stand_in_end_capture", end_capture_);
  }
  void TearDown() override {
    vrampool_torch_leave(0);
    if (client_ == nullptr) return;
    EXPECT_EQ(vrampool_quiesce(client_), VRAMPOOL_OK);
    EXPECT_EQ(usage().live_blocks, 0u);
    EXPECT_EQ(usage().leased_bytes, 0u);
  }

  template <typename Function>
  void Find(const char* name, Function& function) const {
    function = reinterpret_cast<Function>(::dlsym(library_, name));
    ASSERT_NE(function, nullptr);
  }
  void Lead() {
    ASSERT_EQ(vrampool_torch_lead(0), VRAMPOOL_OK)
        << vrampool_last_error_message();
  }
  void* Malloc(size_t bytes) {
    void* p = nullptr;
    EXPECT_EQ(malloc_(&p, bytes), 0) << vrampool_last_error_message();
    return p;
  }
  vrampool_usage usage() const {
    vrampool_usage now{};
    now.struct_size = sizeof(now);
    EXPECT_EQ(vrampool_client_usage(client_, &now), VRAMPOOL_OK);
    return now;
  }
  bool IsOfThePool(void* p) const {
    vrampool_block_info info{};
    info.struct_size = sizeof(info);
    return vrampool_describe(client_, p, &info) == VRAMPOOL_OK;
  }

  Gpu gpu_;
  vrampool_client* client_ = nullptr;
  void* library_ = nullptr;
  int (*malloc_)(void**, size_t) = nullptr;
  int (*free_)(void*) = nullptr;
  int (*get_info_)(size_t*, size_t*) = nullptr;
  int (*can_access_)(int*, int, int) = nullptr;
  int (*begin_capture_)(cuda::Stream, int) = nullptr;
  int (*end_capture_)(cuda::Stream, cuda::Graph*) = nullptr;
};

TEST_F(TorchLeadTest, SegmentsAreBlocksWhileItIsLed) {
  void* const before = Malloc(kMiB);
  EXPECT_FALSE(IsOfThePool(before));
  Lead();
  void* const during = Malloc(2 * kMiB);
  EXPECT_TRUE(IsOfThePool(during));
  EXPECT_EQ(usage().live_bytes, 2 * kMiB);
  vrampool_torch_leave(0);
  void* const after = Malloc(kMiB);
  EXPECT_FALSE(IsOfThePool(after));
  // Each goes to where it came from.
  for (void* const p : {before, during, after}) EXPECT_EQ(free_(p), 0);
  EXPECT_EQ(usage().live_blocks, 0u);
}

// Another GPU's kernels cannot reach memory that was opened by its handle.
TEST_F(TorchLeadTest, GpusReachEachOtherWhereTheirMemoryLetsThem) {
  Lead();
  vrampool_info info{};
  info.struct_size = sizeof(info);
  ASSERT_EQ(vrampool_client_info(client_, &info), VRAMPOOL_OK);
  const int expected = info.kind == VRAMPOOL_KIND_CUDA_IPC ? 0 : 1;
  int can_access = -1;
  EXPECT_EQ(can_access_(&can_access, 0, 1), 0);
  EXPECT_EQ(can_access, expected);
  EXPECT_EQ(can_access_(&can_access, 1, 0), 0);
  EXPECT_EQ(can_access, expected);
  EXPECT_EQ(can_access_(&can_access, 0, -1), 101);
  EXPECT_EQ(can_access_(&can_access, 1 << 20, 0), 101);
  vrampool_torch_leave(0);  // Segments of the pool may live on.
  EXPECT_EQ(can_access_(&can_access, 1, 0), 0);
  EXPECT_EQ(can_access, expected);
}

TEST_F(TorchLeadTest, LeadingTwiceChangesNothing) {
  Lead();
  Lead();
  void* const p = Malloc(kMiB);
  EXPECT_TRUE(IsOfThePool(p));
  EXPECT_EQ(free_(p), 0);
}

TEST_F(TorchLeadTest, WhatIsFreedTwiceIsCudasError) {
  Lead();
  void* const p = Malloc(kMiB);
  EXPECT_EQ(free_(p), 0);
  EXPECT_NE(free_(p), 0);
  EXPECT_EQ(free_(nullptr), 0);
}

TEST_F(TorchLeadTest, NoMemoryIsCudasErrorWithTheReasonBehindIt) {
  Lead();
  void* p = nullptr;
  EXPECT_EQ(malloc_(&p, 2 * kQuota), kOutOfMemory);
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_OVER_QUOTA);
  EXPECT_EQ(p, nullptr);
  p = Malloc(kMiB);
  EXPECT_EQ(free_(p), 0);
}

TEST_F(TorchLeadTest, FreeingDoesNotWaitForTheGpuAndNobodyMeetsTheLateWriter) {
  Lead();
  const TestStream writer(gpu_);
  const TestStream reader(gpu_);
  void* const given = Malloc(kLarge);
  Gate gate(gpu_);
  gate.HoldBack(writer.get());
  gpu_.Fill(writer.get(), WordsAt(given, kLarge), kOld);
  EXPECT_EQ(free_(given), 0);
  EXPECT_TRUE(IsBusy(gpu_, writer.get())) << "it has waited for the GPU";
  // Neither for the stream that wrote nor for another, within the quota.
  void* const got = vrampool_client_allocate(client_, kLarge, reader.get());
  ASSERT_NE(got, nullptr) << vrampool_last_error_message();
  EXPECT_EQ(
      CountLost(gpu_, gate, {writer.get(), reader.get(), WordsAt(got, kLarge)}),
      0u);
  vrampool_client_deallocate(client_, got, kLarge, reader.get());
}

TEST_F(TorchLeadTest, MemoryIsReadyForEveryStream) {
  Lead();
  const TestStream writer(gpu_);
  // All of the quota, given up behind work that is held back.
  void* const given = vrampool_client_allocate(client_, kQuota, writer.get());
  ASSERT_NE(given, nullptr) << vrampool_last_error_message();
  Gate gate(gpu_);
  gate.HoldBack(writer.get());
  gpu_.Fill(writer.get(), WordsAt(given, kQuota), kOld);
  vrampool_client_deallocate(client_, given, kQuota, writer.get());
  // Opened when the block has been cut: whoever does not wait is seen.
  std::thread opener([&] {
    EXPECT_TRUE(Eventually([&] { return usage().live_blocks == 1; }));
    gate.Open();
  });
  void* const got = Malloc(kLarge);
  EXPECT_FALSE(IsBusy(gpu_, writer.get()));
  opener.join();
  EXPECT_EQ(free_(got), 0);
}

// PyTorch's way out of a want of memory: it frees what it caches, and asks
// again.
TEST_F(TorchLeadTest, WhatWasFreedIsRoomAtOnce) {
  Lead();
  std::vector<void*> segments(4);
  for (void*& one : segments) one = Malloc(kQuota / 4);
  const TestStream stream(gpu_);
  gpu_.Spin(stream.get(), std::chrono::milliseconds(50));
  void* whole = nullptr;
  EXPECT_EQ(malloc_(&whole, kQuota), kOutOfMemory);
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_OVER_QUOTA);
  for (void* const one : segments) EXPECT_EQ(free_(one), 0);
  whole = Malloc(kQuota);
  EXPECT_FALSE(IsBusy(gpu_, stream.get()));
  EXPECT_EQ(free_(whole), 0);
}

TEST_F(TorchLeadTest, HowMuchThereIsIsTheTenantsBudget) {
  size_t free = 0;
  size_t total = 0;
  ASSERT_EQ(get_info_(&free, &total), 0);
  EXPECT_GT(total, kQuota);
  Lead();
  void* const kept = Malloc(kQuota / 4);
  void* const gone = Malloc(kQuota / 2);
  ASSERT_EQ(get_info_(&free, &total), 0);
  EXPECT_EQ(total, kQuota);
  EXPECT_EQ(free, kQuota / 4);
  EXPECT_EQ(free_(gone), 0);
  // A slab of CUDA_IPC counts until it is unmapped.
  EXPECT_EQ(vrampool_quiesce(client_), VRAMPOOL_OK);
  ASSERT_EQ(get_info_(&free, &total), 0);
  EXPECT_EQ(free, kQuota / 4 * 3);
  EXPECT_EQ(free_(kept), 0);
  vrampool_torch_leave(0);
  ASSERT_EQ(get_info_(&free, &total), 0);
  EXPECT_GT(total, kQuota);
}

// In whatever mode, an event of all streams would spoil it.
TEST_F(TorchLeadTest, MemoryComesAndGoesWhileAStreamCaptures) {
  Lead();
  const TestStream stream(gpu_);
  for (const int mode :
       {cuda::kModeGlobal, cuda::kModeThreadLocal, cuda::kModeRelaxed}) {
    void* const before = Malloc(kMiB);
    EXPECT_EQ(vrampool_torch_await_no_capture(0), VRAMPOOL_OK);
    ASSERT_EQ(begin_capture_(stream.get(), mode), 0);
    EXPECT_EQ(vrampool_torch_await_no_capture(1), VRAMPOOL_TIMEOUT);
    void* const during = Malloc(kLarge);
    gpu_.Fill(stream.get(), WordsAt(during, kLarge), kNew);
    EXPECT_EQ(free_(before), 0);
    // Before it fails it looks for what could be given back.
    void* none = nullptr;
    EXPECT_EQ(malloc_(&none, kQuota), kOutOfMemory);
    cuda::Graph graph = nullptr;
    EXPECT_EQ(end_capture_(stream.get(), &graph), 0) << "of mode " << mode;
    EXPECT_NE(graph, nullptr);
    EXPECT_EQ(vrampool_torch_await_no_capture(0), VRAMPOOL_OK);
    gpu_.Expect(gpu_.test().GraphDestroy(graph), "destroying a graph");
    EXPECT_EQ(free_(during), 0);
    EXPECT_EQ(vrampool_quiesce(client_), VRAMPOOL_OK);
  }
}

TEST_F(TorchLeadTest, AFreeDuringACaptureStillComesBehindTheLateWriter) {
  Lead();
  const TestStream writer(gpu_);
  const TestStream captured(gpu_);
  void* const given = Malloc(kLarge);
  Gate gate(gpu_);
  gate.HoldBack(writer.get());
  gpu_.Fill(writer.get(), WordsAt(given, kLarge), kOld);
  ASSERT_EQ(begin_capture_(captured.get(), cuda::kModeRelaxed), 0);
  std::thread opener([&] { gate.Open(); });
  EXPECT_EQ(free_(given), 0);  // Waits for the GPU.
  EXPECT_FALSE(IsBusy(gpu_, writer.get()));
  opener.join();
  cuda::Graph graph = nullptr;
  EXPECT_EQ(end_capture_(captured.get(), &graph), 0);
  gpu_.Expect(gpu_.test().GraphDestroy(graph), "destroying a graph");
}

TEST_F(TorchLeadTest, WhyThereWasNoMemoryIsToldOnce) {
  Lead();
  char text[200] = "";
  EXPECT_EQ(free_(Malloc(kMiB)), 0);
  EXPECT_EQ(vrampool_torch_refusal(text, sizeof(text)), 0u);
  void* p = nullptr;
  EXPECT_EQ(malloc_(&p, 2 * kQuota), kOutOfMemory);
  EXPECT_EQ(vrampool_client_usage(client_, nullptr), VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_GT(vrampool_torch_refusal(nullptr, 0), sizeof("asked"));
  EXPECT_EQ(malloc_(&p, 2 * kQuota), kOutOfMemory);
  const size_t length = vrampool_torch_refusal(text, sizeof(text));
  EXPECT_NE(std::string(text).find("asked"), std::string::npos) << text;
  EXPECT_EQ(std::string(text).size(), std::min(length, sizeof(text) - 1));
  EXPECT_EQ(vrampool_torch_refusal(text, sizeof(text)), 0u);
}

TEST_F(TorchLeadTest, ManyThreads) {
  Lead();
  std::atomic<int> had = 0;
  std::vector<std::thread> threads;
  for (unsigned seed = 1; seed <= 4; ++seed) {
    threads.emplace_back([&, seed] {
      gpu_.MakeCurrent();
      std::vector<void*> mine;
      for (unsigned i = 0; i < 200; ++i) {
        void* p = nullptr;
        if (malloc_(&p, ((seed * i) % 4 + 1) * kMiB / 2) == 0) {
          mine.push_back(p);
          ++had;
        }
        if (mine.size() > 3 || p == nullptr) {
          for (void* const one : std::exchange(mine, {})) {
            EXPECT_EQ(free_(one), 0);
          }
        }
      }
      for (void* const one : mine) EXPECT_EQ(free_(one), 0);
    });
  }
  for (std::thread& one : threads) one.join();
  EXPECT_GT(had.load(), 200);
}

}  // namespace
}  // namespace vrampool::testing
