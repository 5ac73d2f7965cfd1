// Memory that goes from process to process and back, again and again, and what
// is left of it when one of them is killed.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/integration/flow_fixture.h"

namespace vrampool::testing {
namespace {

namespace fs = std::filesystem;

#ifdef VRAMPOOL_SANITIZED
constexpr int kRounds = 1000;
#else
constexpr int kRounds = 10000;
#endif
// Before those, caches fill.
constexpr int kWarmUp = kRounds / 4;
// If each round left behind the smallest piece that the heap has, which is 32
// bytes.
[[maybe_unused]] constexpr int64_t kGrowthKib = kRounds * 32 / 1024;
// The threads of the daemon's gRPC that wait for calls come and go, a few at a
// time.
constexpr int64_t kIdlePollers = 4;
// As many as are in use at a time, which differs from round to round.
constexpr int64_t kMostEvents = 16;
// Else it also grows with the number of threads that happen to be quick.
constexpr char kOneArena[] = "MALLOC_ARENA_MAX=1";

struct Figures {
  int64_t descriptors = 0;
  int64_t threads = 0;
  int64_t heap_kib = 0;
  int64_t events = 0;
};

int64_t CountEntries(const fs::path& folder) {
  return std::distance(fs::directory_iterator(folder),
                       fs::directory_iterator());
}

// Private memory that was written; neither files nor what is shared.
int64_t HeapKib(pid_t process) {
  std::ifstream status(absl::StrCat("/proc/", process, "/status"));
  for (std::string word; status >> word;) {
    int64_t kib = 0;
    if (word == "RssAnon:" && status >> kib) return kib;
  }
  ADD_FAILURE() << "no RssAnon";
  return 0;
}

Figures FiguresOf(pid_t process) {
  const fs::path folder = absl::StrCat("/proc/", process);
  return {.descriptors = CountEntries(folder / "fd"),
          .threads = CountEntries(folder / "task"),
          .heap_kib = HeapKib(process)};
}

class Handoff : public FlowTest {
 protected:
  void Start() {
    VRAMPOOL_ASSERT_OK_AND_ASSIGN(
        daemon_, DaemonProcess::Start({.served = GetParam(),
                                       .pool_size = "64MiB",
                                       .environment = {kOneArena}}));
    producer_ = StartClient();
    consumer_ = StartClient();
    Expect(*producer_, "allocate a 65536");
  }
  static std::string Expect(ClientProcess& client, const std::string& command) {
    const Answer answer = client.Do(command);
    EXPECT_TRUE(answer.ok()) << command << ": " << answer;
    return answer.text;
  }
  std::string FillAndShare(const std::string& block) {
    Expect(*producer_, absl::StrCat("fill ", block, " 7"));
    return Expect(*producer_, absl::StrCat("share ", block, " of_", block));
  }
  // There, and back with other contents.
  void PassOn(int round) {
    const int back = round + 1000000;
    Expect(*producer_, absl::StrCat("fill_later a ", round));
    const std::string token = Expect(*producer_, "share_ordered a o");
    Expect(*consumer_, absl::StrCat("open x ", token, " 60000"));
    Expect(*consumer_, absl::StrCat("check x ", round));
    Expect(*consumer_, absl::StrCat("fill x ", back));
    Expect(*consumer_, "close x");
    Expect(*producer_, absl::StrCat("check a ", back));
    Expect(*producer_, "close o");
    // Else the rounds run ahead, on a busy machine, of what returns events.
    Expect(*producer_, "end");
  }
  Figures Of(ClientProcess& client) {
    Figures figures = FiguresOf(client.process().pid());
    EXPECT_TRUE(absl::SimpleAtoi(Expect(client, "events"), &figures.events));
    return figures;
  }
  void AwaitSessions(uint64_t count) {
    ASSERT_THAT(daemon_->Await([count](const v1::GetStatusResponse& status) {
      return status.sessions() == count;
    }),
                IsOk());
  }
  // Until the daemon has as many.
  void AwaitObjects(int count) {
    EXPECT_TRUE(Eventually([&] {
      const auto objects = daemon_->objects();
      return objects.ok() && objects->objects_size() == count;
    }));
  }
  void ExpectNoGrowth(const std::string& who, const Figures& before,
                      const Figures& after, int64_t more_threads = 0) {
    EXPECT_LE(after.descriptors, before.descriptors) << who;
    EXPECT_LE(after.threads, before.threads + more_threads) << who;
    EXPECT_LE(after.events, kMostEvents) << who;
    std::cout << who << ": " << before.heap_kib << " KiB, then "
              << after.heap_kib << " KiB\n";
#ifndef VRAMPOOL_SANITIZED  // Which keep what was freed.
    EXPECT_LE(after.heap_kib, before.heap_kib + kGrowthKib) << who;
#endif
  }

