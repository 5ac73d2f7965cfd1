// Which keys are remembered, and for how long.

#include "daemon/core/spent_keys.h"

#include <cstring>

#include "gtest/gtest.h"

namespace vrampool {
namespace {

IdempotencyKey Key(size_t number) {
  IdempotencyKey key{};
  std::memcpy(key.data(), &number, sizeof(number));
  return key;
}

TEST(SpentKeysTest, TheLastOnesAreKnownAndOlderOnesForgotten) {
  SpentKeys keys;
  EXPECT_FALSE(keys.Contains(Key(0)));
  for (size_t i = 0; i < 3 * SpentKeys::kMost; ++i) {
    keys.Add(Key(i));
    const size_t oldest = i < SpentKeys::kMost ? 0 : i + 1 - SpentKeys::kMost;
    EXPECT_TRUE(keys.Contains(Key(i)));
    EXPECT_TRUE(keys.Contains(Key(oldest)));
    if (oldest > 0) {
      EXPECT_FALSE(keys.Contains(Key(oldest - 1)));
    }
    EXPECT_FALSE(keys.Contains(Key(i + 1)));
  }
}

}  // namespace
}  // namespace vrampool
