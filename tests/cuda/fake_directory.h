// fake_directory.h - fake devices of a test's own.
//
// The real driver ignores the variable that names the directory. The devices go
// with the object.

#ifndef VRAMPOOL_TESTS_CUDA_FAKE_DIRECTORY_H_
#define VRAMPOOL_TESTS_CUDA_FAKE_DIRECTORY_H_

#include <optional>
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
  // "NAME=value", for the processes that are to have these devices.
  std::string Variable() const;

 private:
  std::string path_;
};

// Devices of this process and those that it starts: make it before the first
// call of the driver. Where the variable is set, what it names is used and
// stays: so with programs that a test starts.
class OwnFakeDirectory {
 public:
  explicit OwnFakeDirectory(const std::string& config = "");

 private:
  std::optional<FakeDirectory> directory_;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_CUDA_FAKE_DIRECTORY_H_
