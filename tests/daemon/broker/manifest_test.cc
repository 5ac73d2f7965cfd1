// A manifest that lies is read cleanly or with a fault, never beyond its end.

#include "daemon/broker/manifest.h"

#include <sys/mman.h>

#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "daemon/broker/leak_book.h"
#include "daemon/core/clean_text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kCapacity = 5000;  // More than one read of the reader's.

class ManifestTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = Manifest::Create(SessionId{3}, Epoch{9}, kCapacity);
    ASSERT_THAT(made, IsOk());
    manifest_ = *std::move(made);
    auto fd = manifest_->Duplicate();
    ASSERT_THAT(fd, IsOk());
    void* const mapped =
        ::mmap(nullptr, manifest_->bytes(), PROT_READ | PROT_WRITE, MAP_SHARED,
               fd->get(), 0);
    ASSERT_NE(mapped, MAP_FAILED);
    memory_ = static_cast<std::byte*>(mapped);
  }
  void TearDown() override { ::munmap(memory_, manifest_->bytes()); }

  template <typename T>
  T* At(uint64_t offset) {
    return reinterpret_cast<T*>(memory_ + offset);
  }
  shm::BlockRecord& Record(uint64_t i) {
    return At<shm::BlockRecord>(layout_.records_offset)[i];
  }
  void Mark(uint64_t records) {
    At<shm::ManifestHeader>(0)->record_high_water.store(records);
  }
  // The blocks, and what was wrong.
  absl::Status Read(std::vector<BlockRecordView>& blocks) {
    return manifest_->ForEachBlock(
        [&](const BlockRecordView& block) { blocks.push_back(block); });
  }

  const shm::ManifestLayout layout_ = shm::LayoutFor(kCapacity);
  std::unique_ptr<Manifest> manifest_;
  std::byte* memory_ = nullptr;
};

TEST_F(ManifestTest, ANewOneIsEmptyAndDescribed) {
  std::vector<BlockRecordView> blocks;
  EXPECT_THAT(Read(blocks), IsOk());
  EXPECT_TRUE(blocks.empty());
  const auto& header = *At<shm::ManifestHeader>(0);
  EXPECT_EQ(header.magic, shm::kManifestMagic);
  EXPECT_EQ(header.session_id, 3u);
  EXPECT_EQ(header.epoch, 9u);
  EXPECT_EQ(header.total_bytes, manifest_->bytes());
  EXPECT_EQ(header.record_capacity, kCapacity);
}

TEST_F(ManifestTest, EveryWordRandom) {
  std::mt19937_64 random(20240501);
  for (int round = 0; round < 20; ++round) {
    for (uint64_t at = 0; at < layout_.total_bytes; at += sizeof(uint64_t)) {
      *At<uint64_t>(at) = random();
    }
    std::vector<BlockRecordView> blocks;
    EXPECT_THAT(Read(blocks), StatusIs(absl::StatusCode::kDataLoss));
    EXPECT_LE(blocks.size(), kCapacity);
    EXPECT_LE(manifest_->ReadLiveUse().blocks, kCapacity);
    EXPECT_FALSE(manifest_->Holds(ObjectId{1}));
    EXPECT_LE(manifest_->ReadModules().size(), shm::kModuleCapacity);
    EXPECT_TRUE(manifest_->ReadStack(1).empty());
    At<shm::Stack>(layout_.stacks_offset)->is_set.store(1);
    EXPECT_LE(manifest_->ReadStack(1).size(), shm::kStackFrames);
  }
}

TEST_F(ManifestTest, AMarkBeyondTheCapacityIsAFaultAndReadsToTheEnd) {
  Record(kCapacity - 1).size_bytes = 7;
  Record(kCapacity - 1).state.store(1);
  for (const uint64_t mark : {kCapacity + 1, uint64_t{1} << 58, ~uint64_t{0}}) {
    Mark(mark);
    std::vector<BlockRecordView> blocks;
    const absl::Status read = Read(blocks);
    EXPECT_THAT(read, StatusIs(absl::StatusCode::kDataLoss));
    EXPECT_THAT(std::string(read.message()), HasSubstr("high-water mark"));
    ASSERT_EQ(blocks.size(), 1u);
    EXPECT_EQ(blocks.front().size, 7u);
  }
}

TEST_F(ManifestTest, AMarkAloneTakesNoMemory) {
  Mark(kCapacity);
  std::vector<BlockRecordView> blocks;
  EXPECT_THAT(Read(blocks), IsOk());
  EXPECT_TRUE(blocks.empty());
}

