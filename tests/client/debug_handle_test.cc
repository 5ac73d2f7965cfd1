// Handles and tokens that are used after they were closed, in debug mode.

#include <functional>
#include <memory>
#include <string>

#include "client/allocator/debug_place.h"
#include "client/allocator/handles.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_daemon.h"

namespace vrampool::client {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr size_t kBytes = 4096;

class DebugHandleTest : public ::testing::Test {
 protected:
  DebugHandleTest() {
    const Settings settings = daemon_.MakeSettings();
    vrampool_options options;
    vrampool_options_init(&options);
    options.directory = settings.directory.c_str();
    options.device = settings.device.c_str();
    options.debug = "1";
    const auto client = OpenClient(&options, daemon_.Channels());
    EXPECT_TRUE(client.ok()) << client.status().message();
    client_ = *client;
  }
  ~DebugHandleTest() override {
    vrampool_debug_place(nullptr);
    if (client_ != nullptr) vrampool_client_close(client_);
  }

  vrampool_object* Share() {
    void* const p = vrampool_client_allocate(client_, kBytes, nullptr);
    const vrampool_buffer buffer{p, kBytes};
    vrampool_object* object = nullptr;
    EXPECT_EQ(vrampool_share(client_, &buffer, 1, nullptr, &object),
              VRAMPOOL_OK);
    return object;
  }
  static std::string Told(const std::function<void()>& act) {
    ::testing::internal::CaptureStderr();
    act();
    return ::testing::internal::GetCapturedStderr();
  }

  TemporaryDirectory directory_;
  FakeDaemon daemon_{directory_.path()};
  vrampool_client* client_ = nullptr;
};

TEST_F(DebugHandleTest, AClosedObjectIsToldWithBothCalls) {
  vrampool_object* const object = Share();
  vrampool_debug_place("close.py:1");
  ASSERT_EQ(vrampool_object_close(object, nullptr), VRAMPOOL_OK);
  vrampool_debug_place("use.py:2");
  const auto names_both = AllOf(HasSubstr("use of a closed object"),
                                HasSubstr("close.py:1"), HasSubstr("use.py:2"));
  EXPECT_THAT(Told([&] {
                EXPECT_EQ(vrampool_object_close(object, nullptr),
                          VRAMPOOL_INVALID_ARGUMENT);
              }),
              names_both);
  EXPECT_THAT(vrampool_last_error_message(), names_both);
  EXPECT_THAT(Told([&] {
                EXPECT_EQ(vrampool_object_data(object, 0), nullptr);
                EXPECT_EQ(vrampool_ready(object), VRAMPOOL_INVALID_ARGUMENT);
              }),
              names_both);
}

TEST_F(DebugHandleTest, AClosedClientIsToldWithBothCalls) {
  void* const p = vrampool_client_allocate(client_, kBytes, nullptr);
  vrampool_debug_place("close.py:1");
  vrampool_client* const closed = std::exchange(client_, nullptr);
  vrampool_client_close(closed);
  ASSERT_EQ(vrampool_last_status(), VRAMPOOL_OK);
  vrampool_debug_place("use.py:2");
  const auto names_both = AllOf(HasSubstr("use of a closed client"),
                                HasSubstr("close.py:1"), HasSubstr("use.py:2"));
  EXPECT_THAT(Told([&] {
                vrampool_client_deallocate(closed, p, kBytes, nullptr);
                EXPECT_EQ(vrampool_last_status(), VRAMPOOL_INVALID_ARGUMENT);
              }),
              names_both);
  EXPECT_THAT(Told([&] {
                EXPECT_EQ(vrampool_client_allocate(closed, 1, nullptr),
                          nullptr);
                EXPECT_EQ(vrampool_trim(closed), VRAMPOOL_INVALID_ARGUMENT);
                vrampool_client_close(closed);
                EXPECT_EQ(vrampool_last_status(), VRAMPOOL_INVALID_ARGUMENT);
              }),
              names_both);
}

TEST_F(DebugHandleTest, ATokenOfAnObjectThatWasClosedHereIsTold) {
  vrampool_object* const object = Share();
  char token[VRAMPOOL_TOKEN_MAX];
  ASSERT_EQ(vrampool_object_token(object, token, sizeof(token)), VRAMPOOL_OK);
  const ObjectId id = object->held->token.object;
  vrampool_debug_place("close.py:1");
  ASSERT_EQ(vrampool_object_close(object, nullptr), VRAMPOOL_OK);
  daemon_.Change([](auto& ledger) { ledger.objects.clear(); });
  daemon_.SetSlot(id, shm::ObjectState::kFree);
  vrampool_debug_place("open.py:2");
  vrampool_object* opened = nullptr;
  vrampool_status status = VRAMPOOL_OK;
  EXPECT_THAT(Told([&] { status = vrampool_open(client_, token, 0, &opened); }),
              AllOf(HasSubstr("open of an object that has ended"),
                    HasSubstr("close.py:1"), HasSubstr("open.py:2")));
  EXPECT_EQ(status, VRAMPOOL_NOT_FOUND);
}

TEST_F(DebugHandleTest, WhatIsKnownOfAnAddressCanBeAskedFor) {
  vrampool_debug_place("alloc.py:1");
  char* const p =
      static_cast<char*>(vrampool_client_allocate(client_, kBytes, nullptr));
  EXPECT_THAT(
      Told([&] { vrampool_debug_describe(p + 64); }),
      AllOf(HasSubstr("64 bytes into the block of 4096 bytes"),
            HasSubstr("allocated at  alloc.py:1"), Not(HasSubstr("freed"))));
  vrampool_debug_place("free.py:2");
  vrampool_client_deallocate(client_, p, kBytes, nullptr);
  EXPECT_THAT(Told([&] { vrampool_debug_describe(p + 64); }),
              HasSubstr("freed at      free.py:2"));
  EXPECT_THAT(Told([&] { vrampool_debug_describe(&client_); }),
              HasSubstr("lies in no block that is known"));
}

TEST_F(DebugHandleTest, OnlyTheNewestAreKept) {
  for (size_t i = 0; i < DebugHandles::kMaxClosed + 10; ++i) {
    auto handle = std::make_unique<vrampool_object>();
    DebugHandles::Keep(std::move(handle), {.what = "object", .call = {}});
  }
  vrampool_object* const object = Share();
  ASSERT_EQ(vrampool_object_close(object, nullptr), VRAMPOOL_OK);
  EXPECT_THAT(Told([&] { (void)vrampool_object_close(object, nullptr); }),
              HasSubstr("use of a closed object"));
}

}  // namespace
}  // namespace vrampool::client
