#include "tests/daemon/attach/client_process.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <utility>

#include "base/check.h"
#include "tests/daemon/attach/attach_client.h"

namespace vrampool::testing {
namespace {

constexpr char kAttach = 'a';
constexpr char kClose = 'c';
constexpr char kFork = 'f';

// A child that holds on to every descriptor it inherited until the leash ends.
bool ForkHolder(int orders, int leash) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(orders);
    char byte;
    (void)!::read(leash, &byte, 1);
    ::_exit(0);
  }
  return child > 0;
}

[[noreturn]] void Serve(const std::string& path, int orders, int leash) {
  AttachClient client{UniqueFd()};
  char order;
  while (::recv(orders, &order, 1, 0) == 1) {
    bool worked = false;
    if (order == kAttach) {
      client = AttachClient(ConnectTo(path, SOCK_SEQPACKET));
      worked = client.Send(HelloBytes()) &&
               client.Receive().type() == attach::MessageType::kWelcome;
    } else if (order == kClose) {
      client.Close();
      worked = true;
    } else if (order == kFork) {
      worked = ForkHolder(orders, leash);
    }
    const char answer = worked ? 1 : 0;
    if (::send(orders, &answer, 1, MSG_NOSIGNAL) != 1) break;
  }
  ::_exit(0);
}

}  // namespace

ClientProcess::ClientProcess(std::string path) : path_(std::move(path)) {
  int pair[2];
  int leash[2];
  VRAMPOOL_CHECK(
      ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
  VRAMPOOL_CHECK(::pipe2(leash, O_CLOEXEC) == 0);
  orders_.reset(pair[0]);
  child_leash_.reset(leash[1]);
  UniqueFd their_orders(pair[1]);
  UniqueFd their_leash(leash[0]);
  pid_ = ::fork();
  VRAMPOOL_CHECK(pid_ >= 0);
  if (pid_ == 0) {
    orders_.reset();
    child_leash_.reset();
    Serve(path_, their_orders.get(), their_leash.get());
  }
}

ClientProcess::~ClientProcess() {
  EndChild();
  if (pid_ > 0) Kill();
}

bool ClientProcess::Order(char order) {
  char answer = 0;
  return ::send(orders_.get(), &order, 1, MSG_NOSIGNAL) == 1 &&
         ::recv(orders_.get(), &answer, 1, 0) == 1 && answer == 1;
}

bool ClientProcess::Attach() { return Order(kAttach); }
bool ClientProcess::CloseSocket() { return Order(kClose); }
bool ClientProcess::Fork() { return Order(kFork); }

void ClientProcess::Kill() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void ClientProcess::EndChild() { child_leash_.reset(); }

}  // namespace vrampool::testing
