#include "client/allocator/host_canary.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "gtest/gtest.h"

namespace vrampool::client {
namespace {

constexpr uint64_t kExtent = 16384;

class HostCanaryTest : public ::testing::Test {
 protected:
  HostCanaryTest()
      : memory_(
            static_cast<char*>(::mmap(nullptr, kExtent, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))),
        place_{.address = reinterpret_cast<uint64_t>(memory_),
               .bytes = 1000,
               .extent = 1280} {}
  ~HostCanaryTest() override { ::munmap(memory_, kExtent); }

  char* const memory_;
  CanaryPlace place_;
};

TEST_F(HostCanaryTest, TheRedZoneBeginsWithTheFirstByteBehind) {
  HostCanary::FillRedZone(place_);
  EXPECT_FALSE(HostCanary::CheckRedZone(place_).has_value());
  memory_[999] = 1;
  EXPECT_FALSE(HostCanary::CheckRedZone(place_).has_value());
  memory_[1000] = 1;
  ASSERT_TRUE(HostCanary::CheckRedZone(place_).has_value());
  EXPECT_EQ(HostCanary::CheckRedZone(place_)->first, 1000u);
  EXPECT_EQ(HostCanary::CheckRedZone(place_)->count, 1u);
}

TEST_F(HostCanaryTest, TheRedZoneEndsWithTheLastByteOfTheBlock) {
  HostCanary::FillRedZone(place_);
  memory_[1280] = 1;
  EXPECT_FALSE(HostCanary::CheckRedZone(place_).has_value());
  memory_[1279] = 1;
  ASSERT_TRUE(HostCanary::CheckRedZone(place_).has_value());
  EXPECT_EQ(HostCanary::CheckRedZone(place_)->first, 1279u);
}

TEST_F(HostCanaryTest, EveryChangedByteOfAFreedBlockIsCounted) {
  HostCanary::FillFreed(place_);
  EXPECT_FALSE(HostCanary::CheckFreed(place_).has_value());
  memory_[0] = 0;
  memory_[500] = 0;
  memory_[999] = 0;
  ASSERT_TRUE(HostCanary::CheckFreed(place_).has_value());
  EXPECT_EQ(HostCanary::CheckFreed(place_)->first, 0u);
  EXPECT_EQ(HostCanary::CheckFreed(place_)->count, 3u);
}

TEST_F(HostCanaryTest, ABlockThatWasFilledWithOneByteIsChangedToo) {
  HostCanary::FillFreed(place_);
  std::memset(memory_, 7, 1000);
  ASSERT_TRUE(HostCanary::CheckFreed(place_).has_value());
  EXPECT_EQ(HostCanary::CheckFreed(place_)->count, 1000u);
}

TEST_F(HostCanaryTest, OfALargeBlockTheEndsAreFilled) {
  constexpr uint64_t kSize = CanaryPattern::kMaxFilled + kExtent;
  void* const large =
      ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(large, MAP_FAILED);
  const CanaryPlace place{.address = reinterpret_cast<uint64_t>(large),
                          .bytes = kSize,
                          .extent = kSize};
  HostCanary::FillFreed(place);
  auto* const bytes = static_cast<char*>(large);
  bytes[CanaryPattern::kMaxFilled / 2] = 1;
  EXPECT_FALSE(HostCanary::CheckFreed(place).has_value());
  bytes[kSize - 1] = 1;
  ASSERT_TRUE(HostCanary::CheckFreed(place).has_value());
  EXPECT_EQ(HostCanary::CheckFreed(place)->first, kSize - 1);
  ::munmap(large, kSize);
}

using HostCanaryDeathTest = HostCanaryTest;

TEST_F(HostCanaryDeathTest, WholePagesOfAProtectedBlockCannotBeTouched) {
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  place_.address += 256;
  place_.bytes = 2 * page;
  place_.extent = 2 * page + 256;
  ASSERT_TRUE(HostCanary::Protect(place_));
  memory_[page - 1] = 1;  // Shared with what lies before.
  EXPECT_DEATH(memory_[page] = 1, "");
  EXPECT_DEATH(memory_[2 * page - 1] = 1, "");
  memory_[2 * page + 256] = 1;
  ASSERT_TRUE(HostCanary::Unprotect(place_));
  memory_[page] = 1;
  EXPECT_EQ(memory_[page], 1);
}

TEST_F(HostCanaryTest, ABlockWithoutAWholePageIsNotProtected) {
  place_.address += 256;
  EXPECT_FALSE(HostCanary::Protect(place_));
  memory_[256] = 1;
  EXPECT_EQ(memory_[256], 1);
}

}  // namespace
}  // namespace vrampool::client
