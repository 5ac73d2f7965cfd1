// verify.cc - opens a named object of a GPU and says what is in it:
//
//   gpu_verify NAME       prints {"checksum": ..., "words": ...}
//
// The sum is that of 32-bit word i times i + 1, modulo 2^64, made by the GPU.

#include <cinttypes>
#include <cstdio>

#include "tests/cuda/gpu.h"
#include "tests/gpu/tools/tool.h"
#include "vrampool/vrampool.hpp"

namespace vrampool::testing {
namespace {

constexpr uint64_t kWaitMs = 10'000;

int Verify(const char* name) {
  const Gpu gpu;
  const TestStream stream(gpu);
  Result<Client> client = Client::Open();
  if (!client.ok()) {
    std::fprintf(stderr, "%s\n", client.status().message().c_str());
    return 1;
  }
  Result<Object> object = client->OpenName(name, kWaitMs);
  if (!object.ok()) {
    std::fprintf(stderr, "%s\n", object.status().message().c_str());
    return 1;
  }
  const Words words = WordsAt(object->data(), object->size());
  std::printf("{\"checksum\": %" PRIu64 ", \"words\": %" PRIu64 "}\n",
              gpu.Checksum(stream.get(), words), words.count);
  return 0;
}

}  // namespace
}  // namespace vrampool::testing

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: gpu_verify NAME\n");
    return 2;
  }
  return vrampool::testing::Verify(argv[1]);
}
