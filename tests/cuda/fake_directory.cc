#include "tests/cuda/fake_directory.h"

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <system_error>

#include "base/check.h"
#include "tests/cuda/fake/fake_cuda.h"

namespace vrampool::testing {

FakeDirectory::FakeDirectory(const std::string& config) {
  // In memory where that is possible: the files are the devices' memory.
  path_ = ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
  path_ += "/vrampool-fake-XXXXXX";
  VRAMPOOL_CHECK(::mkdtemp(path_.data()) != nullptr);
  std::ofstream(path_ + "/config") << config;
  ::setenv(fake_cuda::kDirectoryVariable, path_.c_str(), 1);
}

FakeDirectory::~FakeDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace vrampool::testing
