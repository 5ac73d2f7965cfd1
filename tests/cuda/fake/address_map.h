// address_map.h - which addresses of this process are device memory.
//
// Kernels and copies reach memory through Visit() only: an address that is not
// mapped, or not writable, is an error of theirs and no crash of the process,
// also when another thread unmaps it meanwhile.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_TESTS_CUDA_FAKE_ADDRESS_MAP_H_
#define VRAMPOOL_TESTS_CUDA_FAKE_ADDRESS_MAP_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "base/mutex.h"

namespace vrampool::fake_cuda {

enum class RangeKind { kOwned, kImported, kVmm, kHost, kRegistered };
enum class Access : int { kNone = 0, kRead = 1, kReadWrite = 3 };

struct Range {
  uint64_t base = 0;
  uint64_t bytes = 0;
  RangeKind kind = RangeKind::kOwned;
  Access access = Access::kReadWrite;
  uint64_t id = 0;  // Of the allocation.
  uint64_t secret = 0;
  int device = 0;
  int opens = 1;                  // Of an imported one.
  std::map<int, Access> peers{};  // Other devices'. (Not enforced.)
};

class AddressMap {
 public:
  void Add(const Range& range);
  // Takes it out. None: `base` begins no range of the kind.
  std::optional<Range> Remove(uint64_t base, RangeKind kind);
  // The range that the address lies in.
  std::optional<Range> Find(uint64_t address);

  // An imported range of this allocation, opened once more. None: not open.
  std::optional<Range> OpenAgain(uint64_t id);
  // Counts one close: 0 left: it was taken out; -1: no such range.
  int Close(uint64_t base, Range* closed);

  // The ranges of `kind` that lie wholly in [base, base + bytes), provided that
  // they fill it without gap; else none.
  std::vector<Range> Tiles(uint64_t base, uint64_t bytes, RangeKind kind);
  // True if any range touches [base, base + bytes).
  bool IsTouched(uint64_t base, uint64_t bytes);
  void SetAccess(uint64_t base, Access access);
  void SetPeerAccess(uint64_t base, int device, Access access);

  // Calls `visit` for one piece after the other; no piece can be unmapped while
  // it is visited (whoever unmaps removes the range first). False: it came to
  // memory that does not allow `needed`.
  using Visitor = std::function<void(void* piece, uint64_t bytes)>;
  bool Visit(uint64_t base, uint64_t bytes, Access needed,
             const Visitor& visit);
  bool Allows(uint64_t base, uint64_t bytes, Access needed);

 private:
  using Ranges = std::map<uint64_t, Range>;
  Ranges::iterator Containing(uint64_t address) VRAMPOOL_REQUIRES(mu_);

  Mutex mu_;
  Ranges ranges_ VRAMPOOL_GUARDED_BY(mu_);
};

}  // namespace vrampool::fake_cuda

#endif  // VRAMPOOL_TESTS_CUDA_FAKE_ADDRESS_MAP_H_
