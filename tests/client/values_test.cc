// Tokens, settings and refusal texts.

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "client/session/environment.h"
#include "client/session/refusal_text.h"
#include "client/session/rpc_module.h"
#include "client/session/struct_prefix.h"
#include "client/session/token.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vrampool::client {
namespace {

using ::testing::HasSubstr;

Token MakeToken() {
  Token token;
  token.epoch = Epoch{0x0102030405060708};
  token.object = MakeObjectId(3, 9);
  token.secret.fill(0xab);
  token.place = BufferPlace{
      .slab = SlabId{11}, .offset_bytes = 256, .size_bytes = ~uint64_t{0}};
  token.has_details = true;
  token.is_sealed = true;
  token.is_promised = true;
  return token;
}

TEST(TokenTest, TextGivesTheTokenBackAndFitsItsBound) {
  const Token token = MakeToken();
  const std::string text = FormatToken(token);
  EXPECT_LT(text.size(), size_t{VRAMPOOL_TOKEN_MAX});
  const auto parsed = ParseToken(" " + text + "\n");
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->epoch, token.epoch);
  EXPECT_EQ(parsed->object, token.object);
  EXPECT_EQ(parsed->secret, token.secret);
  ASSERT_TRUE(parsed->place.has_value());
  EXPECT_EQ(parsed->place->slab, SlabId{11});
  EXPECT_EQ(parsed->place->offset_bytes, 256u);
  EXPECT_EQ(parsed->place->size_bytes, ~uint64_t{0});
  EXPECT_TRUE(parsed->has_details);
  EXPECT_TRUE(parsed->is_sealed);
  EXPECT_TRUE(parsed->is_promised);
}

TEST(TokenTest, TokenWithoutPlaceIsShorterAndStaysWithout) {
  Token token = MakeToken();
  token.place.reset();
  const auto parsed = ParseToken(FormatToken(token));
  ASSERT_TRUE(parsed.has_value());
  EXPECT_FALSE(parsed->place.has_value());
  token.is_sealed = false;
  EXPECT_FALSE(ParseToken(FormatToken(token))->is_sealed);
  EXPECT_FALSE(ParseToken(FormatToken(token))->is_ordered);
  token.is_ordered = true;
  EXPECT_TRUE(ParseToken(FormatToken(token))->is_ordered);
  token.is_promised = false;
  EXPECT_FALSE(ParseToken(FormatToken(token))->is_promised);
}

TensorLayout LayoutOf(uint32_t ndim) {
  TensorLayout layout{.dtype_code = 2,
                      .dtype_bits = 32,
                      .dtype_lanes = 1,
                      .ndim = ndim,
                      .has_strides = 1,
                      .byte_offset = 64};
  for (uint32_t i = 0; i < ndim; ++i) layout.shape[i] = layout.strides[i] = i;
  return layout;
}

TEST(TokenTest, ALayoutGoesAlong) {
  Token token = MakeToken();
  token.layout = LayoutOf(kMaxTokenDimensions);
  const std::string text = FormatToken(token);
  EXPECT_LT(text.size(), size_t{VRAMPOOL_TOKEN_MAX});
  const auto parsed = ParseToken(text);
  ASSERT_TRUE(parsed.has_value() && parsed->layout.has_value());
  EXPECT_EQ(parsed->place->size_bytes, ~uint64_t{0});
  EXPECT_EQ(parsed->layout->ndim, kMaxTokenDimensions);
  EXPECT_EQ(parsed->layout->shape[7], 7);
  EXPECT_EQ(parsed->layout->byte_offset, 64u);
  EXPECT_EQ(FormatToken(*parsed), text);
  token.layout = LayoutOf(kMaxTokenDimensions + 1);  // Too many: no token.
  EXPECT_FALSE(ParseToken(FormatToken(token)).has_value());
  token.layout = LayoutOf(1);
  token.place.reset();  // Of what buffer?
  EXPECT_FALSE(ParseToken(FormatToken(token)).has_value());
}

