// vrampool's resource under RMM's own headers and library. The memory is the
// host's, so only what takes no GPU of RMM is used: its adaptors.

#include <cstdint>
#include <cstring>
#include <memory>
#include <rmm/mr/limiting_resource_adaptor.hpp>
#include <rmm/mr/statistics_resource_adaptor.hpp>
#include <rmm/resource_ref.hpp>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/bench/bench_daemon.h"
#include "tests/testing/matchers.h"
#include "vrampool/ref.h"
#include "vrampool/rmm.hpp"
#include "vrampool/vrampool.hpp"
#include "vrampool_rmm/session_resource.hpp"

namespace vrampool::testing {
namespace {

using ::testing::HasSubstr;

constexpr size_t kMiB = size_t{1} << 20;

static_assert(cuda::mr::resource<RmmResource>);
static_assert(
    cuda::mr::resource_with<RmmResource, cuda::mr::device_accessible>);
static_assert(
    std::is_constructible_v<rmm::device_async_resource_ref, RmmResource&>);
static_assert(std::is_copy_constructible_v<RmmResource>);
#if !VRAMPOOL_RMM_HAS_BASE_CLASS
// What set_current_device_resource() takes.
static_assert(
    std::is_constructible_v<cuda::mr::any_resource<cuda::mr::device_accessible>,
                            RmmResource>);
#endif

cuda::stream_ref NoStream() { return cuda::stream_ref(cudaStream_t{nullptr}); }

class RmmResourceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    VRAMPOOL_ASSERT_OK_AND_ASSIGN(
        daemon_,
        bench::BenchDaemon::Start({.size = "64MiB", .tenant_limit = "32MiB"}));
    client_ = Open();
    ASSERT_NE(client_, nullptr);
    resource_ = RmmResource::Make(client_->get());
    ASSERT_TRUE(resource_.has_value());
  }

  vrampool_options Options() {
    vrampool_options options;
    vrampool_options_init(&options);
    options.directory = daemon_->directory().c_str();
    options.slab_bytes = 4 * kMiB;
    return options;
  }
  std::unique_ptr<Client> Open() {
    const vrampool_options options = Options();
    Result<Client> client = Client::Open(&options);
    EXPECT_TRUE(client.ok()) << client.status().message();
    return client.ok() ? std::make_unique<Client>(*std::move(client)) : nullptr;
  }
  uint64_t LiveBytes() { return client_->Usage()->live_bytes; }

  std::unique_ptr<bench::BenchDaemon> daemon_;
  std::unique_ptr<Client> client_;
  std::optional<RmmResource> resource_;
};

TEST_F(RmmResourceTest, AllocatesAndFreesThroughRmmsReference) {
  const rmm::device_async_resource_ref reference(*resource_);
  auto user = reference;
  void* const p = user.allocate(NoStream(), 1000, 256);
  ASSERT_NE(p, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 256, 0u);
  std::memset(p, 7, 1000);
  EXPECT_EQ(LiveBytes(), 1000u);
  user.deallocate(NoStream(), p, 1000, 256);
  EXPECT_EQ(LiveBytes(), 0u);
}

TEST_F(RmmResourceTest, ZeroBytesAreNoError) {
  void* const p = resource_->allocate(NoStream(), 0);
  EXPECT_EQ(p, nullptr);
  resource_->deallocate(NoStream(), p, 0);
}

TEST_F(RmmResourceTest, ResourcesOfOneClientAreEqual) {
  const std::unique_ptr<Client> other_client = Open();
  const auto same = RmmResource::Make(client_->get());
  const auto other = RmmResource::Make(other_client->get());
  EXPECT_TRUE(*resource_ == *same);
  EXPECT_FALSE(*resource_ == *other);
  EXPECT_FALSE(RmmResource::Make(nullptr).has_value());
}

TEST_F(RmmResourceTest, OverTheLimitAndTheDeviceIsOutOfMemory) {
  const struct {
    size_t bytes;
    const char* status;
  } cases[] = {{48 * kMiB, "OVER_QUOTA"}, {96 * kMiB, "OUT_OF_POOL"}};
  for (const auto& [bytes, status] : cases) {
    try {
      (void)resource_->allocate(NoStream(), bytes);
      ADD_FAILURE() << bytes << " of a limit of 32 MiB";
    } catch (const rmm::out_of_memory& error) {
      EXPECT_THAT(error.what(), HasSubstr(status));
    }
  }
  EXPECT_EQ(LiveBytes(), 0u);
}

TEST_F(RmmResourceTest, AnotherFailureIsABadAllocation) {
  daemon_.reset();
  try {
    (void)resource_->allocate(NoStream(), 16 * kMiB);
    FAIL() << "there is no daemon";
  } catch (const rmm::out_of_memory& error) {
    FAIL() << error.what();
  } catch (const rmm::bad_alloc& error) {
    EXPECT_THAT(error.what(), HasSubstr("UNAVAILABLE"));
  }
}

