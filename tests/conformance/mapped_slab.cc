#include "tests/conformance/mapped_slab.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace vrampool::testing {
namespace {

class HostMapping final : public MappedSlab {
 public:
  HostMapping(uint8_t* data, size_t size) : data_(data), size_(size) {}
  ~HostMapping() override { ::munmap(data_, size_); }
  void Fill(uint8_t value) override { std::memset(data_, value, size_); }
  bool IsFilledWith(uint8_t value) const override {
    return std::all_of(data_, data_ + size_,
                       [value](uint8_t byte) { return byte == value; });
  }

 private:
  uint8_t* const data_;
  const size_t size_;
};

}  // namespace

// The descriptor is closed at once: the mapping alone must count as a holder.
std::unique_ptr<MappedSlab> MapHostFd(ExportedHandle handle, Bytes size) {
  if (handle.kind != HandleKind::kHostFd || !handle.fd.is_valid()) {
    return nullptr;
  }
  void* const data = ::mmap(nullptr, size.count(), PROT_READ | PROT_WRITE,
                            MAP_SHARED, handle.fd.get(), 0);
  if (data == MAP_FAILED) return nullptr;
  return std::make_unique<HostMapping>(static_cast<uint8_t*>(data),
                                       size.count());
}

}  // namespace vrampool::testing
