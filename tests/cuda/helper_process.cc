#include "tests/cuda/helper_process.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <utility>

#include "base/check.h"

namespace vrampool::testing {

HelperProcess::HelperProcess() {
  int ends[2];
  VRAMPOOL_CHECK(
      ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
  socket_.reset(ends[0]);
  const UniqueFd theirs(ends[1]);
  const std::string path = std::filesystem::read_symlink("/proc/self/exe")
                               .replace_filename(kHelperName);
  std::string name = kHelperName;
  char* words[] = {name.data(), nullptr};
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, theirs.get(), kHelperSocket);
  VRAMPOOL_CHECK(::posix_spawn(&pid_, path.c_str(), &actions, nullptr, words,
                               environ) == 0);
  ::posix_spawn_file_actions_destroy(&actions);
}

void HelperProcess::Send(const OrderPacket& order, int fd) {
  (void)SendPacket(socket_.get(), &order, sizeof(order), fd);
}

std::optional<AnswerPacket> HelperProcess::Await(std::chrono::seconds limit) {
  pollfd ready{.fd = socket_.get(), .events = POLLIN, .revents = 0};
  const auto ms = std::chrono::milliseconds(limit).count();
  if (::poll(&ready, 1, static_cast<int>(ms)) != 1) return std::nullopt;
  AnswerPacket answer;
  int fd = -1;
  if (!ReceivePacket(socket_.get(), &answer, sizeof(answer), &fd)) {
    answer = {};
    answer.result = cuda::kDeinitialized;
  }
  received_.reset(fd);
  return answer;
}

AnswerPacket HelperProcess::Do(const OrderPacket& order, int fd) {
  Send(order, fd);
  const auto answer = Await(std::chrono::seconds(60));
  VRAMPOOL_CHECK(answer.has_value());
  return *answer;
}

void HelperProcess::Kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

}  // namespace vrampool::testing
