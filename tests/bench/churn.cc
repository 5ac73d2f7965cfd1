// churn.cc - allocates and frees for a long time, and looks whether anything
// grows.
//
//   vrampool_churn COUNT [THREADS] [LIVE_MIB]
//
// COUNT operations (a billion takes some minutes) by THREADS (2) threads, with
// up to LIVE_MIB (256) of blocks of 256 B to 1 MiB alive at once: their number
// swells and shrinks, and threads free one another's blocks. After each quarter
// one line says what is in use. Exits with 1 when the last quarter needs more
// than the second one, and when the client counts other blocks than we do.
//
// With VRAMPOOL_DIR set, on that daemon's memory (null streams); else with a
// daemon of its own, the program that VRAMPOOL_DAEMON names.

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "tests/bench/bench_daemon.h"
#include "tests/bench/growth.h"

namespace vrampool::bench {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr int kQuarters = 4;
constexpr uint64_t kSwells = 8;  // In each quarter.

struct Block {
  void* data = nullptr;
  size_t bytes = 0;
};

// Blocks on their way from one thread to another.
class Exchange {
 public:
  // Puts one in and takes the one that was there.
  void Swap(Block& block) {
    const std::lock_guard<std::mutex> lock(mu_);
    std::swap(block, block_);
  }

 private:
  std::mutex mu_;
  Block block_;
};

class Churner {
 public:
  Churner(Client& client, Exchange& exchange, uint64_t seed, uint64_t most)
      : client_(client), exchange_(exchange), random_(seed), most_(most) {}

  // False: an allocation failed.
  bool RunQuarter(uint64_t operations) {
    const uint64_t swell = operations / kSwells + 1;
    for (uint64_t i = 0; i < operations; ++i) {
      // From an eighth of the most to all of it, and back.
      const uint64_t place = i % swell;
      const uint64_t height = std::min(place, swell - place) * 2;
      const uint64_t wanted = most_ / 8 + most_ * 7 / 8 * height / swell;
      if (live_ > wanted || (live_ > 0 && random_() % 8 < 3)) {
        FreeOne();
      } else if (!Allocate()) {
        return false;
      }
    }
    return true;
  }
  void FreeAll() {
    while (!blocks_.empty()) FreeOne();
  }
  uint64_t live() const { return live_; }
  uint64_t blocks() const { return blocks_.size(); }

 private:
  bool Allocate() {
    // Sizes of every magnitude are as frequent as those of every other.
    const double magnitude = std::uniform_real_distribution(8.0, 20.0)(random_);
    Block block{.data = nullptr,
                .bytes = static_cast<size_t>(std::exp2(magnitude))};
    block.data = client_.Allocate(block.bytes);
    if (block.data == nullptr) return false;
    live_ += block.bytes;
    blocks_.push_back(block);
    return true;
  }
  void FreeOne() {
    std::swap(blocks_[random_() % blocks_.size()], blocks_.back());
    Block block = blocks_.back();
    blocks_.pop_back();
    live_ -= block.bytes;
    if (random_() % 16 == 0) exchange_.Swap(block);
    client_.Deallocate(block.data, block.bytes);
  }

