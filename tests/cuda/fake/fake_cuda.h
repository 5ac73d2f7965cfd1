// fake_cuda.h - how a test sets up and steers the fake CUDA driver.
//
// The fake is a library with the driver's C interface (VRAMPOOL_CUDA_DRIVER
// names it) and no GPU: its devices are files in the directory that
// VRAMPOOL_FAKE_CUDA_DIR names, shared by every process that names the same.
// Without the variable there is one directory for each user, in /dev/shm.
//
// What it models, and so lets us test without a GPU:
//   - memory as sparse files, so that a device pointer is an ordinary address;
//     handles for other processes; the device's free bytes as all processes
//     together leave them, also when one is killed; a slab freed under a
//     mapping lingers until its last holder has let go
//   - streams that run their work in order, each on a thread of its own; events
//     within and between processes; capture, graphs and user objects
//   - what stalls (freeing and closing legacy memory) and what does not (VMM)
// What it does not: copies' and kernels' speed, several allocations in one
// 2 MiB page (each is a page of its own), contexts other than the primary one,
// peer access rules, a check that captured forks have joined again.
//
// A file `config` in the directory, read when the first process looks, says
// what the devices are; a line is NAME=VALUE:
//   devices=1                    how many (1 to 8)
//   total_bytes=8589934592       of each
//   context_bytes=0              what a context costs
//   name0= uuid0=GPU-... mig0=0  of device 0, and so on; a MIG device's uuid
//                                starts with MIG-; by default it is another in
//                                every directory
//   dirty=0 non_isolating=0 orphans=0    as the Setting below
//
// The functions are looked up by name (cuda::FindDriverSymbol) because the real
// driver has none of them. They act on all processes of the directory unless
// they say otherwise, and may be called before cuInit.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_TESTS_CUDA_FAKE_FAKE_CUDA_H_
#define VRAMPOOL_TESTS_CUDA_FAKE_FAKE_CUDA_H_

#include <cstdint>
#include <type_traits>

namespace vrampool::fake_cuda {

inline constexpr char kDirectoryVariable[] = "VRAMPOOL_FAKE_CUDA_DIR";

enum class Setting : int {
  // 1: fresh memory shows residue, as from a driver that does not clear it.
  kDirty = 0,
  // 1: freed memory is handed out again though somebody still maps it.
  kNonIsolating = 1,
  // Who waits for an event of a process that died before it completed:
  // 0 goes on, 1 waits for ever, 2 loses its context (launch failed).
  kOrphans = 2,
};
inline constexpr int kThisProcess = 0;
inline constexpr int kEveryProcess = -1;

struct Functions {
  void (*set)(Setting setting, int value);

  // The next `calls` calls of the driver's `function` ("cuMemCreate") in
  // process `pid` return `code` and do nothing; with 0 calls, none of those
  // that were to come does any more. False: no room for more.
  bool (*fail)(const char* function, int code, int calls, int pid);

  // Every later call of process `pid` that needs a device returns `code`.
  bool (*break_process)(int pid, int code);

  // Every later call on `device` (as without CUDA_VISIBLE_DEVICES) returns
  // `code`, in every process; 0 brings it back.
  void (*lose_device)(int device, int code);

  // Work on `stream` that ends when OpenGate(gate) was called. Gates belong to
  // this process, any number is one; opening a gate is for ever.
  int (*launch_gate)(void* stream, uint64_t gate);
  void (*open_gate)(uint64_t gate);

  // Returns once at least this many calls of this process stand still: frees
  // that wait for the context's work, and launches that wait for such a free.
  void (*await_stalled)(int frees, int launches);

  // How many calls of the driver the calling thread has made so far: of
  // `function`, or of all where it is null.
  uint64_t (*count_calls)(const char* function);

  // How many events of this process are not destroyed.
  uint64_t (*count_events)();
};

// Symbols of the library, each of the type of the member above.
inline constexpr char kSetSymbol[] = "vrampool_fake_cuda_set";
inline constexpr char kFailSymbol[] = "vrampool_fake_cuda_fail";
inline constexpr char kBreakSymbol[] = "vrampool_fake_cuda_break_process";
inline constexpr char kLoseSymbol[] = "vrampool_fake_cuda_lose_device";
inline constexpr char kGateSymbol[] = "vrampool_fake_cuda_gate";
inline constexpr char kOpenGateSymbol[] = "vrampool_fake_cuda_open_gate";
inline constexpr char kAwaitStalledSymbol[] =
    "vrampool_fake_cuda_await_stalled";
inline constexpr char kCountCallsSymbol[] = "vrampool_fake_cuda_count_calls";
inline constexpr char kCountEventsSymbol[] = "vrampool_fake_cuda_count_events";

// All of them, by a function that finds a symbol in the loaded driver
// (cuda::FindDriverSymbol). Members are null when that is no fake.
template <typename Find>
Functions FindFunctions(const Find& find) {
  Functions functions{};
  const auto look = [&find](auto& member, const char* symbol) {
    member = reinterpret_cast<std::remove_reference_t<decltype(member)>>(
        find(symbol));
  };
  look(functions.set, kSetSymbol);
  look(functions.fail, kFailSymbol);
  look(functions.break_process, kBreakSymbol);
  look(functions.lose_device, kLoseSymbol);
  look(functions.launch_gate, kGateSymbol);
  look(functions.open_gate, kOpenGateSymbol);
  look(functions.await_stalled, kAwaitStalledSymbol);
  look(functions.count_calls, kCountCallsSymbol);
  look(functions.count_events, kCountEventsSymbol);
  return functions;
}

}  // namespace vrampool::fake_cuda

#endif  // VRAMPOOL_TESTS_CUDA_FAKE_FAKE_CUDA_H_
