#include "client/cli/pickle.h"

#include "gtest/gtest.h"

namespace vrampool::cli {
namespace {

using namespace std::string_literals;

TEST(PickleTest, ValuesAreThoseOfProtocolTwo) {
  Pickle pickle;
  pickle.BeginDict();
  pickle.Key("a").Number(1);
  pickle.Key("b").BeginList();
  pickle.Number(-2);
  pickle.Number(int64_t{1} << 40);
  pickle.Text("x\xc3\xa9");
  pickle.Bool(true);
  pickle.Bool(false);
  pickle.EndList();
  pickle.Key("c").BeginDict();
  pickle.EndDict();
  pickle.EndDict();
  EXPECT_EQ(pickle.Take(),
            "\x80\x02}(X\x01\0\0\0aJ\x01\0\0\0X\x01\0\0\0b](J\xfe\xff\xff\xff"
            "\x8a\x08\0\0\0\0\0\x01\0\0X\x03\0\0\0x\xc3\xa9\x88\x89"
            "eX\x01\0\0\0c}u."s);
}

TEST(PickleTest, AListCanBeHadAgain) {
  Pickle pickle;
  pickle.BeginList();
  pickle.BeginList();
  pickle.Bool(true);
  pickle.EndList();
  const uint32_t first = pickle.Remember();
  pickle.BeginList();
  pickle.EndList();
  const uint32_t second = pickle.Remember();
  pickle.Again(first);
  pickle.Again(second);
  pickle.EndList();
  EXPECT_EQ(pickle.Take(),
            "\x80\x02](](\x88"
            "er\0\0\0\0]r\1\0\0\0j\0\0\0\0j\1\0\0\0e."s);
}

TEST(PickleTest, AnEmptyListHasNoBatch) {
  Pickle pickle;
  pickle.BeginList();
  pickle.EndList();
  EXPECT_EQ(pickle.Take(), "\x80\x02]."s);
}

TEST(PickleTest, ALongListComesInBatches) {
  Pickle pickle;
  pickle.BeginList();
  for (int i = 0; i < 2500; ++i) pickle.Bool(true);
  pickle.EndList();
  EXPECT_EQ(pickle.Take(), "\x80\x02](" + std::string(1000, '\x88') + "e(" +
                               std::string(1000, '\x88') + "e(" +
                               std::string(500, '\x88') + "e.");
}

TEST(PickleTest, TextsAreUtf8WhateverTheyWere) {
  Pickle pickle;
  // A lone byte, an overlong slash, a surrogate, one that ends early.
  pickle.Text("a\xff\xc0\xaf\xed\xa0\x80\xf0\x9f\x98");
  const std::string bad = "\xef\xbf\xbd";
  std::string wanted = "a";
  for (int i = 0; i < 9; ++i) wanted += bad;
  EXPECT_EQ(pickle.Take(), "\x80\x02X"s + static_cast<char>(wanted.size()) +
                               "\0\0\0"s + wanted + ".");
}

}  // namespace
}  // namespace vrampool::cli
