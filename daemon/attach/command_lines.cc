#include "daemon/attach/command_lines.h"

#include <optional>
#include <thread>
#include <utility>

#include "base/mutex.h"

namespace vrampool {

using Steady = std::chrono::steady_clock;

struct CommandLines::Shared {
  explicit Shared(Options given) : options(std::move(given)) {}

  void Run() VRAMPOOL_EXCLUDES(mu);

  const Options options;
  Mutex mu;
  CondVar changed;
  std::optional<pid_t> asked VRAMPOOL_GUARDED_BY(mu);
  std::optional<std::string> answer VRAMPOOL_GUARDED_BY(mu);
  bool is_reading VRAMPOOL_GUARDED_BY(mu) = false;
  bool is_asked VRAMPOOL_GUARDED_BY(mu) = false;  // Somebody waits.
  bool is_ending VRAMPOOL_GUARDED_BY(mu) = false;
  Steady::time_point rests_until VRAMPOOL_GUARDED_BY(mu);
};

void CommandLines::Shared::Run() {
  while (true) {
    pid_t pid = 0;
    {
      MutexLock lock(mu);
      while (!asked.has_value() && !is_ending) changed.Wait(lock);
      if (is_ending) return;
      pid = *std::exchange(asked, std::nullopt);
    }
    std::string text = options.read(pid);
    MutexLock lock(mu);
    is_reading = false;
    answer = std::move(text);
    changed.NotifyAll();
  }
}

CommandLines::CommandLines(Options options)
    : shared_(std::make_shared<Shared>(std::move(options))) {
  std::thread([shared = shared_] { shared->Run(); }).detach();
}

CommandLines::~CommandLines() {
  MutexLock lock(shared_->mu);
  shared_->is_ending = true;
  shared_->changed.NotifyAll();
}

std::string CommandLines::Of(pid_t pid) {
  Shared& shared = *shared_;
  const Steady::time_point now = Steady::now();
  const Steady::time_point deadline = now + shared.options.patience;
  MutexLock lock(shared.mu);
  if (shared.is_asked || shared.is_reading || now < shared.rests_until) {
    return "";
  }
  shared.asked = pid;
  shared.answer.reset();
  shared.is_asked = true;
  shared.is_reading = true;
  shared.changed.NotifyAll();
  while (!shared.answer.has_value()) {
    if (shared.changed.WaitUntil(lock, deadline)) continue;
    if (shared.answer.has_value()) break;
    shared.rests_until = Steady::now() + shared.options.rest;
    shared.is_asked = false;
    return "";
  }
  shared.is_asked = false;
  return *std::move(shared.answer);
}

}  // namespace vrampool
