// A client killed at every instruction between entering and leaving its
// manifest, in one operation of each kind. Whatever the instruction: the
// manifest reads cleanly, the leak report has every block whole or not at all,
// the objects of others are unharmed, and the pool gets everything back.

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "client/allocator/coarse_clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/stepped_sizes.h"
#include "tests/integration/stepper.h"
#include "tests/testing/client_process.h"
#include "tests/testing/daemon_process.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

// A block as a report shows it; what both blocks have in common is checked
// apart.
struct Listed {
  uint64_t size = 0;
  std::string tag;
  auto operator<=>(const Listed&) const = default;
};
[[maybe_unused]] void PrintTo(const Listed& listed, std::ostream* out) {
  *out << listed.size << " bytes of " << listed.tag;
}

const Listed kBase{kBaseBytes, kBaseTag};
const Listed kStepped{kSteppedBytes, kSteppedTag};

// A life of the client, up to its death.
struct Life {
  uint64_t session = 0;
  uint32_t pid = 0;
  int64_t begin_unix_ns = 0;  // By the clock that records go by.
  Stepper::Walk walk;
};

class KillEverywhere : public ::testing::TestWithParam<Served> {
 protected:
  void SetUp() override {
    VRAMPOOL_ASSERT_OK_AND_ASSIGN(
        daemon_,
        DaemonProcess::Start({.served = GetParam(),
                              .config = "bounds { leak_reports: 16 }\n",
                              .log_level = "warn"}));
    VRAMPOOL_ASSERT_OK_AND_ASSIGN(admin_, daemon_->Admin());
  }
  void TearDown() override {
    admin_.reset();
    EXPECT_THAT(daemon_->AwaitWhole(), IsOk());
    EXPECT_EQ(daemon_->Terminate(), 0) << daemon_->ReadLog();
  }

  absl::StatusOr<Life> LiveAndDie(const std::string& operation,
                                  const std::string& token, uint64_t steps);
  absl::StatusOr<v1::LeakReport> ReportOf(const Life& life);
  // Kills it once after each step; `check` is told of each life and whether the
  // operation had been finished.
  template <typename Check>
  void ForEveryStep(const std::string& operation, const std::string& token,
                    const Check& check);
  // The report's blocks, each checked for being whole.
  std::vector<Listed> BlocksOf(const v1::LeakReport& report, const Life& life);
  void ExpectBaseline();

  std::unique_ptr<DaemonProcess> daemon_;
  std::unique_ptr<cli::AdminClient> admin_;
  uint64_t lasting_sessions_ = 0;  // Of the test itself, likewise its slabs.
  uint64_t lasting_bytes_ = 0;
  std::string stacks_ = "off";  // Of none, or of all: the same each time.
};

absl::StatusOr<Life> KillEverywhere::LiveAndDie(const std::string& operation,
                                                const std::string& token,
                                                uint64_t steps) {
  Life life;
  life.begin_unix_ns = client::CoarseUnixNs();
  VRAMPOOL_ASSIGN_OR_RETURN(
      const auto child,
      ChildProcess::Start(
          {.words = {VRAMPOOL_STEPPED_CLIENT, operation, token},
           .environment = daemon_->ClientEnvironment(
               {"VRAMPOOL_SLAB_SIZE=2MiB", "VRAMPOOL_STACKS=" + stacks_,
                "VRAMPOOL_RPC_MODULE=" VRAMPOOL_RPC_MODULE_PATH,
                // Binding a name is no part of any section.
                "LD_BIND_NOW=1"}),
           .has_pipes = true,
           .is_traced = true}));
  Stepper stepper(child->pid());
  VRAMPOOL_RETURN_IF_ERROR(stepper.AwaitExec());
  VRAMPOOL_RETURN_IF_ERROR(stepper.RunToTrap());
  VRAMPOOL_ASSIGN_OR_RETURN(const std::string line, child->ReadLine());
  SectionMarks marks;
  if (std::sscanf(line.c_str(), "ready %" SCNu64 " %" SCNu64 " %" SCNu64,
                  &marks.enter, &marks.leave, &life.session) != 3) {
    return absl::InternalError("the client says: " + line);
  }
  life.pid = static_cast<uint32_t>(child->pid());
  VRAMPOOL_ASSIGN_OR_RETURN(life.walk, stepper.WalkSections(marks, steps));
  VRAMPOOL_RETURN_IF_ERROR(stepper.Kill());
  VRAMPOOL_RETURN_IF_ERROR(child->AwaitEnd().status());
  return life;
}

