// cli_fixture.h - runs the tool against fake daemons in a temporary directory.

#ifndef VRAMPOOL_TESTS_CLI_CLI_FIXTURE_H_
#define VRAMPOOL_TESTS_CLI_CLI_FIXTURE_H_

#include <sys/socket.h>
#include <sys/un.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/unique_fd.h"
#include "client/cli/cli.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "tests/cli/fake_daemon.h"

namespace vrampool::cli {

struct Outcome {
  ExitCode code = ExitCode::kError;
  std::string out;
  std::string err;
};

class CliTest : public ::testing::Test {
 protected:
  CliTest() {
    std::string made = ::testing::TempDir() + "vrampool-cli-XXXXXX";
    directory_ = mkdtemp(made.data());
  }
  ~CliTest() override {
    std::error_code ignored;  // A leftover in the temporary directory.
    std::filesystem::remove_all(directory_, ignored);
  }

  Outcome Run(const std::vector<std::string>& arguments) const {
    return RunIn(directory_, arguments);
  }
  Outcome RunIn(const std::string& directory,
                const std::vector<std::string>& arguments) const {
    std::ostringstream out;
    std::ostringstream err;
    { const MutexLock replies_are_set(FakeDaemonMutex()); }
    const ExitCode code = RunCli(
        arguments, {.default_directory = directory, .now = now_}, out, err);
    { const MutexLock requests_are_there(FakeDaemonMutex()); }
    return {.code = code, .out = out.str(), .err = err.str()};
  }

  // A broker socket of device `uuid` that nobody listens on.
  void LeaveStaleSocket(const std::string& uuid) const;

  const std::string& directory() const { return directory_; }
  absl::Time now() const { return now_; }
  // The time `ago` before the time at which the tool runs.
  int64_t Ago(absl::Duration ago) const {
    return absl::ToUnixNanos(now_ - ago);
  }

 private:
  std::string directory_;
  const absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
};

inline void CliTest::LeaveStaleSocket(const std::string& uuid) const {
  const std::string own = directory_ + "/" + uuid;
  std::filesystem::create_directories(own);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  (own + "/broker.sock").copy(address.sun_path, sizeof(address.sun_path) - 1);
  const UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<const sockaddr*>(&address),
                 sizeof(address)),
            0);
}

// The message that `json` is; fails the test when it is none.
template <typename Message>
Message FromJson(const std::string& json) {
  Message message;
  const auto status =
      google::protobuf::util::JsonStringToMessage(json, &message);
  EXPECT_TRUE(status.ok()) << status.ToString() << "\n" << json;
  return message;
}

}  // namespace vrampool::cli

#endif  // VRAMPOOL_TESTS_CLI_CLI_FIXTURE_H_