  Client& client_;
  Exchange& exchange_;
  std::minstd_rand random_;
  const uint64_t most_;
  std::vector<Block> blocks_;
  uint64_t live_ = 0;
};

struct Orders {
  uint64_t count = 0;
  uint64_t threads = 2;
  uint64_t live_bytes = 256 * kMiB;
};

// One after each quarter; fewer when something failed.
std::vector<Mark> Churn(Client& client, pid_t daemon, const Orders& orders) {
  Exchange exchange;
  std::vector<Churner> churners;
  for (uint64_t i = 0; i < orders.threads; ++i) {
    churners.emplace_back(client, exchange, i + 1,
                          orders.live_bytes / orders.threads);
  }
  std::vector<Mark> marks;
  std::atomic<bool> has_failed = false;
  const auto end_quarter = [&]() noexcept {
    const std::optional<Mark> mark = TakeMark(client, daemon);
    if (mark.has_value()) marks.push_back(*mark);
  };
  std::barrier quarter(static_cast<std::ptrdiff_t>(orders.threads),
                       end_quarter);
  std::vector<std::thread> threads;
  for (Churner& churner : churners) {
    threads.emplace_back([&] {
      for (int i = 0; i < kQuarters; ++i) {
        if (!churner.RunQuarter(orders.count / orders.threads / kQuarters)) {
          std::fprintf(stderr, "allocating: %s\n",
                       vrampool_last_error_message());
          has_failed = true;
        }
        quarter.arrive_and_wait();
      }
      churner.FreeAll();
    });
  }
  for (std::thread& thread : threads) thread.join();
  Block last;
  exchange.Swap(last);
  client.Deallocate(last.data, last.bytes);
  if (has_failed) marks.clear();
  return marks;
}

void Print(const Mark& mark, int quarter) {
  std::printf("quarter %d: rss %.1f MiB, daemon %.1f MiB, records %" PRIu64
              ", live %.1f MiB in %" PRIu64 " blocks, waste %.1f MiB\n",
              quarter, static_cast<double>(mark.rss_bytes) / kMiB,
              static_cast<double>(mark.daemon_rss_bytes) / kMiB, mark.records,
              static_cast<double>(mark.live_bytes) / kMiB, mark.live_blocks,
              static_cast<double>(mark.waste_bytes) / kMiB);
}

int Judge(const std::vector<Mark>& marks, const vrampool_usage& end) {
  if (marks.size() != kQuarters) return 1;
  for (int i = 0; i < kQuarters; ++i) {
    Print(marks[static_cast<size_t>(i)], i + 1);
  }
  if (end.live_blocks != 0 || end.live_bytes != 0) {
    std::printf("all was freed, and %" PRIu64 " blocks are counted\n",
                end.live_blocks);
    return 1;
  }
  const std::string grown = Growth(marks[1], marks[3]);
  std::printf("%s\n",
              grown.empty() ? "nothing grew" : ("grown: " + grown).c_str());
  return grown.empty() ? 0 : 1;
}

int Run(const Orders& orders) {
  std::unique_ptr<BenchDaemon> daemon;
  vrampool_options options;
  vrampool_options_init(&options);
  options.name = "churn";
  if (std::getenv("VRAMPOOL_DIR") == nullptr) {
    auto started = BenchDaemon::Start();
    if (!started.ok()) {
      std::fprintf(stderr, "%s\n",
                   std::string(started.status().message()).c_str());
      return 1;
    }
    daemon = *std::move(started);
    options.directory = daemon->directory().c_str();
  }
  Result<Client> client = Client::Open(&options);
  if (!client.ok()) {
    std::fprintf(stderr, "%s\n", client.status().message().c_str());
    return 1;
  }
  const std::vector<Mark> marks =
      Churn(*client, daemon == nullptr ? 0 : daemon->pid(), orders);
  const Result<vrampool_usage> end = client->Usage();
  return end.ok() ? Judge(marks, *end) : 1;
}

int Main(int argc, char** argv) {
  Orders orders;
  if (argc > 1) orders.count = std::strtoull(argv[1], nullptr, 10);
  if (argc > 2) orders.threads = std::strtoull(argv[2], nullptr, 10);
  if (argc > 3) orders.live_bytes = std::strtoull(argv[3], nullptr, 10) * kMiB;
  if (orders.count == 0 || orders.threads == 0 || orders.live_bytes == 0) {
    std::fprintf(stderr, "usage: vrampool_churn COUNT [THREADS] [LIVE_MIB]\n");
    return 2;
  }
  return Run(orders);
}

}  // namespace
}  // namespace vrampool::bench

int main(int argc, char** argv) { return vrampool::bench::Main(argc, argv); }
