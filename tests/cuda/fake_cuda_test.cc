// What only the fake driver can do: it is steered, and its figures are exact.
// The behaviours that it shares with the real one are in *_behaviour_test.cc.

#include "tests/cuda/fake/fake_cuda.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <cstring>
#include <thread>
#include <vector>

#include "base/cuda/driver.h"
#include "gtest/gtest.h"
#include "tests/cuda/fake_directory.h"
#include "tests/cuda/gpu.h"
#include "tests/cuda/helper_process.h"

namespace vrampool::testing {
namespace {

constexpr size_t kTotal = size_t{1} << 30;
constexpr size_t kContext = size_t{16} << 20;
constexpr size_t kBytes = size_t{4} << 20;
constexpr char kFirst[] = "GPU-fa4ec0da-0000-4000-8000-000000000001";
constexpr char kSecond[] = "MIG-fa4ec0da-0000-4000-8000-000000000002";
constexpr char kConfig[] =
    "devices=2\n"
    "total_bytes=1073741824\n"
    "context_bytes=16777216\n"
    "name0=Fake A\n"
    "uuid0=GPU-fa4ec0da-0000-4000-8000-000000000001\n"
    "uuid1=MIG-fa4ec0da-0000-4000-8000-000000000002\n"
    "mig1=1\n";

using fake_cuda::Setting;

class FakeCudaTest : public ::testing::Test {
 protected:
  ~FakeCudaTest() override {
    fake_.set(Setting::kDirty, 0);
    fake_.set(Setting::kNonIsolating, 0);
    fake_.set(Setting::kOrphans, 0);
  }

  static OrderPacket Open(const DeviceBuffer& buffer) {
    OrderPacket order{.order = Order::kOpen};
    const cuda::IpcMemHandle handle = buffer.handle();
    std::memcpy(order.handle, &handle, sizeof(order.handle));
    return order;
  }
  uint64_t Mismatches(const DeviceBuffer& buffer, uint32_t value) {
    return gpu_.CountMismatches(stream_.get(), buffer.words(), value);
  }
  // The consumer waits for an event that the producer will never complete.
  void LetWaitForKilledProducer(HelperProcess& consumer) {
    HelperProcess producer;
    const AnswerPacket made = producer.Do({.order = Order::kCreateEvent});
    const AnswerPacket memory =
        producer.Do({.order = Order::kAllocate, .a = kBytes});
    producer.Do({.order = Order::kFillForever,
                 .address = memory.value,
                 .a = 16,
                 .b = 1});
    producer.Do({.order = Order::kRecordEvent});
    OrderPacket open{.order = Order::kOpenEvent};
    std::memcpy(open.handle, made.handle, sizeof(open.handle));
    consumer.Do(open);
    consumer.Send({.order = Order::kAwaitEvent});
  }

  const OwnFakeDirectory& devices_ = Devices();
  Gpu gpu_;
  TestStream stream_{gpu_};
  const fake_cuda::Functions fake_ =
      fake_cuda::FindFunctions(cuda::FindDriverSymbol);

