#include "client/session/module_table.h"

#include <dlfcn.h>

#include <algorithm>
#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vrampool::client {
namespace {

// Of libc, and taken over by no sanitizer.
constexpr char kOfLibc[] = "gnu_get_libc_version";

class ModuleTableTest : public ::testing::Test {
 protected:
  // The last module that `address` lies in, as a reader finds it.
  const shm::Module* Find(const void* address) const {
    const auto at = reinterpret_cast<uint64_t>(address);
    for (size_t i = high_water_.load(); i-- > 0;) {
      const shm::Module& module = modules_[i];
      if (module.is_set.load() == 1 && module.begin <= at && at < module.end) {
        return &module;
      }
    }
    return nullptr;
  }

  const std::unique_ptr<shm::Module[]> modules_ =
      std::make_unique<shm::Module[]>(shm::kModuleCapacity);
  std::atomic<uint32_t> high_water_ = 0;
  ModuleTable table_{{.modules = modules_.get(), .high_water = &high_water_}};
};

TEST_F(ModuleTableTest, TellsTheProgramAndItsLibraries) {
  table_.Refresh();
  const shm::Module* const own =
      Find(reinterpret_cast<const void*>(&ModuleTableTest::SetUpTestSuite));
  ASSERT_NE(own, nullptr);
  EXPECT_EQ(own->path[0], '/');
  const shm::Module* const c = Find(dlsym(RTLD_DEFAULT, kOfLibc));
  ASSERT_NE(c, nullptr);
  EXPECT_THAT(std::string(c->path), ::testing::HasSubstr("libc.so"));
  EXPECT_GT(c->build_id_bytes, 0u);
  Dl_info info{};
  ASSERT_NE(dladdr(dlsym(RTLD_DEFAULT, kOfLibc), &info), 0);
  EXPECT_EQ(c->bias, reinterpret_cast<uint64_t>(info.dli_fbase));
}

TEST_F(ModuleTableTest, WhatIsLoadedLaterIsWrittenOnce) {
  table_.Refresh();
  const uint32_t before = high_water_.load();
  table_.Refresh();
  EXPECT_EQ(high_water_.load(), before);
  // Of the C library, and in no program's list.
  void* const library = dlopen("libnss_compat.so.2", RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << dlerror();
  table_.Refresh();
  EXPECT_GT(high_water_.load(), before);
  const auto is_it = [](const shm::Module& module) {
    return std::string(module.path).find("nss_compat") != std::string::npos;
  };
  EXPECT_EQ(std::count_if(modules_.get(), modules_.get() + high_water_, is_it),
            1);
  const uint32_t after = high_water_.load();
  table_.Refresh();
  EXPECT_EQ(high_water_.load(), after);
  dlclose(library);
}

}  // namespace
}  // namespace vrampool::client