// The resource of the package vrampool-rmm, as RMM's Python holds it.
TEST_F(RmmResourceTest, PythonsResourceKeepsItsSessionToTheEnd) {
  const vrampool_options options = Options();
  vrampool_client* client = nullptr;
  ASSERT_EQ(::vrampool_client_open(&options, &client), VRAMPOOL_OK);
  vrampool_ref* const session = ::vrampool_ref_client(client);
  ASSERT_NE(session, nullptr);
  ::vrampool_ref_watch(session);
  {
    auto made =
        vrampool_rmm::MakeResource(reinterpret_cast<uintptr_t>(client),
                                   reinterpret_cast<uintptr_t>(session));
    ::vrampool_ref_release(session);  // Python's client is closed.
#if VRAMPOOL_RMM_HAS_BASE_CLASS
    void* const p = made->allocate(rmm::cuda_stream_view{}, 100);
    EXPECT_EQ(::vrampool_ref_try_retain(session), 1);
    ::vrampool_ref_release(session);
    made->deallocate(rmm::cuda_stream_view{}, p, 100);
#else
    cuda::mr::any_resource<cuda::mr::device_accessible> copy(*made);
    made.reset();
    void* const p = copy.allocate(NoStream(), 100, 256);
    EXPECT_EQ(::vrampool_ref_try_retain(session), 1);
    ::vrampool_ref_release(session);
    copy.deallocate(NoStream(), p, 100, 256);
#endif
    EXPECT_NE(p, nullptr);
  }
  EXPECT_EQ(::vrampool_ref_try_retain(session), 0);
  ::vrampool_ref_unwatch(session);
  EXPECT_THROW((void)vrampool_rmm::MakeResource(0, 0), std::invalid_argument);
}

TEST_F(RmmResourceTest, ManyThreadsUseCopies) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([copy = *resource_]() mutable {
      for (size_t n = 1; n <= 2000; ++n) {
        const size_t bytes = n * 37 % 9000 + 1;
        void* const p = copy.allocate(NoStream(), bytes);
        std::memset(p, 1, bytes);
        copy.deallocate(NoStream(), p, bytes);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(LiveBytes(), 0u);
}

#if VRAMPOOL_RMM_HAS_BASE_CLASS

TEST_F(RmmResourceTest, IsRmmsBaseClass) {
  rmm::mr::device_memory_resource& base = *resource_;
  void* const p = base.allocate(rmm::cuda_stream_view{}, kMiB);
  EXPECT_EQ(LiveBytes(), kMiB);
  base.deallocate(rmm::cuda_stream_view{}, p, kMiB);
  const auto same = RmmResource::Make(client_->get());
  EXPECT_TRUE(base.is_equal(*same));
  EXPECT_EQ(LiveBytes(), 0u);
}

TEST_F(RmmResourceTest, StandsUnderRmmsAdaptors) {
  rmm::mr::statistics_resource_adaptor<RmmResource> counted(&*resource_);
  rmm::mr::limiting_resource_adaptor<decltype(counted)> limited(&counted, kMiB);
  void* const p = limited.allocate(rmm::cuda_stream_view{}, 1024);
  EXPECT_EQ(counted.get_bytes_counter().value, 1024);
  EXPECT_THROW((void)limited.allocate(rmm::cuda_stream_view{}, 2 * kMiB),
               rmm::out_of_memory);
  limited.deallocate(rmm::cuda_stream_view{}, p, 1024);
  EXPECT_EQ(counted.get_bytes_counter().value, 0);
  EXPECT_EQ(LiveBytes(), 0u);
}

#else

TEST_F(RmmResourceTest, AlignsToMoreThanRmmAsksFor) {
  void* const p = resource_->allocate(NoStream(), 100, 64 << 10);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % (64 << 10), 0u);
  resource_->deallocate(NoStream(), p, 100, 64 << 10);
  EXPECT_EQ(LiveBytes(), 0u);
}

TEST_F(RmmResourceTest, AllocatesWithoutAStream) {
  void* const p = resource_->allocate_sync(100);
  std::memset(p, 1, 100);
  EXPECT_EQ(LiveBytes(), 100u);
  resource_->deallocate_sync(p, 100);
  EXPECT_EQ(LiveBytes(), 0u);
}

TEST_F(RmmResourceTest, StandsUnderRmmsAdaptors) {
  rmm::mr::statistics_resource_adaptor counted(*resource_);
  rmm::mr::limiting_resource_adaptor limited(counted, kMiB);
  void* const p = limited.allocate(NoStream(), 1024, 256);
  EXPECT_EQ(counted.get_bytes_counter().value, 1024);
  EXPECT_THROW((void)limited.allocate(NoStream(), 2 * kMiB, 256),
               rmm::out_of_memory);
  limited.deallocate(NoStream(), p, 1024, 256);
  EXPECT_EQ(counted.get_bytes_counter().value, 0);
  EXPECT_EQ(LiveBytes(), 0u);
}

#endif

}  // namespace
}  // namespace vrampool::testing
