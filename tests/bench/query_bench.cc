// What an operator's questions take, with few and with many sessions.
//
// The calls are made with raw bytes. This process has no generated messages on
// purpose: the client library's RPC module brings the same ones, and protobuf
// refuses to have two of a name in one process.

#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/bench_client.h"

namespace vrampool::bench {
namespace {

constexpr int kBlocksOfEach = 1000;
constexpr size_t kSlabBytes = 2 << 20;

// So many sessions, each with blocks.
bool Populate(benchmark::State& state, const std::string& directory,
              std::vector<Client>* clients) {
  for (int64_t i = 0; i < state.range(0); ++i) {
    std::optional<Client> client = OpenClient(state, kSlabBytes, directory);
    if (!client.has_value()) return false;
    for (int k = 0; k < kBlocksOfEach; ++k) {
      if (client->Allocate(256) == nullptr) {
        Skip(state, Status::Last());
        return false;
      }
    }
    clients->push_back(*std::move(client));
  }
  return true;
}

// The gRPC socket of the one device in `directory`.
std::string SocketPath(const std::string& directory) {
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    const auto path = entry.path() / "broker.sock";
    if (!entry.is_symlink() && std::filesystem::exists(path)) return path;
  }
  return "";
}

// gRPC's own bound on a reply is less than the blocks of many sessions take.
grpc::ChannelArguments LargeReplies() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  return arguments;
}

class Admin {
 public:
  explicit Admin(const std::string& directory)
      : stub_(grpc::CreateCustomChannel("unix:" + SocketPath(directory),
                                        grpc::InsecureChannelCredentials(),
                                        LargeReplies())) {}

  // One call with an empty request; the reply's bytes.
  grpc::Status Ask(const std::string& method, std::string* reply) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::seconds(10));
    grpc::CompletionQueue queue;
    const grpc::Slice empty;
    const auto call =
        stub_.PrepareUnaryCall(&context, "/vrampool.v1.Admin/" + method,
                               grpc::ByteBuffer(&empty, 1), &queue);
    call->StartCall();
    grpc::ByteBuffer bytes;
    grpc::Status status;
    call->Finish(&bytes, &status, this);
    void* tag = nullptr;
    bool is_ok = false;
    queue.Next(&tag, &is_ok);
    if (!status.ok()) return status;
    grpc::Slice slice;
    const grpc::Status dumped = bytes.DumpToSingleSlice(&slice);
    reply->assign(reinterpret_cast<const char*>(slice.begin()), slice.size());
    return dumped;
  }

 private:
  grpc::GenericStub stub_;
};

// The elements of a message that is one repeated message, field 1.
int64_t CountElements(const std::string& message) {
  int64_t count = 0;
  size_t at = 0;
  while (at < message.size() && message[at] == 0x0a) {
    size_t length = 0;
    unsigned shift = 0;
    bool has_more = true;
    for (++at; has_more && at < message.size() && shift < 35; shift += 7) {
      const auto byte = static_cast<unsigned char>(message[at++]);
      length |= static_cast<size_t>(byte & 0x7f) << shift;
      has_more = (byte & 0x80) != 0;
    }
    at += length;
    ++count;
  }
  return count;
}

void QueryStatus(benchmark::State& state) {
  const auto daemon = StartDaemon(state);
  if (daemon == nullptr) return;
  std::vector<Client> clients;
  if (!Populate(state, daemon->directory(), &clients)) return;
  Admin admin(daemon->directory());
  std::string reply;
  for (auto _ : state) {
    const grpc::Status status = admin.Ask("GetStatus", &reply);
    if (!status.ok()) {
      return state.SkipWithError(status.error_message().c_str());
    }
  }
}
BENCHMARK(QueryStatus)
    ->Arg(1)
    ->Arg(100)
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

void QuerySessions(benchmark::State& state) {
  const auto daemon = StartDaemon(state);
  if (daemon == nullptr) return;
  std::vector<Client> clients;
  if (!Populate(state, daemon->directory(), &clients)) return;
  Admin admin(daemon->directory());
  std::string reply;
  for (auto _ : state) {
    const grpc::Status status = admin.Ask("ListSessions", &reply);
    if (!status.ok()) {
      return state.SkipWithError(status.error_message().c_str());
    }
  }
  if (CountElements(reply) != state.range(0)) {
    state.SkipWithError("not the sessions that there are");
  }
}
BENCHMARK(QuerySessions)
    ->Arg(1)
    ->Arg(100)
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

// All manifests are read for these, whole.
void QueryBlocks(benchmark::State& state, const char* method) {
  const auto daemon = StartDaemon(state);
  if (daemon == nullptr) return;
  std::vector<Client> clients;
  if (!Populate(state, daemon->directory(), &clients)) return;
  Admin admin(daemon->directory());
  std::string reply;
  for (auto _ : state) {
    const grpc::Status status = admin.Ask(method, &reply);
    if (!status.ok()) {
      return state.SkipWithError(status.error_message().c_str());
    }
  }
  state.counters["blocks"] =
      static_cast<double>(state.range(0)) * kBlocksOfEach;
}
BENCHMARK_CAPTURE(QueryBlocks, leaks, "ListLeaks")
    ->Arg(1)
    ->Arg(100)
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(QueryBlocks, snapshot, "TakeSnapshot")
    ->Arg(1)
    ->Arg(100)
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace vrampool::bench
