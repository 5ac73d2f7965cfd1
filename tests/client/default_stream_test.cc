// Which stream the C++ interface names when the program names none. Built
// twice: as a program with per-thread default streams, and as one without.

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vrampool/vrampool.hpp"

namespace {

std::vector<cudaStream_t> named_;

}  // namespace

// In place of the library.
struct vrampool_client {};
struct vrampool_object {};

extern "C" {

vrampool_client* vrampool_default_client(void) {
  static vrampool_client client;
  return &client;
}
void vrampool_client_close(vrampool_client*) {}
vrampool_status vrampool_last_status(void) { return VRAMPOOL_OK; }
const char* vrampool_last_error_message(void) { return ""; }
void* vrampool_client_allocate(vrampool_client*, size_t, cudaStream_t stream) {
  named_.push_back(stream);
  return nullptr;
}
void* vrampool_client_allocate_aligned(vrampool_client*, size_t, size_t,
                                       cudaStream_t stream) {
  named_.push_back(stream);
  return nullptr;
}
void vrampool_client_deallocate(vrampool_client*, void*, size_t,
                                cudaStream_t stream) {
  named_.push_back(stream);
}
vrampool_status vrampool_object_close(vrampool_object*, cudaStream_t stream) {
  named_.push_back(stream);
  return VRAMPOOL_OK;
}

}  // extern "C"

namespace vrampool::testing {
namespace {

using ::testing::Each;
using ::testing::SizeIs;

#if defined(CUDA_API_PER_THREAD_DEFAULT_STREAM)
const auto kMeant = reinterpret_cast<cudaStream_t>(uintptr_t{2});
#else
const cudaStream_t kMeant = nullptr;
#endif

TEST(DefaultStreamTest, IsWhatTheProgramIsBuiltFor) {
  named_.clear();
  Result<Client> client = Client::Default();
  ASSERT_TRUE(client.ok());
  (void)client->Allocate(100);
  (void)client->AllocateAligned(100, 4096);
  client->Deallocate(nullptr, 100);
  vrampool_object raw;
  EXPECT_TRUE(Object(&raw).Close().ok());
  { const Object dropped(&raw); }
  EXPECT_THAT(named_, SizeIs(6));  // A closed object is closed once more.
  EXPECT_THAT(named_, Each(kMeant));
}

TEST(DefaultStreamTest, AStreamThatIsNamedIsPassedOnAsItIs) {
  named_.clear();
  Result<Client> client = Client::Default();
  ASSERT_TRUE(client.ok());
  for (const uintptr_t stream : {0u, 1u, 2u, 4096u}) {
    (void)client->Allocate(100, reinterpret_cast<cudaStream_t>(stream));
    EXPECT_EQ(named_.back(), reinterpret_cast<cudaStream_t>(stream));
  }
}

}  // namespace
}  // namespace vrampool::testing
