// The order of streams between streams of every kind: the legacy default stream
// by both of its names, those of threads, blocking and non-blocking ones.

#include <ostream>
#include <thread>
#include <tuple>

#include "tests/cuda/client_stream_rig.h"

namespace vrampool::testing {
namespace {

enum class Kind { kNull, kLegacy, kPerThread, kBlocking, kNonBlocking };

// A stream of the kind, for the calling thread.
class StreamOf {
 public:
  StreamOf(const Gpu& gpu, Kind kind) : gpu_(gpu) {
    switch (kind) {
      case Kind::kNull:
        return;
      case Kind::kLegacy:
        stream_ = cuda::kLegacyStream;
        return;
      case Kind::kPerThread:
        stream_ = cuda::kPerThreadStream;
        return;
      default:
        is_made_ = true;
        gpu_.Expect(gpu_.test().StreamCreate(
                        &stream_, kind == Kind::kBlocking
                                      ? cuda::kStreamDefault
                                      : cuda::kTestStreamNonBlocking),
                    "making a stream");
    }
  }
  ~StreamOf() {
    if (is_made_) (void)gpu_.test().StreamDestroy(stream_);
  }
  StreamOf(const StreamOf&) = delete;
  StreamOf& operator=(const StreamOf&) = delete;

  cuda::Stream get() const { return stream_; }

