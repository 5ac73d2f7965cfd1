// What a client can do to memory that it was lent: really tried.

#include "daemon/broker/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "daemon/broker/table_memory.h"
#include "gtest/gtest.h"
#include "proto/shm/object_table.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {
namespace {

constexpr size_t kBytes = 16384;

// Another way to the same file: with a description of its own.
UniqueFd Again(const UniqueFd& fd, int flags) {
  const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
  return UniqueFd(::open(path.c_str(), flags | O_CLOEXEC));
}

bool CanMap(const UniqueFd& fd, int protection, int flags) {
  void* const data = ::mmap(nullptr, kBytes, protection, flags, fd.get(), 0);
  if (data == MAP_FAILED) return false;
  ::munmap(data, kBytes);
  return true;
}

void ExpectNoResizing(const UniqueFd& fd) {
  EXPECT_EQ(::ftruncate(fd.get(), 0), -1);
  EXPECT_EQ(::ftruncate(fd.get(), kBytes - 4096), -1);
  EXPECT_EQ(::ftruncate(fd.get(), 2 * kBytes), -1);
  EXPECT_EQ(::fallocate(fd.get(), 0, 0, 2 * kBytes), -1);
  char byte = 1;
  EXPECT_EQ(::pwrite(fd.get(), &byte, 1, kBytes), -1);
  // Nor can it add seals that would stop the daemon or another client.
  EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE), -1);
  EXPECT_EQ(errno, EPERM);
}

TEST(SharedMemoryTest, AManifestCanBeWrittenButNotResized) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(
      const SharedMemory memory,
      SharedMemory::Create("t", kBytes, 4096, ClientAccess::kReadWrite));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const UniqueFd fd, memory.Duplicate());
  EXPECT_TRUE(CanMap(fd, PROT_READ | PROT_WRITE, MAP_SHARED));
  ExpectNoResizing(fd);
  // A hole is read as zeros, and the daemon's mapping survives it.
  memory.data()[0] = std::byte{1};
  EXPECT_EQ(::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                        kBytes),
            0);
  EXPECT_EQ(memory.data()[0], std::byte{0});
}

TEST(SharedMemoryTest, ATableCannotBeWrittenInAnyWay) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(
      const SharedMemory memory,
      SharedMemory::Create("t", kBytes, kBytes, ClientAccess::kReadOnly));
  memory.data()[0] = std::byte{42};
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const UniqueFd own, memory.Duplicate());
  const UniqueFd again = Again(own, O_RDWR);
  ASSERT_TRUE(again.is_valid());
  for (const UniqueFd* const fd : {&own, &again}) {
    EXPECT_TRUE(CanMap(*fd, PROT_READ, MAP_SHARED));
    EXPECT_FALSE(CanMap(*fd, PROT_READ | PROT_WRITE, MAP_SHARED));
    EXPECT_FALSE(CanMap(*fd, PROT_WRITE, MAP_SHARED));
    char byte = 1;
    EXPECT_EQ(::pwrite(fd->get(), &byte, 1, 0), -1);
    EXPECT_EQ(::fallocate(fd->get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                          0, 4096),
              -1);
    ExpectNoResizing(*fd);
    void* const mapped =
        ::mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, fd->get(), 0);
    ASSERT_NE(mapped, MAP_FAILED);
    EXPECT_EQ(::mprotect(mapped, kBytes, PROT_READ | PROT_WRITE), -1);
    memory.data()[1] = std::byte{43};  // The daemon still can.
    EXPECT_EQ(static_cast<std::byte*>(mapped)[1], std::byte{43});
    ::munmap(mapped, kBytes);
  }
  EXPECT_EQ(memory.data()[0], std::byte{42});
}

TEST(SharedMemoryTest, AMovedOneIsMappedOnce) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(
      SharedMemory first,
      SharedMemory::Create("t", kBytes, kBytes, ClientAccess::kReadWrite));
  first.data()[0] = std::byte{7};
  SharedMemory second(std::move(first));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(
      SharedMemory third,
      SharedMemory::Create("t", kBytes, kBytes, ClientAccess::kReadWrite));
  third = std::move(second);
  EXPECT_EQ(third.data()[0], std::byte{7});
}

TEST(TableMemoryTest, WordsLieBehindTheHeader) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const std::unique_ptr<TableMemory> table,
                                TableMemory::Create(Epoch{5}, 10));
  table->Store(0, 0x1111);
  table->Store(9, 0x9999);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const UniqueFd fd, table->Duplicate());
  ASSERT_EQ(table->bytes(), shm::TableBytes(10));
  void* const mapped =
      ::mmap(nullptr, table->bytes(), PROT_READ, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  const auto& header = *static_cast<const shm::TableHeader*>(mapped);
  EXPECT_EQ(header.magic, shm::kTableMagic);
  EXPECT_EQ(header.version, shm::kTableVersion);
  EXPECT_EQ(header.slot_count, 10u);
  EXPECT_EQ(header.epoch, 5u);
  const auto* const words = reinterpret_cast<const uint64_t*>(&header + 1);
  EXPECT_EQ(words[0], 0x1111u);
  EXPECT_EQ(words[5], 0u);
  EXPECT_EQ(words[9], 0x9999u);
  ::munmap(mapped, table->bytes());
}

}  // namespace
}  // namespace vrampool::testing
