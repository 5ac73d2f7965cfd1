#include "daemon/device/cuda/peer_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace vrampool {
namespace {

using std::chrono::steady_clock;

// Between fork and exec only what a signal handler may do: other threads of
// the parent, the driver's among them, are not there.
[[noreturn]] void BecomePeer(int socket, const char* program,
                             const char* uuid) {
  // dup2 onto itself would leave it to be closed by exec.
  const bool is_kept = socket == peer::kSocket
                           ? ::fcntl(socket, F_SETFD, 0) == 0
                           : ::dup2(socket, peer::kSocket) >= 0;
  char* const words[] = {const_cast<char*>("vrampoold"),
                         const_cast<char*>(peer::kFlag),
                         const_cast<char*>(uuid), nullptr};
  if (is_kept) ::execv(program, words);
  ::_exit(127);
}

}  // namespace

absl::StatusOr<std::unique_ptr<PeerProcess>> PeerProcess::Start(
    const Options& options) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    return absl::InternalError(
        absl::StrCat("socketpair: ", std::strerror(errno)));
  }
  UniqueFd ours(pair[0]);
  UniqueFd theirs(pair[1]);
  const pid_t pid = ::fork();
  if (pid < 0) {
    return absl::InternalError(absl::StrCat("fork: ", std::strerror(errno)));
  }
  if (pid == 0) {
    BecomePeer(theirs.get(), options.program.c_str(), options.gpu_uuid.c_str());
  }
  theirs.reset();  // Or its end would not be seen.
  // The constructor is private, so make_unique cannot reach it.
  std::unique_ptr<PeerProcess> peer(
      new PeerProcess(std::move(ours), pid, options.patience));
  VRAMPOOL_RETURN_IF_ERROR(peer->AwaitAnswer().status());
  return peer;
}

PeerProcess::PeerProcess(UniqueFd socket, pid_t pid, absl::Duration patience)
    : socket_(std::move(socket)),
      pid_(pid),
      deadline_(steady_clock::now() + absl::ToChronoMilliseconds(patience)) {}

PeerProcess::~PeerProcess() {
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

absl::StatusOr<bool> PeerProcess::AwaitAnswer() {
  pollfd wanted = {.fd = socket_.get(), .events = POLLIN, .revents = 0};
  int ready = 0;
  do {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline_ - steady_clock::now());
    ready = ::poll(&wanted, 1,
                   static_cast<int>(std::max<int64_t>(left.count(), 0)));
  } while (ready < 0 && errno == EINTR);
  if (ready <= 0) {
    return absl::DeadlineExceededError(
        "the process that should map the slab does not answer");
  }
  peer::Answer answer;
  if (!peer::Receive(socket_.get(), answer)) {
    return absl::InternalError(
        "the process that should map the slab has ended");
  }
  if (answer.is_ok) return answer.is_true;
  answer.text.back() = '\0';
  return absl::InternalError(
      absl::StrCat("in another process: ", answer.text.data()));
}

absl::StatusOr<bool> PeerProcess::Give(const peer::Order& order, int fd) {
  if (!peer::Send(socket_.get(), order, fd)) {
    return absl::InternalError(
        "the process that should map the slab has ended");
  }
  return AwaitAnswer();
}

absl::Status PeerProcess::Map(uint64_t place, ExportedHandle handle,
                              Bytes size) {
  peer::Order order = {};
  order.verb = peer::Verb::kMap;
  order.kind = handle.kind;
  order.place = place;
  order.size_bytes = size.count();
  order.handle = handle.bytes;
  return Give(order, handle.fd.get()).status();
}

absl::Status PeerProcess::Fill(uint64_t place, uint8_t value) {
  peer::Order order = {};
  order.verb = peer::Verb::kFill;
  order.place = place;
  order.value = value;
  return Give(order, -1).status();
}

absl::StatusOr<bool> PeerProcess::IsFilledWith(uint64_t place, uint8_t value) {
  peer::Order order = {};
  order.verb = peer::Verb::kIsFilledWith;
  order.place = place;
  order.value = value;
  return Give(order, -1);
}

absl::Status PeerProcess::Unmap(uint64_t place) {
  peer::Order order = {};
  order.verb = peer::Verb::kUnmap;
  order.place = place;
  return Give(order, -1).status();
}

}  // namespace vrampool
