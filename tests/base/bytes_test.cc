#include "base/bytes.h"

#include <cstdint>
#include <limits>

#include "gtest/gtest.h"

namespace vrampool {
namespace {

constexpr Bytes kMax(std::numeric_limits<uint64_t>::max());

TEST(BytesTest, CheckedAddRefusesToWrap) {
  EXPECT_EQ(CheckedAdd(MiB(1), MiB(2)), MiB(3));
  EXPECT_EQ(CheckedAdd(kMax, Bytes(0)), kMax);
  EXPECT_EQ(CheckedAdd(kMax, Bytes(1)), std::nullopt);
}

TEST(BytesTest, CheckedRoundUpReachesTheNextMultipleOrNothing) {
  EXPECT_EQ(CheckedRoundUp(Bytes(1), MiB(2)), MiB(2));
  EXPECT_EQ(CheckedRoundUp(MiB(2), MiB(2)), MiB(2));
  EXPECT_EQ(CheckedRoundUp(Bytes(0), MiB(2)), Bytes(0));
  EXPECT_EQ(CheckedRoundUp(kMax, MiB(2)), std::nullopt);
}

TEST(BytesTest, SaturatingSubStopsAtZero) {
  EXPECT_EQ(SaturatingSub(MiB(1), MiB(2)), Bytes());
  EXPECT_EQ(SaturatingSub(MiB(2), MiB(1)), MiB(1));
}

TEST(BytesDeathTest, OperatorsAbortInsteadOfWrapping) {
  EXPECT_DEATH((void)(kMax + Bytes(1)), "check failed");
  EXPECT_DEATH((void)(Bytes(0) - Bytes(1)), "check failed");
}

TEST(BytesTest, FormatsWithOneDecimalAndPowersOf1024) {
  EXPECT_EQ(FormatBytes(Bytes(0)), "0 B");
  EXPECT_EQ(FormatBytes(Bytes(1023)), "1023 B");
  EXPECT_EQ(FormatBytes(Bytes(1536)), "1.5 KiB");
  EXPECT_EQ(FormatBytes(GiB(1) - Bytes(1)), "1.0 GiB");
  EXPECT_EQ(FormatBytes(kMax), "16.0 EiB");
}

TEST(BytesTest, ParsesEveryUnitInAnyCase) {
  EXPECT_EQ(ParseBytes("2097152"), MiB(2));
  EXPECT_EQ(ParseBytes("64MiB"), MiB(64));
  EXPECT_EQ(ParseBytes("64 mib"), MiB(64));
  EXPECT_EQ(ParseBytes("1.5G"), MiB(1536));
  EXPECT_EQ(ParseBytes("4T"), GiB(4096));
  EXPECT_EQ(ParseBytes("18446744073709551615"), kMax);
}

TEST(BytesTest, RefusesWhatIsNoSize) {
  EXPECT_EQ(ParseBytes(""), std::nullopt);
  EXPECT_EQ(ParseBytes("GiB"), std::nullopt);
  EXPECT_EQ(ParseBytes("-1"), std::nullopt);
  EXPECT_EQ(ParseBytes("nan"), std::nullopt);
  EXPECT_EQ(ParseBytes("inf"), std::nullopt);
  EXPECT_EQ(ParseBytes("1 XiB"), std::nullopt);
  EXPECT_EQ(ParseBytes("1MiBs"), std::nullopt);
  EXPECT_EQ(ParseBytes("16777216T"), std::nullopt);
  EXPECT_EQ(ParseBytes("1e400"), std::nullopt);
}

}  // namespace
}  // namespace vrampool
