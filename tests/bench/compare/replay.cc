#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>
#include <unordered_map>

#include "tests/bench/compare/workloads.h"

namespace vrampool::bench {
namespace {

struct Step {
  bool is_allocation = false;
  size_t block = 0;  // Which one: an index.
  size_t bytes = 0;
  size_t stream = 0;  // The same.
};
struct Log {
  std::vector<Step> steps;
  size_t blocks = 0;
  size_t streams = 0;
  uint64_t peak_live = 0;
};

// Thread,Time,Action,Pointer,Size,Stream; the first line says so. A failed
// allocation, and the free of what was allocated before the log began, are left
// out. Blocks that the log does not free are freed at its end.
class LogReader {
 public:
  void Line(const std::string& line) {
    std::vector<std::string> cells;
    std::istringstream text(line);
    for (std::string cell; std::getline(text, cell, ',');) {
      cells.push_back(cell);
    }
    if (cells.size() < 6) return;
    const size_t stream =
        streams_.emplace(cells[5], streams_.size()).first->second;
    const size_t bytes = std::strtoull(cells[4].c_str(), nullptr, 10);
    if (cells[2] == "allocate") Allocate(cells[3], bytes, stream);
    if (cells[2] == "free") Free(cells[3], stream);
  }
  Log Finish() {
    while (!live_.empty()) {
      Free(live_.begin()->first, live_.begin()->second.stream);
    }
    log_.streams = streams_.size();
    return std::move(log_);
  }

 private:
  void Allocate(const std::string& pointer, size_t bytes, size_t stream) {
    const Step step = {.is_allocation = true,
                       .block = log_.blocks++,
                       .bytes = bytes,
                       .stream = stream};
    live_[pointer] = step;
    log_.steps.push_back(step);
    live_bytes_ += bytes;
    log_.peak_live = std::max(log_.peak_live, live_bytes_);
  }
  void Free(const std::string& pointer, size_t stream) {
    const auto found = live_.find(pointer);
    if (found == live_.end()) return;
    Step step = found->second;
    live_.erase(found);
    live_bytes_ -= step.bytes;
    step.is_allocation = false;
    step.stream = stream;
    log_.steps.push_back(step);
  }

  Log log_;
  std::map<std::string, size_t> streams_;
  std::unordered_map<std::string, Step> live_;
  uint64_t live_bytes_ = 0;
};

class Player {
 public:
  Player(const Subject& subject, const Log& log)
      : allocator_(subject.allocator), log_(log), blocks_(log.blocks) {
    for (size_t i = 0; i < log.streams; ++i) {
      streams_.push_back(std::make_unique<DeviceStream>(subject.device));
    }
  }

  template <typename After>
  void Play(const After& after) {
    for (const Step& step : log_.steps) {
      const auto stream = streams_[step.stream]->get();
      void*& block = blocks_[step.block];
      if (step.is_allocation) {
        block = allocator_.Allocate(step.bytes, stream);
        if (block == nullptr && step.bytes > 0) ++refused_;
      } else if (block != nullptr) {
        allocator_.Deallocate(block, step.bytes, stream);
      }
      after();
    }
  }
  double refused() const { return static_cast<double>(refused_); }

 private:
  Allocator& allocator_;
  const Log& log_;
  std::vector<void*> blocks_;
  std::vector<std::unique_ptr<DeviceStream>> streams_;
  size_t refused_ = 0;
};

}  // namespace

bool RunReplay(const Subject& subject, const std::string& path) {
  std::ifstream file(path);
  LogReader reader;
  for (std::string line; std::getline(file, line);) reader.Line(line);
  const Log log = reader.Finish();
  if (log.steps.empty()) {
    std::fprintf(stderr, "%s: no log of allocations\n", path.c_str());
    return false;
  }
  Player player(subject, log);
  Allocator& allocator = subject.allocator;
  // Once to see what it takes, and then for the time alone.
  Report::Figures figures = {{"peak_live", static_cast<double>(log.peak_live)}};
  if (const auto before = allocator.ReadUsage(); before.has_value()) {
    uint64_t held = 0;
    player.Play(
        [&] { held = std::max(held, allocator.ReadUsage()->held_bytes); });
    const auto rpcs = allocator.ReadUsage()->rpcs - before->rpcs;
    figures.emplace_back("peak_held", static_cast<double>(held));
    figures.emplace_back("first_rpcs", static_cast<double>(rpcs));
  }
  const double time = Median(
      Repeat(5, subject.is_quick ? 0 : 5e8, [&] { player.Play([] {}); }));
  figures.emplace_back("ns", time / static_cast<double>(log.steps.size()));
  figures.emplace_back("refused", player.refused());
  subject.report.Say(path.substr(path.rfind('/') + 1), figures);
  return true;
}

}  // namespace vrampool::bench
