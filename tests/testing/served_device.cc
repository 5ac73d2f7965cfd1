#include "tests/testing/served_device.h"

#include <unistd.h>

#include <atomic>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace vrampool::testing {
namespace {

int NextNumber() {
  static std::atomic<int> count{0};
  return count.fetch_add(1);
}

// No two daemons of a machine serve the same device.
std::string UniqueHostName() {
  return absl::StrCat("test-", getpid(), "-", NextNumber());
}
std::string UniqueGpuUuid() {
  return absl::StrFormat("GPU-fa4ec0da-%04x-4000-8000-%012x",
                         NextNumber() & 0xffff, getpid());
}

}  // namespace

std::string NameOf(Served served) {
  switch (served) {
    case Served::kHost:
      return "Host";
    case Served::kCudaIpc:
      return "CudaIpc";
    case Served::kVmmFd:
      return "VmmFd";
  }
  return "";
}

void PrintTo(Served served, std::ostream* out) { *out << NameOf(served); }

ServedDevice::ServedDevice(Served served) {
  if (!IsGpu(served)) {
    config_ = absl::StrCat("device: \"host:", UniqueHostName(), "\"\n");
    return;
  }
  // As on a GPU, every process that uses it costs something.
  fake_ = std::make_unique<FakeDirectory>(
      absl::StrCat("context_bytes=8388608\nuuid0=", UniqueGpuUuid(), "\n"));
  config_ =
      absl::StrCat("device: \"cuda:0\"\nkinds: \"",
                   served == Served::kCudaIpc ? "CUDA_IPC" : "VMM_FD", "\"\n");
  environment_.push_back(fake_->Variable());
}

}  // namespace vrampool::testing
