// The producer of producer_death_test.cc, a process of its own:
//
//   cuda_test_producer NAME BYTES
//
// Shares a block of BYTES as NAME, ordered after a kernel that writes to it
// until this process ends, says "shared TOKEN" and waits to be killed.

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/cuda/gpu.h"
#include "vrampool/vrampool.hpp"

namespace vrampool::testing {
namespace {

int Fail(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  return 1;
}

int Run(const char* name, size_t bytes) {
  const Gpu gpu;
  const TestStream stream(gpu);
  Result<Client> client = Client::Open();
  if (!client.ok()) return Fail(client.status().message());
  void* const block = client->Allocate(bytes, stream.get());
  if (block == nullptr) return Fail(Status::Last().message());
  // Memory of its own: nobody else can stop the kernel.
  DeviceBuffer stop(gpu, sizeof(uint32_t));
  gpu.Expect(gpu.api().MemsetD32(stop.at(), 0, 1), "clearing a word");
  gpu.Synchronize(nullptr);  // The kernel's stream does not wait for it.
  gpu.FillUntil(stream.get(), WordsAt(block, bytes), 0xdeadbeef, stop.at());
  Client::ShareOptions options;
  options.name = name;
  options.stream = stream.get();
  Result<Object> shared = client->Share({{block, bytes}}, options);
  if (!shared.ok()) return Fail(shared.status().message());
  std::printf("shared %s\n", shared->Token()->c_str());
  std::fflush(stdout);
  while (true) pause();
}

}  // namespace
}  // namespace vrampool::testing

int main(int argc, char** argv) {
  if (argc != 3) return vrampool::testing::Fail("NAME and BYTES are missing");
  return vrampool::testing::Run(argv[1], std::strtoull(argv[2], nullptr, 10));
}
