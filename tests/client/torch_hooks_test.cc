// PyTorch's hooks where there is no daemon to ask.

#include <cstdlib>
#include <new>

#include "gtest/gtest.h"
#include "tests/client/fake_daemon.h"
#include "vrampool/vrampool.h"

namespace vrampool::client {
namespace {

class TorchHooksTest : public ::testing::Test {
 protected:
  TorchHooksTest() { ::setenv("VRAMPOOL_DIR", empty_.path().c_str(), 1); }
  ~TorchHooksTest() override { ::unsetenv("VRAMPOOL_DIR"); }
  TemporaryDirectory empty_;
};

TEST_F(TorchHooksTest, FailureIsNullWhereNullIsUnderstood) {
  EXPECT_EQ(vrampool_torch_malloc(100, 0, nullptr), nullptr);
  EXPECT_NE(vrampool_last_status(), VRAMPOOL_OK);
  EXPECT_STRNE(vrampool_last_error_message(), "");
}

TEST_F(TorchHooksTest, FailureIsThrownWhereNullIsTakenForMemory) {
  EXPECT_THROW((void)vrampool_torch_malloc_or_throw(100, 0, nullptr),
               std::bad_alloc);
  EXPECT_NE(vrampool_last_status(), VRAMPOOL_OK);
}

TEST_F(TorchHooksTest, NothingIsNeededForNothing) {
  EXPECT_EQ(vrampool_torch_malloc_or_throw(0, 0, nullptr), nullptr);
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_OK);
  vrampool_torch_free(nullptr, 0, 0, nullptr);
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_OK);
}

TEST_F(TorchHooksTest, AStreamOfMemoryThatNobodyLentIsRefused) {
  char memory = 0;
  vrampool_torch_record_stream(&memory, nullptr);
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace vrampool::client
