// Stacks of allocations through a whole client, quickly and slowly.

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "client/allocator/client.h"
#include "client/allocator/handles.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_daemon.h"
#include "tests/client/fake_streams.h"
#include "vrampool/vrampool.h"

namespace vrampool::client {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

class ClientStackTest : public ::testing::Test {
 protected:
  ~ClientStackTest() override { vrampool_client_close(handle_); }

  void Open(const char* stacks, const char* debug = "0") {
    vrampool_options options;
    vrampool_options_init(&options);
    const Settings settings = daemon_.MakeSettings();
    options.directory = settings.directory.c_str();
    options.device = settings.device.c_str();
    options.stacks = stacks;
    options.debug = debug;
    const auto opened = OpenClient(&options, daemon_.Channels());
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    handle_ = *opened;
  }
  shm::BlockRecord& Record(uint64_t i) {
    return daemon_.InManifest<shm::BlockRecord>(
        daemon_.manifest()->records_offset)[i];
  }
  std::vector<uint64_t> Words(uint64_t site) {
    const auto& stack = daemon_.InManifest<shm::Stack>(
        daemon_.manifest()->stacks_offset)[shm::StackOf(site)];
    EXPECT_EQ(stack.is_set.load(), 1u);
    return {stack.frames, stack.frames + shm::kStackFrames};
  }
  int Live() {
    int live = 0;
    for (const shm::BlockState state : daemon_.RecordStates()) {
      live += state != shm::BlockState::kFree;
    }
    return live;
  }
  std::string FrameText(uint64_t word) {
    EXPECT_NE(word & shm::kFrameMark, 0u);
    return daemon_
        .InManifest<shm::FrameText>(
            daemon_.manifest()->frames_offset)[word & ~shm::kFrameMark]
        .text;
  }

