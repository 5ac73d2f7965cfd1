// The default stream of RMM in a program that is built for per-thread default
// streams, which this one is.

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vrampool/rmm.hpp"

namespace {

std::vector<cudaStream_t> named_;
char memory_[256];

}  // namespace

// In place of the library.
struct vrampool_client {};

extern "C" {

vrampool_client* vrampool_default_client(void) { return nullptr; }
vrampool_status vrampool_last_status(void) { return VRAMPOOL_OK; }
const char* vrampool_last_error_message(void) { return ""; }
const char* vrampool_status_name(vrampool_status) { return ""; }
vrampool_status vrampool_client_info(vrampool_client*, vrampool_info* out) {
  out->kind = VRAMPOOL_KIND_HOST_FD;
  return VRAMPOOL_OK;
}
void* vrampool_client_allocate(vrampool_client*, size_t, cudaStream_t stream) {
  named_.push_back(stream);
  return memory_;
}
void* vrampool_client_allocate_aligned(vrampool_client*, size_t, size_t,
                                       cudaStream_t stream) {
  named_.push_back(stream);
  return memory_;
}
void vrampool_client_deallocate(vrampool_client*, void*, size_t,
                                cudaStream_t stream) {
  named_.push_back(stream);
}

}  // extern "C"

namespace vrampool::testing {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::SizeIs;

#if VRAMPOOL_RMM_HAS_BASE_CLASS
using StreamView = rmm::cuda_stream_view;
#else
using StreamView = cuda::stream_ref;
#endif

const auto kPerThread = reinterpret_cast<cudaStream_t>(uintptr_t{2});

class RmmDefaultStreamTest : public ::testing::Test {
 protected:
  vrampool_client client_;
  RmmResource resource_ = *RmmResource::Make(&client_);
};

TEST_F(RmmDefaultStreamTest, NullIsTheThreadsOwnStream) {
  named_.clear();
  const StreamView null(cudaStream_t{nullptr});
  void* const p = resource_.allocate(null, 100, 256);
  resource_.deallocate(null, p, 100, 256);
#if !VRAMPOOL_RMM_HAS_BASE_CLASS
  resource_.deallocate(null, resource_.allocate(null, 100, 4096), 100, 4096);
  resource_.deallocate_sync(resource_.allocate_sync(100), 100);
  EXPECT_THAT(named_, AllOf(SizeIs(6), Each(kPerThread)));
#else
  EXPECT_THAT(named_, AllOf(SizeIs(2), Each(kPerThread)));
#endif
}

TEST_F(RmmDefaultStreamTest, OtherStreamsStayWhatTheyAre) {
  named_.clear();
  const StreamView legacy(reinterpret_cast<cudaStream_t>(uintptr_t{1}));
  void* const p = resource_.allocate(legacy, 100, 256);
  resource_.deallocate(legacy, p, 100, 256);
  EXPECT_THAT(
      named_,
      AllOf(SizeIs(2), Each(reinterpret_cast<cudaStream_t>(uintptr_t{1}))));
}

}  // namespace
}  // namespace vrampool::testing
