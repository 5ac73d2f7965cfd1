#include "tests/testing/memory_work.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "tests/testing/pattern.h"

namespace vrampool::testing {
namespace {

// Long enough for others to come in between.
constexpr std::chrono::microseconds kMoment{50};

class HostWork final : public MemoryWork {
 public:
  cudaStream_t stream() const override { return nullptr; }
  void ChangeStream() override {}
  Mark MakeMark() override { return nullptr; }
  void WaitFor(const Mark&) override {}
  void Synchronize() override {}

  void Fill(Piece piece, uint64_t seed) override {
    FillPattern(piece.data, piece.size, seed);
  }
  void FillLate(Piece piece, uint64_t seed) override { Fill(piece, seed); }
  bool HasPattern(Piece piece, uint64_t seed) override {
    return testing::HasPattern(piece.data, piece.size, seed);
  }
  bool MayWrite(Piece piece) override { return testing::MayWrite(piece.data); }
  void CheckLate(Piece piece, uint64_t seed) override {
    if (!HasPattern(piece, seed)) ++wrong_;
  }
  uint64_t CountWrong() override { return wrong_; }

  void Hold() override {}
  void Release() override {}

 private:
  uint64_t wrong_ = 0;
};

// Its pattern is one word, again and again.
class GpuWork final : public MemoryWork {
 public:
  explicit GpuWork(const Gpu& gpu)
      : gpu_(gpu), first_(gpu), second_(gpu), wrong_(gpu), held_(gpu, 256) {}
  ~GpuWork() override {
    gpu_.MakeCurrent();
    Release();
    Synchronize();
  }

  cudaStream_t stream() const override {
    return is_second_ ? second_.get() : first_.get();
  }
  void ChangeStream() override { is_second_ = !is_second_; }
  Mark MakeMark() override {
    gpu_.MakeCurrent();
    auto mark = std::make_shared<TestEvent>(gpu_);
    gpu_.Expect(gpu_.api().EventRecord(mark->get(), stream()), "marking");
    return mark;
  }
  void WaitFor(const Mark& mark) override {
    if (mark == nullptr) return;
    gpu_.MakeCurrent();
    gpu_.Expect(gpu_.api().StreamWaitEvent(stream(), mark->get(), 0),
                "waiting for another stream");
  }
  void Synchronize() override {
    gpu_.MakeCurrent();
    gpu_.Synchronize(first_.get());
    gpu_.Synchronize(second_.get());
  }

  void Fill(Piece piece, uint64_t seed) override {
    if (WordsOf(piece).count == 0) return;
    gpu_.MakeCurrent();
    gpu_.Fill(stream(), WordsOf(piece), ValueOf(seed));
  }
  void FillLate(Piece piece, uint64_t seed) override {
    gpu_.MakeCurrent();
    gpu_.Spin(stream(), kMoment);
    Fill(piece, seed);
  }
  bool MayWrite(Piece piece) override {
    return gpu_.MayWrite(WordsOf(piece).at);
  }
  bool HasPattern(Piece piece, uint64_t seed) override {
    gpu_.MakeCurrent();
    gpu_.Synchronize(stream());
    std::vector<uint32_t> words(WordsOf(piece).count);
    if (words.empty()) return true;
    gpu_.Expect(gpu_.api().MemcpyDtoH(words.data(), WordsOf(piece).at,
                                      words.size() * sizeof(words[0])),
                "reading memory");
    return std::all_of(
        words.begin(), words.end(),
        [wanted = ValueOf(seed)](uint32_t word) { return word == wanted; });
  }
  void CheckLate(Piece piece, uint64_t seed) override {
    if (WordsOf(piece).count == 0) return;
    gpu_.MakeCurrent();
    gpu_.Spin(stream(), kMoment);
    gpu_.AddMismatches(stream(), WordsOf(piece), ValueOf(seed), wrong_.at());
  }
  uint64_t CountWrong() override {
    Synchronize();
    return wrong_.Get();
  }

  void Hold() override {
    gpu_.MakeCurrent();
    flag_ = std::make_unique<HostFlag>(gpu_);
    gpu_.FillUntil(stream(), held_.words(), 1, flag_->at());
  }
  void Release() override {
    gpu_.MakeCurrent();
    flag_.reset();  // Sets it, and waits for the work.
  }

 private:
  static Words WordsOf(Piece piece) {
    return {.at = reinterpret_cast<cuda::DevicePtr>(piece.data),
            .count = piece.size / sizeof(uint32_t)};
  }
  static uint32_t ValueOf(uint64_t seed) {
    return static_cast<uint32_t>(PatternWord(seed, 0));
  }

  const Gpu& gpu_;
  const TestStream first_;
  const TestStream second_;
  bool is_second_ = false;
  const HostSum wrong_;
  const DeviceBuffer held_;
  std::unique_ptr<HostFlag> flag_;
};

}  // namespace

std::unique_ptr<Gpu> GpuOf(const Client& client) {
  const Result<vrampool_info> info = client.Info();
  if (!info.ok() || info->kind == VRAMPOOL_KIND_HOST_FD) return nullptr;
  return std::make_unique<Gpu>();
}

std::unique_ptr<MemoryWork> MemoryWork::Start(const Gpu* gpu) {
  if (gpu == nullptr) return std::make_unique<HostWork>();
  return std::make_unique<GpuWork>(*gpu);
}

}  // namespace vrampool::testing
