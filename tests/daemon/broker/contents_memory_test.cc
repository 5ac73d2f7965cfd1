#include "daemon/broker/contents_memory.h"

#include <sys/stat.h>

#include "gtest/gtest.h"
#include "proto/shm/contents_words.h"
#include "tests/testing/matchers.h"

namespace vrampool {
namespace {

ino_t FileOf(const SharedMemory& memory) {
  struct stat info {};
  EXPECT_EQ(::fstat(memory.fd(), &info), 0);
  return info.st_ino;
}

TEST(ContentsMemoryTest, ATenantsAreItsOwnAndTheSameForAllOfIt) {
  ContentsMemory contents(Epoch{7}, 16);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto a, contents.Of("root/a"));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto again, contents.Of("root/a"));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto b, contents.Of("root/b"));
  EXPECT_EQ(FileOf(*a), FileOf(*again));
  EXPECT_NE(FileOf(*a), FileOf(*b));
}

TEST(ContentsMemoryTest, TheyGoWithTheLastWhoHasThem) {
  ContentsMemory contents(Epoch{7}, 16);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(auto first, contents.Of("root/a"));
  const std::weak_ptr<const SharedMemory> before = first;
  first.reset();
  EXPECT_TRUE(before.expired());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto next, contents.Of("root/a"));
  EXPECT_NE(next, nullptr);
}

TEST(ContentsMemoryTest, ItsHeaderSaysWhatFollows) {
  ContentsMemory contents(Epoch{7}, 16);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto memory, contents.Of("root/a"));
  const auto& header =
      *reinterpret_cast<const shm::ContentsHeader*>(memory->data());
  EXPECT_EQ(header.magic, shm::kContentsMagic);
  EXPECT_EQ(header.version, shm::kContentsVersion);
  EXPECT_EQ(header.slot_count, 16u);
  EXPECT_EQ(header.epoch, 7u);
  struct stat info {};
  ASSERT_EQ(::fstat(memory->fd(), &info), 0);
  EXPECT_EQ(static_cast<uint64_t>(info.st_size), contents.bytes());
  EXPECT_EQ(contents.bytes(), 64u + 16u * 4u);
}

}  // namespace
}  // namespace vrampool
