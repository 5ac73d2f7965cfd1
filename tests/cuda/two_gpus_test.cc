// Hooks that name a GPU by its index reach the daemon of that GPU, in whatever
// order this process sees the GPUs. Beside a daemon for each of two GPUs.
//
// The order is for the driver to read once, so every order has a process of its
// own: this program again, with CUDA_VISIBLE_DEVICES.

#include <string>

#include "base/cuda/driver.h"
#include "gtest/gtest.h"
#include "tests/cuda/gpu.h"
#include "vrampool/ref.h"
#include "vrampool/vrampool.hpp"

namespace vrampool::testing {
namespace {

constexpr uint64_t kBytes = uint64_t{1} << 20;

// As vrampool_info has it.
std::string UuidOf(const Gpu& gpu) {
  cuda::Uuid uuid{};
  gpu.Expect(gpu.api().DeviceGetUuid(&uuid, gpu.device()), "asking who it is");
  return cuda::FormatUuid(uuid);
}

class TwoGpusTest : public ::testing::Test {
 protected:
  static vrampool_client* ClientOf(int device) {
    vrampool_client* const client = vrampool_device_client(device);
    EXPECT_NE(client, nullptr) << vrampool_last_error_message();
    return client;
  }
  static uint64_t LiveBytes(int device) {
    vrampool_usage usage{};
    usage.struct_size = sizeof(usage);
    EXPECT_EQ(vrampool_client_usage(ClientOf(device), &usage), VRAMPOOL_OK);
    return usage.live_bytes;
  }
  static bool Has(int device, const void* p) {
    vrampool_block_info block{};
    block.struct_size = sizeof(block);
    return vrampool_describe(ClientOf(device), p, &block) == VRAMPOOL_OK;
  }
  // The hooks are called with that GPU's context current, as PyTorch does.
  static void* Take(const Gpu& gpu, int device, cuda::Stream stream) {
    gpu.MakeCurrent();
    void* const p = vrampool_torch_malloc(kBytes, device, stream);
    EXPECT_NE(p, nullptr) << vrampool_last_error_message();
    return p;
  }

  const Gpu first_{0};
  const Gpu second_{1};
};

TEST_F(TwoGpusTest, TheClientOfAnIndexIsThatGpusDaemons) {
  const Gpu* const gpus[] = {&first_, &second_};
  for (const int device : {0, 1}) {
    vrampool_info info{};
    info.struct_size = sizeof(info);
    ASSERT_EQ(vrampool_client_info(ClientOf(device), &info), VRAMPOOL_OK);
    EXPECT_EQ(info.device_uuid, UuidOf(*gpus[device]));
  }
  EXPECT_NE(UuidOf(first_), UuidOf(second_));
  EXPECT_NE(ClientOf(0), ClientOf(1));
  EXPECT_EQ(ClientOf(1), vrampool_device_client(1));
  EXPECT_EQ(vrampool_device_client(2), nullptr);
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_NOT_FOUND);
}

TEST_F(TwoGpusTest, AReferenceToAnIndexsClientLeavesItOpen) {
  vrampool_ref* const client = vrampool_ref_device_client(1);
  ASSERT_NE(client, nullptr) << vrampool_last_error_message();
  void* const p = vrampool_client_allocate(ClientOf(1), kBytes, nullptr);
  vrampool_ref* const block = vrampool_ref_block(client, p, kBytes, nullptr);
  ASSERT_NE(block, nullptr) << vrampool_last_error_message();
  vrampool_ref_release(client);
  EXPECT_EQ(LiveBytes(1), kBytes);
  vrampool_ref_release(block);
  EXPECT_EQ(LiveBytes(1), 0u);
  EXPECT_EQ(vrampool_ref_device_client(2), nullptr);
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_NOT_FOUND);
}

