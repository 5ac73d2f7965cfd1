// Stacks as the manifest has them, and as they are taken.

#include "client/session/stack_table.h"

#include <memory>
#include <string>

#include "client/session/call_stack.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vrampool::client {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;
using Frame = CallStack::Frame;

class StackTableTest : public ::testing::Test {
 protected:
  const std::unique_ptr<shm::FrameText[]> texts_ =
      std::make_unique<shm::FrameText[]>(shm::kFrameCapacity);
  const std::unique_ptr<shm::Stack[]> stacks_ =
      std::make_unique<shm::Stack[]>(shm::kStackCapacity);
  StackTable table_{{.frames = texts_.get(), .stacks = stacks_.get()}};
};

TEST_F(StackTableTest, AStackIsWrittenOnceAndNamedWithItsInterval) {
  const CallStack stack{.frames = {{.address = 11}, {.address = 22}},
                        .log2_interval = 22};
  const uint64_t site = table_.Note(stack);
  EXPECT_EQ(site, shm::SiteOfStack(0, 22));
  EXPECT_EQ(table_.Note({.frames = stack.frames, .log2_interval = 0}),
            shm::SiteOfStack(0, 0));
  EXPECT_EQ(table_.Note({.frames = {{.address = 11}}, .log2_interval = 5}),
            shm::SiteOfStack(1, 5));
  EXPECT_EQ(stacks_[0].is_set.load(), 1u);
  EXPECT_THAT(std::vector(stacks_[0].frames, stacks_[0].frames + 3),
              ElementsAre(11, 22, 0));
  EXPECT_EQ(stacks_[2].is_set.load(), 0u);
  EXPECT_THAT(table_.FramesOf(site), ElementsAre(Frame{11, ""}, Frame{22, ""}));
  EXPECT_THAT(table_.FramesOf(77), ElementsAre(Frame{77, ""}));
  EXPECT_THAT(table_.FramesOf(shm::SiteOfStack(9, 0)), SizeIs(0));
}

TEST_F(StackTableTest, WordsAreWrittenOnceAndCutAtTheEndOfALetter) {
  constexpr size_t kRoom = sizeof(shm::FrameText::text) - 1;
  const std::string letters = std::string(kRoom - 1, 'x') + "\u00e9!";
  const uint64_t site =
      table_.Note({.frames = {{.address = 11}, {0, letters}, {0, "b"}}});
  (void)table_.Note({.frames = {{.address = 11}, {0, "b"}, {0, letters}}});
  EXPECT_EQ(std::string(texts_[0].text), std::string(kRoom - 1, 'x'));
  EXPECT_EQ(std::string(texts_[1].text), "b");
  EXPECT_EQ(texts_[2].is_set.load(), 0u);
  EXPECT_THAT(std::vector(stacks_[0].frames, stacks_[0].frames + 4),
              ElementsAre(11, shm::kFrameMark | 0, shm::kFrameMark | 1, 0));
  EXPECT_THAT(std::vector(stacks_[1].frames, stacks_[1].frames + 4),
              ElementsAre(11, shm::kFrameMark | 1, shm::kFrameMark | 0, 0));
  EXPECT_EQ(table_.FramesOf(site).at(2), (Frame{0, "b"}));
}

TEST_F(StackTableTest, OnlySoManyFramesAreKept) {
  CallStack stack;
  for (uint64_t i = 1; i <= shm::kStackFrames + 5; ++i) {
    stack.frames.push_back({.address = i});
  }
  EXPECT_EQ(table_.Note(stack), shm::SiteOfStack(0, 0));
  EXPECT_EQ(stacks_[0].frames[shm::kStackFrames - 1], shm::kStackFrames);
  stack.frames.resize(shm::kStackFrames);
  EXPECT_EQ(table_.Note(stack), shm::SiteOfStack(0, 0));
}

TEST_F(StackTableTest, WhereThereIsNoRoomTheCallSiteIsLeft) {
  for (uint64_t i = 0; i < shm::kStackCapacity; ++i) {
    ASSERT_EQ(table_.Note({.frames = {{.address = 1000 + i}}}),
              shm::SiteOfStack(static_cast<uint32_t>(i), 0));
  }
  EXPECT_EQ(table_.Note({.frames = {{.address = 7}, {.address = 8}}}), 7u);
  EXPECT_EQ(table_.Note({.frames = {{.address = 1001}}}),
            shm::SiteOfStack(1, 0));
  EXPECT_EQ(table_.Note({}), 0u);
}

TEST_F(StackTableTest, WithoutRoomForItsWordsAStackIsNone) {
  for (uint32_t i = 0; i < shm::kFrameCapacity; i += 16) {
    CallStack stack{.frames = {{.address = 5}}};
    for (uint32_t j = 0; j < 16; ++j) {
      stack.frames.push_back({0, std::to_string(i + j)});
    }
    ASSERT_TRUE(shm::IsStack(table_.Note(stack)));
  }
  EXPECT_EQ(table_.Note({.frames = {{.address = 5}, {0, "more"}}}), 5u);
  EXPECT_TRUE(
      shm::IsStack(table_.Note({.frames = {{.address = 5}, {0, "7"}}})));
}

// What an allocating function of the library does.
[[gnu::noinline]] CallStack Library() {
  return CaptureStack(reinterpret_cast<uint64_t>(__builtin_return_address(0)));
}
[[gnu::noinline]] CallStack Inner(uint64_t* own) {
  *own = reinterpret_cast<uint64_t>(__builtin_return_address(0));
  CallStack stack = Library();
  return stack;
}
[[gnu::noinline]] CallStack Outer(uint64_t* inner, uint64_t* own) {
  *own = reinterpret_cast<uint64_t>(__builtin_return_address(0));
  CallStack stack = Inner(inner);
  return stack;
}

TEST(CaptureStackTest, BeginsAtTheCallSiteAndGoesOutwards) {
  uint64_t into_outer = 0;
  uint64_t into_test = 0;
  const CallStack stack = Outer(&into_outer, &into_test);
  ASSERT_GT(stack.frames.size(), 3u);
  // The first is in Inner().
  EXPECT_EQ(stack.frames[1].address, into_outer);
  EXPECT_EQ(stack.frames[2].address, into_test);
  EXPECT_LE(stack.frames.size(), shm::kStackFrames);
}

TEST(CaptureStackTest, ACallSiteThatIsNotOnTheStackIsAlone) {
  EXPECT_THAT(CaptureStack(12345).frames, ElementsAre(Frame{12345, ""}));
  EXPECT_THAT(CaptureStack(0).frames, ElementsAre(Frame{0, ""}));
}

[[gnu::noinline]] CallStack Deep(int depth) {
  if (depth == 0) return Library();
  CallStack stack = Deep(depth - 1);
  stack.log2_interval += 1;  // No tail call.
  return stack;
}

TEST(CaptureStackTest, OfADeepStackTheInnermostFramesAreKept) {
  EXPECT_THAT(Deep(100).frames, SizeIs(shm::kStackFrames));
}

}  // namespace
}  // namespace vrampool::client