TEST(TokenTest, OnlyOneSmallLayoutWithNothingElseGoesAlong) {
  const std::vector<TensorLayout> layouts(2, LayoutOf(2));
  Token token = MakeToken();
  SetDetails(layouts.data(), 1, false, token);
  EXPECT_TRUE(token.layout.has_value() && !token.has_details);
  SetDetails(layouts.data(), 1, true, token);  // It has a name, too.
  EXPECT_TRUE(!token.layout.has_value() && token.has_details);
  const TensorLayout large = LayoutOf(kMaxTokenDimensions + 1);
  SetDetails(&large, 1, false, token);
  EXPECT_TRUE(!token.layout.has_value() && token.has_details);
  SetDetails(nullptr, 0, false, token);
  EXPECT_TRUE(!token.layout.has_value() && !token.has_details);
  token.place.reset();  // Several buffers.
  SetDetails(layouts.data(), 2, false, token);
  EXPECT_TRUE(!token.layout.has_value() && token.has_details);
}

TEST(TokenTest, EveryDamagedCharacterIsNoticed) {
  Token token = MakeToken();
  token.layout = LayoutOf(1);
  const std::string text = FormatToken(token);
  for (size_t i = 0; i < text.size(); ++i) {
    std::string damaged = text;
    damaged[i] = damaged[i] == '0' ? '1' : '0';
    EXPECT_FALSE(ParseToken(damaged).has_value()) << i;
  }
  EXPECT_FALSE(ParseToken(text.substr(1)).has_value());
  EXPECT_FALSE(ParseToken(text + "0").has_value());
  EXPECT_FALSE(ParseToken("").has_value());
}

class SettingsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name :
         {"VRAMPOOL_DIR", "VRAMPOOL_DEVICE", "VRAMPOOL_NAME", "VRAMPOOL_TAG",
          "VRAMPOOL_FRAMEWORK", "VRAMPOOL_SLAB_SIZE", "VRAMPOOL_WAIT_MS",
          "VRAMPOOL_IDLE_MS", "VRAMPOOL_RESERVE", "VRAMPOOL_LEASE_AHEAD",
          "VRAMPOOL_DEBUG", "VRAMPOOL_DEBUG_QUARANTINE", "VRAMPOOL_STACKS"}) {
      ::unsetenv(name);
    }
  }
  void TearDown() override { SetUp(); }
};

TEST_F(SettingsTest, DefaultsThenEnvironmentThenOptions) {
  EXPECT_EQ(ResolveSettings(nullptr)->directory, "/run/vrampool");
  EXPECT_EQ(ResolveSettings(nullptr)->slab, Bytes());
  EXPECT_TRUE(ResolveSettings(nullptr)->leases_ahead);
  ::setenv("VRAMPOOL_DIR", "/env", 1);
  ::setenv("VRAMPOOL_SLAB_SIZE", "8MiB", 1);
  ::setenv("VRAMPOOL_WAIT_MS", "250", 1);
  EXPECT_EQ(ResolveSettings(nullptr)->directory, "/env");
  EXPECT_EQ(ResolveSettings(nullptr)->slab, MiB(8));
  EXPECT_FALSE(ResolveSettings(nullptr)->leases_ahead);
  EXPECT_EQ(ResolveSettings(nullptr)->wait_ms, 250u);
  vrampool_options options;
  vrampool_options_init(&options);
  options.directory = "/option";
  options.wait_ms = 0;
  EXPECT_EQ(ResolveSettings(&options)->directory, "/option");
  EXPECT_EQ(ResolveSettings(&options)->wait_ms, 0u);
  EXPECT_EQ(ResolveSettings(&options)->slab, MiB(8));
  ::setenv("VRAMPOOL_RESERVE", "1GiB", 1);
  EXPECT_EQ(ResolveSettings(nullptr)->reserve, GiB(1));
  options.reserve_bytes = 4096;
  options.lease_ahead = 1;
  EXPECT_EQ(ResolveSettings(&options)->reserve, Bytes(4096));
  EXPECT_TRUE(ResolveSettings(&options)->leases_ahead);
}

