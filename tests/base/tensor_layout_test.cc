#include "base/tensor_layout.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "gtest/gtest.h"

namespace vrampool {
namespace {

TensorLayout Strided() {
  TensorLayout layout{.dtype_code = 2,
                      .dtype_bits = 32,
                      .dtype_lanes = 1,
                      .ndim = 2,
                      .has_strides = 1,
                      .byte_offset = 12};
  layout.shape[0] = 4;
  layout.shape[1] = std::numeric_limits<int64_t>::max();
  layout.strides[0] = -1;
  layout.strides[1] = std::numeric_limits<int64_t>::min();
  return layout;
}

TensorLayout Full() {
  TensorLayout layout{.dtype_code = 255,
                      .dtype_bits = 255,
                      .dtype_lanes = 65535,
                      .ndim = kMaxDimensions,
                      .has_strides = 1,
                      .byte_offset = ~uint64_t{0}};
  std::fill_n(layout.shape, kMaxDimensions, 1);
  std::fill_n(layout.strides, kMaxDimensions, -3);
  return layout;
}

std::string BytesOf(const TensorLayout& layout) {
  std::string bytes;
  AppendLayout(layout, bytes);
  return bytes;
}

void ExpectSame(const TensorLayout& a, const TensorLayout& b) {
  EXPECT_EQ(BytesOf(a), BytesOf(b));
  EXPECT_EQ(0, std::memcmp(a.shape, b.shape, sizeof(a.shape)));
  EXPECT_EQ(0, std::memcmp(a.strides, b.strides, sizeof(a.strides)));
  EXPECT_EQ(a.byte_offset, b.byte_offset);
}

TEST(TensorLayoutTest, BytesGiveTheLayoutBack) {
  const TensorLayout scalar{.dtype_code = 0, .dtype_bits = 8};
  EXPECT_EQ(BytesOf(scalar).size(), LayoutBytes(0, false));
  EXPECT_EQ(BytesOf(Full()).size(), kMaxLayoutBytes);
  for (const TensorLayout& layout : {scalar, Strided(), Full()}) {
    const std::string bytes = BytesOf(layout);
    std::string_view rest = bytes;
    const auto again = TakeLayout(rest);
    ASSERT_TRUE(again.has_value());
    EXPECT_TRUE(rest.empty());
    ExpectSame(*again, layout);
  }
}

TEST(TensorLayoutTest, OneIsTakenAfterTheOther) {
  const std::string bytes = BytesOf(Strided()) + BytesOf(Full()) + "rest";
  std::string_view rest = bytes;
  ExpectSame(*TakeLayout(rest), Strided());
  ExpectSame(*TakeLayout(rest), Full());
  EXPECT_EQ(rest, "rest");
}

TEST(TensorLayoutTest, WhatIsCutOffIsNone) {
  const std::string bytes = BytesOf(Strided());
  for (size_t size = 0; size < bytes.size(); ++size) {
    std::string_view begin = std::string_view(bytes).substr(0, size);
    EXPECT_FALSE(TakeLayout(begin).has_value()) << size;
    EXPECT_EQ(begin.size(), size);
  }
}

TEST(TensorLayoutTest, NumbersThatThereAreNotAreNone) {
  for (const auto& [at, value] :
       {std::pair<size_t, char>(4, 17), std::pair<size_t, char>(4, -1),
        std::pair<size_t, char>(5, 2)}) {
    std::string bytes = BytesOf(Full()) + std::string(4096, '\0');
    bytes[at] = value;
    std::string_view rest = bytes;
    EXPECT_FALSE(TakeLayout(rest).has_value()) << at;
  }
}

// What the service's tests of layouts do not reach: it counts before.
TEST(TensorLayoutTest, MoreDimensionsThanThereAreIsAProblem) {
  TensorLayout layout = Full();
  layout.ndim = kMaxDimensions + 1;
  EXPECT_NE(LayoutProblem(layout, 1 << 20), "");
}

}  // namespace
}  // namespace vrampool
