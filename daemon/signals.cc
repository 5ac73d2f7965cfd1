#include "daemon/signals.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace vrampool {

absl::StatusOr<std::unique_ptr<Signals>> Signals::Block() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  const int error = pthread_sigmask(SIG_BLOCK, &set, nullptr);
  UniqueFd signals(error == 0 ? signalfd(-1, &set, SFD_CLOEXEC) : -1);
  UniqueFd cancel(eventfd(0, EFD_CLOEXEC));
  if (!signals.is_valid() || !cancel.is_valid()) {
    return absl::InternalError(
        absl::StrCat("cannot watch for signals: ",
                     std::strerror(error == 0 ? errno : error)));
  }
  signal(SIGPIPE, SIG_IGN);
  return std::unique_ptr<Signals>(
      new Signals(std::move(signals), std::move(cancel)));
}

Signals::Signals(UniqueFd signals, UniqueFd cancel)
    : signals_(std::move(signals)), cancel_(std::move(cancel)) {}

Signals::~Signals() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  // An eventfd at 0 takes a 1 without fail.
  (void)!write(cancel_.get(), &one, sizeof(one));
  thread_.join();
}

void Signals::Watch(std::function<void(std::string_view)> on_stop,
                    std::function<void()> on_hang_up) {
  thread_ =
      std::thread([this, stop = std::move(on_stop),
                   hang_up = std::move(on_hang_up)] { Loop(stop, hang_up); });
}

int Signals::Next() {
  std::array<pollfd, 2> polled = {
      pollfd{.fd = signals_.get(), .events = POLLIN, .revents = 0},
      pollfd{.fd = cancel_.get(), .events = POLLIN, .revents = 0}};
  while (poll(polled.data(), polled.size(), -1) < 0) {
    if (errno != EINTR) return 0;
  }
  signalfd_siginfo info = {};
  if (polled[0].revents == 0 ||
      read(signals_.get(), &info, sizeof(info)) != sizeof(info)) {
    return 0;
  }
  return static_cast<int>(info.ssi_signo);
}

void Signals::Loop(const std::function<void(std::string_view)>& on_stop,
                   const std::function<void()>& on_hang_up) {
  int number = Next();
  while (number == SIGHUP) {
    on_hang_up();
    number = Next();
  }
  if (number != 0) on_stop(number == SIGTERM ? "SIGTERM" : "SIGINT");
}

}  // namespace vrampool
