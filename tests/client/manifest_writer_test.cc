#include "client/session/manifest_writer.h"

#include <sys/mman.h>

#include <cstring>
#include <string>

#include "gtest/gtest.h"
#include "tests/client/fake_daemon.h"

namespace vrampool::client {
namespace {

// A manifest as the daemon makes it, and the daemon's view of it.
class ManifestWriterTest : public ::testing::Test {
 protected:
  ManifestWriterTest() : daemon_(directory_.path()) {}

  Result<ManifestWriter> Map() {
    UniqueFd file = MakeSealedFile(layout_.total_bytes);
    view_ = static_cast<std::byte*>(::mmap(nullptr, layout_.total_bytes,
                                           PROT_READ | PROT_WRITE, MAP_SHARED,
                                           file.get(), 0));
    std::memcpy(view_, static_cast<const void*>(daemon_.manifest()),
                sizeof(shm::ManifestHeader));
    Prepare();
    return ManifestWriter::Map(std::move(file), layout_.total_bytes,
                               SessionId{1}, Epoch{1});
  }
  virtual void Prepare() {}
  ~ManifestWriterTest() override { ::munmap(view_, layout_.total_bytes); }

  struct Fields {
    uint64_t magic;
    uint32_t version;
  };
  Fields& header() { return *reinterpret_cast<Fields*>(view_); }
  shm::ManifestHeader& full() {
    return *reinterpret_cast<shm::ManifestHeader*>(view_);
  }
  shm::BlockRecord& record(uint64_t index) {
    return reinterpret_cast<shm::BlockRecord*>(view_ +
                                               layout_.records_offset)[index];
  }
  shm::Counters& counters() {
    return *reinterpret_cast<shm::Counters*>(view_ + layout_.counters_offset);
  }

  const shm::ManifestLayout layout_ = shm::LayoutFor(FakeDaemon::kRecords);
  TemporaryDirectory directory_;
  FakeDaemon daemon_;
  std::byte* view_ = nullptr;
};

BlockNote Note(uint64_t size) {
  return {.slab = SlabId{9},
          .offset_bytes = 512,
          .size_bytes = size,
          .stream = 3,
          .allocated_unix_ns = 77,
          .call_site = 0x1234,
          .tag = 2,
          .thread = 5};
}

TEST_F(ManifestWriterTest, RecordIsReadBackWholeAndErasedByItsState) {
  Result<ManifestWriter> writer = Map();
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  const auto index = writer->Record(Note(100));
  ASSERT_TRUE(index.ok());
  EXPECT_EQ(full().record_high_water.load(), 1u);
  const shm::BlockRecord& place = record(*index);
  EXPECT_EQ(place.state.load(), uint64_t(shm::BlockState::kLive));
  EXPECT_EQ(place.slab_id, 9u);
  EXPECT_EQ(place.offset_bytes, 512u);
  EXPECT_EQ(place.size_bytes, 100u);
  EXPECT_EQ(place.stream, 3u);
  EXPECT_EQ(place.allocated_unix_ns, 77);
  EXPECT_EQ(place.call_site, 0x1234u);
  EXPECT_EQ(place.tag, 2u);
  EXPECT_EQ(place.thread, 5u);
  writer->SetSharing(*index, ManifestWriter::Sharing::kShared);
  EXPECT_EQ(place.state.load(), uint64_t(shm::BlockState::kShared));
  writer->Erase(*index);
  EXPECT_EQ(place.state.load(), uint64_t(shm::BlockState::kFree));
  EXPECT_EQ(counters().blocks_allocated.load(), 1u);
  EXPECT_EQ(counters().blocks_freed.load(), 1u);
  EXPECT_EQ(counters().bytes_allocated.load(), 100u);
  EXPECT_EQ(counters().bytes_freed.load(), 100u);
}

TEST_F(ManifestWriterTest, FullManifestIsALimitAndErasedPlacesAreReused) {
  Result<ManifestWriter> writer = Map();
  ASSERT_TRUE(writer.ok());
  for (uint64_t i = 0; i < FakeDaemon::kRecords; ++i) {
    ASSERT_TRUE(writer->Record(Note(1)).ok());
  }
  EXPECT_EQ(writer->Record(Note(1)).status().code(), VRAMPOOL_LIMIT);
  EXPECT_EQ(writer->places_used(), FakeDaemon::kRecords);
  writer->Erase(17);
  const auto again = writer->Record(Note(1));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(*again, 17u);
  EXPECT_EQ(full().record_high_water.load(), FakeDaemon::kRecords);
}

TEST_F(ManifestWriterTest, TagsAreWrittenOnceAndCutToTheirField) {
  Result<ManifestWriter> writer = Map();
  ASSERT_TRUE(writer.ok());
  EXPECT_EQ(writer->InternTag(""), 0u);
  EXPECT_EQ(writer->InternTag("weights"), 1u);
  EXPECT_EQ(writer->InternTag(std::string(100, 'x')), 2u);
  EXPECT_EQ(writer->InternTag("weights"), 1u);
  EXPECT_EQ(full().tag_high_water.load(), 2u);
  const auto* const tags =
      reinterpret_cast<const shm::Tag*>(view_ + layout_.tags_offset);
  EXPECT_STREQ(tags[0].text, "weights");
  EXPECT_EQ(std::string(tags[1].text), std::string(55, 'x'));
  EXPECT_EQ(tags[1].is_set.load(), 1u);
}

TEST_F(ManifestWriterTest, TagsBeyondTheCapacityAreNone) {
  Result<ManifestWriter> writer = Map();
  ASSERT_TRUE(writer.ok());
  for (uint32_t i = 0; i < shm::kTagCapacity; ++i) {
    ASSERT_EQ(writer->InternTag("tag" + std::to_string(i)), i + 1);
  }
  EXPECT_EQ(writer->InternTag("one too many"), 0u);
}

TEST_F(ManifestWriterTest, HoldsRunOutAtTheirCapacity) {
  Result<ManifestWriter> writer = Map();
  ASSERT_TRUE(writer.ok());
  for (uint32_t i = 0; i < shm::kHoldCapacity; ++i) {
    ASSERT_EQ(writer->TakeHold(), i);
  }
  EXPECT_EQ(writer->TakeHold(), std::nullopt);
  EXPECT_EQ(full().hold_high_water.load(), shm::kHoldCapacity);
  writer->FreeHold(12);
  EXPECT_EQ(writer->TakeHold(), 12u);
}

class OtherManifestTest : public ManifestWriterTest {
 protected:
  void Prepare() override { header().version = shm::kManifestVersion + 1; }
};

TEST_F(OtherManifestTest, OtherVersionIsRefused) {
  const Result<ManifestWriter> writer = Map();
  EXPECT_EQ(writer.status().code(), VRAMPOOL_VERSION_MISMATCH);
}

class LyingManifestTest : public ManifestWriterTest {
 protected:
  void Prepare() override { full().record_capacity = uint64_t{1} << 60; }
};

TEST_F(LyingManifestTest, CapacityBeyondTheFileIsRefused) {
  const Result<ManifestWriter> writer = Map();
  EXPECT_EQ(writer.status().code(), VRAMPOOL_INTERNAL);
}

}  // namespace
}  // namespace vrampool::client
