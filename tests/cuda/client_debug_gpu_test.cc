// The debug mode on memory of GPUs, through the hooks that frameworks call.
// Beside a daemon for each of two GPUs.

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include "base/cuda/driver.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cuda/fake/fake_cuda.h"
#include "tests/cuda/gpu.h"
#include "vrampool/vrampool.hpp"

namespace vrampool::testing {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

constexpr uint64_t kBytes = uint64_t{1} << 20;

class ClientDebugGpuTest : public ::testing::Test {
 protected:
  // Before the process-wide clients are opened.
  static void SetUpTestSuite() {
    ::setenv("VRAMPOOL_DEBUG", "1", 1);
    ::setenv("VRAMPOOL_TAG", "batch", 1);
  }
  void SetUp() override {
    for (const int device : {0, 1}) {
      ASSERT_NE(vrampool_device_client(device), nullptr)
          << vrampool_last_error_message();
    }
    gpu_.MakeCurrent();
  }
  static std::string Told(const std::function<void()>& act) {
    ::testing::internal::CaptureStderr();
    act();
    return ::testing::internal::GetCapturedStderr();
  }
  static void* Take(int device, cuda::Stream stream) {
    void* const p = vrampool_torch_malloc(kBytes, device, stream);
    EXPECT_NE(p, nullptr) << vrampool_last_error_message();
    return p;
  }

  const Gpu gpu_{0};
};

TEST_F(ClientDebugGpuTest, ADoubleFreeNamesAllCallsByTheirFile) {
  const TestStream stream(gpu_);
  unsigned long long id = 0;
  gpu_.Expect(gpu_.api().StreamGetId(stream.get(), &id), "asking who it is");
  void* const p = Take(0, stream.get());
  vrampool_torch_free(p, kBytes, 0, stream.get());
  ASSERT_EQ(vrampool_last_status(), VRAMPOOL_OK);
  const std::string told =
      Told([&] { vrampool_torch_free(p, kBytes, 0, stream.get()); });
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_THAT(told,
              AllOf(HasSubstr("double free of the block of 1048576 bytes"),
                    HasSubstr("(tag batch)"),
                    ContainsRegex("this call     client_debug_gpu_test.0x"),
                    ContainsRegex("freed first   client_debug_gpu_test.0x"),
                    ContainsRegex("allocated at  client_debug_gpu_test.0x")));
  char text[32];
  std::snprintf(text, sizeof(text), "stream 0x%llx\n", id);
  EXPECT_THAT(told, HasSubstr(text));
}

TEST_F(ClientDebugGpuTest, AFreeOfAnotherGpusBlockIsTold) {
  void* const p = Take(1, nullptr);
  EXPECT_THAT(Told([&] { vrampool_torch_free(p, kBytes, 0, nullptr); }),
              AllOf(HasSubstr("free through the wrong client"),
                    HasSubstr("block of 1048576 bytes")));
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(Told([&] { vrampool_torch_free(p, kBytes, 1, nullptr); }), "");
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_OK);
}

// The hook does not know which GPU's client the block is of.
TEST_F(ClientDebugGpuTest, AStreamIsRecordedForWhoeverHasTheBlock) {
  for (const int device : {0, 1}) {
    void* const p = Take(device, nullptr);
    EXPECT_EQ(Told([&] { vrampool_torch_record_stream(p, nullptr); }), "");
    EXPECT_EQ(vrampool_last_status(), VRAMPOOL_OK)
        << vrampool_last_error_message();
    vrampool_torch_free(p, kBytes, device, nullptr);
    EXPECT_EQ(vrampool_last_status(), VRAMPOOL_OK);
    EXPECT_THAT(Told([&] { vrampool_torch_record_stream(p, nullptr); }),
                HasSubstr("record_stream of freed memory"));
    EXPECT_EQ(vrampool_last_status(), VRAMPOOL_INVALID_ARGUMENT);
  }
}

// The rest is in client_canary_test.
TEST_F(ClientDebugGpuTest, AWriteAfterTheHooksFreeIsTold) {
  const TestStream stream(gpu_);
  void* const p = Take(0, stream.get());
  const Words words = WordsAt(p, kBytes);
  gpu_.Fill(stream.get(), words, 7);
  EXPECT_EQ(gpu_.CountMismatches(stream.get(), words, 7), 0u);
  vrampool_torch_free(p, kBytes, 0, stream.get());
  gpu_.Fill(stream.get(), WordsAt(p, 4), 7);
  EXPECT_THAT(Told([&] {
                EXPECT_EQ(vrampool_quiesce(vrampool_device_client(0)),
                          VRAMPOOL_OK);
              }),
              HasSubstr("write after the free of the block of 1048576 bytes"));
}

// Another GPU's access fails: the memory is there all the same, and for that
// GPU too, if it was together alone that it failed.
TEST_F(ClientDebugGpuTest,
       AGpuThatCannotReachTheMemoryDoesNotKeepItFromItsOwn) {
  const Gpu other(1);
  gpu_.MakeCurrent();
  const fake_cuda::Functions fake =
      fake_cuda::FindFunctions(cuda::FindDriverSymbol);
  vrampool_info info{};
  info.struct_size = sizeof(info);
  ASSERT_EQ(vrampool_client_info(vrampool_device_client(0), &info),
            VRAMPOOL_OK);
  for (const int failures : {1, 2}) {
    vrampool_options options;
    vrampool_options_init(&options);
    options.device = info.device_uuid;
    options.kind = VRAMPOOL_KIND_VMM_FD;
    Result<Client> client = Client::Open(&options);
    ASSERT_TRUE(client.ok()) << client.status().message();
    EXPECT_TRUE(fake.fail("cuMemSetAccess", cuda::kUnknown, failures,
                          fake_cuda::kThisProcess));
    void* const p = client->Allocate(kBytes, nullptr);
    EXPECT_TRUE(fake.fail("cuMemSetAccess", 0, 0, fake_cuda::kThisProcess));
    EXPECT_EQ(p != nullptr, failures == 1);
    if (p == nullptr) continue;
    const auto at = reinterpret_cast<cuda::DevicePtr>(p);
    gpu_.MakeCurrent();
    EXPECT_TRUE(gpu_.MayWrite(at));
    EXPECT_TRUE(other.MayWrite(at));
    gpu_.MakeCurrent();
    client->Deallocate(p, kBytes, nullptr);
  }
}

}  // namespace
}  // namespace vrampool::testing