TEST_F(ManifestTest, ABlockThatEndsBeyondTheEndOfNumbersIsNone) {
  Record(0).offset_bytes = ~uint64_t{0};
  Record(0).size_bytes = 1;
  Record(0).state.store(1);
  Record(1).offset_bytes = ~uint64_t{0};
  Record(1).size_bytes = 0;
  Record(1).state.store(2);
  Mark(2);
  std::vector<BlockRecordView> blocks;
  EXPECT_THAT(Read(blocks), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_EQ(blocks.size(), 1u);
}

TEST_F(ManifestTest, TagsAreCutAndCleaned) {
  auto* const tags = At<shm::Tag>(layout_.tags_offset);
  std::memset(tags[0].text, 'x', sizeof(tags[0].text));
  tags[0].is_set.store(1);
  std::strncpy(tags[1].text,
               "a\x1b[31m\n\x7f\x9b"
               "b",
               sizeof(tags[1].text));
  tags[1].is_set.store(1);
  std::strncpy(tags[2].text, "unset", sizeof(tags[2].text));
  const uint32_t wanted[] = {1, 2, 3, shm::kTagCapacity, 0};
  for (uint64_t i = 0; i < 5; ++i) {
    Record(i).tag = wanted[i];
    Record(i).state.store(1);
  }
  Record(5).tag = shm::kTagCapacity + 1;
  Record(5).state.store(1);
  Mark(6);
  std::vector<BlockRecordView> blocks;
  EXPECT_THAT(Read(blocks), StatusIs(absl::StatusCode::kDataLoss));
  ASSERT_EQ(blocks.size(), 5u);
  EXPECT_EQ(blocks[0].tag, std::string(sizeof(tags[0].text), 'x'));
  for (const char c : blocks[1].tag) {
    EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
  }
  EXPECT_EQ(blocks[1].tag.find('\x9b'), std::string::npos);
  for (size_t i = 2; i < 5; ++i) EXPECT_EQ(blocks[i].tag, "");
}

TEST_F(ManifestTest, ModulesAreReadAndNonsenseIsLeftOut) {
  auto* const modules = At<shm::Module>(layout_.modules_offset);
  for (int i = 0; i < 5; ++i) {
    modules[i].begin = 0x1000;
    modules[i].end = 0x2000;
    modules[i].is_set.store(1);
  }
  modules[0].bias = 0x800;
  modules[0].build_id[0] = 0xab;
  modules[0].build_id[1] = 0x01;
  modules[0].build_id_bytes = 2;
  std::strncpy(modules[0].path, "/lib/a\n.so", sizeof(modules[0].path));
  modules[1].end = 0x1000;  // Empty.
  modules[2].build_id_bytes = 21;
  modules[3].is_set.store(2);
  std::memset(modules[4].path, 'x', sizeof(modules[4].path));
  At<shm::ManifestHeader>(0)->module_high_water.store(~uint32_t{0});
  const std::vector<ModuleView> read = manifest_->ReadModules();
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0].begin, 0x1000u);
  EXPECT_EQ(read[0].end, 0x2000u);
  EXPECT_EQ(read[0].bias, 0x800u);
  EXPECT_EQ(read[0].build_id, "ab01");
  EXPECT_EQ(read[0].path.find('\n'), std::string::npos);
  EXPECT_EQ(read[1].path.size(), sizeof(modules[4].path));
}

TEST_F(ManifestTest, CountersOfALiarAreNeverNegative) {
  auto* const cells = At<shm::Counters>(layout_.counters_offset);
  cells[0].blocks_freed.store(1);
  cells[0].bytes_freed.store(1);
  EXPECT_EQ(manifest_->ReadLiveUse().blocks, 0u);
  EXPECT_EQ(manifest_->ReadLiveUse().bytes, Bytes());
  // A block freed by another thread than allocated it.
  cells[1].blocks_allocated.store(3);
  cells[1].bytes_allocated.store(300);
  EXPECT_EQ(manifest_->ReadLiveUse().blocks, 2u);
  EXPECT_EQ(manifest_->ReadLiveUse().changes, 4u);
  EXPECT_EQ(manifest_->ReadLiveUse().bytes, Bytes(299));
}

TEST(LeakBookTest, KeepsTheNewest) {
  LeakBook book(2, absl::Hours(1));
  for (int i = 0; i < 5; ++i) {
    LeakReport report;
    report.blocks_total = static_cast<uint64_t>(i);
    book.Add(std::move(report));
  }
  ASSERT_EQ(book.reports().size(), 2u);
  EXPECT_EQ(book.reports().front().blocks_total, 3u);
  EXPECT_EQ(book.reports().back().blocks_total, 4u);
  EXPECT_EQ(book.forgotten(), 3u);
}

