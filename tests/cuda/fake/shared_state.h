// shared_state.h - what the processes of one fake driver directory share.
//
//   DIR/config      the devices, written by the test (fake_cuda.h)
//   DIR/lock        flock: whoever reads or writes the tables below holds it
//   DIR/state       a SharedState, mapped by every process
//   DIR/process-N   flock: held by process N for its life
//   DIR/memory-N    one allocation's bytes; flock: shared by all its holders
//   DIR/event-N     one interprocess event (ipc_event.h)
//
// A flock belongs to an open file description: descriptors sent to another
// process and mappings keep it, the kernel drops it with the last of them. So
// "does anybody still hold this allocation" is a question to the kernel, and
// the right answer comes back for killed processes too.
//
// A process can die anywhere: an entry counts only while its serial or id is
// not zero, which is written last and cleared first.

#ifndef VRAMPOOL_TESTS_CUDA_FAKE_SHARED_STATE_H_
#define VRAMPOOL_TESTS_CUDA_FAKE_SHARED_STATE_H_

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <string>

#include "base/cuda/driver_api.h"
#include "base/mutex.h"
#include "base/unique_fd.h"

namespace vrampool::fake_cuda {

inline constexpr uint64_t kGranularity = uint64_t{2} << 20;
inline constexpr int kMaxDevices = 8;
inline constexpr int kMaxProcesses = 1024;
inline constexpr int kMaxAllocations = 32768;
inline constexpr int kMaxFaults = 32;
inline constexpr int kSettings = 3;

enum class MemoryKind : uint32_t { kLegacy = 1, kVmm = 2 };

struct DeviceEntry {
  cuda::Uuid uuid;
  char name[64];
  uint64_t total_bytes;
  uint32_t is_mig;
  std::atomic<int> lost;  // The code that calls on it return, or 0.
};

struct ProcessEntry {
  std::atomic<uint64_t> serial;  // 0: no entry.
  int32_t pid;
  uint32_t contexts;        // Bit i: has a context on device i.
  std::atomic<int> broken;  // The code that its calls return, or 0.
};

struct AllocationEntry {
  std::atomic<uint64_t> id;  // 0: no entry.
  uint64_t bytes;            // As charged: whole granules.
  uint64_t asked_bytes;
  uint64_t secret;  // Part of its legacy handle.
  uint64_t inode;
  uint64_t owner;  // A process's serial.
  uint32_t device;
  MemoryKind kind;
  uint32_t is_freed;  // By its owner: it cannot be opened any more.
};

struct FaultEntry {
  char function[56];
  int32_t code;
  int32_t calls;  // Left; 0: no entry.
  int32_t pid;    // kEveryProcess or one.
};

struct SharedState {
  uint64_t is_ready;
  uint32_t device_count;
  DeviceEntry devices[kMaxDevices];
  uint64_t context_bytes;
  std::atomic<int> settings[kSettings];
  std::atomic<uint32_t> fault_count;  // Entries with calls left.
  FaultEntry faults[kMaxFaults];
  uint64_t last_id;          // Of processes, allocations and events.
  uint32_t allocations_end;  // No entry from here on.
  ProcessEntry processes[kMaxProcesses];
  AllocationEntry allocations[kMaxAllocations];
};

// Thread-safe. The one of a process is made by the first call of Get() and
// stays.
class Directory {
 public:
  static Directory& Get();

  // Null when the directory cannot be used; `problem` says why.
  SharedState* state() { return state_; }
  const std::string& problem() const { return problem_; }
  std::string Path(const char* what, uint64_t number) const;

  // Holds DIR/lock and this process's own mutex.
  class VRAMPOOL_TSA(scoped_lockable) Lock {
   public:
    explicit Lock(Directory& directory)
        VRAMPOOL_TSA(acquire_capability(directory.mu_));
    ~Lock() VRAMPOOL_TSA(release_capability());
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    Directory& directory_;
  };

 private:
  Directory();
  bool Open(const std::string& path);

  Mutex mu_;
  std::string path_;
  std::string problem_;
  UniqueFd lock_;
  SharedState* state_ = nullptr;
};

// True if nobody, in any process, has a lock on the file: also for a file that
// is gone.
bool IsUnheld(const std::string& path);

// Opens or creates the file for everybody and takes the lock, which then goes
// with the descriptor. Empty when it cannot.
enum class FileLock { kShared, kExclusive };
UniqueFd OpenLocked(const std::string& path, int flags, FileLock lock);

// Reads DIR/config into a fresh state (config.cc).
void Configure(const std::string& directory, SharedState& state);

}  // namespace vrampool::fake_cuda

#endif  // VRAMPOOL_TESTS_CUDA_FAKE_SHARED_STATE_H_
