#include "client/cli/symbolizer.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "base/unique_fd.h"
#include "client/cli/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

// What a client calls from: its name and line are to be found.
extern "C" __attribute__((noinline)) const void* SymbolizerTestCallSite() {
  return __builtin_return_address(0);
}
__attribute__((noinline)) const void* CallFromHere() {
  const void* volatile address = SymbolizerTestCallSite();
  return address;
}

namespace vrampool::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

std::optional<std::string> BuildIdOf(const std::string& path) {
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return ReadBuildId(file.get());
}

class SymbolizerTest : public ::testing::Test {
 protected:
  SymbolizerTest() {
    char path[4096] = {};
    EXPECT_GT(readlink("/proc/self/exe", path, sizeof(path) - 1), 0);
    module_.set_path(path);
    module_.set_build_id(BuildIdOf(path).value_or(""));
    dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void* bias) {
          *static_cast<uint64_t*>(bias) = info->dlpi_addr;
          return 1;  // The program is the first.
        },
        &bias_);
    module_.set_bias(bias_);
    process_.set_uid(geteuid());
    process_.set_gid(getegid());
    process_.set_pid(static_cast<uint32_t>(getpid()));
  }
  std::string TemporaryPath(const std::string& name) const {
    return ::testing::TempDir() + "symbolizer-" + std::to_string(getpid()) +
           "-" + name;
  }
  std::map<uint64_t, std::string> Names() const {
    return Symbolize(module_, process_, /*is_live=*/true, {address_});
  }

  v1::Module module_;
  v1::ProcessIdentity process_;
  uint64_t bias_ = 0;
  const uint64_t address_ = reinterpret_cast<uint64_t>(CallFromHere());
};

TEST_F(SymbolizerTest, NamesFunctionAndLineOfACall) {
  EXPECT_THAT(Names(),
              ElementsAre(Pair(address_, HasSubstr("CallFromHere() at "
                                                   "symbolizer_test.cc:"))));
}

TEST_F(SymbolizerTest, AFileWithAnotherBuildIdIsNotAsked) {
  module_.set_build_id("00");
  EXPECT_THAT(Names(), IsEmpty());
  module_.set_build_id("");
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(SymbolizerTest, APipeOrADeviceIsNotRead) {
  const std::string pipe = TemporaryPath("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  for (const std::string& path :
       {pipe, std::string("/dev/zero"), std::string("/nowhere"),
        std::string("relative"), std::string()}) {
    module_.set_path(path);
    EXPECT_THAT(Names(), IsEmpty()) << path;
  }
  unlink(pipe.c_str());
}

TEST_F(SymbolizerTest, DamagedFilesHaveNoBuildIdAndHarmNobody) {
  const auto whole = ReadFile(module_.path());
  ASSERT_TRUE(whole.ok());
  const std::string path = TemporaryPath("elf");
  const auto with = [&](size_t offset, uint64_t value, size_t size) {
    std::string damaged = whole->substr(0, 1 << 16);
    std::memcpy(damaged.data() + offset, &value, size);
    EXPECT_TRUE(WriteFile(path, damaged).ok());
    return BuildIdOf(path);
  };
  EXPECT_EQ(with(offsetof(Elf64_Ehdr, e_phoff), ~uint64_t{0}, 8), std::nullopt);
  EXPECT_EQ(with(offsetof(Elf64_Ehdr, e_phnum), 0xffff, 2), std::nullopt);
  EXPECT_EQ(with(offsetof(Elf64_Ehdr, e_phentsize), 1, 2), std::nullopt);
  EXPECT_EQ(with(0, 0, 4), std::nullopt);
  const size_t parts = sizeof(Elf64_Ehdr);
  for (size_t i = 0; i < 16; ++i) {
    const size_t part = parts + i * sizeof(Elf64_Phdr);
    (void)with(part + offsetof(Elf64_Phdr, p_filesz), 3, 8);
    (void)with(part + offsetof(Elf64_Phdr, p_offset), ~uint64_t{0} - 7, 8);
  }
  for (const size_t size : {0u, 3u, 63u, 64u, 100u}) {
    EXPECT_TRUE(WriteFile(path, whole->substr(0, size)).ok());
    EXPECT_EQ(BuildIdOf(path), std::nullopt);
  }
  unlink(path.c_str());
}

TEST(ParseNamesTest, TakesFunctionsAndLinesOfAddresses) {
  const std::string output =
      "0x0000000000000010\nTrain(int)\n/src/loop.cc:12 (discriminator 2)\n"
      "0x0000000000000020\n??\n??:0\n"
      "0x0000000000000030\nrun\x1b[1m\n??:?\n";
  EXPECT_THAT(ParseNames(output, 0x1000),
              ElementsAre(Pair(0x1011, "Train(int) at loop.cc:12"),
                          Pair(0x1031, "run\\x1b[1m")));
}

TEST(ParseNamesTest, TellsWhereAFunctionWasInlinedAndNotOurHeadersOwn) {
  const std::string output =
      "0x0000000000000010\nvrampool::cpp::Client::Allocate(unsigned long)\n"
      "/usr/include/vrampool/vrampool.hpp:246\nTrain(int)\n/src/loop.cc:12\n"
      "main\n/src/loop.cc:30\n"
      "0x0000000000000020\nvrampool::cpp::Client::Trim()\n"
      "/usr/include/vrampool/vrampool.hpp:267\n"
      "0x0000000000000030\na\nx:1\nb\nx:2\nc\nx:3\nd\nx:4\ne\nx:5\n";
  EXPECT_THAT(
      ParseNames(output, 0),
      ElementsAre(
          Pair(0x11, "Train(int) at loop.cc:12, in main at loop.cc:30"),
          Pair(0x21, "vrampool::cpp::Client::Trim() at vrampool.hpp:267"),
          Pair(0x31, "a at x:1, in b at x:2, in c at x:3, in d at x:4")));
}

TEST(ParseNamesTest, WhatIsCutOrNonsenseGivesNoNames) {
  EXPECT_THAT(ParseNames("", 0), IsEmpty());
  EXPECT_THAT(ParseNames("0x10\nTrain\n", 0), IsEmpty());
  EXPECT_THAT(ParseNames("usage: addr2line\nTrain\nx:1\n", 0), IsEmpty());
}

}  // namespace
}  // namespace vrampool::cli
