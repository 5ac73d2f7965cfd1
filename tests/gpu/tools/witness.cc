// witness.cc - the next tenant: gets the memory of one that was killed, and
// looks for what it left or goes on writing.
//
//   gpu_witness BYTES WATCH_MS
//
// Says "ready"; then, for each line of input, allocates BYTES (waiting for room
// as long as VRAMPOOL_WAIT_MS says), counts the words that are not zero, writes
// its own, looks for WATCH_MS whether any is overwritten, gives all back, and
// prints {"granted_ns": T, "foreign": N, "overwritten": N}; T is the monotonic
// clock's.

#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>

#include "tests/cuda/gpu.h"
#include "tests/gpu/tools/tool.h"
#include "vrampool/vrampool.hpp"

namespace vrampool::testing {
namespace {

using std::chrono::steady_clock;

struct Sight {
  int64_t granted_ns = 0;
  uint64_t foreign = 0;
  uint64_t overwritten = 0;
};

int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             steady_clock::now().time_since_epoch())
      .count();
}

bool Look(Client& client, const Gpu& gpu, cuda::Stream stream, size_t bytes,
          std::chrono::milliseconds watch, Sight& sight) {
  void* const memory = client.Allocate(bytes, stream);
  if (memory == nullptr) return false;
  sight.granted_ns = NowNs();
  const Words words = WordsAt(memory, bytes);
  sight.foreign = gpu.CountMismatches(stream, words, 0);
  constexpr uint32_t kOwn = 0x600d600d;
  gpu.Fill(stream, words, kOwn);
  const auto end = steady_clock::now() + watch;
  do {
    sight.overwritten += gpu.CountMismatches(stream, words, kOwn);
  } while (steady_clock::now() < end);
  client.Deallocate(memory, bytes, stream);
  return client.Quiesce().ok();
}

int Run(size_t bytes, std::chrono::milliseconds watch) {
  const Gpu gpu;
  const TestStream stream(gpu);
  Result<Client> client = Client::Open();
  if (!client.ok()) {
    std::cerr << client.status().message() << std::endl;
    return 1;
  }
  std::cout << "ready" << std::endl;
  std::string order;
  while (std::getline(std::cin, order)) {
    Sight sight;
    if (!Look(*client, gpu, stream.get(), bytes, watch, sight)) {
      std::cerr << Status::Last().message() << std::endl;
      return 1;
    }
    std::printf("{\"granted_ns\": %" PRId64 ", \"foreign\": %" PRIu64
                ", \"overwritten\": %" PRIu64 "}\n",
                sight.granted_ns, sight.foreign, sight.overwritten);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace vrampool::testing

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: gpu_witness BYTES WATCH_MS\n";
    return 2;
  }
  return vrampool::testing::Run(
      std::strtoull(argv[1], nullptr, 10),
      std::chrono::milliseconds(std::strtoll(argv[2], nullptr, 10)));
}