TEST_F(TwoGpusTest, MemoryOfAnIndexComesFromThatGpuAndGoesBackThere) {
  first_.MakeCurrent();
  const TestStream first_stream(first_);
  second_.MakeCurrent();
  const TestStream second_stream(second_);
  void* const second = Take(second_, 1, second_stream.get());
  EXPECT_EQ(LiveBytes(1), kBytes);
  EXPECT_EQ(LiveBytes(0), 0u);
  void* const first = Take(first_, 0, first_stream.get());
  EXPECT_TRUE(Has(0, first) && !Has(1, first));
  EXPECT_TRUE(Has(1, second) && !Has(0, second));

  // Each is memory that its own GPU's kernels write.
  first_.Fill(first_stream.get(), WordsAt(first, kBytes), 1);
  EXPECT_EQ(
      first_.CountMismatches(first_stream.get(), WordsAt(first, kBytes), 1),
      0u);
  second_.MakeCurrent();
  second_.Fill(second_stream.get(), WordsAt(second, kBytes), 2);
  EXPECT_EQ(
      second_.CountMismatches(second_stream.get(), WordsAt(second, kBytes), 2),
      0u);

  // To the wrong one: refused, and nothing changes.
  first_.MakeCurrent();
  vrampool_torch_free(second, kBytes, 0, first_stream.get());
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(LiveBytes(1), kBytes);
  vrampool_torch_free(first, kBytes, 0, first_stream.get());
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_OK);
  second_.MakeCurrent();
  vrampool_torch_free(second, kBytes, 1, second_stream.get());
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_OK);
  EXPECT_EQ(LiveBytes(0) + LiveBytes(1), 0u);
}

// As frameworks expect of the memory of GPUs that can reach each other. (CUDA
// does not let them where memory was opened by its handle.)
TEST_F(TwoGpusTest, AnotherGpusKernelsReadAndWriteMemoryOfVmm) {
  int can_access = 0;
  second_.Expect(second_.api().DeviceCanAccessPeer(
                     &can_access, second_.device(), first_.device()),
                 "asking whether it can");
  ASSERT_EQ(can_access, 1) << "needs two GPUs that can reach each other";
  const std::string uuid = UuidOf(first_);
  vrampool_options options;
  vrampool_options_init(&options);
  options.device = uuid.c_str();
  options.kind = VRAMPOOL_KIND_VMM_FD;
  Result<Client> client = Client::Open(&options);
  ASSERT_TRUE(client.ok()) << client.status().message();
  first_.MakeCurrent();
  const TestStream first_stream(first_);
  void* const p = client->Allocate(kBytes, first_stream.get());
  ASSERT_NE(p, nullptr) << vrampool_last_error_message();
  first_.Fill(first_stream.get(), WordsAt(p, kBytes), 3);
  first_.Synchronize(first_stream.get());
  second_.MakeCurrent();
  const TestStream second_stream(second_);
  EXPECT_TRUE(second_.MayWrite(reinterpret_cast<cuda::DevicePtr>(p)));
  EXPECT_EQ(second_.CountMismatches(second_stream.get(), WordsAt(p, kBytes), 3),
            0u);
  second_.Fill(second_stream.get(), WordsAt(p, kBytes), 4);
  second_.Synchronize(second_stream.get());
  first_.MakeCurrent();
  EXPECT_EQ(first_.CountMismatches(first_stream.get(), WordsAt(p, kBytes), 4),
            0u);
  client->Deallocate(p, kBytes, first_stream.get());
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_OK);
}

// Called with the other GPU's context current: the index decides.
TEST_F(TwoGpusTest, WhatIsCurrentNeitherDecidesNorChanges) {
  first_.MakeCurrent();
  void* const p = vrampool_torch_malloc(kBytes, 1, nullptr);
  ASSERT_NE(p, nullptr) << vrampool_last_error_message();
  EXPECT_TRUE(Has(1, p) && !Has(0, p));
  cuda::Context now = nullptr;
  first_.Expect(first_.api().CtxGetCurrent(&now), "asking what is current");
  EXPECT_EQ(now, first_.context());
  vrampool_torch_free(p, kBytes, 1, nullptr);
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_OK);
}

}  // namespace
}  // namespace vrampool::testing
