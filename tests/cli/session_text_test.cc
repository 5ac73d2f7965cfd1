#include "client/cli/session_text.h"

#include "gtest/gtest.h"

namespace vrampool::cli {
namespace {

constexpr char kId[] =
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

TEST(ContainerTest, IsFoundInTheCgroupsOfContainerEngines) {
  const std::string id = kId;
  for (const std::string& cgroup :
       {"/docker/" + id, "/system.slice/docker-" + id + ".scope",
        "/machine.slice/libpod-" + id + ".scope",
        "/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope",
        "/kubepods/besteffort/pod1/" + id, "/kubepods.slice/crio-" + id}) {
    EXPECT_EQ(ContainerOf(cgroup), "0123456789ab") << cgroup;
  }
}

TEST(ContainerTest, OtherCgroupsAreOfNone) {
  const std::string id = kId;
  for (const std::string& cgroup :
       {std::string(), std::string("/"), std::string("/user.slice"),
        "/docker/" + id.substr(1), "/docker/" + id + "0",
        "/docker/" + id + "/nested", "/x/g" + id.substr(1)}) {
    EXPECT_EQ(ContainerOf(cgroup), "") << cgroup;
  }
}

TEST(UserTextTest, NamesUsersThatThisMachineKnows) {
  EXPECT_EQ(UserText(0), "uid 0 root");
  EXPECT_EQ(UserText(4'000'000'123), "uid 4000000123");
}

TEST(SessionTextTest, SaysWhereTheProcessRuns) {
  v1::SessionInfo session;
  session.set_session_id(7);
  session.mutable_process()->set_pid(123);
  session.mutable_process()->set_uid(4'000'000'123);
  session.mutable_process()->set_cgroup("/slurm/job_\x1b[1m");
  EXPECT_EQ(SessionText(session),
            "session 7 (pid 123, uid 4000000123, cgroup /slurm/job_\\x1b[1m)");
  session.mutable_process()->set_cgroup(std::string("/docker/") + kId);
  EXPECT_EQ(SessionText(session),
            "session 7 (pid 123, uid 4000000123, container 0123456789ab)");
}

}  // namespace
}  // namespace vrampool::cli
