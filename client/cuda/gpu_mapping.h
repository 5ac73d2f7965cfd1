// gpu_mapping.h - memory of a GPU that another process made, in this process's
// address space.
//
// CUDA_IPC: opening costs 30-400 us and waits for nothing. *Closing* waits for
// everything that this process has running on the GPU, and every kernel launch
// of every thread waits with it. So such a mapping is closed only where the
// application has said that it may stall.
//
// VMM_FD: neither mapping nor unmapping waits for anything; so no work may be
// running that touches the memory: it would fault.
//
// Threads: not thread-safe. Movable; moved-from is empty. Destroying closes.

#ifndef VRAMPOOL_CLIENT_CUDA_GPU_MAPPING_H_
#define VRAMPOOL_CLIENT_CUDA_GPU_MAPPING_H_

#include <array>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/ids.h"
#include "client/cuda/gpu_context.h"
#include "client/session/status.h"

namespace vrampool::client {

class GpuMapping {
 public:
  // Every VMM_FD mapping begins at a multiple of this.
  static constexpr uint64_t kVmmAlignment = uint64_t{2} << 20;
  // And every CUDA_IPC mapping at one of this, at least.
  static constexpr uint64_t kIpcAlignment = 256;

  GpuMapping() = default;  // Empty.
  GpuMapping(GpuMapping&& other) noexcept { *this = std::move(other); }
  GpuMapping& operator=(GpuMapping&& other) noexcept;
  ~GpuMapping() { (void)Close(); }

  // Both check that there are `size_bytes` behind the handle, and map on error
  // nothing. Errors of GpuContext::StatusOf(), and:
  //   Internal  the handle is not what was promised
  static Result<GpuMapping> OpenIpc(std::shared_ptr<const GpuContext> gpu,
                                    const std::array<uint8_t, 64>& handle,
                                    uint64_t size_bytes);
  // `fd` may be closed afterwards.
  static Result<GpuMapping> ImportVmm(std::shared_ptr<const GpuContext> gpu,
                                      int fd, uint64_t size_bytes,
                                      bool is_writable = true);

  // Of a VMM_FD mapping: it may be written from now on. Again changes nothing.
  // Any thread, as long as the mapping stays. Errors of GpuContext::StatusOf().
  Status MakeWritable() const;

  uint64_t base() const { return base_; }
  uint64_t size_bytes() const { return size_; }
  HandleKind kind() const { return kind_; }

  // The memory is no longer mapped here afterwards; false if the driver would
  // not (the process is exiting), and then it may be.
  bool Close();

 private:
  GpuMapping(std::shared_ptr<const GpuContext> gpu, HandleKind kind,
             uint64_t base, uint64_t size)
      : gpu_(std::move(gpu)), kind_(kind), base_(base), size_(size) {}

  std::shared_ptr<const GpuContext> gpu_;  // Null when empty.
  HandleKind kind_ = HandleKind::kNone;
  uint64_t base_ = 0;
  uint64_t size_ = 0;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_CUDA_GPU_MAPPING_H_
