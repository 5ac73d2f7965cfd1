// A client killed just before the daemon hears of a call, and just after the
// daemon has carried it out and before the client knows: for each call of the
// protocol, the daemon's books are right and the pool gets everything back.

#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
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
  std::string point;  // "Lease:after:1"
  std::vector<std::string> prepare =
      {};                             // TOKEN stands for the other's object.
  std::string command;                // In which it dies.
  std::vector<uint64_t> blocks = {};  // That the leak report lists.
  std::string object = "";    // State of "left", the object it leaves, or "".
  uint64_t leased_bytes = 0;  // At its end, as the report says.
  // Besides, where a slab that was given back stays mapped (CUDA_IPC).
  uint64_t parked_bytes = 0;
  // On a GPU a close is done later, by a thread of the library's: it dies then,
  // or in a command that the close has to come before.
  bool is_after_close = false;
};
void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }

class Failpoint : public ::testing::TestWithParam<std::tuple<Case, Served>> {
 protected:
  static const Case& TheCase() { return std::get<Case>(GetParam()); }
  static Served served() { return std::get<Served>(GetParam()); }

  // One daemon of each device sees all the deaths.
  static void TearDownTestSuite() {
    for (const auto& [served, daemon] : daemons_) {
      EXPECT_EQ(daemon->Terminate(), 0) << daemon->ReadLog();
    }
    daemons_.clear();
  }
  void SetUp() override {
    if (daemons_.count(served()) == 0) {
      VRAMPOOL_ASSERT_OK_AND_ASSIGN(
          daemons_[served()],
          DaemonProcess::Start({.served = served(), .log_level = "warn"}));
    }
    daemon_ = daemons_[served()].get();
    VRAMPOOL_ASSERT_OK_AND_ASSIGN(other_,
                                  ClientProcess::Start(*daemon_, {kSlabSize}));
    ASSERT_TRUE(other_->Do("allocate block 4096").ok());
    ASSERT_TRUE(other_->Do("fill block 7").ok());
    const Answer shared = other_->Do("share block object others");
    ASSERT_TRUE(shared.ok()) << shared;
    token_ = shared.text;
  }

  // Runs the case's client to its death.
  void Die(uint64_t& session);
  std::string Completed(std::string command) const;
  uint64_t LeasedBytes() const;
  void CheckReport(uint64_t session);
  void CheckObjects();

  static std::map<Served, std::unique_ptr<DaemonProcess>> daemons_;
  DaemonProcess* daemon_ = nullptr;
  std::unique_ptr<ClientProcess> other_;
  std::string token_;
};

std::map<Served, std::unique_ptr<DaemonProcess>> Failpoint::daemons_;

std::string Failpoint::Completed(std::string command) const {
  constexpr std::string_view kPlace = "TOKEN";
  if (const size_t at = command.find(kPlace); at != std::string::npos) {
    command.replace(at, kPlace.size(), token_);
  }
  return command;
}

uint64_t Failpoint::LeasedBytes() const {
  const Case& one = TheCase();
  return one.leased_bytes +
         (served() == Served::kCudaIpc ? one.parked_bytes : 0);
}

void Failpoint::Die(uint64_t& session) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(
      const auto victim,
      ClientProcess::Start(
          *daemon_,
          {kSlabSize, "VRAMPOOL_RPC_MODULE=" VRAMPOOL_FAILPOINT_MODULE_PATH,
           "VRAMPOOL_FAILPOINT_MODULE=" VRAMPOOL_RPC_MODULE_PATH,
           "VRAMPOOL_IDLE_MS=3600000",
           "VRAMPOOL_FAILPOINT=" + TheCase().point}));
  session = victim->session();
  for (const std::string& command : TheCase().prepare) {
    const Answer answer = victim->Do(Completed(command));
    ASSERT_TRUE(answer.ok()) << command << ": " << answer;
  }
  const std::string command = Completed(TheCase().command);
  Answer answer = victim->Do(command);
  if (IsGpu(served()) && TheCase().is_after_close) {
    (void)Eventually([&] {
      if (answer.ok()) answer = victim->Do(command);
      return !answer.ok();
    });
  }
  ASSERT_EQ(answer.status, "GONE") << "it lives on: " << answer;
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const int end, victim->process().AwaitEnd());
  ASSERT_TRUE(WIFSIGNALED(end));
  ASSERT_EQ(WTERMSIG(end), SIGKILL);
}

