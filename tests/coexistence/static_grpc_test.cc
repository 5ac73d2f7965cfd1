// The library in applications that link gRPC, Protocol Buffers and Abseil
// statically: neither sees the other's, whoever came first.

#include <gtest/gtest.h>

#include <string>

#include "tests/testing/child_process.h"
#include "tests/testing/daemon_process.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {
namespace {

struct Application {
  const char* name;
  const char* program;
  const char* order;  // Its own gRPC is used before or after the library.
};

class StaticGrpcTest : public ::testing::TestWithParam<Application> {};

TEST_P(StaticGrpcTest, TheApplicationsGrpcAndTheLibrarysWorkSideBySide) {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto daemon, DaemonProcess::Start({}));
  const std::string& directory = daemon->directory();
  ChildProcess::Options options;
  options.words = {GetParam().program, GetParam().order,
                   directory + "/application"};
  options.environment = {"VRAMPOOL_DIR=" + directory};
  options.has_pipes = true;
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto application,
                                ChildProcess::Start(options));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const int status, application->AwaitEnd());
  EXPECT_EQ(application->ReadAll(), "OK\n");
  EXPECT_EQ(status, 0);
  EXPECT_THAT(daemon->AwaitWhole(), IsOk());
}

INSTANTIATE_TEST_SUITE_P(
    Applications, StaticGrpcTest,
    ::testing::Values(
        Application{"GrpcFirst", VRAMPOOL_STATIC_GRPC_CLIENT, "before"},
        Application{"LibraryFirst", VRAMPOOL_STATIC_GRPC_CLIENT, "after"},
        // These offer every symbol of their copies to what is loaded later.
        Application{"GrpcFirstExported", VRAMPOOL_EXPORTING_GRPC_CLIENT,
                    "before"},
        Application{"LibraryFirstExported", VRAMPOOL_EXPORTING_GRPC_CLIENT,
                    "after"}),
    [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace vrampool::testing
