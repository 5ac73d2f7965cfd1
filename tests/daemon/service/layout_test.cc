#include "daemon/service/layout.h"

#include <cstdint>
#include <initializer_list>
#include <limits>

#include "gtest/gtest.h"
#include "tests/testing/matchers.h"

namespace vrampool {
namespace {

using ::vrampool::testing::IsOk;
using ::vrampool::testing::IsRefused;

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();

// Float32 unless changed.
v1::TensorLayout Layout(std::initializer_list<int64_t> shape,
                        std::initializer_list<int64_t> strides = {},
                        uint64_t byte_offset = 0) {
  v1::TensorLayout layout;
  layout.set_dtype_code(2);
  layout.set_dtype_bits(32);
  for (const int64_t extent : shape) layout.add_shape(extent);
  for (const int64_t stride : strides) layout.add_strides(stride);
  layout.set_byte_offset(byte_offset);
  return layout;
}

auto IsBad() { return IsRefused(Reason::kBadArgument); }

TEST(LayoutTest, RowMajorFitsExactly) {
  EXPECT_THAT(CheckLayout(Layout({4, 4}), Bytes(64)), IsOk());
  EXPECT_THAT(CheckLayout(Layout({4, 4}), Bytes(63)), IsBad());
  EXPECT_THAT(CheckLayout(Layout({4, 4}, {}, 4), Bytes(68)), IsOk());
  EXPECT_THAT(CheckLayout(Layout({4, 4}, {}, 4), Bytes(67)), IsBad());
}

TEST(LayoutTest, ScalarIsOneElement) {
  EXPECT_THAT(CheckLayout(Layout({}), Bytes(4)), IsOk());
  EXPECT_THAT(CheckLayout(Layout({}), Bytes(3)), IsBad());
}

TEST(LayoutTest, StridesReachTheLastElement) {
  EXPECT_THAT(CheckLayout(Layout({3, 2}, {10, 1}), Bytes(88)), IsOk());
  EXPECT_THAT(CheckLayout(Layout({3, 2}, {10, 1}), Bytes(87)), IsBad());
}

TEST(LayoutTest, ZeroStridesRepeatAnElement) {
  EXPECT_THAT(CheckLayout(Layout({1000, 1000}, {0, 0}), Bytes(4)), IsOk());
}

TEST(LayoutTest, NegativeStridesReachBackNoFurtherThanTheBuffer) {
  EXPECT_THAT(CheckLayout(Layout({4}, {-1}, 12), Bytes(16)), IsOk());
  EXPECT_THAT(CheckLayout(Layout({4}, {-1}, 11), Bytes(16)), IsBad());
  EXPECT_THAT(CheckLayout(Layout({4}, {-1}, 13), Bytes(16)), IsBad());
}

TEST(LayoutTest, MixedStridesAreSummedByDirection) {
  EXPECT_THAT(CheckLayout(Layout({2, 3}, {-3, 1}, 12), Bytes(24)), IsOk());
  EXPECT_THAT(CheckLayout(Layout({2, 3}, {-3, 1}, 8), Bytes(24)), IsBad());
}

TEST(LayoutTest, ShapeWithAZeroHasNoElements) {
  EXPECT_THAT(CheckLayout(Layout({0}), Bytes(0)), IsOk());
  EXPECT_THAT(
      CheckLayout(Layout({kMax, 0, kMax}, {kMax, kMin, kMax}), Bytes(16)),
      IsOk());
  EXPECT_THAT(CheckLayout(Layout({0}, {}, 17), Bytes(16)), IsBad());
}

TEST(LayoutTest, NegativeExtentIsRefused) {
  EXPECT_THAT(CheckLayout(Layout({-1}), Bytes(16)), IsBad());
  EXPECT_THAT(CheckLayout(Layout({0, kMin}), Bytes(16)), IsBad());
}

TEST(LayoutTest, ProductsBeyondAnyIntegerAreRefused) {
  EXPECT_THAT(CheckLayout(Layout({kMax, kMax, kMax}), Bytes(UINT64_MAX)),
              IsBad());
  EXPECT_THAT(
      CheckLayout(Layout({kMax, kMax}, {kMax, kMax}), Bytes(UINT64_MAX)),
      IsBad());
  EXPECT_THAT(
      CheckLayout(Layout({kMax, kMax}, {kMin, kMin}), Bytes(UINT64_MAX)),
      IsBad());
  // 2^32 * 2^32 elements of four bytes are 0 bytes, modulo 2^64.
  EXPECT_THAT(
      CheckLayout(Layout({int64_t{1} << 32, int64_t{1} << 32}), Bytes(64)),
      IsBad());
  // Reaches that cancel each other out are still reaches.
  EXPECT_THAT(CheckLayout(Layout({2, 2}, {kMax, kMin + 1}), Bytes(64)),
              IsBad());
}

TEST(LayoutTest, SixteenDimensionsAreTheMost) {
  v1::TensorLayout layout = Layout({});
  for (int i = 0; i < 16; ++i) layout.add_shape(1);
  EXPECT_THAT(CheckLayout(layout, Bytes(4)), IsOk());
  layout.add_shape(1);
  EXPECT_THAT(CheckLayout(layout, Bytes(4)), IsBad());
}

TEST(LayoutTest, StridesAreAsManyAsExtents) {
  EXPECT_THAT(CheckLayout(Layout({2, 2}, {1}), Bytes(64)), IsBad());
  EXPECT_THAT(CheckLayout(Layout({}, {1}), Bytes(64)), IsBad());
}

TEST(LayoutTest, DataTypesAreDlpacks) {
  v1::TensorLayout layout = Layout({1});
  layout.set_dtype_bits(0);
  EXPECT_THAT(CheckLayout(layout, Bytes(64)), IsBad());
  layout.set_dtype_bits(256);
  EXPECT_THAT(CheckLayout(layout, Bytes(64)), IsBad());
  layout = Layout({1});
  layout.set_dtype_code(256);
  EXPECT_THAT(CheckLayout(layout, Bytes(64)), IsBad());
  layout = Layout({1});
  layout.set_dtype_lanes(65536);
  EXPECT_THAT(CheckLayout(layout, Bytes(1 << 20)), IsBad());
}

TEST(LayoutTest, LanesMultiplyTheElement) {
  v1::TensorLayout layout = Layout({2});
  layout.set_dtype_lanes(4);
  EXPECT_THAT(CheckLayout(layout, Bytes(32)), IsOk());
  EXPECT_THAT(CheckLayout(layout, Bytes(31)), IsBad());
}

TEST(LayoutTest, ElementsBelowAByteArePacked) {
  v1::TensorLayout layout = Layout({3});
  layout.set_dtype_bits(4);
  EXPECT_THAT(CheckLayout(layout, Bytes(2)), IsOk());
  EXPECT_THAT(CheckLayout(layout, Bytes(1)), IsBad());
}

TEST(LayoutTest, LayoutsSurviveTheirEncoding) {
  Layouts layouts;
  *layouts.Add() = Layout({4, 4}, {4, -1}, 12);
  *layouts.Add() = Layout({});
  const Layouts decoded = DecodeLayouts(EncodeLayouts(layouts));
  ASSERT_EQ(decoded.size(), 2);
  EXPECT_EQ(decoded[0].SerializeAsString(), layouts[0].SerializeAsString());
  EXPECT_EQ(decoded[1].SerializeAsString(), layouts[1].SerializeAsString());
  EXPECT_EQ(EncodeLayouts(Layouts()), "");
  EXPECT_EQ(DecodeLayouts("\xff\xff").size(), 0);
}

}  // namespace
}  // namespace vrampool
