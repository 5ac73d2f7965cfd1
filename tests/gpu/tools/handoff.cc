// handoff.cc - two clients that pass an object on in the order of the GPU:
//
//   gpu_handoff produce BYTES
//   gpu_handoff consume BYTES
//
// The producer starts a kernel that ends when it is told to, and behind it one
// that writes kHandedOn to all of an object; it shares that in their order and
// prints its token. A line of input ends the first kernel, and it says
// "finished"; the next, or the end of input, closes the object.
//
// The consumer says "ready", reads a token, opens it for a stream, puts a
// kernel there that counts the words that are not kHandedOn, and says at once
// whether its stream is "waiting" or "done". At a line of input it waits for
// the stream and prints {"mismatches": N, "status": S}; S is
// vrampool_object_status(). At the line "leave" it exits, with everything as it
// is.

#include <cinttypes>
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

constexpr uint32_t kHandedOn = 0x0b1ec7ed;

int Fail(const Status& status) {
  std::cerr << status.message() << std::endl;
  return 1;
}

// A kernel's first launch may wait for the whole GPU while it is loaded.
void LoadKernels(const Gpu& gpu, cuda::Stream stream) {
  const DeviceBuffer buffer(gpu, 4096);
  HostFlag stop(gpu);
  stop.Set();
  gpu.FillUntil(stream, buffer.words(), kHandedOn, stop.at());
  gpu.Fill(stream, buffer.words(), kHandedOn);
  (void)gpu.CountMismatches(stream, buffer.words(), kHandedOn);
}

int Produce(Client& client, const Gpu& gpu, size_t bytes) {
  const TestStream stream(gpu);
  LoadKernels(gpu, stream.get());
  HostFlag stop(gpu);
  const DeviceBuffer busy(gpu, 4096);
  void* const memory = client.Allocate(bytes, stream.get());
  if (memory == nullptr) return Fail(Status::Last());
  gpu.FillUntil(stream.get(), busy.words(), 1, stop.at());
  gpu.Fill(stream.get(), WordsAt(memory, bytes), kHandedOn);
  Client::ShareOptions options;
  options.stream = stream.get();
  Result<Object> object = client.Share({{memory, bytes}}, options);
  if (!object.ok()) return Fail(object.status());
  std::cout << *object->Token() << std::endl;
  std::string order;
  std::getline(std::cin, order);
  stop.Set();
  gpu.Synchronize(stream.get());
  std::cout << "finished" << std::endl;
  std::getline(std::cin, order);
  const Status closed = object->Close(stream.get());
  client.Deallocate(memory, bytes, stream.get());
  return closed.ok() ? 0 : Fail(closed);
}

int Consume(Client& client, const Gpu& gpu, size_t bytes) {
  const TestStream stream(gpu);
  LoadKernels(gpu, stream.get());
  const DeviceBuffer count(gpu, sizeof(uint64_t));
  gpu.Expect(gpu.api().MemsetD32(count.at(), 0, 2), "clearing the count");
  std::cout << "ready" << std::endl;
  std::string line;
  std::getline(std::cin, line);
  Result<Object> object = client.OpenTokenOn(stream.get(), line.c_str());
  if (!object.ok()) return Fail(object.status());
  gpu.AddMismatches(stream.get(), WordsAt(object->data(0), bytes), kHandedOn,
                    count.at());
  const cuda::Result state = gpu.test().StreamQuery(stream.get());
  std::cout << (state == cuda::kNotReady ? "waiting" : "done") << std::endl;
  std::getline(std::cin, line);
  if (line == "leave") std::exit(0);
  gpu.Synchronize(stream.get());
  uint64_t mismatches = 0;
  gpu.Expect(gpu.api().MemcpyDtoH(&mismatches, count.at(), sizeof(mismatches)),
             "reading the count");
  std::printf("{\"mismatches\": %" PRIu64 ", \"status\": %d}\n", mismatches,
              ::vrampool_object_status(object->get()));
  std::fflush(stdout);
  const Status closed = object->Close(stream.get());
  return closed.ok() ? 0 : Fail(closed);
}

}  // namespace
}  // namespace vrampool::testing

int main(int argc, char** argv) {
  const std::string_view role = argc == 3 ? argv[1] : "";
  if (role != "produce" && role != "consume") {
    std::cerr << "usage: gpu_handoff produce|consume BYTES\n";
    return 2;
  }
  const vrampool::testing::Gpu gpu;
  auto client = vrampool::Client::Open();
  if (!client.ok()) return vrampool::testing::Fail(client.status());
  const size_t bytes = std::strtoull(argv[2], nullptr, 10);
  return role == "produce" ? vrampool::testing::Produce(*client, gpu, bytes)
                           : vrampool::testing::Consume(*client, gpu, bytes);
}
