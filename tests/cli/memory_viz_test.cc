#include "client/cli/memory_viz.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vrampool::cli {
namespace {

using ::testing::HasSubstr;

class MemoryVizTest : public ::testing::Test {
 protected:
  MemoryVizTest() {
    v1::LeaseInfo* const slab = snapshot_.add_leases();
    slab->set_slab_id(3);
    slab->set_session_id(7);
    slab->set_size_bytes(1000);
    report_ = snapshot_.mutable_leaks()->add_reports();
    report_->mutable_session()->set_session_id(7);
    report_->set_session_live(true);
  }
  void Add(uint64_t slab, uint64_t offset, uint64_t size) {
    v1::BlockInfo* const block = report_->add_blocks();
    block->set_slab_id(slab);
    block->set_offset_bytes(offset);
    block->set_size_bytes(size);
    block->set_tag("t");
  }

  v1::FullSnapshot snapshot_;
  v1::LeakReport* report_;
};

// What the pickle holds, Python itself reads in observe_test.py.

TEST_F(MemoryVizTest, BlocksThatFitAreAllThere) {
  Add(3, 100, 200);
  Add(3, 0, 100);
  Add(3, 300, 700);
  EXPECT_EQ(MakeMemoryViz(snapshot_, {}).left_out, 0u);
}

TEST_F(MemoryVizTest, NonsenseIsLeftOutAndCounted) {
  Add(3, 0, 100);
  Add(3, 50, 100);            // Overlaps the first.
  Add(3, 900, 101);           // Ends beyond its slab.
  Add(3, ~uint64_t{0}, 2);    // Wraps.
  Add(3, 500, ~uint64_t{0});  // Likewise.
  Add(3, 500, 0);             // Is none.
  Add(4, 0, 10);              // No such slab.
  EXPECT_EQ(MakeMemoryViz(snapshot_, {}).left_out, 6u);
}

TEST_F(MemoryVizTest, ABlockInAnothersSlabAndBlocksOfTheDeadAreLeftOut) {
  Add(3, 0, 100);
  snapshot_.mutable_leases(0)->set_session_id(8);
  EXPECT_EQ(MakeMemoryViz(snapshot_, {}).left_out, 1u);
  report_->set_session_live(false);
  EXPECT_EQ(MakeMemoryViz(snapshot_, {}).left_out, 0u);
}

TEST_F(MemoryVizTest, FramesAreTheStackOrTheCallSite) {
  Add(3, 0, 100);
  Add(3, 100, 100);
  Add(3, 200, 100);
  report_->mutable_blocks(0)->set_stack(1);
  report_->mutable_blocks(1)->set_call_site(0xabcd);
  report_->mutable_blocks(2)->set_stack(2);  // There is none.
  v1::StackGroup* const stack = report_->add_stacks();
  stack->add_frames()->set_address(0xff1);
  stack->add_frames()->set_text("train.py:12 (step)");
  stack->add_frames()->set_text("\x1b[31mtrain.py:90");
  const std::string pickle = MakeMemoryViz(snapshot_, {}).pickle;
  EXPECT_THAT(pickle, HasSubstr("train.py:12 (step)"));
  EXPECT_THAT(pickle, HasSubstr("\\x1b[31mtrain.py:90"));
  EXPECT_THAT(pickle, HasSubstr("0xabcd"));
  EXPECT_THAT(pickle, ::testing::Not(HasSubstr("0xff1")));
}

TEST_F(MemoryVizTest, AnEmptySnapshotHasTheKeysThatThePageReads) {
  const std::string pickle = MakeMemoryViz({}, {}).pickle;
  EXPECT_THAT(pickle, HasSubstr("segments"));
  EXPECT_THAT(pickle, HasSubstr("device_traces"));
}

}  // namespace
}  // namespace vrampool::cli
