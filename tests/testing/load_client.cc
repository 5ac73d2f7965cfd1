// load_client.cc - a process that works on a client until its input ends.
//
//   load_client SEED THREADS steady|restarts
//
// Says "epoch E" once it works with the daemon of epoch E: it has leased,
// shared and closed there. With `restarts` it goes through restarts of the
// daemon; with `steady` it takes a daemon that is away for a failure. At the
// end of its input it checks and gives back everything and says how much it
// did: "done STEPS VERIFIED SHARED OPENED MET". Exits with 1 and a line "wrong:
// ..." when an answer or a byte is not as it must be, and dies of SIGALRM when
// it hangs.

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/testing/load.h"
#include "tests/testing/memory_work.h"

namespace vrampool::testing {
namespace {

constexpr unsigned kHangSeconds = 60;
constexpr int kLookMs = 2;
constexpr size_t kVeteranBytes = 300'000;
constexpr uint64_t kVeteranSeed = 42;
constexpr useconds_t kBackOffUs = 2000;  // While there is no daemon.

// Waits a moment, so that the others have the processor.
bool IsInputOver() {
  pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  return poll(&input, 1, kLookMs) > 0;
}

[[noreturn]] void Wrong(const std::string& what) {
  std::cout << "wrong: " << what << std::endl;
  std::_Exit(1);
}

// A lease of its own, an object, and back. Whether all of it was granted.
bool TryOut(Client& client) {
  const size_t bytes = size_t{2} << 20;  // A whole slab: none in hand fits.
  void* const block = client.Allocate(bytes);
  if (block == nullptr) return false;
  const Result<Object> object = client.Share({{block, bytes}});
  client.Deallocate(block, bytes);
  return object.ok();
}

uint64_t EpochOf(const Client& client) {
  const Result<vrampool_info> info = client.Info();
  return info.ok() ? info->epoch : 0;
}

std::set<vrampool_status> ExpectedAnswers(bool is_steady) {
  std::set<vrampool_status> expected = {VRAMPOOL_NOT_FOUND, VRAMPOOL_EXISTS,
                                        VRAMPOOL_OVER_QUOTA,
                                        VRAMPOOL_OUT_OF_POOL};
  if (!is_steady) expected.insert({VRAMPOOL_UNAVAILABLE, VRAMPOOL_STALE});
  return expected;
}

struct Team {
  std::vector<std::unique_ptr<Load>> loads;
  std::vector<std::thread> threads;
  std::atomic<bool> is_over = false;
  std::atomic<uint64_t> steps = 0;
};

void Work(Team& team, Load& load) {
  for (; !team.is_over.load(std::memory_order_relaxed); ++team.steps) {
    if (const std::string wrong = load.Step(); !wrong.empty()) Wrong(wrong);
    if (load.last() == VRAMPOOL_UNAVAILABLE) usleep(kBackOffUs);
  }
}

// Until the input ends. Watches over the time and the veteran.
void Lead(Client& client, MemoryWork& work, MemoryWork::Piece veteran) {
  uint64_t told = 0;
  while (!IsInputOver()) {
    alarm(kHangSeconds);
    if (EpochOf(client) == told || !TryOut(client)) continue;
    // Memory of the life before works as ever.
    if (!work.HasPattern(veteran, kVeteranSeed)) Wrong("a veteran");
    work.Fill(veteran, kVeteranSeed);
    told = EpochOf(client);
    std::cout << "epoch " << told << std::endl;
  }
  alarm(kHangSeconds);
}

void Report(const Team& team) {
  uint64_t verified = 0;
  uint64_t shared = 0;
  uint64_t opened = 0;
  uint64_t met = 0;
  for (const auto& load : team.loads) {
    verified += load->verified();
    shared += load->shared();
    opened += load->opened();
    met += load->met();
  }
  std::cout << "done " << team.steps << ' ' << verified << ' ' << shared << ' '
            << opened << ' ' << met << std::endl;
}

int Main(uint64_t seed, int threads, bool is_steady) {
  alarm(kHangSeconds);
  Result<Client> client = Client::Open();
  if (!client.ok()) Wrong("attach: " + client.status().message());
  const std::unique_ptr<Gpu> gpu = GpuOf(*client);
  const std::unique_ptr<MemoryWork> work = MemoryWork::Start(gpu.get());
  const MemoryWork::Piece veteran{
      client->Allocate(kVeteranBytes, work->stream()), kVeteranBytes};
  if (veteran.data == nullptr) Wrong("the first allocation");
  work->Fill(veteran, kVeteranSeed);
  Exchange exchange;
  Team team;
  for (int i = 0; i < threads; ++i) {
    team.loads.push_back(std::make_unique<Load>(
        *client, gpu.get(), exchange,
        Load::Options{.seed = seed * 1000 + static_cast<uint64_t>(i),
                      .max_blocks = 128,
                      .max_shared = 32,
                      .expected = ExpectedAnswers(is_steady)}));
    team.threads.emplace_back(
        [&team, &load = *team.loads.back()] { Work(team, load); });
  }
  Lead(*client, *work, veteran);
  team.is_over = true;
  for (std::thread& thread : team.threads) thread.join();
  if (const auto wrong = team.loads.front()->Finish(); !wrong.empty()) {
    Wrong(wrong);
  }
  for (const auto& load : team.loads) {
    const std::string wrong = load->FindLateWrongs();
    if (!wrong.empty()) Wrong(wrong);
  }
  client->Deallocate(veteran.data, veteran.size, work->stream());
  Report(team);
  return 0;
}

}  // namespace
}  // namespace vrampool::testing

int main(int argc, char** argv) {
  const int threads = argc == 4 ? std::atoi(argv[2]) : 0;
  if (threads < 1) {
    std::cerr << "usage: load_client SEED THREADS steady|restarts\n";
    return 2;
  }
  return vrampool::testing::Main(std::strtoull(argv[1], nullptr, 10), threads,
                                 std::string_view(argv[3]) == "steady");
}
