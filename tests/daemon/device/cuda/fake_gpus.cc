#include "tests/daemon/device/cuda/fake_gpus.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/check.h"
#include "base/cuda/driver.h"

namespace vrampool::testing {

void FakeGpus::SetUp() {
  directory_ =
      (std::filesystem::temp_directory_path() / "fake-gpus-XXXXXX").string();
  VRAMPOOL_CHECK(::mkdtemp(directory_.data()) != nullptr);
  std::ofstream(directory_ + "/config")
      << "devices=2\ntotal_bytes=" << kGpuMemory.count()
      << "\nname1=Fake GPU MIG 1g.5gb\n";
  ::setenv(fake_cuda::kDirectoryVariable, directory_.c_str(), 1);
  VRAMPOOL_CHECK(Fake().set != nullptr);
}

void FakeGpus::TearDown() {
  std::error_code ignored;  // A leftover in the temporary directory.
  std::filesystem::remove_all(directory_, ignored);
}

const fake_cuda::Functions& Fake() {
  static const fake_cuda::Functions functions = fake_cuda::FindFunctions(
      [](const char* symbol) { return cuda::FindDriverSymbol(symbol); });
  return functions;
}

}  // namespace vrampool::testing