 private:
  // One for the program: the driver reads the variable once.
  static const OwnFakeDirectory& Devices() {
    static const OwnFakeDirectory devices(kConfig);
    return devices;
  }
};

TEST_F(FakeCudaTest, FreeBytesAreTheTotalLessContextsAndAllocations) {
  EXPECT_EQ(gpu_.FreeBytes(), kTotal - kContext);
  const DeviceBuffer buffer(gpu_, 1);
  EXPECT_EQ(gpu_.FreeBytes(), kTotal - kContext - (size_t{2} << 20));
  HelperProcess helper;
  helper.Do({.order = Order::kAllocate, .a = kBytes});
  EXPECT_EQ(gpu_.FreeBytes(),
            kTotal - 2 * kContext - (size_t{2} << 20) - kBytes);
  helper.Kill();
  EXPECT_EQ(gpu_.FreeBytes(), kTotal - kContext - (size_t{2} << 20));
}

TEST_F(FakeCudaTest, MoreThanIsFreeIsOutOfMemoryAndChangesNothing) {
  const size_t free = gpu_.FreeBytes();
  cuda::DevicePtr pointer = 0;
  EXPECT_EQ(gpu_.api().MemAlloc(&pointer, free + 1), cuda::kOutOfMemory);
  EXPECT_EQ(gpu_.api().MemAlloc(&pointer, ~size_t{0}), cuda::kOutOfMemory);
  EXPECT_EQ(gpu_.FreeBytes(), free);
  const DeviceBuffer all(gpu_, free);
  EXPECT_EQ(gpu_.FreeBytes(), 0u);
}

TEST_F(FakeCudaTest, ADescriptorAloneKeepsItsBytesCharged) {
  const size_t free = gpu_.FreeBytes();
  VmmBuffer buffer(gpu_, kBytes);
  UniqueFd fd(buffer.Export());
  buffer.Free();
  EXPECT_EQ(gpu_.FreeBytes(), free - kBytes);
  fd.reset();
  EXPECT_EQ(gpu_.FreeBytes(), free);
}

TEST_F(FakeCudaTest, AProcessSeesTheDevicesThatTheVariableNames) {
  ::setenv("CUDA_VISIBLE_DEVICES", kSecond, 1);
  HelperProcess helper;
  ::unsetenv("CUDA_VISIBLE_DEVICES");
  const size_t free = gpu_.FreeBytes();
  helper.Do({.order = Order::kAllocate, .a = kBytes});
  EXPECT_EQ(gpu_.FreeBytes(), free);
  EXPECT_EQ(helper.Do({.order = Order::kFreeBytes}).value,
            kTotal - kContext - kBytes);
}

TEST_F(FakeCudaTest, AnOrderedFailureHitsTheNextCallsOnly) {
  ASSERT_TRUE(
      fake_.fail("cuMemAlloc", cuda::kUnknown, 2, fake_cuda::kThisProcess));
  cuda::DevicePtr pointer = 0;
  EXPECT_EQ(gpu_.api().MemAlloc(&pointer, kBytes), cuda::kUnknown);
  EXPECT_EQ(gpu_.api().MemAlloc(&pointer, kBytes), cuda::kUnknown);
  ASSERT_EQ(gpu_.api().MemAlloc(&pointer, kBytes), cuda::kSuccess);
  EXPECT_EQ(gpu_.api().MemFree(pointer), cuda::kSuccess);
}

TEST_F(FakeCudaTest, ABrokenProcessFailsAndOthersGoOn) {
  HelperProcess helper;
  const AnswerPacket memory =
      helper.Do({.order = Order::kAllocate, .a = kBytes});
  ASSERT_TRUE(fake_.break_process(helper.pid(), cuda::kIllegalAddress));
  EXPECT_EQ(helper.Do({.order = Order::kFree, .address = memory.value}).result,
            cuda::kIllegalAddress);
  gpu_.Synchronize(stream_.get());
}

TEST_F(FakeCudaTest, ALostDeviceFailsInEveryProcessUntilItIsBack) {
  HelperProcess helper;
  const DeviceBuffer buffer(gpu_, kBytes);
  fake_.lose_device(0, cuda::kEccUncorrectable);
  EXPECT_EQ(gpu_.api().CtxSynchronize(), cuda::kEccUncorrectable);
  fake_.lose_device(0, 0);
  EXPECT_EQ(gpu_.api().CtxSynchronize(), cuda::kSuccess);
}

TEST_F(FakeCudaTest, ADirtyDriverShowsResidue) {
  fake_.set(Setting::kDirty, 1);
  const DeviceBuffer buffer(gpu_, kBytes);
  const VmmBuffer vmm(gpu_, kBytes);
  EXPECT_NE(Mismatches(buffer, 0), 0u);
  EXPECT_NE(gpu_.CountMismatches(stream_.get(), vmm.words(), 0), 0u);
}

TEST_F(FakeCudaTest, ADriverThatDoesNotIsolateShowsNewBytesToOldHolders) {
  fake_.set(Setting::kNonIsolating, 1);
  HelperProcess helper;
  DeviceBuffer buffer(gpu_, kBytes);
  const uint64_t there = helper.Do(Open(buffer)).value;
  const size_t before = gpu_.FreeBytes();
  buffer.Free();
  EXPECT_EQ(gpu_.FreeBytes(), before + kBytes);
  const DeviceBuffer fresh(gpu_, kBytes);
  gpu_.Fill(stream_.get(), fresh.words(), 77);
  gpu_.Synchronize(stream_.get());
  EXPECT_EQ(helper
                .Do({.order = Order::kMismatches,
                     .address = there,
                     .a = kBytes / 4,
                     .b = 77})
                .value,
            0u);
}

TEST_F(FakeCudaTest, AFreeWaitsForWorkAndHoldsUpLaunchesOfOtherThreads) {
  DeviceBuffer buffer(gpu_, kBytes);
  DeviceBuffer target(gpu_, kBytes);
  ASSERT_EQ(fake_.launch_gate(stream_.get(), 1), cuda::kSuccess);
  std::thread freeing([&] {
    gpu_.MakeCurrent();
    buffer.Free();
  });
  fake_.await_stalled(1, 0);
  std::thread launching([&] {
    gpu_.MakeCurrent();
    const TestStream other(gpu_);
    gpu_.Fill(other.get(), target.words(), 5);
    gpu_.Synchronize(other.get());
  });
  fake_.await_stalled(1, 1);
  fake_.open_gate(1);
  freeing.join();
  launching.join();
  EXPECT_EQ(Mismatches(target, 5), 0u);
}

TEST_F(FakeCudaTest, ADestroyedStreamsHandleComesBackWithAnotherId) {
  cuda::Stream first = nullptr;
  cuda::Stream second = nullptr;
  unsigned long long ids[2] = {};
  ASSERT_EQ(gpu_.test().StreamCreate(&first, 1), cuda::kSuccess);
  ASSERT_EQ(gpu_.api().StreamGetId(first, &ids[0]), cuda::kSuccess);
  ASSERT_EQ(fake_.launch_gate(first, 2), cuda::kSuccess);
  ASSERT_EQ(gpu_.test().StreamDestroy(first), cuda::kSuccess);
  ASSERT_EQ(gpu_.test().StreamCreate(&second, 1), cuda::kSuccess);
  ASSERT_EQ(gpu_.api().StreamGetId(second, &ids[1]), cuda::kSuccess);
  EXPECT_EQ(first, second);
  EXPECT_NE(ids[0], ids[1]);
  EXPECT_EQ(gpu_.test().StreamQuery(second), cuda::kSuccess);
  fake_.open_gate(2);
  ASSERT_EQ(gpu_.test().StreamDestroy(second), cuda::kSuccess);
}

TEST_F(FakeCudaTest, AKilledProducersWaitersAreReleasedByDefault) {
  HelperProcess consumer;
  LetWaitForKilledProducer(consumer);
  const auto answer = consumer.Await(std::chrono::seconds(60));
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->result, cuda::kSuccess);
}

TEST_F(FakeCudaTest, AKilledProducersWaitersFailWhenSoSet) {
  fake_.set(Setting::kOrphans, 2);
  HelperProcess consumer;
  LetWaitForKilledProducer(consumer);
  const auto answer = consumer.Await(std::chrono::seconds(60));
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->result, cuda::kLaunchFailed);
}