  std::unique_ptr<ClientProcess> producer_;
  std::unique_ptr<ClientProcess> consumer_;
};

INSTANTIATE_TEST_SUITE_P(Devices, Handoff, EveryDevice(), DeviceName());

TEST_P(Handoff, TenThousandOfThemLeaveNothingBehind) {
  Start();
  for (int round = 0; round < kWarmUp; ++round) PassOn(round);
  AwaitObjects(0);
  const Figures producer = Of(*producer_);
  const Figures consumer = Of(*consumer_);
  const Figures daemon = FiguresOf(daemon_->pid());
  for (int round = 0; round < kRounds && !HasFailure(); ++round) {
    PassOn(kWarmUp + round);
  }
  AwaitObjects(0);
  ExpectNoGrowth("producer", producer, Of(*producer_));
  ExpectNoGrowth("consumer", consumer, Of(*consumer_));
  ExpectNoGrowth("daemon", daemon, FiguresOf(daemon_->pid()), kIdlePollers);
  EXPECT_EQ(producer_->Quit(), 0);
  EXPECT_EQ(consumer_->Quit(), 0);
}

TEST_P(Handoff, AKilledProducersBytesStayWithWhoComputesOnThem) {
  Start();
  Expect(*producer_, "allocate b 65536");
  const std::string first = FillAndShare("a");
  const std::string second = FillAndShare("b");
  AwaitObjects(2);  // Who opens before that may have to call.
  // By call, which maps their slab; then without one.
  Expect(*consumer_, absl::StrCat("open a ", first, " 0"));
  const std::string usage = Expect(*consumer_, "usage");
  Expect(*consumer_, absl::StrCat("open b ", second, " 0"));
  EXPECT_EQ(Expect(*consumer_, "usage"), usage);
  Expect(*consumer_, "allocate mine 65536");
  Expect(*consumer_, "hold");
  Expect(*consumer_, "fill_later b 8");
  producer_->process().Kill();
  AwaitSessions(1);
  // Another that takes all it can get does not get these.
  const auto taker = StartClient();
  for (int i = 0; taker->Do(absl::StrCat("allocate t", i, " 2097152")).ok();
       ++i) {
    Expect(*taker, absl::StrCat("fill_later t", i, " 9"));
  }
  Expect(*consumer_, "release");
  Expect(*consumer_, "check a 7");
  Expect(*consumer_, "check b 8");
  AwaitObjects(2);
  Expect(*consumer_, "close b");
  AwaitObjects(1);
  Expect(*consumer_, "check a 7");
  Expect(*consumer_, "close a");
  AwaitObjects(0);
  // Its slab goes when it is mapped nowhere any more.
  Expect(*consumer_, "quiesce");
  ASSERT_THAT(daemon_->Await([](const v1::GetStatusResponse& status) {
    return status.pool().kept_bytes() == 0 &&
           status.pool().lingering_bytes() == 0;
  }),
              IsOk());
  EXPECT_EQ(taker->Quit(), 0);
  EXPECT_EQ(consumer_->Quit(), 0);
}

// Before the contents were complete; see GpuFlow for one that waits by call.
TEST_P(Handoff, AKilledProducersUnfinishedObjectIsBrokenForAll) {
  Start();
  Expect(*producer_, "hold");
  Expect(*producer_, "fill_later a 7");
  const std::string token = Expect(*producer_, "share_pending a o model");
  consumer_->Begin(absl::StrCat("open x ", token, " 60000"));
  const auto by_name = StartClient();
  by_name->Begin("open_name x model 60000");
  // Both wait, as a third does not.
  const auto other = StartClient();
  EXPECT_EQ(other->Do(absl::StrCat("open x ", token, " 0")).status, "TIMEOUT");
  producer_->process().Kill();
  EXPECT_EQ(consumer_->Finish().status, "BROKEN");
  EXPECT_EQ(by_name->Finish().status, "BROKEN");
  AwaitSessions(3);
  AwaitObjects(0);
  EXPECT_EQ(other->Do(absl::StrCat("open x ", token, " 60000")).status,
            "NOT_FOUND");
  EXPECT_EQ(consumer_->Quit(), 0);
  EXPECT_EQ(by_name->Quit(), 0);
  EXPECT_EQ(other->Quit(), 0);
}

}  // namespace
}  // namespace vrampool::testing