 private:
  const Gpu& gpu_;
  cuda::Stream stream_ = nullptr;
  bool is_made_ = false;
};

struct Pair {
  const char* name;
  Kind writer;
  Kind reader;
};
void PrintTo(const Pair& pair, std::ostream* out) { *out << pair.name; }

// Where the driver itself orders the two (the legacy stream and blocking ones),
// the data would be right in any case, and only the address tells.
constexpr Pair kPairs[] = {
    {"NullAndNonBlocking", Kind::kNull, Kind::kNonBlocking},
    {"NonBlockingAndNull", Kind::kNonBlocking, Kind::kNull},
    {"LegacyAndNonBlocking", Kind::kLegacy, Kind::kNonBlocking},
    {"NonBlockingAndLegacy", Kind::kNonBlocking, Kind::kLegacy},
    {"PerThreadAndNonBlocking", Kind::kPerThread, Kind::kNonBlocking},
    {"NonBlockingAndPerThread", Kind::kNonBlocking, Kind::kPerThread},
    {"BlockingAndNonBlocking", Kind::kBlocking, Kind::kNonBlocking},
    {"NonBlockingAndBlocking", Kind::kNonBlocking, Kind::kBlocking},
    {"BlockingAndBlocking", Kind::kBlocking, Kind::kBlocking},
    {"BlockingAndPerThread", Kind::kBlocking, Kind::kPerThread},
    {"NullAndBlocking", Kind::kNull, Kind::kBlocking},
    {"PerThreadAndNull", Kind::kPerThread, Kind::kNull},
};

class StreamKindTest : public StreamTestOf<std::tuple<vrampool_kind, Pair>> {
 protected:
  StreamKindTest() : StreamTestOf(std::get<0>(GetParam())) {}
  const Pair& pair() const { return std::get<1>(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(
    Kinds, StreamKindTest,
    ::testing::Combine(::testing::Values(VRAMPOOL_KIND_CUDA_IPC,
                                         VRAMPOOL_KIND_VMM_FD),
                       ::testing::ValuesIn(kPairs)),
    [](const auto& tested) {
      return KindText(std::get<0>(tested.param)) +
             std::get<1>(tested.param).name;
    });

TEST_P(StreamKindTest, TheReaderDoesNotMeetTheLateWriter) {
  const StreamOf writer(gpu_, pair().writer);
  const StreamOf reader(gpu_, pair().reader);
  Gate gate(gpu_);
  void* const given = Take(kSlab, writer.get());
  gate.HoldBack(writer.get());
  gpu_.Fill(writer.get(), WordsAt(given, kSlab), kOld);
  Give(given, kSlab, writer.get());
  void* const got = Take(kSlab, reader.get());
  EXPECT_NE(got, given);
  EXPECT_EQ(Take(kSlab, writer.get()), given);
  EXPECT_TRUE(testing::IsBusy(gpu_, writer.get()));
  EXPECT_EQ(
      CountLost(gpu_, gate, {writer.get(), reader.get(), WordsAt(got, kSlab)}),
      0u);
  Give(got, kSlab, reader.get());
  Give(given, kSlab, writer.get());
}

class DefaultStreamTest : public StreamTest {};
VRAMPOOL_INSTANTIATE_FOR_KINDS(DefaultStreamTest);

TEST_P(DefaultStreamTest, NullAndLegacyAreOneStream) {
  Gate gate(gpu_);
  void* const given = Take(kMiB, nullptr);
  gate.HoldBack(nullptr);
  gpu_.Fill(nullptr, WordsAt(given, kMiB), kOld);
  Give(given, kMiB, nullptr);
  EXPECT_EQ(Take(kMiB, cuda::kLegacyStream), given);
  gpu_.Fill(cuda::kLegacyStream, WordsAt(given, kMiB), kNew);
  EXPECT_TRUE(testing::IsBusy(gpu_, nullptr));
  gate.Open();
  EXPECT_EQ(gpu_.CountMismatches(nullptr, WordsAt(given, kMiB), kNew), 0u);
  Give(given, kMiB, cuda::kLegacyStream);
}

// One handle, and a stream for each thread: fails with an allocator that tells
// streams apart by their handles.
TEST_P(DefaultStreamTest, EachThreadHasAStreamOfItsOwn) {
  const cuda::Stream own = cuda::kPerThreadStream;
  Gate gate(gpu_);
  void* const given = Take(kSlab, own);
  gate.HoldBack(own);
  gpu_.Fill(own, WordsAt(given, kSlab), kOld);
  Give(given, kSlab, own);
  void* got = nullptr;
  std::thread([&] {
    gpu_.MakeCurrent();
    got = Take(kSlab, own);
    gpu_.Fill(own, WordsAt(got, kSlab), kNew);
    LetRun(gpu_, own);
    Give(got, kSlab, own);
  }).join();
  EXPECT_NE(got, given);
  EXPECT_EQ(Take(kSlab, own), given);
  EXPECT_TRUE(testing::IsBusy(gpu_, own));
  gate.Open();
  gpu_.Expect(gpu_.api().CtxSynchronize(), "waiting for the GPU");
  // Nobody has got it since: what the other thread wrote is still there.
  EXPECT_EQ(gpu_.CountMismatches(own, WordsAt(got, kSlab), kNew), 0u);
  Give(given, kSlab, own);
}

// The stream ends with its thread, and what it freed becomes everyone's.
TEST_P(DefaultStreamTest, AThreadThatHasEndedLeavesItsMemoryToOthers) {
  const TestStream reader(gpu_);
  Gate gate(gpu_);
  void* given = nullptr;
  std::thread([&] {
    gpu_.MakeCurrent();
    const cuda::Stream own = cuda::kPerThreadStream;
    given = Take(kSlab, own);
    gate.HoldBack(own);
    gpu_.Fill(own, WordsAt(given, kSlab), kOld);
    Give(given, kSlab, own);
  }).join();
  void* const got = Take(kSlab, reader.get());
  EXPECT_NE(got, given);
  gpu_.Fill(reader.get(), WordsAt(got, kSlab), kNew);
  LetRun(gpu_, reader.get());
  gate.Open();
  gpu_.Expect(gpu_.api().CtxSynchronize(), "waiting for the GPU");
  EXPECT_EQ(gpu_.CountMismatches(reader.get(), WordsAt(got, kSlab), kNew), 0u);
  EXPECT_EQ(Take(kSlab, reader.get()), given);
  Give(given, kSlab, reader.get());
  Give(got, kSlab, reader.get());
}

}  // namespace
}  // namespace vrampool::testing
