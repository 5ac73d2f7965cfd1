#include "daemon/attach/packet.h"

#include <chrono>
#include <cstring>
#include <string>
#include <variant>

#include "base/tensor_layout.h"
#include "daemon/attach/packet_meter.h"
#include "daemon/core/clean_text.h"
#include "gtest/gtest.h"
#include "tests/daemon/attach/attach_client.h"

namespace vrampool {
namespace {

using ::vrampool::testing::HelloBytes;
using ::vrampool::testing::HoldReleasedBytes;
using ::vrampool::testing::RawBytes;
using ::vrampool::testing::ReadyBytes;
using ::vrampool::testing::SharedBytes;

constexpr char kMark[] = "\xEF\xBF\xBD";

template <typename T>
bool Is(const ClientPacket& packet) {
  return std::holds_alternative<T>(packet);
}

TEST(PacketTest, AHelloGivesItsLabels) {
  const ClientPacket packet = ParseClientPacket(HelloBytes());
  ASSERT_TRUE(Is<HelloPacket>(packet));
  const auto& hello = std::get<HelloPacket>(packet);
  EXPECT_EQ(hello.labels.name, "trainer");
  EXPECT_EQ(hello.labels.tag, "run-7");
  EXPECT_EQ(hello.labels.framework, "numpy");
  EXPECT_EQ(hello.library_version, "0.1.0");
}

TEST(PacketTest, TextFieldsNeedNoTerminatorAndAreCleaned) {
  std::string bytes = HelloBytes();
  std::memset(bytes.data() + sizeof(attach::MessageHeader), '\xff', 64);
  const auto hello = std::get<HelloPacket>(ParseClientPacket(bytes));
  EXPECT_LE(hello.labels.name.size(), 64u);
  EXPECT_EQ(hello.labels.name.substr(0, 3), kMark);
  EXPECT_EQ(hello.labels.tag, "run-7");
}

TEST(PacketTest, AReleasedHoldGivesItsObject) {
  const ClientPacket packet = ParseClientPacket(HoldReleasedBytes(0x1234));
  ASSERT_TRUE(Is<HoldReleasedPacket>(packet));
  EXPECT_EQ(std::get<HoldReleasedPacket>(packet).object, ObjectId{0x1234});
}

TEST(PacketTest, AClosedGivesItsObject) {
  const ClientPacket packet =
      ParseClientPacket(::vrampool::testing::ClosedBytes(0x1234));
  ASSERT_TRUE(Is<ClosedPacket>(packet));
  EXPECT_EQ(std::get<ClosedPacket>(packet).object, ObjectId{0x1234});
}

TEST(PacketTest, AReadyGivesItsObjectAndWhatBecameOfIt) {
  using attach::ReadyCode;
  const ClientPacket good =
      ParseClientPacket(ReadyBytes(0x1234, ReadyCode::kComplete));
  ASSERT_TRUE(Is<ReadyPacket>(good));
  EXPECT_EQ(std::get<ReadyPacket>(good).object, ObjectId{0x1234});
  EXPECT_EQ(std::get<ReadyPacket>(good).outcome, ReadyOutcome::kComplete);
  const ClientPacket failed =
      ParseClientPacket(ReadyBytes(1, ReadyCode::kFailed));
  EXPECT_EQ(std::get<ReadyPacket>(failed).outcome, ReadyOutcome::kFailed);
  for (const uint32_t code : {0u, 3u, 0xffffffffu}) {
    EXPECT_TRUE(
        Is<BadPacket>(ParseClientPacket(ReadyBytes(1, ReadyCode{code}))));
  }
}

TEST(PacketTest, ASharedGivesItsObjectPlaceAndFlags) {
  const ClientPacket packet = ParseClientPacket(
      SharedBytes({.object_id = 0x1234,
                   .slab_id = 5,
                   .offset_bytes = UINT64_MAX,
                   .size_bytes = 7,
                   .flags = attach::kSharedPending | attach::kSharedSealed,
                   .layout_bytes = 0}));
  ASSERT_TRUE(Is<SharedPacket>(packet));
  const PromisedShare& share = std::get<SharedPacket>(packet).share;
  EXPECT_EQ(share.object, ObjectId{0x1234});
  EXPECT_EQ(
      share.buffer,
      (BufferRef{.slab = SlabId{5}, .offset = UINT64_MAX, .size = Bytes(7)}));
  EXPECT_TRUE(share.is_pending && share.is_sealed);
  for (const uint32_t flags : {4u, 8u, 0x80000000u, ~0u}) {
    EXPECT_TRUE(Is<BadPacket>(ParseClientPacket(SharedBytes(1, flags))));
  }
}

// Float32, 5 by 5.
std::string LayoutBytes() {
  TensorLayout layout{.dtype_code = 2, .dtype_bits = 32, .ndim = 2};
  layout.shape[0] = layout.shape[1] = 5;
  std::string bytes;
  AppendLayout(layout, bytes);
  return bytes;
}

ClientPacket SharedWith(const std::string& layout, uint64_t buffer_size,
                        int64_t more_bytes = 0) {
  return ParseClientPacket(
      SharedBytes({.object_id = 2,
                   .slab_id = 5,
                   .offset_bytes = 0,
                   .size_bytes = buffer_size,
                   .flags = 0,
                   .layout_bytes = static_cast<uint32_t>(
                       static_cast<int64_t>(layout.size()) + more_bytes)}) +
      layout);
}

TEST(PacketTest, ASharedGivesItsLayout) {
  const ClientPacket packet = SharedWith(LayoutBytes(), 100);
  ASSERT_TRUE(Is<SharedPacket>(packet));
  EXPECT_EQ(std::get<SharedPacket>(packet).share.layout, LayoutBytes());
}

TEST(PacketTest, ALayoutThatIsNoneOfItsBufferIsBad) {
  const std::string good = LayoutBytes();
  EXPECT_TRUE(Is<BadPacket>(SharedWith(good, 99)));
  EXPECT_TRUE(Is<BadPacket>(SharedWith(good + good, 100)));
  EXPECT_TRUE(Is<BadPacket>(SharedWith(good + "x", 100)));
  EXPECT_TRUE(Is<BadPacket>(SharedWith(good, 100, 1)));
  EXPECT_TRUE(Is<BadPacket>(SharedWith(good, 100, -1)));
  EXPECT_TRUE(Is<BadPacket>(SharedWith("x", 100)));
  for (size_t size = 1; size < good.size(); ++size) {
    EXPECT_TRUE(Is<BadPacket>(SharedWith(good.substr(0, size), 100))) << size;
  }
}

TEST(PacketTest, EveryPrefixOfAPacketIsBad) {
  const std::string hello = HelloBytes();
  size_t good = 0;
  for (size_t length = 0; length < hello.size(); ++length) {
    good += Is<BadPacket>(ParseClientPacket(hello.substr(0, length))) ? 0 : 1;
  }
  EXPECT_EQ(good, 0u);
}

TEST(PacketTest, TheVersionCountsBeforeTypeAndSize) {
  const ClientPacket packet =
      ParseClientPacket(RawBytes({attach::kMagic, 500, 999}, 1));
  ASSERT_TRUE(Is<OtherVersionPacket>(packet));
  EXPECT_EQ(std::get<OtherVersionPacket>(packet).version, 500);
}

TEST(PacketTest, TextsForClientsAreCutAndTerminated) {
  const auto refused =
      MakeRefused(attach::RefusedCode::kPolicy, std::string(1000, 'x'));
  EXPECT_EQ(std::string(refused.body.text).size(), 255u);
  const auto farewell = MakeFarewell(attach::FarewellCode::kCondemned, "a\nb");
  EXPECT_EQ(std::string(farewell.body.text), std::string("a") + kMark + "b");
}

TEST(CleanTextTest, GoodTextStaysAsItIs) {
  EXPECT_EQ(CleanText("", 10), "");
  EXPECT_EQ(CleanText("plain ~!", 100), "plain ~!");
  EXPECT_EQ(CleanText("Grüße, 世界 🚀", 100), "Grüße, 世界 🚀");
}

TEST(CleanTextTest, EachBadByteBecomesAMark) {
  const std::string mark = kMark;
  EXPECT_EQ(CleanText("a\nb\x7f", 100), "a" + mark + "b" + mark);
  EXPECT_EQ(CleanText("\x80", 100), mark);             // Stray.
  EXPECT_EQ(CleanText("\xc3", 100), mark);             // Cut off.
  EXPECT_EQ(CleanText("\xc0\xaf", 100), mark + mark);  // Overlong.
  EXPECT_EQ(CleanText("\xe0\x80\xaf", 100), mark + mark + mark);
  EXPECT_EQ(CleanText("\xed\xa0\x80", 100), mark + mark + mark);  // Surrogate.
  EXPECT_EQ(CleanText("\xf4\x90\x80\x80", 100), mark + mark + mark + mark);
  EXPECT_EQ(CleanText("\xc2\x9b", 100), mark + mark);  // A control (CSI).
}

TEST(CleanTextTest, TheCutFallsBetweenCharacters) {
  EXPECT_EQ(CleanText("世界", 5), "世");
  EXPECT_EQ(CleanText("世界", 6), "世界");
  EXPECT_EQ(CleanText("\xff", 2), "");
}

TEST(PacketMeterTest, ABurstPassesThenTheRateCounts) {
  using std::chrono::milliseconds;
  const PacketMeter::Time start{};
  PacketMeter meter({.burst = 2, .per_second = 10}, start);
  EXPECT_TRUE(meter.Count(start));
  EXPECT_TRUE(meter.Count(start));
  EXPECT_FALSE(meter.Count(start));
  EXPECT_TRUE(meter.Count(start + milliseconds(100)));
  EXPECT_FALSE(meter.Count(start + milliseconds(150)));
  EXPECT_TRUE(meter.Count(start + std::chrono::hours(1)));
  EXPECT_TRUE(meter.Count(start + std::chrono::hours(1)));
  EXPECT_FALSE(meter.Count(start + std::chrono::hours(1)));
}

}  // namespace
}  // namespace vrampool