TEST_F(SettingsTest, TheDebugModeIsChosenByWords) {
  EXPECT_FALSE(ResolveSettings(nullptr)->debug.is_on);
  ::setenv("VRAMPOOL_DEBUG", "0", 1);
  EXPECT_FALSE(ResolveSettings(nullptr)->debug.is_on);
  ::setenv("VRAMPOOL_DEBUG", "1", 1);
  EXPECT_TRUE(ResolveSettings(nullptr)->debug.is_on);
  EXPECT_FALSE(ResolveSettings(nullptr)->debug.aborts);
  EXPECT_EQ(ResolveSettings(nullptr)->debug.quarantine, MiB(64));
  EXPECT_EQ(ResolveSettings(nullptr)->debug.patience_ms, 50u);
  ::setenv("VRAMPOOL_DEBUG", "protect,abort", 1);
  ::setenv("VRAMPOOL_DEBUG_QUARANTINE", "1GiB", 1);
  ::setenv("VRAMPOOL_DEBUG_PATIENCE_MS", "2000", 1);
  EXPECT_TRUE(ResolveSettings(nullptr)->debug.is_on);
  EXPECT_TRUE(ResolveSettings(nullptr)->debug.aborts);
  EXPECT_TRUE(ResolveSettings(nullptr)->debug.protects);
  EXPECT_EQ(ResolveSettings(nullptr)->debug.quarantine, GiB(1));
  EXPECT_EQ(ResolveSettings(nullptr)->debug.patience_ms, 2000u);
  vrampool_options options;
  vrampool_options_init(&options);
  options.debug = "0";
  options.debug_quarantine_bytes = 4096;
  EXPECT_FALSE(ResolveSettings(&options)->debug.is_on);
  EXPECT_EQ(ResolveSettings(&options)->debug.quarantine, Bytes(4096));
  for (const char* const nonsense : {"yes", "1,0", "abort;protect", ",1"}) {
    options.debug = nonsense;
    EXPECT_THAT(ResolveSettings(&options).status().message(),
                ::testing::HasSubstr("VRAMPOOL_DEBUG"))
        << nonsense;
  }
}

TEST_F(SettingsTest, StacksAreOfSomeOfAllOrOfNone) {
  using Mode = StackSettings::Mode;
  EXPECT_EQ(ResolveSettings(nullptr)->stacks,
            (StackSettings{.mode = Mode::kSampled, .log2_interval = 22}));
  ::setenv("VRAMPOOL_STACKS", "all", 1);
  EXPECT_EQ(ResolveSettings(nullptr)->stacks.mode, Mode::kAll);
  ::setenv("VRAMPOOL_STACKS", "off", 1);
  EXPECT_EQ(ResolveSettings(nullptr)->stacks.mode, Mode::kOff);
  vrampool_options options;
  vrampool_options_init(&options);
  options.stacks = "1KiB";
  EXPECT_EQ(ResolveSettings(&options)->stacks,
            (StackSettings{.mode = Mode::kSampled, .log2_interval = 10}));
  options.stacks = "5000";  // The power of two below it.
  EXPECT_EQ(ResolveSettings(&options)->stacks.log2_interval, 12u);
  for (const char* const nonsense : {"yes", "0", "1023", "-1", "1e99", "ALL"}) {
    options.stacks = nonsense;
    EXPECT_THAT(ResolveSettings(&options).status().message(),
                ::testing::HasSubstr("VRAMPOOL_STACKS"))
        << nonsense;
  }
}

