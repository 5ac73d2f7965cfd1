#include "client/session/contents_words.h"

#include <unistd.h>

#include <utility>

#include "gtest/gtest.h"
#include "proto/shm/contents_words.h"
#include "tests/client/fake_daemon.h"

namespace vrampool::client {
namespace {

constexpr uint32_t kSlots = 8;
constexpr uint64_t kBytes = shm::ContentsBytes(kSlots);

shm::ContentsHeader GoodHeader() {
  shm::ContentsHeader header{};
  header.magic = shm::kContentsMagic;
  header.version = shm::kContentsVersion;
  header.slot_count = kSlots;
  header.epoch = 1;
  return header;
}

UniqueFd FileWith(const shm::ContentsHeader& header) {
  UniqueFd file = MakeSealedFile(kBytes);
  EXPECT_EQ(::pwrite(file.get(), &header, sizeof(header), 0),
            ssize_t{sizeof(header)});
  return file;
}

// Whether they are used.
bool AreGood(const shm::ContentsHeader& header, uint64_t bytes = kBytes) {
  const auto words = ContentsWords::Map(FileWith(header), bytes, Epoch{1});
  EXPECT_TRUE(words.ok()) << words.status().message();
  words->MarkComplete(MakeObjectId(0, 1));
  return words->IsComplete(MakeObjectId(0, 1));
}

TEST(ContentsWordsTest, AnObjectIsCompleteWhenItsGenerationWasCalledSo) {
  const ContentsWords words =
      *ContentsWords::Map(FileWith(GoodHeader()), kBytes, Epoch{1});
  const ObjectId object = MakeObjectId(7, 5);
  EXPECT_FALSE(words.IsComplete(object));
  words.MarkComplete(object);
  EXPECT_TRUE(words.IsComplete(object));
  EXPECT_FALSE(words.IsComplete(MakeObjectId(7, 4)));
  EXPECT_FALSE(words.IsComplete(MakeObjectId(7, 6)));
  EXPECT_FALSE(words.IsComplete(MakeObjectId(6, 5)));
}

TEST(ContentsWordsTest, WhatWasMappedFirstSeesWhatIsSaidLater) {
  UniqueFd file = FileWith(GoodHeader());
  UniqueFd copy(::dup(file.get()));
  const ContentsWords producer =
      *ContentsWords::Map(std::move(file), kBytes, Epoch{1});
  const ContentsWords opener =
      *ContentsWords::Map(std::move(copy), kBytes, Epoch{1});
  producer.MarkComplete(MakeObjectId(3, 9));
  EXPECT_TRUE(opener.IsComplete(MakeObjectId(3, 9)));
}

TEST(ContentsWordsTest, WhereThereAreNoneNothingIsComplete) {
  const ContentsWords words = *ContentsWords::Map(UniqueFd(), 0, Epoch{1});
  words.MarkComplete(MakeObjectId(0, 1));
  EXPECT_FALSE(words.IsComplete(MakeObjectId(0, 1)));
}

TEST(ContentsWordsTest, ASlotOutsideOfThemIsNeverComplete) {
  const ContentsWords words =
      *ContentsWords::Map(FileWith(GoodHeader()), kBytes, Epoch{1});
  words.MarkComplete(MakeObjectId(kSlots, 1));
  EXPECT_FALSE(words.IsComplete(MakeObjectId(kSlots, 1)));
}

// Another client of the tenant may have written there.
TEST(ContentsWordsTest, WhatIsSpoiltIsNotUsed) {
  EXPECT_TRUE(AreGood(GoodHeader()));
  shm::ContentsHeader header = GoodHeader();
  ++header.version;
  EXPECT_FALSE(AreGood(header));
  header = GoodHeader();
  ++header.magic;
  EXPECT_FALSE(AreGood(header));
  header = GoodHeader();
  ++header.slot_count;
  EXPECT_FALSE(AreGood(header));
  header.slot_count = ~uint32_t{0};
  EXPECT_FALSE(AreGood(header));
  header = GoodHeader();
  ++header.epoch;
  EXPECT_FALSE(AreGood(header));
  EXPECT_FALSE(AreGood(GoodHeader(), sizeof(shm::ContentsHeader) - 1));
}

TEST(ContentsWordsTest, AFileThatIsTooShortIsRefused) {
  EXPECT_EQ(ContentsWords::Map(FileWith(GoodHeader()), kBytes + 4096, Epoch{1})
                .status()
                .code(),
            VRAMPOOL_INTERNAL);
}

}  // namespace
}  // namespace vrampool::client
