// What a loaded library calls, redirected: libraries of the tests' that the
// linker binds in three ways.

#include "client/interpose/loaded_library.h"

#include <dlfcn.h>

#include <string>

#include "gtest/gtest.h"

namespace vrampool::client {
namespace {

int Other() { return 42; }

class LoadedLibraryTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string path =
        std::string(VRAMPOOL_CALLERS) + "/lib" + GetParam() + ".so";
    void* const handle = ::dlopen(path.c_str(), RTLD_LAZY);
    ASSERT_NE(handle, nullptr) << ::dlerror();
    call_ = reinterpret_cast<int (*)()>(::dlsym(handle, "call_answer"));
    ASSERT_NE(call_, nullptr);
  }
  static LoadedLibrary Found(const std::string& name) {
    Result<LoadedLibrary> found = LoadedLibrary::Find(name);
    EXPECT_TRUE(found.ok()) << found.status().message();
    return *std::move(found);
  }
  std::string name() const { return std::string("lib") + GetParam() + ".so"; }

  int (*call_)() = nullptr;
};

INSTANTIATE_TEST_SUITE_P(Bound, LoadedLibraryTest,
                         ::testing::Values("caller_lazy", "caller_now",
                                           "caller_direct"),
                         [](const auto& tested) { return tested.param; });

TEST_P(LoadedLibraryTest, ItsCallsGoElsewhereAndBack) {
  const LoadedLibrary library = Found(name());
  void* const answer = library.Current("answer");
  ASSERT_NE(answer, nullptr);
  // Before the first call too, which would bind the name.
  ASSERT_TRUE(library.Redirect("answer", reinterpret_cast<void*>(&Other)).ok());
  EXPECT_EQ(call_(), 42);
  EXPECT_EQ(call_(), 42);
  ASSERT_TRUE(library.Redirect("answer", answer).ok());
  EXPECT_EQ(call_(), 7);
  // Others' calls are their own.
  EXPECT_EQ(reinterpret_cast<int (*)()>(answer)(), 7);
}

TEST_P(LoadedLibraryTest, WhatItDoesNotCallIsSaid) {
  const LoadedLibrary library = Found(name());
  const Status refused =
      library.Redirect("nobody_calls_it", reinterpret_cast<void*>(&Other));
  EXPECT_EQ(refused.code(), VRAMPOOL_NOT_FOUND);
  EXPECT_NE(refused.message().find(GetParam()), std::string::npos);
  EXPECT_EQ(library.Current("nobody_calls_it"), nullptr);
}

TEST(LoadedLibraryErrorTest, ALibraryThatIsNotThere) {
  EXPECT_EQ(LoadedLibrary::Find("libnowhere.so").status().code(),
            VRAMPOOL_NOT_FOUND);
}

}  // namespace
}  // namespace vrampool::client
