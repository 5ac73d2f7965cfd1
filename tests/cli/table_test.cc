#include "client/cli/table.h"

#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vrampool::cli {
namespace {

using ::testing::HasSubstr;

struct Fruit {
  std::string name;
  uint64_t weight = 0;
};

TableOf<Fruit> FruitTable() {
  return {
      {"NAME", Align::kLeft, [](const Fruit& f) { return Text(f.name); }},
      {"WEIGHT", Align::kRight, [](const Fruit& f) { return Size(f.weight); }}};
}

std::vector<Fruit> Fruits() {
  return {{"melon", 2048}, {"apple", 100}, {"\xc3\xa9", 1536}};
}

std::string Printed(const std::vector<Fruit>& fruits, Header header) {
  std::ostringstream out;
  Print(FruitTable(), fruits, header, out);
  return out.str();
}

TEST(TableTest, AlignsColumnsByTheirWidestCell) {
  EXPECT_EQ(Printed(Fruits(), Header::kShown),
            "NAME    WEIGHT\n"
            "melon  2.0 KiB\n"
            "apple    100 B\n"
            "\xc3\xa9      1.5 KiB\n");
}

TEST(TableTest, WithoutHeaderItsWidthDoesNotCount) {
  EXPECT_EQ(Printed({{"a", 1}}, Header::kHidden), "a  1 B\n");
}

TEST(TableTest, NoRowsLeaveTheHeader) {
  EXPECT_EQ(Printed({}, Header::kShown), "NAME  WEIGHT\n");
}

TEST(TableTest, LinesHaveNoTrailingBlanks) {
  std::ostringstream out;
  TextTable table;
  table.AddColumn("A", Align::kLeft);
  table.AddColumn("LONG", Align::kLeft);
  table.AddRow({"x", "y"});
  table.Print(Header::kShown, out);
  EXPECT_EQ(out.str(), "A  LONG\nx  y\n");
}

TEST(SortTest, OrdersSizesByNumberNotByText) {
  std::vector<Fruit> fruits = Fruits();
  ASSERT_TRUE(Sort(FruitTable(), {.column = "weight"}, &fruits).ok());
  EXPECT_EQ(fruits[0].name, "apple");
  EXPECT_EQ(fruits[2].name, "melon");
}

TEST(SortTest, ReversesWithAndWithoutAColumn) {
  std::vector<Fruit> fruits = Fruits();
  ASSERT_TRUE(
      Sort(FruitTable(), {.column = "NAME", .is_reversed = true}, &fruits)
          .ok());
  EXPECT_EQ(fruits[1].name, "melon");
  ASSERT_TRUE(
      Sort(FruitTable(), {.column = "", .is_reversed = true}, &fruits).ok());
  EXPECT_EQ(fruits[0].name, "apple");
}

TEST(SortTest, AnUnknownColumnNamesThoseThereAre) {
  std::vector<Fruit> fruits = Fruits();
  const absl::Status status = Sort(FruitTable(), {.column = "color"}, &fruits);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("NAME, WEIGHT"));
}

TEST(AgeTest, TheYoungestComesFirstAndNeverBeforeAll) {
  const absl::Time now = absl::FromUnixSeconds(1000);
  EXPECT_LT(Age(900'000'000'000, now).key, Age(100'000'000'000, now).key);
  EXPECT_LT(Age(0, now).key, Age(999'000'000'000, now).key);
}

}  // namespace
}  // namespace vrampool::cli
