// stepped_client.cc - a client for a tracer: one operation between two traps.
//
//   stepped_client OPERATION [TOKEN]
//
// Makes a client of the daemon that the environment names, prepares, prints one
// line "ready ENTER LEAVE SESSION" and traps; does the operation and traps
// again; waits to be killed. Exits with 1 if something fails before.

#include <unistd.h>

#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>

#include "client/session/manifest_section.h"
#include "tests/integration/stepped_sizes.h"
#include "vrampool/vrampool.hpp"

namespace vrampool::testing {
namespace {

// A failure shows as this process's end where a trap was expected.
[[noreturn]] void Give(const char* what) {
  std::fprintf(stderr, "stepped_client: %s: %s\n", what,
               vrampool_last_error_message());
  std::exit(1);
}

template <typename T>
T Must(const char* what, Result<T> result) {
  if (!result.ok()) Give(what);
  return *std::move(result);
}

void* MustAllocate(Client& client, const char* tag, size_t bytes) {
  const ScopedTag scoped(tag);
  void* const p = client.Allocate(bytes);
  if (p == nullptr) Give("allocate");
  return p;
}

// What the operation works on. Objects are released by the process's end.
struct Scene {
  Client& client;
  std::string token;
  void* block = nullptr;
  Object first;
  Object second;
};

struct Operation {
  std::function<void(Scene&)> prepare;
  std::function<void(Scene&)> run;
};

void MakeBlock(Scene& scene) {
  scene.block = MustAllocate(scene.client, kSteppedTag, kSteppedBytes);
}
void FreeBlock(Scene& scene) {
  scene.client.Deallocate(scene.block, kSteppedBytes);
}
// By a call: afterwards the slab is mapped.
void OpenFirst(Scene& scene) {
  scene.first = Must("open", scene.client.OpenToken(scene.token.c_str()));
}
// Without a call.
void OpenSecond(Scene& scene) {
  scene.second = Must("open", scene.client.OpenToken(scene.token.c_str()));
}

// On a GPU they are closed by another thread, which is waited for: their slab
// is not in use any more then.
void CloseBoth(Scene& scene) {
  if (!scene.second.Close().ok() || !scene.first.Close().ok()) Give("close");
  while (Must("usage", scene.client.Usage()).opened_bytes > 0) {
    if (!scene.client.Quiesce().ok()) Give("quiesce");
  }
}

const std::map<std::string, Operation>& Operations() {
  static const std::map<std::string, Operation> operations = {
      {"allocate", {[](Scene&) {}, MakeBlock}},
      // In the place of a record that was taken back.
      {"allocate_again",
       {[](Scene& scene) {
          MakeBlock(scene);
          FreeBlock(scene);
        },
        MakeBlock}},
      {"free", {MakeBlock, FreeBlock}},
      {"share",
       {MakeBlock,
        [](Scene& scene) {
          scene.first =
              Must("share", scene.client.Share({{scene.block, kSteppedBytes}}));
        }}},
      {"open", {OpenFirst, OpenSecond}},
      {"close",
       {[](Scene& scene) {
          OpenFirst(scene);
          OpenSecond(scene);
        },
        CloseBoth}},
  };
  return operations;
}

int Main(int argc, char** argv) {
  if (argc < 2 || Operations().count(argv[1]) == 0) {
    std::fprintf(stderr, "usage: stepped_client OPERATION [TOKEN]\n");
    return 2;
  }
  const Operation& operation = Operations().at(argv[1]);
  Client client = Must("attach", Client::Open());
  Scene scene{.client = client,
              .token = argc > 2 ? argv[2] : "",
              .block = nullptr,
              .first = Object(),
              .second = Object()};
  MustAllocate(client, kBaseTag, kBaseBytes);
  operation.prepare(scene);
  const vrampool_info info = Must("info", client.Info());
  std::printf("ready %" PRIuPTR " %" PRIuPTR " %" PRIu64 "\n",
              reinterpret_cast<uintptr_t>(&vrampool_manifest_enter),
              reinterpret_cast<uintptr_t>(&vrampool_manifest_leave),
              info.session_id);
  std::fflush(stdout);
  raise(SIGTRAP);
  operation.run(scene);
  raise(SIGTRAP);
  pause();
  return 0;
}

}  // namespace
}  // namespace vrampool::testing

int main(int argc, char** argv) { return vrampool::testing::Main(argc, argv); }