TEST_F(FakeCudaTest, AKilledProducersWaitersWaitForAsLongAsSoSet) {
  fake_.set(Setting::kOrphans, 1);
  HelperProcess consumer;
  LetWaitForKilledProducer(consumer);
  EXPECT_FALSE(consumer.Await(std::chrono::seconds(0)).has_value());
  fake_.set(Setting::kOrphans, 0);
  const auto answer = consumer.Await(std::chrono::seconds(60));
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->result, cuda::kSuccess);
}

TEST_F(FakeCudaTest, AForkedChildCannotUseTheDriver) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::_exit(gpu_.api().CtxSynchronize() == cuda::kNotInitialized ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(FakeCudaTest, UsingADestroyedStreamEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  cuda::Stream stream = nullptr;
  ASSERT_EQ(gpu_.test().StreamCreate(&stream, 1), cuda::kSuccess);
  ASSERT_EQ(gpu_.test().StreamDestroy(stream), cuda::kSuccess);
  EXPECT_DEATH((void)gpu_.test().StreamQuery(stream), "destroyed");
}

// NVML as a client of it sees the same devices.
class FakeNvmlTest : public FakeCudaTest {
 protected:
  struct Memory {
    unsigned long long total, free, used;
  };
  struct Running {
    unsigned pid;
    unsigned long long bytes;
    unsigned gpu_instance, compute_instance;
  };

  void* Find(const char* symbol) { return ::dlsym(library_, symbol); }
  int HandleOf(const char* uuid, void** handle) {
    return reinterpret_cast<int (*)(const char*, void**)>(
        Find("nvmlDeviceGetHandleByUUID"))(uuid, handle);
  }

  void* library_ = ::dlopen(::getenv("VRAMPOOL_NVML"), RTLD_NOW | RTLD_LOCAL);
};

TEST_F(FakeNvmlTest, ItsFreeFigureAndProcessesAreThoseOfTheDriver) {
  const DeviceBuffer buffer(gpu_, kBytes);
  void* device = nullptr;
  ASSERT_EQ(HandleOf(kFirst, &device), 0);
  Memory memory{};
  ASSERT_EQ(reinterpret_cast<int (*)(void*, Memory*)>(
                Find("nvmlDeviceGetMemoryInfo"))(device, &memory),
            0);
  EXPECT_EQ(memory.free, gpu_.FreeBytes());
  EXPECT_EQ(memory.total, kTotal);
  std::vector<Running> running(8);
  unsigned count = 8;
  ASSERT_EQ(reinterpret_cast<int (*)(void*, unsigned*, Running*)>(
                Find("nvmlDeviceGetComputeRunningProcesses_v3"))(
                device, &count, running.data()),
            0);
  ASSERT_EQ(count, 1u);
  EXPECT_EQ(running[0].pid, static_cast<unsigned>(::getpid()));
  EXPECT_EQ(running[0].bytes, kContext + kBytes);
}

TEST_F(FakeNvmlTest, AMigDeviceIsFoundByItsOwnUuidOnly) {
  void* device = nullptr;
  EXPECT_EQ(HandleOf("GPU-fa4ec0da-0000-4000-8000-000000000002", &device), 6);
  ASSERT_EQ(HandleOf(kSecond, &device), 0);
  unsigned current = 0;
  unsigned pending = 0;
  ASSERT_EQ(reinterpret_cast<int (*)(void*, unsigned*, unsigned*)>(
                Find("nvmlDeviceGetMigMode"))(device, &current, &pending),
            0);
  EXPECT_EQ(current, 1u);
}

}  // namespace
}  // namespace vrampool::testing
