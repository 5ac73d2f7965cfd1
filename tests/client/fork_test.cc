// What a forked child may do with its parent's client: nothing, and quietly.

#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "client/allocator/handles.h"
#include "gtest/gtest.h"
#include "tests/client/fake_daemon.h"

namespace vrampool::client {
namespace {

// What a child found out, as its exit status: 0, or the line of the failure.
int RunChild(int (*body)(vrampool_client*), vrampool_client* client) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body(client));
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

int UseEverything(vrampool_client* client) {
  if (vrampool_client_allocate(client, 100, nullptr) != nullptr) return 1;
  if (vrampool_last_status() != VRAMPOOL_FORKED) return 2;
  if (vrampool_trim(client) != VRAMPOOL_FORKED) return 3;
  vrampool_usage usage{};
  usage.struct_size = sizeof(usage);
  if (vrampool_client_usage(client, &usage) != VRAMPOOL_FORKED) return 4;
  vrampool_object* object = nullptr;
  if (vrampool_open_name(client, "x", 0, &object) != VRAMPOOL_FORKED) return 5;
  if (vrampool_open_name_on(client, "x", nullptr, 0, &object) !=
      VRAMPOOL_FORKED) {
    return 5;
  }
  vrampool_client* other = nullptr;
  if (vrampool_client_open(nullptr, &other) != VRAMPOOL_FORKED) return 6;
  if (vrampool_default_client() != nullptr) return 7;
  vrampool_client_close(client);  // Does nothing, ends nothing.
  if (vrampool_last_status() != VRAMPOOL_FORKED) return 8;
  return 0;
}

class ForkTest : public ::testing::TestWithParam<const char*> {};

// In debug mode, too: then freed blocks, closed handles and all they are told
// by are the parent's.
TEST_P(ForkTest, ChildGetsAnErrorAndTheParentGoesOn) {
  TemporaryDirectory directory;
  FakeDaemon daemon(directory.path());
  const Settings settings = daemon.MakeSettings();
  vrampool_options options;
  vrampool_options_init(&options);
  options.directory = settings.directory.c_str();
  options.debug = GetParam();
  Result<vrampool_client*> client = OpenClient(&options, daemon.Channels());
  ASSERT_TRUE(client.ok()) << client.status().message();
  void* const p = vrampool_client_allocate(*client, 100, nullptr);
  ASSERT_NE(p, nullptr);

  EXPECT_EQ(RunChild(UseEverything, *client), 0);

  std::memset(p, 1, 100);
  EXPECT_NE(vrampool_client_allocate(*client, 100, nullptr), nullptr);
  vrampool_client_deallocate(*client, p, 100, nullptr);
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_OK);
  EXPECT_TRUE((*client)->client->session()->is_live());
  vrampool_client_close(*client);
}

INSTANTIATE_TEST_SUITE_P(Modes, ForkTest,
                         ::testing::Values("0", "1", "protect"));

int UseWhatWasClosed(vrampool_client* client) {
  vrampool_client_deallocate(client, client, 100, nullptr);
  return vrampool_last_status() == VRAMPOOL_FORKED ? 0 : 1;
}

// The lock of what is remembered may be held by a thread that is not there.
TEST(ForkDebugTest, ChildHearsOfAClosedHandleThatItIsAChild) {
  TemporaryDirectory directory;
  FakeDaemon daemon(directory.path());
  const Settings settings = daemon.MakeSettings();
  vrampool_options options;
  vrampool_options_init(&options);
  options.directory = settings.directory.c_str();
  options.debug = "1";
  Result<vrampool_client*> client = OpenClient(&options, daemon.Channels());
  ASSERT_TRUE(client.ok()) << client.status().message();
  vrampool_client_close(*client);
  EXPECT_EQ(RunChild(UseWhatWasClosed, *client), 0);
  EXPECT_EQ(vrampool_trim(*client), VRAMPOOL_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace vrampool::client
