#include "client/cli/call_sites.h"

#include "gtest/gtest.h"

namespace vrampool::cli {
namespace {

v1::Module MakeModule(uint64_t begin, uint64_t end, uint64_t bias,
                      const std::string& path) {
  v1::Module module;
  module.set_begin(begin);
  module.set_end(end);
  module.set_bias(bias);
  module.set_path(path);
  return module;
}

TEST(CallSitesTest, AnAddressIsAFileAndAnOffset) {
  Modules modules;
  *modules.Add() = MakeModule(0x2000, 0x3000, 0x1000, "/usr/lib/liba.so");
  *modules.Add() = MakeModule(0x8000, 0x9000, 0x8000, "plain");
  const Sites sites(modules);
  EXPECT_EQ(sites.Text(0x2010), "liba.so+0x1010");
  EXPECT_EQ(sites.Text(0x8fff), "plain+0xfff");
  EXPECT_EQ(sites.Text(0x3000), "0x3000");
  EXPECT_EQ(sites.Text(0), "");
}

TEST(CallSitesTest, OfSeveralAtAnAddressTheLastCounts) {
  Modules modules;
  *modules.Add() = MakeModule(0x2000, 0x3000, 0x2000, "/old.so");
  *modules.Add() = MakeModule(0x2000, 0x3000, 0x2000, "/new.so");
  EXPECT_EQ(Sites(modules).Text(0x2000), "new.so+0x0");
}

TEST(CallSitesTest, ANameTakesTheOffsetsPlace) {
  Modules modules;
  Sites sites(modules);
  sites.Name(0x10, "train at loop.cc:7");
  EXPECT_EQ(sites.Text(0x10), "train at loop.cc:7");
  EXPECT_EQ(sites.Text(0x11), "0x11");
}

TEST(CallSitesTest, ALiarsNumbersWrap) {
  Modules modules;
  *modules.Add() = MakeModule(0, ~uint64_t{0}, 2, "");
  EXPECT_EQ(Sites(modules).Text(1), "+0xffffffffffffffff");
}

}  // namespace
}  // namespace vrampool::cli