absl::StatusOr<v1::LeakReport> KillEverywhere::ReportOf(const Life& life) {
  v1::LeakReport found;
  const bool is_found = Eventually([&] {
    v1::ListLeaksRequest request;
    request.set_max_blocks(1000);
    const auto leaks = admin_->ListLeaks(request);
    if (!leaks.ok()) return false;
    for (const v1::LeakReport& report : leaks->reports()) {
      if (report.session().session_id() != life.session) continue;
      found = report;
      return !report.session_live();
    }
    return false;
  });
  if (is_found) return found;
  return absl::DeadlineExceededError("no report of the killed session");
}

std::vector<Listed> KillEverywhere::BlocksOf(const v1::LeakReport& report,
                                             const Life& life) {
  std::vector<Listed> listed;
  uint64_t bytes = 0;
  std::set<std::tuple<uint64_t, uint64_t>> places;
  for (const v1::BlockInfo& block : report.blocks()) {
    EXPECT_NE(block.slab_id(), 0u);
    EXPECT_EQ(block.offset_bytes() % 256, 0u);
    EXPECT_LE(block.offset_bytes() + block.size_bytes(), uint64_t{2} << 20);
    EXPECT_TRUE(places.insert({block.slab_id(), block.offset_bytes()}).second);
    EXPECT_EQ(block.stream(), 0u);        // Of the legacy stream, too.
    EXPECT_EQ(block.thread(), life.pid);  // Its main thread.
    EXPECT_GE(block.allocated_unix_ns(), life.begin_unix_ns);
    EXPECT_LE(block.allocated_unix_ns(), report.ended_unix_ns());
    listed.push_back({block.size_bytes(), block.tag()});
    bytes += block.size_bytes();
  }
  for (const v1::StackGroup& stack : report.stacks()) {
    EXPECT_GT(stack.frames_size(), 1);
    EXPECT_GT(stack.estimated_bytes(), 0u);
  }
  if (stacks_ == "all") {  // Written before the block is.
    for (const v1::BlockInfo& block : report.blocks()) {
      EXPECT_GT(block.stack(), 0u);
    }
  }
  EXPECT_EQ(report.manifest_fault(), "");
  EXPECT_EQ(report.end_cause(), "died");
  EXPECT_EQ(report.session().process().pid(), life.pid);
  EXPECT_EQ(report.blocks_total(), listed.size());
  EXPECT_EQ(report.bytes_total(), bytes);
  return listed;
}

void KillEverywhere::ExpectBaseline() {
  EXPECT_TRUE(Eventually([&] {
    const auto status = admin_->GetStatus();
    return status.ok() && status->conservation_holds() &&
           status->sessions() == lasting_sessions_ &&
           status->ghost_bytes() == 0 &&
           status->pool().free_bytes() + status->pool().clean_bytes() +
                   lasting_bytes_ ==
               status->pool().capacity_bytes() &&
           status->pool().leased_bytes() == lasting_bytes_;
  })) << admin_->GetStatus()->ShortDebugString();
}

template <typename Check>
void KillEverywhere::ForEveryStep(const std::string& operation,
                                  const std::string& token,
                                  const Check& check) {
  uint64_t steps = 0;
  for (bool is_finished = false; !is_finished; ++steps) {
    SCOPED_TRACE(absl::StrCat(operation, " killed after ", steps, " steps"));
    VRAMPOOL_ASSERT_OK_AND_ASSIGN(const Life life,
                                  LiveAndDie(operation, token, steps));
    is_finished = life.walk.is_trap_reached;
    EXPECT_TRUE(!is_finished || life.walk.sections > 0);
    VRAMPOOL_ASSERT_OK_AND_ASSIGN(const v1::LeakReport report, ReportOf(life));
    check(BlocksOf(report, life), is_finished);
    ExpectBaseline();
    if (HasFailure()) return;
  }
  RecordProperty(operation + "_kills_" + stacks_, static_cast<int>(steps));
  EXPECT_GT(steps, 5u);
}