TEST(LeakBookTest, ReportsAreKeptForATime) {
  LeakBook book(10, absl::Hours(2));
  const absl::Time start = absl::FromUnixSeconds(1'700'000'000);
  for (int hour = 0; hour < 5; ++hour) {
    LeakReport report;
    report.ended_at = start + absl::Hours(hour);
    book.Add(std::move(report));
  }
  book.Expire(start + absl::Hours(4));
  ASSERT_EQ(book.reports().size(), 3u);
  EXPECT_EQ(book.reports().front().ended_at, start + absl::Hours(2));
  EXPECT_EQ(book.forgotten(), 0u);
}

TEST_F(ManifestTest, AStackIsReadUpToItsEndWithWordsCleaned) {
  auto* const texts = At<shm::FrameText>(layout_.frames_offset);
  std::strncpy(texts[0].text, "train.py:1 (\x1b[31m)", sizeof(texts[0].text));
  texts[0].is_set.store(1);
  std::strncpy(texts[1].text, "unset", sizeof(texts[1].text));
  auto* const stacks = At<shm::Stack>(layout_.stacks_offset);
  const uint64_t frames[] = {0x1234,
                             shm::kFrameMark,
                             shm::kFrameMark | 1,
                             shm::kFrameMark | shm::kFrameCapacity,
                             0x5678,
                             0,
                             0x9abc};
  std::memcpy(stacks[0].frames, frames, sizeof(frames));
  EXPECT_TRUE(manifest_->ReadStack(1).empty());  // Not complete.
  stacks[0].is_set.store(1);
  const std::vector<FrameView> read = manifest_->ReadStack(1);
  ASSERT_EQ(read.size(), 5u);
  EXPECT_EQ(read[0], FrameView{.address = 0x1234});
  EXPECT_EQ(read[1].text, CleanText("train.py:1 (\x1b[31m)", 100));
  EXPECT_EQ(read[2], FrameView());
  EXPECT_EQ(read[3], FrameView());
  EXPECT_EQ(read[4], FrameView{.address = 0x5678});
  for (const uint32_t none : {0u, 2u, shm::kStackCapacity + 1, ~0u}) {
    EXPECT_TRUE(manifest_->ReadStack(none).empty()) << none;
  }
}

TEST_F(ManifestTest, ABlockWithAStackHasItsFirstAddressAsCallSite) {
  auto* const stacks = At<shm::Stack>(layout_.stacks_offset);
  stacks[shm::kStackCapacity - 1].frames[0] = 0x1234;
  stacks[shm::kStackCapacity - 1].is_set.store(1);
  const uint64_t sites[] = {
      0x77,
      shm::SiteOfStack(shm::kStackCapacity - 1, 22),
      shm::SiteOfStack(3, 0),  // There is none.
      0x78,
  };
  for (uint64_t i = 0; i < 4; ++i) {
    Record(i).call_site = sites[i];
    Record(i).state.store(1);
  }
  Mark(4);
  std::vector<BlockRecordView> blocks;
  EXPECT_THAT(Read(blocks), IsOk());
  ASSERT_EQ(blocks.size(), 4u);
  EXPECT_EQ(blocks[0].call_site, 0x77u);
  EXPECT_EQ(blocks[0].stack, 0u);
  EXPECT_EQ(blocks[1].call_site, 0x1234u);
  EXPECT_EQ(blocks[1].stack, shm::kStackCapacity);
  EXPECT_EQ(blocks[1].log2_interval, 22u);
  EXPECT_EQ(blocks[2].call_site, 0u);
  EXPECT_EQ(blocks[3].call_site, 0x78u);
  EXPECT_EQ(blocks[3].stack, 0u);
  EXPECT_EQ(blocks[3].log2_interval, 0u);
}

TEST_F(ManifestTest, AStackBeyondTheTableMakesNoSense) {
  const uint64_t sites[] = {shm::SiteOfStack(shm::kStackCapacity, 0),
                            ~uint64_t{0},
                            shm::SiteOfStack(0, shm::kMaxLog2Interval + 1),
                            shm::SiteOfStack(0, shm::kMaxLog2Interval)};
  for (uint64_t i = 0; i < 4; ++i) {
    Record(i).call_site = sites[i];
    Record(i).state.store(1);
  }
  Mark(4);
  std::vector<BlockRecordView> blocks;
  const absl::Status read = Read(blocks);
  EXPECT_THAT(std::string(read.message()),
              HasSubstr("3 records make no sense"));
  EXPECT_EQ(blocks.size(), 1u);
}

}  // namespace
}  // namespace vrampool::testing