// A program that was built against an older header.
TEST_F(SettingsTest, OlderOptionsAreShorter) {
  vrampool_options options;
  vrampool_options_init(&options);
  options.reserve_bytes = 4096;
  options.detect_captures = 1;
  options.struct_size = offsetof(vrampool_options, reserve_bytes);
  ASSERT_TRUE(ResolveSettings(&options).ok());
  EXPECT_EQ(ResolveSettings(&options)->reserve, Bytes());
  EXPECT_TRUE(ResolveSettings(&options)->detects_captures);
  options.struct_size = offsetof(vrampool_options, kind);
  ASSERT_TRUE(ResolveSettings(&options).ok());
  EXPECT_FALSE(ResolveSettings(&options)->detects_captures);
  options.struct_size -= 1;
  EXPECT_FALSE(ResolveSettings(&options).ok());
}

TEST_F(SettingsTest, NonsenseIsRefusedByName) {
  ::setenv("VRAMPOOL_SLAB_SIZE", "many", 1);
  EXPECT_THAT(ResolveSettings(nullptr).status().message(),
              HasSubstr("VRAMPOOL_SLAB_SIZE"));
  ::setenv("VRAMPOOL_SLAB_SIZE", "1MiB", 1);
  ::setenv("VRAMPOOL_WAIT_MS", "5s", 1);
  EXPECT_THAT(ResolveSettings(nullptr).status().message(),
              HasSubstr("VRAMPOOL_WAIT_MS"));
  vrampool_options options{};
  EXPECT_EQ(ResolveSettings(&options).status().code(),
            VRAMPOOL_INVALID_ARGUMENT);
}

// A program that was built against another header.
class StructPrefixTest : public ::testing::TestWithParam<size_t> {
 protected:
  struct Options {
    size_t struct_size;
    int64_t old;
    int64_t newer;
    int64_t newest;
  };
  static constexpr size_t kFirst = offsetof(Options, newer);
  static constexpr Options kDefaults{
      .struct_size = 0, .old = -1, .newer = -2, .newest = -3};
};

TEST_P(StructPrefixTest, InitWritesWhatTheProgramHasAndNoMore) {
  const size_t size = GetParam();
  std::vector<unsigned char> program(size + 64, 0xee);
  auto* const options = reinterpret_cast<Options*>(program.data());
  InitPrefix(options, size, kDefaults);
  EXPECT_EQ(options->struct_size, size);
  EXPECT_EQ(options->old, -1);
  for (size_t i = sizeof(Options); i < size; ++i) EXPECT_EQ(program[i], 0);
  for (size_t i = size; i < program.size(); ++i) EXPECT_EQ(program[i], 0xee);
}

