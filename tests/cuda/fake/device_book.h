// device_book.h - who holds how much of the devices, over all processes.
//
// An allocation is charged while anybody holds its file's lock: its owner, an
// importer, a mapping, a descriptor on its way. A process is charged for each
// context that it has.
//
// Threads: thread-safe. Processes: each call takes the directory's lock.

#ifndef VRAMPOOL_TESTS_CUDA_FAKE_DEVICE_BOOK_H_
#define VRAMPOOL_TESTS_CUDA_FAKE_DEVICE_BOOK_H_

#include <cstdint>
#include <vector>

#include "base/cuda/driver_api.h"
#include "base/unique_fd.h"
#include "tests/cuda/fake/shared_state.h"

namespace vrampool::fake_cuda {

struct Allocation {
  uint64_t id = 0;
  uint64_t bytes = 0;  // As asked for.
  uint64_t secret = 0;
  int device = 0;
  UniqueFd file;  // Holds the lock.
};

struct AllocationRequest {
  int device = 0;
  uint64_t bytes = 0;
  MemoryKind kind = MemoryKind::kLegacy;
};

struct RunningProcess {
  int pid = 0;
  uint64_t bytes = 0;
};

class DeviceBook {
 public:
  explicit DeviceBook(Directory& directory) : directory_(directory) {}

  // Enters this process; ProcessIsAlive() holds until it ends. Null: the table
  // is full.
  ProcessEntry* Register(UniqueFd& life);

  // OutOfMemory.
  cuda::Result Create(const ProcessEntry& owner,
                      const AllocationRequest& request, Allocation* out);
  // What a legacy handle names. NotPermitted: freed, or its owner is dead.
  // InvalidValue: never was. InvalidContext: the opener's own.
  cuda::Result OpenLegacy(const ProcessEntry& opener, uint64_t id,
                          uint64_t secret, Allocation* out);
  // The allocation behind an exported descriptor; takes another descriptor of
  // it. InvalidValue: it is none.
  cuda::Result Identify(int fd, Allocation* out);

  // Its owner has freed it: it can no longer be opened.
  void MarkFreed(uint64_t id);
  // Drops the file unless somebody still holds it.
  void DropIfUnheld(uint64_t id);

  // OutOfMemory.
  cuda::Result AddContext(ProcessEntry& process, int device);
  void RemoveContext(ProcessEntry& process, int device);

  uint64_t FreeBytes(int device);
  std::vector<RunningProcess> ProcessesOn(int device);
  bool ProcessIsAlive(uint64_t serial);

 private:
  SharedState& state() { return *directory_.state(); }
  AllocationEntry* Find(uint64_t id);
  AllocationEntry* FreeEntry();
  bool DropEntryIfUnheld(AllocationEntry& entry);
  void Sweep(int device);
  uint64_t Charged(int device);
  bool Fits(int device, uint64_t bytes);
  UniqueFd NewFile(uint64_t id, uint64_t bytes);
  UniqueFd RecycledFile(uint64_t id, uint64_t bytes);

  Directory& directory_;
};

}  // namespace vrampool::fake_cuda

#endif  // VRAMPOOL_TESTS_CUDA_FAKE_DEVICE_BOOK_H_