INSTANTIATE_TEST_SUITE_P(Devices, KillEverywhere, EveryDevice(), DeviceName());

TEST_P(KillEverywhere, Allocate) {
  for (const auto& [operation, stacks] :
       {std::pair("allocate", "off"), std::pair("allocate_again", "off"),
        std::pair("allocate", "all")}) {
    stacks_ = stacks;
    bool was_listed = false;
    bool was_ever_unlisted = false;
    ForEveryStep(operation, "", [&](std::vector<Listed> blocks, bool finished) {
      EXPECT_THAT(blocks, AnyOf(ElementsAre(kBase),
                                UnorderedElementsAre(kBase, kStepped)));
      // Once recorded, always recorded: a later death shows it, too.
      const bool is_listed = blocks.size() == 2;
      EXPECT_TRUE(is_listed || !was_listed);
      EXPECT_TRUE(is_listed || !finished);
      was_listed = is_listed;
      was_ever_unlisted = was_ever_unlisted || !is_listed;
    });
    EXPECT_TRUE(was_ever_unlisted);
  }
}

TEST_P(KillEverywhere, Free) {
  bool was_listed = true;
  bool was_ever_listed = false;
  ForEveryStep("free", "", [&](std::vector<Listed> blocks, bool finished) {
    EXPECT_THAT(blocks, AnyOf(ElementsAre(kBase),
                              UnorderedElementsAre(kBase, kStepped)));
    const bool is_listed = blocks.size() == 2;
    EXPECT_TRUE(was_listed || !is_listed);
    EXPECT_FALSE(is_listed && finished);
    was_listed = is_listed;
    was_ever_listed = was_ever_listed || is_listed;
  });
  EXPECT_TRUE(was_ever_listed);
}

TEST_P(KillEverywhere, Share) {
  ForEveryStep("share", "", [&](std::vector<Listed> blocks, bool) {
    EXPECT_THAT(blocks, UnorderedElementsAre(kBase, kStepped));
    // An unnamed object that only the dead one held.
    EXPECT_TRUE(Eventually([&] {
      const auto objects = admin_->ListObjects();
      return objects.ok() && objects->objects_size() == 0;
    }));
  });
}

// Opens and closes another process's object: this one's.
class KillTheOpener : public KillEverywhere {
 protected:
  void Run(const std::string& operation);
};

void KillTheOpener::Run(const std::string& operation) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(
      const auto producer,
      ClientProcess::Start(*daemon_, {"VRAMPOOL_SLAB_SIZE=2MiB"}));
  ASSERT_TRUE(producer->Do("allocate block 4096").ok());
  const Answer shared = producer->Do("share block object");
  ASSERT_TRUE(shared.ok()) << shared;
  lasting_sessions_ = 1;
  lasting_bytes_ = uint64_t{2} << 20;
  ForEveryStep(operation, shared.text, [&](std::vector<Listed> blocks, bool) {
    EXPECT_THAT(blocks, ElementsAre(kBase));
    VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto objects, admin_->ListObjects());
    ASSERT_EQ(objects.objects_size(), 1);
    EXPECT_EQ(objects.objects(0).state(), "live");
    EXPECT_EQ(objects.objects(0).holds(), 1u);
  });
  // None of the dead holds it: with its last hold it ends.
  EXPECT_TRUE(producer->Do("close object").ok());
  EXPECT_TRUE(Eventually([&] {
    const auto objects = admin_->ListObjects();
    return objects.ok() && objects->objects_size() == 0;
  }));
  EXPECT_EQ(producer->Quit(), 0);
}

INSTANTIATE_TEST_SUITE_P(Devices, KillTheOpener, EveryDevice(), DeviceName());

TEST_P(KillTheOpener, Open) { Run("open"); }

TEST_P(KillTheOpener, Close) { Run("close"); }

}  // namespace
}  // namespace vrampool::testing
