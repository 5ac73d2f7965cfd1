// Opening a GPU and finding out what its driver does: see cuda_device.h.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/cuda/driver.h"
#include "base/status_macros.h"
#include "daemon/device/cuda/cuda_device.h"
#include "daemon/device/cuda/peer_process.h"
#include "daemon/device/cuda/self_test.h"

namespace vrampool {
namespace {

// Two peers, made anew when a test may have spoiled them.
struct Peers {
  std::unique_ptr<PeerProcess> one;
  std::unique_ptr<PeerProcess> other;
};

absl::StatusOr<Peers> StartPeers(const PeerProcess::Options& options) {
  Peers peers;
  VRAMPOOL_ASSIGN_OR_RETURN(peers.one, PeerProcess::Start(options));
  VRAMPOOL_ASSIGN_OR_RETURN(peers.other, PeerProcess::Start(options));
  return peers;
}

SelfTestResult TestOne(SlabMemory& memory, Bytes granule,
                       const PeerProcess::Options& options, Peers& peers) {
  SelfTestResult result;
  if (peers.one == nullptr) {
    absl::StatusOr<Peers> started = StartPeers(options);
    result.round_trip = started.status();
    if (!started.ok()) return result;
    peers = *std::move(started);
  }
  result = TestKind(memory, granule, *peers.one, *peers.other);
  if (!result.isolates) peers = Peers();
  return result;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CudaDevice>> CudaDevice::Open(
    const Options& options) {
  const cuda::LoadedDriver& driver = cuda::LoadDriver();
  if (driver.api == nullptr) return absl::NotFoundError(driver.problem);
  const cuda::DriverApi& api = *driver.api;
  if (const cuda::Result result = api.Init(0); result != cuda::kSuccess) {
    return absl::NotFoundError(absl::StrCat(
        "the CUDA driver does not start: ", cuda::ErrorText(api, result),
        "; see nvidia-smi"));
  }
  VRAMPOOL_ASSIGN_OR_RETURN(Gpu gpu, ChooseGpu(api, options.name));
  absl::StatusOr<std::unique_ptr<Nvml>> nvml = Nvml::Open();
  const std::string no_nvml(nvml.status().message());
  std::unique_ptr<Nvml> present = nvml.ok() ? *std::move(nvml) : nullptr;
  VRAMPOOL_RETURN_IF_ERROR(RefuseMig(gpu, present.get()));
  // The constructor is private, so make_unique cannot reach it.
  std::unique_ptr<CudaDevice> device(
      new CudaDevice(api, std::move(gpu), std::move(present)));
  VRAMPOOL_RETURN_IF_ERROR(device->MakeKinds(options));
  if (options.self_test == SelfTest::kRun) {
    VRAMPOOL_RETURN_IF_ERROR(device->TestKinds(options));
  }
  if (device->nvml_ == nullptr) {
    device->Note(
        absl::StrCat("processes outside the broker are not seen: ", no_nvml),
        /*is_warning=*/device->context_ == nullptr);
  }
  VRAMPOOL_RETURN_IF_ERROR(device->BeginCounting());
  return device;
}

absl::Status CudaDevice::MakeKinds(const Options& options) {
  info_.uuid = gpu_.uuid;
  info_.name = gpu_.name;
  info_.granule = gpu_.granule;
  info_.total = gpu_.total;
  info_.kinds = options.kinds.empty() ? gpu_.kinds : options.kinds;
  for (const HandleKind kind : info_.kinds) {
    if (std::find(gpu_.kinds.begin(), gpu_.kinds.end(), kind) ==
        gpu_.kinds.end()) {
      return absl::FailedPreconditionError(
          absl::StrCat(gpu_.name, " cannot make slabs of kind ",
                       HandleKindName(kind), " (kinds)"));
    }
    VRAMPOOL_RETURN_IF_ERROR(MakeKind(kind));
  }
  return absl::OkStatus();
}

absl::Status CudaDevice::MakeKind(HandleKind kind) {
  if (kind == HandleKind::kVmmFd) {
    kinds_[kind].memory = MakeVmmMemory(api_, fault_, gpu_.device);
    return absl::OkStatus();
  }
  VRAMPOOL_ASSIGN_OR_RETURN(context_,
                            PrimaryContext::Retain(api_, fault_, gpu_.device));
  kinds_[kind].memory = MakeIpcMemory(api_, fault_, *context_);
  return absl::OkStatus();
}

absl::Status CudaDevice::TestKinds(const Options& options) {
  const PeerProcess::Options peer = {.gpu_uuid = gpu_.uuid,
                                     .program = options.peer_program};
  Peers peers;
  std::string failures;
  for (const HandleKind kind : std::exchange(info_.kinds, {})) {
    const SelfTestResult result =
        TestOne(*kinds_.at(kind).memory, info_.granule, peer, peers);
    VRAMPOOL_RETURN_IF_ERROR(fault_.health());
    if (result.round_trip.ok()) {
      info_.kinds.push_back(kind);
      Judge(kind, result.is_zeroed, result.isolates);
      continue;
    }
    const std::string text = absl::StrCat(
        HandleKindName(kind),
        " is not offered: ", std::string(result.round_trip.message()));
    absl::StrAppend(&failures, failures.empty() ? "" : "; ", text);
    Note(text, /*is_warning=*/true);
    info_.failed.push_back(kind);
    kinds_.erase(kind);
    if (kind == HandleKind::kCudaIpc) context_.reset();
  }
  if (!info_.kinds.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "no other process can map memory of ", gpu_.name, ": ", failures));
}

void CudaDevice::Judge(HandleKind kind, bool is_zeroed, bool isolates) {
  const char* const name = HandleKindName(kind);
  if (is_zeroed && isolates) {
    Note(absl::StrCat("self-test of ", name,
                      ": fresh memory is zero, destroyed slabs are isolated"),
         /*is_warning=*/false);
  }
  if (!is_zeroed) {
    kinds_.at(kind).must_clear = true;
    Note(absl::StrCat("the driver does not clear ", name,
                      " memory: the daemon does, before it lends any"),
         /*is_warning=*/true);
  }
  if (!isolates) {
    info_.not_isolating.push_back(kind);
    Note(absl::StrCat("the driver does not isolate destroyed ", name,
                      " slabs from those who still map them: they are kept, "
                      "and charged, until the last holder is gone"),
         /*is_warning=*/true);
  }
}

void CudaDevice::Note(std::string text, bool is_warning) {
  info_.notes.push_back({.text = std::move(text), .is_warning = is_warning});
}

// From now on what is in use beside our slabs is others' memory.
absl::Status CudaDevice::BeginCounting() {
  VRAMPOOL_ASSIGN_OR_RETURN(const Figures figures, ReadFigures());
  MutexLock lock(mu_);
  book_ = ReleaseBook(SaturatingSub(figures.total, figures.free));
  return absl::OkStatus();
}

}  // namespace vrampool
