// main.cc - makes one allocator do some workloads, and prints its figures as
// JSON lines. A process has one allocator, so that none finds what another
// left.
//
//   vrampool_compare ALLOCATOR WORKLOAD[,WORKLOAD...] [--gpu] [--pool MIB]
//   [--usage MIB]
//                    [--log FILE] [--case NAME] [--count N] [--quick]
//
// Allocators: see allocator.h. Workloads: pairs threads random streams replay
// processes calls counted.
// --gpu makes the first GPU current and uses its streams. --pool (1024) is what
// is reserved, --usage (512) how much of it random allocations use at most.
// --case and --count are what `counted` is to do (workloads.h).
// --quick only tries the workloads out.
// With no such allocator here the line says why, and the exit status is 0.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>

#include "tests/bench/compare/allocator.h"
#include "tests/bench/compare/bench.h"
#include "tests/bench/compare/workloads.h"

namespace vrampool::bench {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

struct Orders {
  std::string allocator;
  std::string workloads;
  bool has_gpu = false;
  bool is_quick = false;
  size_t pool_bytes = 1024 * kMiB;
  size_t usage_bytes = 512 * kMiB;
  std::string log;
  std::string counted = "warm";
  size_t count = 1000;
};

bool Read(int argc, char** argv, Orders& orders) {
  if (argc < 3) return false;
  orders.allocator = argv[1];
  orders.workloads = argv[2];
  for (int i = 3; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--gpu" || word == "--quick") {
      (word == "--gpu" ? orders.has_gpu : orders.is_quick) = true;
      continue;
    }
    if (i + 1 == argc) return false;
    const char* const value = argv[++i];
    if (word == "--pool") {
      orders.pool_bytes = std::strtoull(value, nullptr, 10) * kMiB;
    } else if (word == "--usage") {
      orders.usage_bytes = std::strtoull(value, nullptr, 10) * kMiB;
    } else if (word == "--log") {
      orders.log = value;
    } else if (word == "--case") {
      orders.counted = value;
    } else if (word == "--count") {
      orders.count = std::strtoull(value, nullptr, 10);
    } else {
      return false;
    }
  }
  return true;
}

// False: no such workload, or it could not be done.
bool Run(const std::string& workload, const Orders& orders,
         const Subject& subject) {
  if (workload == "pairs") {
    RunPairs(subject);
  } else if (workload == "threads") {
    RunThreads(subject);
  } else if (workload == "random") {
    RunRandom(subject, orders.pool_bytes, orders.usage_bytes);
  } else if (workload == "streams") {
    RunStreams(subject);
  } else if (workload == "replay") {
    return RunReplay(subject, orders.log);
  } else if (workload == "processes") {
    RunProcesses(subject);
  } else if (workload == "calls") {
    RunCalls(subject);
  } else if (workload == "counted") {
    return RunCounted(subject, orders.counted, orders.count);
  } else {
    std::fprintf(stderr, "no workload '%s'\n", workload.c_str());
    return false;
  }
  return true;
}

int Main(int argc, char** argv) {
  Orders orders;
  if (!Read(argc, argv, orders)) {
    std::fprintf(stderr,
                 "usage: vrampool_compare ALLOCATOR WORKLOAD,... [--gpu] "
                 "[--pool MIB] [--usage MIB] [--log FILE] [--case NAME] "
                 "[--count N] [--quick]\n");
    return 2;
  }
  const Device device(orders.has_gpu);
  const MadeAllocator made = MakeAllocator(orders.allocator, orders.pool_bytes);
  std::istringstream workloads(orders.workloads);
  for (std::string workload; std::getline(workloads, workload, ',');) {
    const Report report(orders.allocator, workload);
    if (made.allocator == nullptr) {
      report.Miss("all", made.problem);
    } else if (!Run(workload, orders,
                    {*made.allocator, device, report, orders.is_quick})) {
      return 1;
    }
  }
  return 0;
}

}  // namespace
}  // namespace vrampool::bench

int main(int argc, char** argv) { return vrampool::bench::Main(argc, argv); }
