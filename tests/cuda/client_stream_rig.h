// client_stream_rig.h - what the tests of the client's order of streams share:
// a real daemon on the GPU, a client of it, work that a test holds back, and
// the race that a client has to prevent.
//
// Only the library's public interface is used. The programs run on the fake
// driver and on a real GPU.
//
// A reader *sees* a violation in the data: the late writer writes kOld to what
// it has given up, when the gate opens; the reader has written kNew to what it
// got, before. If that was the same memory, the reader finds kOld. That it does
// find it is shown by the tests called Control: they let the same race run over
// memory that nobody keeps apart.

#ifndef VRAMPOOL_TESTS_CUDA_CLIENT_STREAM_RIG_H_
#define VRAMPOOL_TESTS_CUDA_CLIENT_STREAM_RIG_H_

#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "base/mutex.h"
#include "gtest/gtest.h"
#include "tests/cuda/gpu.h"
#include "vrampool/vrampool.hpp"

namespace vrampool::testing {

inline constexpr uint32_t kOld = 0x01d01d01;
inline constexpr uint32_t kNew = 0x2e32e32e;
inline constexpr uint64_t kMiB = uint64_t{1} << 20;

// A tenant's limit, and the slabs that are leased unless a block needs more.
inline constexpr uint64_t kQuota = 16 * kMiB;
inline constexpr uint64_t kSlab = 4 * kMiB;

// Asks again and again until `is_true`; false after a minute.
bool Eventually(const std::function<bool()>& is_true);

// Holds work of streams back until it is opened. By itself it opens after a
// minute: what waits for work behind it then fails, and does not hang.
//
// Threads: thread-safe.
class Gate {
 public:
  explicit Gate(const Gpu& gpu);
  ~Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  // What is enqueued on the stream from now on.
  void HoldBack(cuda::Stream stream);
  void Open();

 private:
  void OpenInTime();

  const Gpu& gpu_;
  HostFlag flag_;
  DeviceBuffer scratch_;
  Mutex mu_;
  CondVar changed_;
  bool is_open_ VRAMPOOL_GUARDED_BY(mu_) = false;
  std::thread watch_;
};

bool IsBusy(const Gpu& gpu, cuda::Stream stream);

// Gives the work of the stream time to run, if nothing holds it back.
void LetRun(const Gpu& gpu, cuda::Stream stream);

// The race: writes kNew to `mine` on `reader`, opens the gate that holds
// `writer` back, and gives the number of words that are kNew no longer when the
// writer is done.
struct Race {
  cuda::Stream writer;
  cuda::Stream reader;
  Words mine;
};
uint64_t CountLost(const Gpu& gpu, Gate& gate, const Race& race);

// A client with its own session, of one kind; nothing may be left of it when it
// has closed.
class ClientRig {
 protected:
  explicit ClientRig(vrampool_kind kind);
  ~ClientRig();

  // `idle_ms`: after how long an idle slab goes back.
  Client Open(int64_t idle_ms = 1000) const;
  vrampool_kind kind() const { return kind_; }

  // Fails the test where there is no memory.
  void* Take(uint64_t bytes, cuda::Stream stream);
  void Give(void* p, uint64_t bytes, cuda::Stream stream);
  bool IsBusy(const TestStream& stream) const {
    return testing::IsBusy(gpu_, stream.get());
  }
  uint64_t leased_bytes() const { return client_.Usage()->leased_bytes; }

  const vrampool_kind kind_;
  Gpu gpu_;
  Client client_;
};

// The same for a suite whose parameter is the kind, or has it.
template <typename Parameter>
class StreamTestOf : public ::testing::TestWithParam<Parameter>,
                     protected ClientRig {
 protected:
  using ClientRig::ClientRig;
};
class StreamTest : public StreamTestOf<vrampool_kind> {
 protected:
  StreamTest() : StreamTestOf(GetParam()) {}
};

std::string KindText(vrampool_kind kind);  // "CudaIpc"

#define VRAMPOOL_INSTANTIATE_FOR_KINDS(suite)                          \
  INSTANTIATE_TEST_SUITE_P(                                            \
      Kinds, suite,                                                    \
      ::testing::Values(VRAMPOOL_KIND_CUDA_IPC, VRAMPOOL_KIND_VMM_FD), \
      [](const auto& tested) {                                         \
        return ::vrampool::testing::KindText(tested.param);            \
      })

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_CUDA_CLIENT_STREAM_RIG_H_
