// client_canary_rig.h - a client in debug mode on a GPU, and misuse of its
// memory, all of it done by kernels.
//
// Threads: as StreamTest.

#ifndef VRAMPOOL_TESTS_CUDA_CLIENT_CANARY_RIG_H_
#define VRAMPOOL_TESTS_CUDA_CLIENT_CANARY_RIG_H_

#include <cstdlib>
#include <functional>
#include <string>

#include "gtest/gtest.h"
#include "tests/cuda/client_stream_rig.h"

namespace vrampool::testing {

inline constexpr uint64_t kBytes = 1000;
inline constexpr uint64_t kLarge = 3 * kMiB + 4;  // Looked at in several steps.

// What is written to stderr while it lives.
class CapturedStderr {
 public:
  CapturedStderr() { ::testing::internal::CaptureStderr(); }
  ~CapturedStderr() {
    if (!is_taken_) (void)Take();
  }
  CapturedStderr(const CapturedStderr&) = delete;
  CapturedStderr& operator=(const CapturedStderr&) = delete;

  std::string Take() {
    is_taken_ = true;
    return ::testing::internal::GetCapturedStderr();
  }

 private:
  bool is_taken_ = false;
};

class CanaryRig : public StreamTest {
 protected:
  // Before the client is opened. However slow the machine is, a look comes to
  // its end.
  static void SetUpTestSuite() {
    ::setenv("VRAMPOOL_DEBUG", "1", 1);
    ::setenv(kPatience, kEndless, 1);
  }
  static void TearDownTestSuite() {
    ::unsetenv("VRAMPOOL_DEBUG");
    ::unsetenv(kPatience);
  }
  static constexpr const char* kPatience = "VRAMPOOL_DEBUG_PATIENCE_MS";
  static constexpr const char* kEndless = "60000";

  // Anew, with a quarantine of so many bytes.
  void OpenWith(uint64_t quarantine_bytes) {
    client_.Close();
    vrampool_options options;
    vrampool_options_init(&options);
    options.kind = kind();
    options.slab_bytes = kSlab;
    options.debug_quarantine_bytes = quarantine_bytes;
    Result<Client> opened = Client::Open(&options);
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    client_ = *std::move(opened);
  }
  static std::string Told(const std::function<void()>& act) {
    CapturedStderr captured;
    act();
    return captured.Take();
  }
  std::string ToldByTrim() {
    return Told([&] { EXPECT_TRUE(client_.Trim().ok()); });
  }
  // One word, `offset` bytes behind `p`.
  void WriteAt(const void* p, uint64_t offset, cuda::Stream stream) {
    gpu_.Fill(stream, WordsAt(static_cast<const char*>(p) + offset, 4), kOld);
  }
  void FillAll(void* p, uint64_t bytes, cuda::Stream stream) {
    gpu_.Fill(stream, WordsAt(p, bytes), kNew);
  }
  // A block that was used and given back, and then written to.
  void* TakeAndMisuse(uint64_t bytes, uint64_t offset, cuda::Stream stream) {
    void* const p = Take(bytes, stream);
    FillAll(p, bytes, stream);
    Give(p, bytes, stream);
    WriteAt(p, offset, stream);
    gpu_.Synchronize(stream);
    return p;
  }
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_CUDA_CLIENT_CANARY_RIG_H_
