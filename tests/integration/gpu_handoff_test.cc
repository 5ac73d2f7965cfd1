// Two processes pass an object on in the order of the GPU (the fake driver's,
// unless the environment has another), through the real daemon.

#include <csignal>
#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/child_process.h"
#include "tests/testing/daemon_process.h"
#include "tests/testing/matchers.h"
#include "vrampool/vrampool.h"

namespace vrampool::testing {
namespace {

namespace fs = std::filesystem;

class GpuHandoffTest : public ::testing::TestWithParam<const char*> {
 protected:
  using Child = std::unique_ptr<ChildProcess>;

  GpuHandoffTest() {
    gpus_ = (fs::temp_directory_path() / "gpu-handoff-XXXXXX").string();
    EXPECT_NE(::mkdtemp(gpus_.data()), nullptr);
    DaemonProcess::Options options;
    options.device = "cuda";
    options.pool_size = "64MiB";
    options.config = std::string("kinds: \"") + GetParam() + "\"\n";
    options.environment = {"VRAMPOOL_FAKE_CUDA_DIR=" + gpus_,
                           // No NVML of the machine beside a GPU of the fake.
                           "VRAMPOOL_NVML_LIBRARY=/nonexistent"};
    auto daemon = DaemonProcess::Start(options);
    EXPECT_THAT(daemon, IsOk());
    daemon_ = *std::move(daemon);
  }
  ~GpuHandoffTest() override { fs::remove_all(gpus_); }

  Child Start(const std::string& role) {
    auto child = ChildProcess::Start(
        {.words = {VRAMPOOL_HANDOFF_PATH, role, "1048576"},
         .environment = {"VRAMPOOL_FAKE_CUDA_DIR=" + gpus_,
                         "VRAMPOOL_DIR=" + daemon_->directory(),
                         "VRAMPOOL_SLAB_SIZE=2MiB"},
         .has_pipes = true});
    EXPECT_THAT(child, IsOk());
    return *std::move(child);
  }
  static std::string Hear(const Child& child) {
    return child->ReadLine().value_or("nothing");
  }
  static void Tell(const Child& child, const std::string& line) {
    EXPECT_THAT(child->WriteLine(line), IsOk());
  }
  // The consumer's stream waits for the producer's object.
  void Begin() {
    consumer_ = Start("consume");
    ASSERT_EQ(Hear(consumer_), "ready");
    producer_ = Start("produce");
    Tell(consumer_, Hear(producer_));
    ASSERT_EQ(Hear(consumer_), "waiting");
  }
  // What the consumer found when its stream went on.
  std::string Look() {
    Tell(consumer_, "look");
    return Hear(consumer_);
  }
  static std::string Seen(uint64_t mismatches, vrampool_status status) {
    return "{\"mismatches\": " + std::to_string(mismatches) +
           ", \"status\": " + std::to_string(status) + "}";
  }
  static void End(const Child& child) {
    child->CloseInput();
    const auto status = child->AwaitEnd();
    ASSERT_THAT(status, IsOk());
    EXPECT_EQ(*status, 0);
  }

  std::string gpus_;
  std::unique_ptr<DaemonProcess> daemon_;
  Child consumer_;
  Child producer_;
};

TEST_P(GpuHandoffTest, TheStreamGoesOnWhenTheContentsAreComplete) {
  Begin();
  Tell(consumer_, "look");
  Tell(producer_, "finish");
  EXPECT_EQ(Hear(consumer_), Seen(0, VRAMPOOL_OK));
  EXPECT_EQ(Hear(producer_), "finished");
  End(consumer_);
  End(producer_);
  EXPECT_THAT(daemon_->AwaitWhole(), IsOk());
}

TEST_P(GpuHandoffTest, TheStreamGoesOnWhenTheProducerIsKilled) {
  Begin();
  producer_->Kill();
  EXPECT_EQ(Look(), Seen(262144, VRAMPOOL_BROKEN));
  End(consumer_);
  EXPECT_THAT(daemon_->AwaitWhole(), IsOk());
}

TEST_P(GpuHandoffTest, TheStreamGoesOnWhenTheDaemonIsKilled) {
  Begin();
  daemon_->Kill();
  EXPECT_EQ(Look(), Seen(262144, VRAMPOOL_UNAVAILABLE));
  End(consumer_);
}

TEST_P(GpuHandoffTest, AProcessCanLeaveWhileItsStreamWaits) {
  Begin();
  Tell(consumer_, "leave");
  End(consumer_);
  Tell(producer_, "finish");
  EXPECT_EQ(Hear(producer_), "finished");
  End(producer_);
  EXPECT_THAT(daemon_->AwaitWhole(), IsOk());
}

TEST_P(GpuHandoffTest, AConsumerThatIsKilledHarmsNobody) {
  Begin();
  consumer_->Kill();
  Tell(producer_, "finish");
  EXPECT_EQ(Hear(producer_), "finished");
  End(producer_);
  EXPECT_THAT(daemon_->AwaitWhole(), IsOk());
}

INSTANTIATE_TEST_SUITE_P(Kinds, GpuHandoffTest,
                         ::testing::Values("CUDA_IPC", "VMM_FD"),
                         [](const auto& kind) { return kind.param; });

}  // namespace
}  // namespace vrampool::testing
