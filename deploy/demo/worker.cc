#include "deploy/demo/worker.h"

#include "deploy/demo/gpu_worker.h"
#include "deploy/demo/pattern.h"

namespace vrampool::demo {
namespace {

class CpuWorker final : public Worker {
 public:
  cudaStream_t stream() const override { return nullptr; }
  void Fill(void* data, size_t size, uint64_t seed) override {
    FillPattern(data, size, seed);
  }
  uint64_t Checksum(const void* data, size_t size) override {
    return demo::Checksum(data, size);
  }
};

}  // namespace

std::unique_ptr<Worker> Worker::For(const vrampool_info& info) {
  if (info.kind == VRAMPOOL_KIND_HOST_FD) return std::make_unique<CpuWorker>();
  return std::make_unique<GpuWorker>(info.device_uuid);
}

}  // namespace vrampool::demo
