// GPUs join the conformance suite, once for each kind: on the driver that
// VRAMPOOL_CUDA_DRIVER names, or on this machine's. Without a driver the suite
// leaves them out.

#include "base/cuda/driver.h"
#include "base/mutex.h"
#include "daemon/device/cuda/cuda_device.h"
#include "daemon/device/cuda/peer_process.h"
#include "tests/conformance/device_conformance.h"

namespace vrampool::testing {
namespace {

constexpr char kGpu[] = "0";

std::unique_ptr<PeerProcess> StartPeer() {
  const cuda::DriverApi& api = *cuda::LoadDriver().api;
  VRAMPOOL_CHECK(api.Init(0) == cuda::kSuccess);
  const absl::StatusOr<Gpu> gpu = ChooseGpu(api, kGpu);
  VRAMPOOL_CHECK(gpu.ok());
  absl::StatusOr<std::unique_ptr<PeerProcess>> peer =
      PeerProcess::Start({.gpu_uuid = gpu->uuid});
  VRAMPOOL_CHECK(peer.ok());
  return *std::move(peer);
}

class PeerHolder final : public Holder {
 public:
  PeerHolder() : peer_(StartPeer()) {}
  bool Map(ExportedHandle handle, Bytes size) override {
    return peer_->Map(0, std::move(handle), size).ok();
  }
  bool Fill(uint8_t value) override { return peer_->Fill(0, value).ok(); }
  bool IsFilledWith(uint8_t value) override {
    return peer_->IsFilledWith(0, value).value_or(false);
  }
  bool Unmap() override { return peer_->Unmap(0).ok(); }
  void Kill() override { peer_.reset(); }

 private:
  std::unique_ptr<PeerProcess> peer_;
};

std::unique_ptr<Holder> StartHolder() { return std::make_unique<PeerHolder>(); }

// What maps "here": a handle of kind CUDA_IPC cannot be opened in the process
// that made it, so a peer does it for all of a test's threads.
class MappingPeer {
 public:
  uint64_t Map(ExportedHandle handle, Bytes size) {
    MutexLock lock(mu_);
    const uint64_t place = ++last_place_;
    const absl::Status mapped = peer_->Map(place, std::move(handle), size);
    return mapped.ok() ? place : 0;
  }
  void Fill(uint64_t place, uint8_t value) {
    MutexLock lock(mu_);
    VRAMPOOL_CHECK(peer_->Fill(place, value).ok());
  }
  bool IsFilledWith(uint64_t place, uint8_t value) {
    MutexLock lock(mu_);
    return peer_->IsFilledWith(place, value).value_or(false);
  }
  void Unmap(uint64_t place) {
    MutexLock lock(mu_);
    VRAMPOOL_CHECK(peer_->Unmap(place).ok());
  }

 private:
  Mutex mu_;
  const std::unique_ptr<PeerProcess> peer_ = StartPeer();
  uint64_t last_place_ = 0;
};

MappingPeer* here = nullptr;  // Of the test that runs.

class SlabInPeer final : public MappedSlab {
 public:
  explicit SlabInPeer(uint64_t place) : place_(place) {}
  ~SlabInPeer() override { here->Unmap(place_); }
  void Fill(uint8_t value) override { here->Fill(place_, value); }
  bool IsFilledWith(uint8_t value) const override {
    return here->IsFilledWith(place_, value);
  }

 private:
  const uint64_t place_;
};

std::unique_ptr<MappedSlab> MapInPeer(ExportedHandle handle, Bytes size) {
  const uint64_t place = here->Map(std::move(handle), size);
  if (place == 0) return nullptr;
  return std::make_unique<SlabInPeer>(place);
}

class CudaUnderTest final : public DeviceUnderTest {
 public:
  // The peer's context comes before the device counts what others have.
  explicit CudaUnderTest(std::vector<HandleKind> kinds) {
    here = &peer_;
    auto opened = CudaDevice::Open({.name = kGpu,
                                    .kinds = std::move(kinds),
                                    .self_test = CudaDevice::SelfTest::kSkip});
    VRAMPOOL_CHECK(opened.ok());
    device_ = *std::move(opened);
  }
  ~CudaUnderTest() override { here = nullptr; }

  Device& device() override { return *device_; }

  // All that the GPU has, in pieces that become smaller.
  void TakeRoom() override {
    const DeviceInfo& info = device_->info();
    Bytes piece = info.granule;
    while (piece + piece <= info.total) piece += piece;
    while (piece >= info.granule) {
      const SlabId id{kRoom + taken_};
      if (device_->Create(id, piece, info.kinds.front()).ok()) {
        ++taken_;
      } else {
        piece = Bytes(piece.count() / 2);
      }
    }
  }
  void GiveRoomBack() override {
    for (; taken_ > 0; --taken_) {
      VRAMPOOL_CHECK(device_->Destroy(SlabId{kRoom + taken_ - 1}).ok());
    }
  }

 private:
  static constexpr uint64_t kRoom = uint64_t{1} << 40;  // Ids of those pieces.

  MappingPeer peer_;
  std::unique_ptr<CudaDevice> device_;
  uint64_t taken_ = 0;
};

std::unique_ptr<DeviceUnderTest> MakeIpc() {
  return std::make_unique<CudaUnderTest>(
      std::vector{HandleKind::kCudaIpc, HandleKind::kVmmFd});
}

// With a context, so that the free figure needs no NVML.
std::unique_ptr<DeviceUnderTest> MakeVmm() {
  return std::make_unique<CudaUnderTest>(
      std::vector{HandleKind::kVmmFd, HandleKind::kCudaIpc});
}

std::vector<Backend> Backends() {
  if (cuda::LoadDriver().api == nullptr) return {};
  return {Backend{"CudaIpc", MakeIpc, MapInPeer, StartHolder},
          Backend{"CudaVmm", MakeVmm, MapInPeer, StartHolder}};
}

INSTANTIATE_TEST_SUITE_P(Cuda, DeviceConformanceTest,
                         ::testing::ValuesIn(Backends()), BackendName);

}  // namespace
}  // namespace vrampool::testing
