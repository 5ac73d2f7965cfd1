#include "tests/cuda/fake_directory.h"

#include <stdlib.h>
#include <sys/stat.h>
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
  // A GPU is there for every user.
  VRAMPOOL_CHECK(::chmod(path_.c_str(), 0777) == 0);
  std::ofstream(path_ + "/config") << config;
}

FakeDirectory::~FakeDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string FakeDirectory::Variable() const {
  return std::string(fake_cuda::kDirectoryVariable) + "=" + path_;
}

OwnFakeDirectory::OwnFakeDirectory(const std::string& config) {
  if (::getenv(fake_cuda::kDirectoryVariable) != nullptr) return;
  directory_.emplace(config);
  ::setenv(fake_cuda::kDirectoryVariable, directory_->path().c_str(), 1);
}

}  // namespace vrampool::testing
