// A client killed just before the daemon hears of a call, and just after the
// daemon has carried it out and before the client knows: for each call of the
// protocol, the daemon's books are right and the pool gets everything back.

#include <sys/wait.h>

#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/client_process.h"
#include "tests/testing/daemon_process.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {
namespace {

constexpr uint64_t kSlabBytes = uint64_t{2} << 20;
constexpr char kSlabSize[] = "VRAMPOOL_SLAB_SIZE=2MiB";

struct Case {
  std::string name;
  std::string point;                 // "Lease:after:1"
  std::vector<std::string> prepare;  // TOKEN stands for the other's object.
  std::string command;               // In which it dies.
  std::vector<uint64_t> blocks;      // That the leak report lists.
  std::string object = "";    // State of "left", the object it leaves, or "".
  uint64_t leased_bytes = 0;  // At its end, as the report says.
};
void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }

class Failpoint : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    VRAMPOOL_ASSERT_OK_AND_ASSIGN(daemon_,
                                  DaemonProcess::Start({.log_level = "warn"}));
    VRAMPOOL_ASSERT_OK_AND_ASSIGN(
        other_, ClientProcess::Start(daemon_->directory(), {kSlabSize}));
    ASSERT_TRUE(other_->Do("allocate block 4096").ok());
    ASSERT_TRUE(other_->Do("fill block 7").ok());
    const Answer shared = other_->Do("share block object others");
    ASSERT_TRUE(shared.ok()) << shared;
    token_ = shared.text;
  }

  // Runs the case's client to its death.
  void Die(uint64_t& session);
  void CheckReport(uint64_t session);
  void CheckObjects();

  std::unique_ptr<DaemonProcess> daemon_;
  std::unique_ptr<ClientProcess> other_;
  std::string token_;
};

void Failpoint::Die(uint64_t& session) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(
      const auto victim,
      ClientProcess::Start(
          daemon_->directory(),
          {kSlabSize, "VRAMPOOL_RPC_MODULE=" VRAMPOOL_FAILPOINT_MODULE_PATH,
           "VRAMPOOL_FAILPOINT_MODULE=" VRAMPOOL_RPC_MODULE_PATH,
           "VRAMPOOL_IDLE_MS=3600000",
           "VRAMPOOL_FAILPOINT=" + GetParam().point}));
  session = victim->session();
  for (std::string command : GetParam().prepare) {
    if (const size_t at = command.find("TOKEN"); at != std::string::npos) {
      command.replace(at, 5, token_);
    }
    const Answer answer = victim->Do(command);
    ASSERT_TRUE(answer.ok()) << command << ": " << answer;
  }
  std::string command = GetParam().command;
  if (const size_t at = command.find("TOKEN"); at != std::string::npos) {
    command.replace(at, 5, token_);
  }
  const Answer answer = victim->Do(command);
  ASSERT_EQ(answer.status, "GONE") << "it lives on: " << answer;
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const int end, victim->process().AwaitEnd());
  ASSERT_TRUE(WIFSIGNALED(end));
  ASSERT_EQ(WTERMSIG(end), SIGKILL);
}

void Failpoint::CheckReport(uint64_t session) {
  // All that the dead one had is back; what lives on is the other's slab, and
  // the one that holds an object it left.
  const uint64_t lasting = GetParam().object.empty() ? 1 : 2;
  ASSERT_THAT(daemon_->Await([&](const v1::GetStatusResponse& status) {
    return status.conservation_holds() && status.sessions() == 1 &&
           status.pool().free_bytes() + status.pool().clean_bytes() +
                   lasting * kSlabBytes ==
               status.pool().capacity_bytes();
  }),
              IsOk());
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto leaks, daemon_->leaks());
  EXPECT_EQ(leaks.lingering_size(), 0);
  bool is_listed = false;
  for (const v1::LeakReport& report : leaks.reports()) {
    if (report.session().session_id() != session) continue;
    is_listed = true;
    std::vector<uint64_t> sizes;
    for (const v1::BlockInfo& block : report.blocks()) {
      sizes.push_back(block.size_bytes());
    }
    EXPECT_FALSE(report.session_live());
    EXPECT_EQ(report.manifest_fault(), "");
    EXPECT_EQ(report.end_cause(), "died");
    EXPECT_EQ(report.leased_bytes(), GetParam().leased_bytes);
    EXPECT_EQ(sizes, GetParam().blocks);
  }
  EXPECT_EQ(is_listed,
            !GetParam().blocks.empty() || GetParam().leased_bytes > 0);
}

