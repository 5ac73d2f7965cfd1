// helper_orders.h - what a test tells the helper process, and what it answers.
//
// One packet each way over a SOCK_SEQPACKET pair, descriptor 3 of the helper.

#ifndef VRAMPOOL_TESTS_CUDA_HELPER_ORDERS_H_
#define VRAMPOOL_TESTS_CUDA_HELPER_ORDERS_H_

#include <cstdint>

#include "base/cuda/driver_api.h"

namespace vrampool::testing {

enum class Order : int {
  kAllocate,      // a: bytes. Answers the address and the handle.
  kFree,          // address
  kOpen,          // handle. Answers the address.
  kClose,         // address
  kExportOpened,  // address. cuIpcGetMemHandle of it.
  kRange,         // address. Answers base and bytes.
  kFill,          // address, a: words, b: value. Waits for it.
  kMismatches,    // address, a: words, b: value. Answers the count.
  kFillForever,   // address, a: words, b: value. Until kStop; does not wait.
  kFillLate,      // The same, once and after 100 ms; does not wait.
  kFillByGraph,   // The same, by a captured graph that runs at each kRunGraph.
  kRunGraph,      // Waits for it.
  kStop,
  kCreateVmm,    // a: bytes. Answers the address and sends a descriptor.
  kImportVmm,    // descriptor, a: bytes, b: access. Answers the address.
  kExportVmm,    // cuMemExportToShareableHandle of the imported one.
  kFreeVmm,      // What kCreateVmm or kImportVmm made.
  kCreateEvent,  // Interprocess. Answers its handle.
  kOpenEvent,    // handle
  kRecordEvent,  // On the helper's stream.
  kAwaitEvent,   // The stream waits for it, and the helper for the stream.
  kAwaitWord,    // The stream waits for a word for ever; its state is answered.
  kWriteWord,    // descriptor: a page. The stream writes b to its first word.
  kFailAndWrite,  // The same, behind a kernel that fails at address; waits.
  kFreeBytes,     // Answers what cuMemGetInfo says.
};

struct OrderPacket {
  Order order = Order::kStop;
  uint64_t address = 0;
  uint64_t a = 0;
  uint64_t b = 0;
  char handle[64] = {};
};

struct AnswerPacket {
  cuda::Result result = cuda::kSuccess;
  uint64_t value = 0;
  uint64_t second = 0;
  char handle[64] = {};
};

inline constexpr int kHelperSocket = 3;
inline constexpr char kHelperName[] = "cuda_test_helper";

// Sends one packet, with the descriptor unless it is -1. False: nobody there.
bool SendPacket(int socket, const void* packet, size_t bytes, int fd = -1);
// False: the other side has gone. `fd` gets a descriptor or -1.
bool ReceivePacket(int socket, void* packet, size_t bytes, int* fd);

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_CUDA_HELPER_ORDERS_H_