void Failpoint::CheckReport(uint64_t session) {
  // All that the dead one had is back; what lives on is the other's slab, and
  // the one that holds an object it left.
  const uint64_t lasting = TheCase().object.empty() ? 1 : 2;
  ASSERT_THAT(daemon_->Await([&](const v1::GetStatusResponse& status) {
    return status.conservation_holds() && status.sessions() == 1 &&
           status.pool().free_bytes() + status.pool().clean_bytes() +
                   lasting * kSlabBytes ==
               status.pool().capacity_bytes();
  }),
              IsOk());
  const bool has_left = !TheCase().blocks.empty() || LeasedBytes() > 0;
  v1::ListLeaksResponse leaks;
  // The report is written after the memory has been given back.
  EXPECT_TRUE(Eventually([&] {
    const auto now = daemon_->leaks();
    if (now.ok()) leaks = *now;
    const auto& reports = leaks.reports();
    return !has_left ||
           std::any_of(reports.begin(), reports.end(), [&](const auto& one) {
             return one.session().session_id() == session;
           });
  }));
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
    EXPECT_EQ(report.leased_bytes(), LeasedBytes());
    EXPECT_EQ(sizes, TheCase().blocks);
  }
  EXPECT_EQ(is_listed, has_left);
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
  EXPECT_EQ(left, TheCase().object);
}

TEST_P(Failpoint, LeavesTheBooksRight) {
  uint64_t session = 0;
  Die(session);
  if (HasFatalFailure()) return;
  CheckReport(session);
  CheckObjects();
  // What it did to others' memory: nothing.
  EXPECT_TRUE(other_->Do("check block 7").ok());
  if (!TheCase().object.empty()) {
    EXPECT_TRUE(other_->Do("unlink left").ok());
  }
  EXPECT_EQ(other_->Do("close object").status, "OK");
  (void)other_->Do("unlink others");  // Gone already in one of the cases.
  EXPECT_EQ(other_->Quit(), 0);
  EXPECT_THAT(daemon_->AwaitWhole(), IsOk());
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
      {.name = "ReturnAfter",
       .point = "Return:after:1",
       .prepare = freed,
       .command = "trim",
       .parked_bytes = slab},
      {.name = "ReportUnmappedBefore",
       .point = "ReportUnmapped:before:1",
       .prepare = closed,
       .command = "quiesce",
       .is_after_close = true},
      {.name = "ReportUnmappedAfter",
       .point = "ReportUnmapped:after:1",
       .prepare = closed,
       .command = "quiesce",
       .is_after_close = true},
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
      {.name = "CloseBefore",
       .point = "Close:before:1",
       .prepare = opened,
       .command = "close o",
       .is_after_close = true},
      {.name = "CloseAfter",
       .point = "Close:after:1",
       .prepare = opened,
       .command = "close o",
       .is_after_close = true},
      {"UnlinkBefore", "Unlink:before:1", {}, "unlink others", {}},
      {"UnlinkAfter", "Unlink:after:1", {}, "unlink others", {}},
      {"WaitAfter", "Wait:after:1", {}, "room 4096 0", {}},
      {"BudgetAfter", "Budget:after:1", {}, "budget", {}},
  };
}

INSTANTIATE_TEST_SUITE_P(Calls, Failpoint,
                         ::testing::Combine(::testing::ValuesIn(Cases()),
                                            EveryDevice()),
                         [](const auto& one) {
                           return std::get<Case>(one.param).name +
                                  NameOf(std::get<Served>(one.param));
                         });

}  // namespace
}  // namespace vrampool::testing