void Failpoint::CheckObjects() {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto objects, daemon_->objects());
  std::string left;
  for (const v1::ObjectInfo& object : objects.objects()) {
    if (object.name() == "left") {
      left = object.state();
      EXPECT_EQ(object.holds(), 0u);
      EXPECT_FALSE(object.producer_alive());
    } else {
      EXPECT_EQ(object.holds(), 1u) << object.name();
      EXPECT_EQ(object.state(), "live");
    }
  }
  EXPECT_EQ(left, GetParam().object);
}

TEST_P(Failpoint, LeavesTheBooksRight) {
  uint64_t session = 0;
  Die(session);
  if (HasFatalFailure()) return;
  CheckReport(session);
  CheckObjects();
  // What it did to others' memory: nothing.
  EXPECT_TRUE(other_->Do("check block 7").ok());
  if (!GetParam().object.empty()) {
    EXPECT_TRUE(other_->Do("unlink left").ok());
  }
  EXPECT_EQ(other_->Do("close object").status, "OK");
  (void)other_->Do("unlink others");  // Gone already in one of the cases.
  EXPECT_EQ(other_->Quit(), 0);
  EXPECT_THAT(daemon_->AwaitWhole(), IsOk());
  EXPECT_EQ(daemon_->Terminate(), 0) << daemon_->ReadLog();
}

std::vector<Case> Cases() {
  const std::vector<std::string> block = {"allocate a 5000"};
  const std::vector<std::string> freed = {"allocate a 5000", "free a"};
  const std::vector<std::string> pending = {"allocate a 5000",
                                            "share_pending a o left"};
  const std::vector<std::string> opened = {"open o TOKEN 0"};
  const std::vector<std::string> closed = {"open o TOKEN 0", "close o"};
  const std::vector<uint64_t> one = {5000};
  const uint64_t slab = kSlabBytes;
  return {
      {"LeaseBefore", "Lease:before:1", {}, "allocate a 5000", {}},
      {"LeaseAfter", "Lease:after:1", {}, "allocate a 5000", {}, "", slab},
      // A second slab, beside one with a block in it.
      {"GrowBefore", "Lease:before:2", block, "allocate b 2097152", one, "",
       slab},
      {"GrowAfter", "Lease:after:2", block, "allocate b 2097152", one, "",
       2 * slab},
      {"ReturnBefore", "Return:before:1", freed, "trim", {}, "", slab},
      {"ReturnAfter", "Return:after:1", freed, "trim", {}},
      {"ReportUnmappedBefore", "ReportUnmapped:before:1", closed, "trim", {}},
      {"ReportUnmappedAfter", "ReportUnmapped:after:1", closed, "trim", {}},
      {"ShareBefore", "Share:before:1", block, "share a o", one, "", slab},
      {"ShareAfter", "Share:after:1", block, "share a o", one, "", slab},
      // A named object outlives its producer, even one that never knew it.
      {"ShareNamedBefore", "Share:before:1", block, "share a o left", one, "",
       slab},
      {"ShareNamedAfter", "Share:after:1", block, "share a o left", one, "live",
       slab},
      // A broken object has no name any more, and without a hold it ends.
      {"ReadyBefore", "Ready:before:1", pending, "ready o", one, "", slab},
      {"ReadyAfter", "Ready:after:1", pending, "ready o", one, "live", slab},
      {"OpenBefore", "Open:before:1", {}, "open o TOKEN 0", {}},
      {"OpenAfter", "Open:after:1", {}, "open o TOKEN 0", {}},
      {"CloseBefore", "Close:before:1", opened, "close o", {}},
      {"CloseAfter", "Close:after:1", opened, "close o", {}},
      {"UnlinkBefore", "Unlink:before:1", {}, "unlink others", {}},
      {"UnlinkAfter", "Unlink:after:1", {}, "unlink others", {}},
      {"WaitAfter", "Wait:after:1", {}, "room 4096 0", {}},
      {"BudgetAfter", "Budget:after:1", {}, "budget", {}},
  };
}

INSTANTIATE_TEST_SUITE_P(Calls, Failpoint, ::testing::ValuesIn(Cases()),
                         [](const ::testing::TestParamInfo<Case>& one) {
                           return one.param.name;
                         });

}  // namespace
}  // namespace vrampool::testing
