#include <algorithm>
#include <random>

#include "tests/bench/compare/workloads.h"

namespace vrampool::bench {
namespace {

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kRow = 512;  // Blocks: four times what a cache keeps of them.
constexpr size_t kRowBytes = 4096;
constexpr size_t kUsage = 1024 * kMiB;

struct Block {
  void* data = nullptr;
  size_t bytes = 0;
};

class Counted {
 public:
  Counted(Allocator& allocator, const Device& device)
      : allocator_(allocator), stream_(device), other_(device) {}

  bool Run(const std::string& name, size_t pairs) {
    if (name == "warm") {
      for (size_t i = 0; i < pairs; ++i) Pair(kRowBytes);
    } else if (name == "row") {
      Rows(pairs);
    } else if (name == "random1") {
      Random(pairs, kMiB);
    } else if (name == "random64") {
      Random(pairs, 64 * kMiB);
    } else if (name == "streams64") {
      // From here on several streams are in use.
      void* const p = allocator_.Allocate(kRowBytes, other_.get());
      allocator_.Deallocate(p, kRowBytes, other_.get());
      Random(pairs, 64 * kMiB);
    } else {
      return false;
    }
    return true;
  }

 private:
  void Pair(size_t bytes) {
    void* const p = allocator_.Allocate(bytes, stream_.get());
    allocator_.Deallocate(p, bytes, stream_.get());
  }
  void Rows(size_t pairs) {
    std::vector<void*> row(kRow);
    for (size_t done = 0; done < pairs; done += kRow) {
      for (void*& p : row) p = allocator_.Allocate(kRowBytes, stream_.get());
      for (void* const p : row) {
        allocator_.Deallocate(p, kRowBytes, stream_.get());
      }
    }
  }
  // About kUsage alive, a random one freed for each that is allocated.
  void Random(size_t pairs, size_t largest) {
    std::minstd_rand random;
    std::uniform_int_distribution<size_t> sizes(1, largest);
    std::vector<Block> blocks(kUsage / largest);
    for (size_t i = 0; i < pairs + blocks.size(); ++i) {
      Block& block = blocks[random() % blocks.size()];
      allocator_.Deallocate(block.data, block.bytes, stream_.get());
      block.bytes = sizes(random);
      block.data = allocator_.Allocate(block.bytes, stream_.get());
    }
    for (const Block& block : blocks) {
      allocator_.Deallocate(block.data, block.bytes, stream_.get());
    }
  }

  Allocator& allocator_;
  const DeviceStream stream_;
  const DeviceStream other_;
};

}  // namespace

bool RunCounted(const Subject& subject, const std::string& name, size_t pairs) {
  return Counted(subject.allocator, subject.device).Run(name, pairs);
}

}  // namespace vrampool::bench