TEST_P(StructPrefixTest, WhatTheProgramDoesNotHaveIsAsByDefault) {
  const size_t size = GetParam();
  std::vector<unsigned char> program(size, 0xee);  // A read beyond is seen.
  auto* const options = reinterpret_cast<Options*>(program.data());
  InitPrefix(options, size, kDefaults);
  options->old = 7;
  Options taken = kDefaults;
  const bool is_taken = TakePrefix(*options, kFirst, taken);
  EXPECT_EQ(is_taken, size <= sizeof(Options));
  if (is_taken) {
    EXPECT_EQ(taken.old, 7);
    EXPECT_EQ(taken.newer, -2);
    EXPECT_EQ(taken.newest, -3);
    EXPECT_EQ(taken.struct_size, sizeof(Options));
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, StructPrefixTest,
                         ::testing::Values(16, 24, 32, 40, 64));

TEST(StructSizeTest, OnlySizesOfVersionsAreTaken) {
  vrampool_options options;
  vrampool_options_init(&options);
  for (const size_t size :
       {size_t{0}, size_t{1}, offsetof(vrampool_options, kind) - 8,
        sizeof(options) - 1, sizeof(options) + 8, ~size_t{0}}) {
    options.struct_size = size;
    EXPECT_EQ(ResolveSettings(&options).status().code(),
              VRAMPOOL_INVALID_ARGUMENT)
        << size;
  }
  for (const size_t size :
       {offsetof(vrampool_options, kind), sizeof(options)}) {
    options.struct_size = size;
    EXPECT_TRUE(ResolveSettings(&options).ok()) << size;
  }
}

TEST(StructSizeTest, AnOlderProgramsStructsAreNotWrittenBeyond) {
  const auto is_whole = [](const auto& init, size_t size) {
    std::vector<unsigned char> program(size + 64, 0xee);
    init(program.data(), size);
    return std::count(program.begin() + static_cast<ptrdiff_t>(size),
                      program.end(), 0xee) == 64;
  };
  EXPECT_TRUE(is_whole(
      [](void* at, size_t size) {
        vrampool_options_init_sized(static_cast<vrampool_options*>(at), size);
      },
      offsetof(vrampool_options, kind)));
  EXPECT_TRUE(is_whole(
      [](void* at, size_t size) {
        vrampool_share_options_init_sized(
            static_cast<vrampool_share_options*>(at), size);
      },
      offsetof(vrampool_share_options, metadata)));
}

TEST(RefusalTextTest, QuotaRefusalHasTheNumbersAndSaysWhatToDo) {
  CallOutcome outcome;
  outcome.code = CallCode::kResourceExhausted;
  outcome.reason = CallReason::kQuotaExceeded;
  outcome.asked_bytes = uint64_t{512} << 20;
  outcome.used_bytes = uint64_t{4} << 30;
  outcome.limit_bytes = uint64_t{4} << 30;
  std::strcpy(outcome.subject, "root/team-a");
  std::strcpy(outcome.largest_holder, "session 7 (pid 12) with 2.0 GiB");
  const Status status = StatusOf(outcome, "other");
  EXPECT_EQ(status.code(), VRAMPOOL_OVER_QUOTA);
  EXPECT_THAT(status.message(),
              HasSubstr("tenant root/team-a is at 4.0 GiB of 4.0 GiB, "
                        "largest holder session 7 (pid 12) with 2.0 GiB; asked "
                        "512.0 MiB; free memory"));
}

TEST(RefusalTextTest, ARefusalByARateIsTheDaemonsSentence) {
  CallOutcome outcome;
  outcome.code = CallCode::kResourceExhausted;
  outcome.reason = CallReason::kRateLimited;
  EXPECT_EQ(StatusOf(outcome, "").code(), VRAMPOOL_RATE_LIMITED);
  std::strcpy(outcome.message, "tenant root/a may have 5 calls per second");
  EXPECT_EQ(StatusOf(outcome, "").message(),
            "tenant root/a may have 5 calls per second");
}

TEST(RefusalTextTest, DaemonAwayIsUnavailableAndBrokenIsBroken) {
  CallOutcome outcome;
  outcome.code = CallCode::kUnavailable;
  EXPECT_EQ(StatusOf(outcome, "").code(), VRAMPOOL_UNAVAILABLE);
  outcome.code = CallCode::kAborted;
  outcome.reason = CallReason::kObjectBroken;
  EXPECT_EQ(StatusOf(outcome, "").code(), VRAMPOOL_BROKEN);
  EXPECT_TRUE(StatusOf(CallOutcome(), "").ok());
}

TEST(RpcModuleTest, ModuleOfAnotherBuildIsAVersionMismatch) {
  const RpcModule good{kRpcModuleAbi, VRAMPOOL_VERSION, nullptr};
  const RpcModule other_abi{kRpcModuleAbi + 1, VRAMPOOL_VERSION, nullptr};
  const RpcModule other_version{kRpcModuleAbi, "99.0", nullptr};
  EXPECT_TRUE(CheckRpcModule(&good, "m").ok());
  EXPECT_EQ(CheckRpcModule(&other_abi, "m").code(), VRAMPOOL_VERSION_MISMATCH);
  EXPECT_THAT(CheckRpcModule(&other_version, "m").message(), HasSubstr("99.0"));
  EXPECT_EQ(CheckRpcModule(nullptr, "m").code(), VRAMPOOL_VERSION_MISMATCH);
}

}  // namespace
}  // namespace vrampool::client