  TemporaryDirectory directory_;
  FakeDaemon daemon_{directory_.path()};
  vrampool_client* handle_ = nullptr;
};

TEST_F(ClientStackTest, WithAllEachRecordNamesAStack) {
  Open("all");
  // The first goes slowly, the others could be served by the cache.
  for (int i = 0; i < 5; ++i) {
    void* const p = vrampool_client_allocate(handle_, 4096, nullptr);
    ASSERT_NE(p, nullptr);
    const uint64_t site = Record(0).call_site;
    ASSERT_TRUE(shm::IsStack(site)) << i;
    EXPECT_EQ(shm::Log2IntervalOf(site), 0u);
    EXPECT_EQ(shm::StackOf(site), 0u) << "written once";
    EXPECT_GT(Words(site).at(1), 0u);
    vrampool_client_deallocate(handle_, p, 4096, nullptr);
  }
}

TEST_F(ClientStackTest, OffIsAnAddressAlone) {
  Open("off");
  for (int i = 0; i < 5; ++i) {
    void* const p = vrampool_client_allocate(handle_, kMiB, nullptr);
    EXPECT_GT(Record(0).call_site, 0u);
    EXPECT_FALSE(shm::IsStack(Record(0).call_site));
    vrampool_client_deallocate(handle_, p, kMiB, nullptr);
  }
}

TEST_F(ClientStackTest, SampledChoosesSomeAndSaysHow) {
  Open("64KiB");
  int chosen = 0;
  for (int i = 0; i < 20'000; ++i) {
    void* const p = vrampool_client_allocate(handle_, 4096, nullptr);
    ASSERT_NE(p, nullptr);
    const uint64_t site = Record(0).call_site;
    if (shm::IsStack(site)) {
      ++chosen;
      EXPECT_GE(shm::Log2IntervalOf(site), 16u);
    }
    vrampool_client_deallocate(handle_, p, 4096, nullptr);
  }
  // 1250 points if none came too often, and some seventy if time stood still.
  EXPECT_GE(chosen, 60);
  EXPECT_LT(chosen, 2500);
}

TEST_F(ClientStackTest, TheSampledGetWhatTheThreadFreedLast) {
  Open("all");
  void* const first = vrampool_client_allocate(handle_, 4096, nullptr);
  vrampool_client_deallocate(handle_, first, 4096, nullptr);
  void* const second = vrampool_client_allocate(handle_, 4096, nullptr);
  EXPECT_EQ(second, first);
  vrampool_usage usage{};
  usage.struct_size = sizeof(usage);
  EXPECT_EQ(vrampool_client_usage(handle_, &usage), VRAMPOOL_OK);
  EXPECT_EQ(usage.live_bytes, 4096u);
  EXPECT_EQ(usage.cached_bytes, 0u);
  vrampool_client_deallocate(handle_, second, 4096, nullptr);
}

constexpr char kTwoLines[] = "train.py:12 (step)\n\ntrain.py:90 (<module>)";

TEST_F(ClientStackTest, ACallerTellsItsOwnFramesWhenAsked) {
  Open("all");
  struct Way {
    size_t alignment;
    int dedicated;
  };
  for (const Way way : {Way{256, 0}, Way{256, 0}, Way{1024, 0}, Way{7, 1}}) {
    const auto allocate = [&](const char* frames) {
      return vrampool_client_allocate_from(handle_, kMiB, way.alignment,
                                           way.dedicated, nullptr, frames);
    };
    EXPECT_EQ(allocate(""), VRAMPOOL_WANTS_FRAMES);
    EXPECT_EQ(vrampool_last_status(), VRAMPOOL_OK);
    EXPECT_EQ(Live(), 0);
    void* const p = allocate(kTwoLines);
    ASSERT_NE(p, nullptr) << vrampool_last_error_message();
    ASSERT_NE(p, VRAMPOOL_WANTS_FRAMES);
    const std::vector<uint64_t> words = Words(Record(0).call_site);
    EXPECT_NE(words.at(0), 0u);
    EXPECT_EQ(FrameText(words.at(1)), "train.py:12 (step)");
    EXPECT_EQ(FrameText(words.at(2)), "train.py:90 (<module>)");
    EXPECT_EQ(words.at(3), 0u);
    vrampool_client_deallocate(handle_, p, kMiB, nullptr);
  }
}

TEST_F(ClientStackTest, WhatWasChosenIsRecordedAsItWasChosen) {
  Open("1KiB");
  void* p = nullptr;
  int asked = 0;
  for (int i = 0; i < 1000; ++i) {
    p = vrampool_client_allocate_from(handle_, 4096, 256, 0, nullptr, "");
    if (p == VRAMPOOL_WANTS_FRAMES) {
      ++asked;
      p = vrampool_client_allocate_from(handle_, 4096, 256, 0, nullptr,
                                        kTwoLines);
      ASSERT_TRUE(shm::IsStack(Record(0).call_site));
      EXPECT_GE(shm::Log2IntervalOf(Record(0).call_site), 10u);
    } else {
      EXPECT_FALSE(shm::IsStack(Record(0).call_site));
    }
    ASSERT_NE(p, nullptr);
    vrampool_client_deallocate(handle_, p, 4096, nullptr);
  }
  EXPECT_GT(asked, 0);
}

TEST_F(ClientStackTest, WhoDoesNotComeBackWithFramesChangesNothing) {
  Open("all");
  EXPECT_EQ(vrampool_client_allocate_from(handle_, 4096, 256, 0, nullptr, ""),
            VRAMPOOL_WANTS_FRAMES);
  void* const p = vrampool_client_allocate(handle_, 512, nullptr);
  EXPECT_EQ(Words(Record(0).call_site).at(1) & shm::kFrameMark, 0u);
  vrampool_client_deallocate(handle_, p, 512, nullptr);
  EXPECT_EQ(Live(), 0);
}

TEST_F(ClientStackTest, FramesThatNobodyAskedForAreTakenIfItIsChosen) {
  Open("all");
  void* const p =
      vrampool_client_allocate_from(handle_, 512, 256, 0, nullptr, kTwoLines);
  EXPECT_EQ(FrameText(Words(Record(0).call_site).at(1)), "train.py:12 (step)");
  vrampool_client_deallocate(handle_, p, 512, nullptr);
}

TEST_F(ClientStackTest, WithoutWordsItIsTheStackOfTheMachine) {
  Open("all");
  void* const p =
      vrampool_client_allocate_from(handle_, 512, 256, 0, nullptr, nullptr);
  const std::vector<uint64_t> words = Words(Record(0).call_site);
  EXPECT_NE(words.at(1), 0u);
  EXPECT_EQ(words.at(1) & shm::kFrameMark, 0u);
  vrampool_client_deallocate(handle_, p, 512, nullptr);
}

TEST_F(ClientStackTest, NoAlignmentOfTheOtherFunctionsIsTaken) {
  Open("off");
  for (const size_t alignment : {0u, 3u, 255u, 257u}) {
    EXPECT_EQ(vrampool_client_allocate_from(handle_, 512, alignment, 0, nullptr,
                                            nullptr),
              nullptr);
    EXPECT_EQ(vrampool_last_status(), VRAMPOOL_INVALID_ARGUMENT);
  }
  EXPECT_EQ(
      vrampool_client_allocate_from(nullptr, 512, 256, 0, nullptr, nullptr),
      nullptr);
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_INVALID_ARGUMENT);
}

TEST_F(ClientStackTest, TheDebugModeKnowsTheCallSiteAllTheSame) {
  Open("all", "1");
  void* const p = vrampool_client_allocate(handle_, 4096, nullptr);
  ASSERT_NE(p, nullptr);
  EXPECT_TRUE(shm::IsStack(Record(0).call_site));
  ::testing::internal::CaptureStderr();
  vrampool_client_deallocate(handle_, p, 4095, nullptr);
  const std::string told = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(told, ::testing::HasSubstr("allocated at"));
  EXPECT_THAT(told, ::testing::Not(::testing::HasSubstr("0x8000000")));
  vrampool_client_deallocate(handle_, p, 4096, nullptr);
}

TEST_F(ClientStackTest, AFailedAllocationLeavesNoRecord) {
  Open("all");
  daemon_.Change([](FakeDaemon::Ledger& ledger) { ledger.limit_bytes = 0; });
  EXPECT_EQ(vrampool_client_allocate(handle_, 4096, nullptr), nullptr);
  EXPECT_EQ(Live(), 0);
}

}  // namespace
}  // namespace vrampool::client
