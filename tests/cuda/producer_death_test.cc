// A producer is killed while its kernel writes to an object that it shared in
// the order of its stream: those who wait for the object hear of it, and its
// memory comes back.

#include <filesystem>
#include <future>
#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "tests/cuda/client_stream_rig.h"
#include "tests/testing/child_process.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {
namespace {

using ::testing::StartsWith;

constexpr uint64_t kWaitMs = 60000;

class ProducerDeathTest : public StreamTest {
 protected:
  // One that has shared kSlab as "weights"; its token.
  std::unique_ptr<ChildProcess> StartProducer() {
    const std::string program = std::filesystem::read_symlink("/proc/self/exe")
                                    .replace_filename("cuda_test_producer");
    auto started = ChildProcess::Start(
        {.words = {program, "weights", std::to_string(kSlab)},
         .environment = {"VRAMPOOL_KIND=" + std::string(KindVariable())},
         .has_pipes = true});
    EXPECT_THAT(started, IsOk());
    const absl::StatusOr<std::string> line = (*started)->ReadLine();
    EXPECT_THAT(line, IsOk());
    EXPECT_THAT(line.value_or(""), StartsWith("shared "));
    token_ = line.value_or("").substr(std::string("shared ").size());
    return *std::move(started);
  }
  const char* KindVariable() const {
    return kind() == VRAMPOOL_KIND_CUDA_IPC ? "CUDA_IPC" : "VMM_FD";
  }
  // What opening the token comes to.
  vrampool_status OpenToken(uint64_t wait_ms) {
    return client_.OpenToken(token_.c_str(), wait_ms).status().code();
  }
  // A thread that waits for the name, since before anybody shared it.
  std::future<vrampool_status> BeginWaiting() {
    const uint64_t before = client_.Usage()->rpcs;
    auto waiting = std::async(std::launch::async, [this] {
      gpu_.MakeCurrent();
      return client_.OpenName("weights", kWaitMs).status().code();
    });
    EXPECT_TRUE(Eventually([&] { return client_.Usage()->rpcs > before; }));
    return waiting;
  }

  std::string token_;
};
VRAMPOOL_INSTANTIATE_FOR_KINDS(ProducerDeathTest);

TEST_P(ProducerDeathTest, WhoWaitsForTheContentsHearsThatTheyAreBroken) {
  std::future<vrampool_status> waiting = BeginWaiting();
  const auto producer = StartProducer();
  // The kernel is still at it: the object is there, and not ready.
  EXPECT_EQ(OpenToken(0), VRAMPOOL_TIMEOUT);
  EXPECT_NE(waiting.wait_for(std::chrono::seconds(0)),
            std::future_status::ready);
  producer->Kill();
  EXPECT_EQ(waiting.get(), VRAMPOOL_BROKEN);
}

TEST_P(ProducerDeathTest, SeveralWaitersHearOfItAndTheNameIsFreeAgain) {
  std::future<vrampool_status> first = BeginWaiting();
  std::future<vrampool_status> second = BeginWaiting();
  StartProducer()->Kill();
  EXPECT_EQ(first.get(), VRAMPOOL_BROKEN);
  EXPECT_EQ(second.get(), VRAMPOOL_BROKEN);
  EXPECT_EQ(OpenToken(0), VRAMPOOL_NOT_FOUND);
  const auto next = StartProducer();
  EXPECT_EQ(OpenToken(0), VRAMPOOL_TIMEOUT);
  next->Kill();
}

// The dead kernel's memory is lent again when it can write no more.
TEST_P(ProducerDeathTest, ItsMemoryComesBackAndNothingWritesToIt) {
  const TestStream stream(gpu_);
  const auto producer = StartProducer();
  EXPECT_EQ(client_.Allocate(kQuota, stream.get()), nullptr);
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_OVER_QUOTA);
  producer->Kill();
  void* got = nullptr;
  EXPECT_TRUE(Eventually([&] {
    got = client_.Allocate(kQuota, stream.get());
    return got != nullptr;
  }));
  gpu_.Fill(stream.get(), WordsAt(got, kQuota), kNew);
  gpu_.Spin(stream.get(), std::chrono::milliseconds(50));
  EXPECT_EQ(gpu_.CountMismatches(stream.get(), WordsAt(got, kQuota), kNew), 0u);
  Give(got, kQuota, stream.get());
}

}  // namespace
}  // namespace vrampool::testing
