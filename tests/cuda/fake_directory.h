// fake_directory.h - fake devices of a test's own.
//
// Names itself in VRAMPOOL_FAKE_CUDA_DIR, for this process and those that it
// starts: make it before the first call of the driver. The real driver ignores
// the variable. The devices go with the object.

#ifndef VRAMPOOL_TESTS_CUDA_FAKE_DIRECTORY_H_
#define VRAMPOOL_TESTS_CUDA_FAKE_DIRECTORY_H_

#include <string>

namespace vrampool::testing {

class FakeDirectory {
 public:
  // `config`: the lines of its config file (fake/fake_cuda.h).
  explicit FakeDirectory(const std::string& config = "");
  ~FakeDirectory();
  FakeDirectory(const FakeDirectory&) = delete;
  FakeDirectory& operator=(const FakeDirectory&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_CUDA_FAKE_DIRECTORY_H_
