#include "client/cli/flame_graph.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vrampool::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

v1::LeakReport* AddReport(v1::ListLeaksResponse* leaks, uint64_t id,
                          const std::string& tenant) {
  v1::LeakReport* const report = leaks->add_reports();
  report->mutable_session()->set_session_id(id);
  report->mutable_session()->set_tenant(tenant);
  report->mutable_session()->mutable_process()->set_uid(4'000'000'123);
  report->set_session_live(true);
  return report;
}

void AddGroup(v1::LeakReport* report, const std::string& tag,
              uint64_t call_site, uint64_t bytes) {
  v1::BlockGroup* const group = report->add_groups();
  group->set_tag(tag);
  group->set_call_site(call_site);
  group->set_bytes(bytes);
  group->set_blocks(2);
}

TEST(FlameGraphTest, EachLevelIsAsWideAsItsBytesTheLargestFirst) {
  v1::ListLeaksResponse leaks;
  v1::LeakReport* const report = AddReport(&leaks, 7, "root/a");
  report->mutable_session()->set_name("train");
  AddGroup(report, "batch", 0xabcd, 1 << 20);
  AddGroup(report, "", 0, 3 << 20);
  EXPECT_EQ(
      FlameGraph(leaks, {}),
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1200\" height=\"134\" "
      "viewBox=\"0 0 1200 134\" font-family=\"monospace\" font-size=\"12\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"#fffdf7\"/>\n"
      "<text x=\"3\" y=\"20\" font-size=\"14\">4.0 MiB in 4 blocks, by tenant, "
      "session, tag and call site</text>\n"
      "<g><title>all: 4.0 MiB in 4 blocks</title><rect x=\"0.00\" y"
      "=\"34\" width=\"1200.00\" height=\"17\" fill=\"hsl(37,77%,68"
      "%)\"/><text x=\"3.00\" y=\"47\">all</text></g>\n"
      "<g><title>root/a: 4.0 MiB in 4 blocks</title><rect x=\"0.00"
      "\" y=\"52\" width=\"1200.00\" height=\"17\" fill=\"hsl(31,84%"
      ",71%)\"/><text x=\"3.00\" y=\"65\">root/a</text></g>\n"
      "<g><title>session 7 (pid 0, uid 4000000123, name train): 4.0"
      " MiB in 4 blocks</title><rect x=\"0.00\" y=\"70\" width=\"12"
      "00.00\" height=\"17\" fill=\"hsl(22,78%,72%)\"/><text x=\"3."
      "00\" y=\"83\">session 7 train</text></g>\n"
      "<g><title>(no tag): 3.0 MiB in 2 blocks</title><rect x=\"0.0"
      "0\" y=\"88\" width=\"900.00\" height=\"17\" fill=\"hsl(41,71"
      "%,75%)\"/><text x=\"3.00\" y=\"101\">(no tag)</text></g>\n"
      "<g><title>batch: 1.0 MiB in 2 blocks</title><rect x=\"900.00"
      "\" y=\"88\" width=\"300.00\" height=\"17\" fill=\"hsl(48,81%"
      ",65%)\"/><text x=\"903.00\" y=\"101\">batch</text></g>\n"
      "<g><title>0xabcd: 1.0 MiB in 2 blocks</title><rect x=\"900.0"
      "0\" y=\"106\" width=\"300.00\" height=\"17\" fill=\"hsl(17,7"
      "3%,73%)\"/><text x=\"903.00\" y=\"119\">0xabcd</text></g>\n"
      "</svg>\n");
}

TEST(FlameGraphTest, TextsOfClientsAreEscaped) {
  v1::ListLeaksResponse leaks;
  v1::LeakReport* const report = AddReport(&leaks, 7, "root/a");
  report->mutable_session()->set_name("</title><script>alert(1)</script>");
  AddGroup(report, "\" onload='x&\x1b[31m", 0, 1 << 20);
  const std::string svg = FlameGraph(leaks, {});
  EXPECT_THAT(svg, Not(HasSubstr("<script")));
  EXPECT_THAT(svg, HasSubstr("&lt;/title&gt;&lt;script&gt;alert(1)"));
  EXPECT_THAT(svg, HasSubstr("&quot; onload=&#39;x&amp;\\x1b[31m"));
}

TEST(FlameGraphTest, WhatIsTooNarrowToSeeIsLeftOut) {
  v1::ListLeaksResponse leaks;
  v1::LeakReport* const report = AddReport(&leaks, 7, "root/a");
  AddGroup(report, "wide", 0, 1 << 30);
  for (int i = 0; i < 1000; ++i) {
    AddGroup(report, "thin" + std::to_string(i), 0, 1 << 10);
  }
  const std::string svg = FlameGraph(leaks, {});
  EXPECT_THAT(svg, HasSubstr("wide"));
  EXPECT_THAT(svg, Not(HasSubstr("thin")));
  EXPECT_LT(svg.size(), 3000u);
}

TEST(FlameGraphTest, TheDeadAndWhatIsInNoGroupAreThere) {
  v1::ListLeaksResponse leaks;
  v1::LeakReport* const report = AddReport(&leaks, 7, "root/a");
  report->set_session_live(false);
  report->set_end_cause("died");
  report->mutable_ungrouped()->set_bytes(5);
  report->mutable_ungrouped()->set_blocks(5);
  const std::string svg = FlameGraph(leaks, {});
  EXPECT_THAT(svg, HasSubstr("session 7, died"));
  EXPECT_THAT(svg, HasSubstr("(other): 5 B in 5 blocks"));
}

v1::StackGroup* AddStack(v1::LeakReport* report, const std::string& tag,
                         std::vector<uint64_t> frames, uint64_t estimate) {
  v1::StackGroup* const stack = report->add_stacks();
  stack->set_tag(tag);
  for (const uint64_t frame : frames) stack->add_frames()->set_address(frame);
  stack->set_estimated_bytes(estimate);
  return stack;
}

TEST(FlameGraphTest, ACallSitesBlocksAreSharedOutAmongItsStacks) {
  v1::ListLeaksResponse leaks;
  v1::LeakReport* const report = AddReport(&leaks, 7, "root/a");
  AddGroup(report, "batch", 0xaa, 4 << 20);
  AddGroup(report, "other", 0xaa, 1 << 20);
  // Estimates that are not the sum of what there is, in proportion 3 : 1.
  AddStack(report, "batch", {0xaa, 0xb1, 0xcc}, 9 << 20);
  AddStack(report, "batch", {0xaa, 0xb2, 0xcc}, 3 << 20);
  AddStack(report, "batch", {0xdd}, 100 << 20);  // Of another call site.
  const std::string svg = FlameGraph(leaks, {});
  EXPECT_THAT(svg, HasSubstr("<title>0xcc: 4.0 MiB in 2 blocks"));
  EXPECT_THAT(svg, HasSubstr("<title>0xb1: 3.0 MiB in 1 blocks"));
  EXPECT_THAT(svg, HasSubstr("<title>0xb2: 1.0 MiB in 1 blocks"));
  EXPECT_THAT(svg, HasSubstr("<title>0xaa: 3.0 MiB in 1 blocks"));
  EXPECT_THAT(svg, HasSubstr("<title>0xaa: 1.0 MiB in 2 blocks"));
  EXPECT_THAT(svg, Not(HasSubstr("0xdd")));
  // The outermost frame is on top.
  EXPECT_LT(svg.find("<title>0xcc"), svg.find("<title>0xb1"));
}

TEST(FlameGraphTest, FramesInWordsStandInPlaceOfTheInterpreter) {
  v1::ListLeaksResponse leaks;
  v1::LeakReport* const report = AddReport(&leaks, 7, "root/a");
  AddGroup(report, "", 0xff1, 4 << 20);
  v1::StackGroup* const stack = AddStack(report, "", {0xff1}, ~uint64_t{0});
  stack->add_frames()->set_text("train.py:12 (<step>)");
  const std::string svg = FlameGraph(leaks, {});
  EXPECT_THAT(svg, HasSubstr("train.py:12 (&lt;step&gt;): 4.0 MiB"));
  EXPECT_THAT(svg, Not(HasSubstr("0xff1")));
}

TEST(FlameGraphTest, NothingIsAnEmptyPicture) {
  EXPECT_THAT(FlameGraph({}, {}), HasSubstr("0 B in 0 blocks"));
}

}  // namespace
}  // namespace vrampool::cli
