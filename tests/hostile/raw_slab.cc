#include "tests/hostile/raw_slab.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "tests/cuda/gpu.h"

namespace vrampool::testing {
namespace {

const Gpu& TheGpu() {
  static const Gpu* const gpu = new Gpu();
  return *gpu;
}

bool AllAre(const unsigned char* data, size_t bytes, unsigned char wanted) {
  return std::all_of(data, data + bytes,
                     [wanted](unsigned char c) { return c == wanted; });
}

class HostSlab final : public RawSlab {
 public:
  HostSlab(const attach::SlabHandle& handle, UniqueFd fd)
      : RawSlab(handle, std::move(fd)) {}
  ~HostSlab() override { Unmap(); }

  void Fill(unsigned char byte) override { std::memset(data_, byte, bytes()); }
  bool IsFull(unsigned char byte) override {
    return AllAre(data_, bytes(), byte);
  }
  bool is_mapped() const override { return data_ != nullptr; }
  void Unmap() override {
    if (data_ != nullptr) ::munmap(data_, bytes());
    data_ = nullptr;
  }
  bool MapAgain() override {
    void* const data = ::mmap(nullptr, bytes(), PROT_READ | PROT_WRITE,
                              MAP_SHARED, fd_.get(), 0);
    if (data == MAP_FAILED) return false;
    data_ = static_cast<unsigned char*>(data);
    return true;
  }

 private:
  unsigned char* data_ = nullptr;
};

class GpuSlab : public RawSlab {
 public:
  void Fill(unsigned char byte) override {
    gpu_.Expect(gpu_.api().MemsetD8(at_, byte, bytes()), "filling a slab");
    gpu_.Expect(gpu_.api().CtxSynchronize(), "filling a slab");
  }
  bool IsFull(unsigned char byte) override {
    std::vector<unsigned char> copy(bytes());
    gpu_.Expect(gpu_.api().MemcpyDtoH(copy.data(), at_, copy.size()),
                "reading a slab");
    return AllAre(copy.data(), copy.size(), byte);
  }
  bool is_mapped() const override { return at_ != 0; }

 protected:
  GpuSlab(const attach::SlabHandle& handle, UniqueFd fd)
      : RawSlab(handle, std::move(fd)) {}

  const Gpu& gpu_ = TheGpu();
  cuda::DevicePtr at_ = 0;
};

class IpcSlab final : public GpuSlab {
 public:
  explicit IpcSlab(const attach::SlabHandle& handle)
      : GpuSlab(handle, UniqueFd()) {}
  ~IpcSlab() override { Unmap(); }

  void Unmap() override {
    if (at_ != 0) (void)gpu_.api().IpcCloseMemHandle(at_);
    at_ = 0;
  }
  bool MapAgain() override {
    cuda::IpcMemHandle raw;
    static_assert(sizeof(raw.reserved) == sizeof(handle_.handle));
    std::memcpy(raw.reserved, handle_.handle, sizeof(raw.reserved));
    return gpu_.api().IpcOpenMemHandle(&at_, raw, cuda::kIpcLazyPeerAccess) ==
           cuda::kSuccess;
  }
};

class VmmSlab final : public GpuSlab {
 public:
  VmmSlab(const attach::SlabHandle& handle, UniqueFd fd)
      : GpuSlab(handle, std::move(fd)) {}

  void Unmap() override {
    buffer_.reset();
    at_ = 0;
  }
  bool MapAgain() override {
    buffer_ = std::make_unique<VmmBuffer>(gpu_, bytes(), fd_.get(),
                                          cuda::kAccessReadWrite);
    at_ = buffer_->at();
    return true;
  }

 private:
  std::unique_ptr<VmmBuffer> buffer_;
};

}  // namespace

std::unique_ptr<RawSlab> RawSlab::Map(ReceivedPacket packet) {
  if (packet.type() != attach::MessageType::kSlabHandle) return nullptr;
  const auto handle = packet.body<attach::SlabHandle>();
  const auto kind = static_cast<HandleKind>(handle.kind);
  const bool is_file = kind != HandleKind::kCudaIpc;
  if (packet.fds.size() != (is_file ? 1u : 0u)) return nullptr;
  std::unique_ptr<RawSlab> slab;
  if (kind == HandleKind::kCudaIpc) {
    slab = std::make_unique<IpcSlab>(handle);
  } else if (kind == HandleKind::kVmmFd) {
    slab = std::make_unique<VmmSlab>(handle, std::move(packet.fds[0]));
  } else {
    slab = std::make_unique<HostSlab>(handle, std::move(packet.fds[0]));
  }
  if (!slab->MapAgain()) return nullptr;
  return slab;
}

}  // namespace vrampool::testing
