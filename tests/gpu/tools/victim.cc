// victim.cc - a client to be killed while its kernel writes broker memory:
//
//   gpu_victim BYTES alone|forked
//
// Says "ready" once it is attached and has a context. A line of input makes it
// allocate BYTES and start a kernel that writes kCanary to all of them without
// end; it then says "writing PID", PID being that of a child that it forked, or
// 0, and waits to be killed.

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>

#include "tests/cuda/gpu.h"
#include "tests/gpu/tools/tool.h"
#include "vrampool/vrampool.hpp"

namespace vrampool::testing {
namespace {

[[noreturn]] void WaitToBeKilled() {
  while (true) pause();
}

int Run(size_t bytes, bool is_forking) {
  const Gpu gpu;
  const TestStream stream(gpu);
  Result<Client> client = Client::Open();
  if (!client.ok()) {
    std::cerr << client.status().message() << std::endl;
    return 1;
  }
  // Its own memory: the word that would stop the kernel.
  cuda::DevicePtr stop = 0;
  gpu.Expect(gpu.api().MemAlloc(&stop, sizeof(uint32_t)), "allocating a word");
  gpu.Expect(gpu.api().MemsetD32(stop, 0, 1), "clearing it");
  std::cout << "ready" << std::endl;
  std::string order;
  if (!std::getline(std::cin, order)) return 0;

  void* const memory = client->Allocate(bytes, stream.get());
  if (memory == nullptr) {
    std::cerr << Status::Last().message() << std::endl;
    return 1;
  }
  const Words words = WordsAt(memory, bytes);
  gpu.FillUntil(stream.get(), words, kCanary, stop);
  uint32_t last = 0;
  while (last != kCanary) {  // The kernel is under way.
    gpu.Expect(gpu.api().MemcpyDtoH(&last, words.at + 4 * (words.count - 1),
                                    sizeof(last)),
               "looking at the last word");
  }
  const pid_t child = is_forking ? fork() : 0;
  if (is_forking && child == 0) WaitToBeKilled();
  std::cout << "writing " << child << std::endl;
  WaitToBeKilled();
}

}  // namespace
}  // namespace vrampool::testing

int main(int argc, char** argv) {
  const std::string_view how = argc == 3 ? argv[2] : "";
  if (how != "alone" && how != "forked") {
    std::cerr << "usage: gpu_victim BYTES alone|forked\n";
    return 2;
  }
  return vrampool::testing::Run(std::strtoull(argv[1], nullptr, 10),
                                how == "forked");
}
