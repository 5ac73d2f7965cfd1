#include "deploy/demo/roles.h"

#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>

#include "deploy/demo/pattern.h"
#include "deploy/demo/worker.h"
#include "vrampool/vrampool.hpp"

namespace vrampool::demo {
namespace {

constexpr size_t kWantedBytes = size_t{256} << 20;
constexpr uint64_t kContentsWaitMs = 30'000;
constexpr uint64_t kProducerSeed = 1;
constexpr uint64_t kConsumerSeed = 1'000'003;

int Fail(const char* what, const Status& status) {
  std::fprintf(stderr, "%s: %s: %s\n", what, status.name(),
               status.message().c_str());
  return 1;
}

int Fail(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  return 1;
}

struct Labels {
  const char* name;
  const char* tag;
};

Result<Client> Attach(const Labels& labels) {
  vrampool_options options;
  vrampool_options_init(&options);
  options.name = labels.name;
  options.tag = labels.tag;
  return Client::Open(&options);
}

// For the memory that the client allocates.
Result<std::unique_ptr<Worker>> WorkerOf(const Client& client) {
  const Result<vrampool_info> info = client.Info();
  if (!info.ok()) return info.status();
  return Worker::For(*info);
}

const char* KindName(vrampool_kind kind) {
  switch (kind) {
    case VRAMPOOL_KIND_CUDA_IPC:
      return "CUDA_IPC";
    case VRAMPOOL_KIND_VMM_FD:
      return "VMM_FD";
    default:
      return "HOST_FD";
  }
}

void Say(const char* verb, uint64_t checksum) {
  std::printf("%s %016" PRIx64 "\n", verb, checksum);
  std::fflush(stdout);
}

bool WriteLine(int fd, std::string line) {
  line.push_back('\n');
  // A token is shorter than PIPE_BUF, so it is written whole.
  return write(fd, line.data(), line.size()) ==
         static_cast<ssize_t>(line.size());
}

// Empty when nobody writes one.
std::string ReadLine(int fd) {
  std::string line;
  char next = 0;
  while (read(fd, &next, 1) == 1 && next != '\n') line.push_back(next);
  return line;
}

}  // namespace

int RunProducer(size_t size, int token_fd) {
  Result<Client> client = Attach({.name = "producer", .tag = kProducerTag});
  if (!client.ok()) return Fail("attach", client.status());
  const Result<std::unique_ptr<Worker>> made = WorkerOf(*client);
  if (!made.ok()) return Fail("info", made.status());
  Worker& worker = **made;
  void* const data = client->Allocate(size, worker.stream());
  if (data == nullptr) return Fail("allocate", Status::Last());
  worker.Fill(data, size, kProducerSeed);
  // A GPU may still be at it: openers wait for that, this process does not.
  Client::ShareOptions in_order;
  in_order.stream = worker.stream();
  Result<Object> object = client->Share({{data, size}}, in_order);
  if (!object.ok()) return Fail("share", object.status());
  const Result<std::string> token = object->Token();
  if (!token.ok()) return Fail("token", token.status());
  if (!WriteLine(token_fd, *token)) return Fail("passing the token on");
  close(token_fd);
  Say("shared", worker.Checksum(data, size));
  std::string line;
  while (std::getline(std::cin, line)) {
    if (line != "look") return Fail("an order that A does not know");
    Say("sees", worker.Checksum(data, size));
  }
  return Fail("A was to be killed, but its driver ended first");
}

int RunConsumer(int token_fd) {
  Result<Client> client = Attach({.name = "consumer", .tag = "demo-b"});
  if (!client.ok()) return Fail("attach", client.status());
  const Result<std::unique_ptr<Worker>> made = WorkerOf(*client);
  if (!made.ok()) return Fail("info", made.status());
  Worker& worker = **made;
  const std::string token = ReadLine(token_fd);
  if (token.empty()) return Fail("no token came");
  Result<Object> object = client->OpenToken(token.c_str(), kContentsWaitMs);
  if (!object.ok()) return Fail("open", object.status());
  void* const data = object->data();
  const size_t size = object->size();
  const uint64_t checksum = worker.Checksum(data, size);
  if (checksum != PatternChecksum(size, kProducerSeed)) {
    return Fail("the bytes are not those that A wrote");
  }
  Say("read", checksum);
  std::string line;
  if (!std::getline(std::cin, line) || line != "write") {
    return Fail("B was not told to write");
  }
  worker.Fill(data, size, kConsumerSeed);
  Say("wrote", worker.Checksum(data, size));
  const Status closed = object->Close(worker.stream());
  return closed.ok() ? 0 : Fail("close", closed);
}

int RunGreedy() {
  Result<Client> client = Attach({.name = "greedy", .tag = "demo-c"});
  if (!client.ok()) return Fail("attach", client.status());
  const Result<vrampool_budget> budget = client->Budget();
  if (!budget.ok()) return Fail("budget", budget.status());
  if (client->Allocate(budget->limit_bytes) != nullptr) {
    return Fail("C got all of its tenant's limit, of which A has a part");
  }
  const Status refusal = Status::Last();
  if (refusal.code() != VRAMPOOL_OVER_QUOTA) {
    return Fail("refused, but not by the quota", refusal);
  }
  std::printf("refused %s\n", refusal.message().c_str());
  return 0;
}

int RunPlanner() {
  Result<Client> client = Attach({.name = "planner", .tag = "demo"});
  if (!client.ok()) return Fail("attach", client.status());
  const Result<vrampool_budget> budget = client->Budget();
  if (!budget.ok()) return Fail("budget", budget.status());
  const Result<vrampool_info> info = client->Info();
  if (!info.ok()) return Fail("info", info.status());
  const uint64_t granule = std::max<uint64_t>(info->granule_bytes, 4096);
  const uint64_t half = budget->limit_bytes / 2 / granule * granule;
  const uint64_t size = std::min<uint64_t>(kWantedBytes, half);
  if (size == 0) return Fail("the tenant's limit leaves nothing to share");
  std::printf("size %" PRIu64 "\nkind %s\ndevice %s\n", size,
              KindName(info->kind), info->device_uuid);
  return 0;
}

}  // namespace vrampool::demo
