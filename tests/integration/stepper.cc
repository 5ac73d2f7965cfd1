#include "tests/integration/stepper.h"

#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace vrampool::testing {
namespace {

constexpr uint64_t kByteMask = 0xff;
constexpr uint64_t kBreakpoint = 0xcc;  // int3

absl::Status Failed(const char* what) {
  return absl::InternalError(absl::StrCat(what, ": ", std::strerror(errno)));
}

absl::StatusOr<user_regs_struct> RegistersOf(pid_t thread) {
  user_regs_struct registers{};
  if (ptrace(PTRACE_GETREGS, thread, nullptr, &registers) != 0) {
    return Failed("PTRACE_GETREGS");
  }
  return registers;
}

absl::Status Continue(pid_t thread, int request, int signal) {
  if (ptrace(static_cast<__ptrace_request>(request), thread, nullptr, signal) !=
      0) {
    return Failed("ptrace");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Stepper::AwaitExec() {
  VRAMPOOL_ASSIGN_OR_RETURN(const pid_t thread, AwaitTrap());
  if (thread != pid_) return absl::InternalError("another thread stopped");
  if (ptrace(PTRACE_SETOPTIONS, pid_, nullptr, PTRACE_O_TRACECLONE) != 0) {
    return Failed("PTRACE_SETOPTIONS");
  }
  return absl::OkStatus();
}

// The thread that stops by SIGTRAP. Meanwhile threads come and go, and other
// signals are delivered.
absl::StatusOr<pid_t> Stepper::AwaitTrap() {
  while (true) {
    int status = 0;
    const pid_t thread = waitpid(-pid_, &status, __WALL);
    if (thread < 0 && errno == EINTR) continue;
    if (thread < 0) return Failed("waitpid");
    if (!WIFSTOPPED(status)) {
      if (thread != pid_) continue;
      return absl::AbortedError(
          absl::StrCat("the process has ended, status ", status));
    }
    const bool is_new = threads_.insert(thread).second;
    const bool is_event = status >> 16 != 0;  // It has made a thread.
    const int signal = WSTOPSIG(status);
    if (signal == SIGTRAP && !is_event) return thread;
    const bool is_ours = is_event || (is_new && signal == SIGSTOP);
    VRAMPOOL_RETURN_IF_ERROR(
        Continue(thread, PTRACE_CONT, is_ours ? 0 : signal));
  }
}

absl::Status Stepper::Resume(int request) {
  VRAMPOOL_RETURN_IF_ERROR(Continue(thread_, request, 0));
  VRAMPOOL_ASSIGN_OR_RETURN(thread_, AwaitTrap());
  return absl::OkStatus();
}

absl::Status Stepper::RunToTrap() { return Resume(PTRACE_CONT); }

// A thread that has met the breakpoint of a section's beginning is put back
// before it. False: it stopped for something else.
absl::StatusOr<bool> Stepper::StepBackToEnter(pid_t thread) {
  VRAMPOOL_ASSIGN_OR_RETURN(user_regs_struct registers, RegistersOf(thread));
  if (registers.rip != enter_ + 1) return false;
  registers.rip = enter_;
  if (ptrace(PTRACE_SETREGS, thread, nullptr, &registers) != 0) {
    return Failed("PTRACE_SETREGS");
  }
  return true;
}

// One step of the thread. Another one that stops meanwhile has met the
// breakpoint just before it was taken away, or is the main thread with its
// trap.
absl::Status Stepper::StepOnce() {
  const pid_t stepped = thread_;
  VRAMPOOL_RETURN_IF_ERROR(Resume(PTRACE_SINGLESTEP));
  while (thread_ != stepped) {
    VRAMPOOL_ASSIGN_OR_RETURN(const bool is_back, StepBackToEnter(thread_));
    if (is_back) {
      VRAMPOOL_RETURN_IF_ERROR(Continue(thread_, PTRACE_CONT, 0));
    } else {
      is_trap_reached_ = true;
    }
    VRAMPOOL_ASSIGN_OR_RETURN(thread_, AwaitTrap());
  }
  return absl::OkStatus();
}

// At the first instruction of a function.
absl::StatusOr<uint64_t> Stepper::ReturnAddress() {
  VRAMPOOL_ASSIGN_OR_RETURN(const user_regs_struct registers,
                            RegistersOf(thread_));
  errno = 0;
  const long word = ptrace(PTRACE_PEEKTEXT, thread_, registers.rsp, nullptr);
  if (errno != 0) return Failed("PTRACE_PEEKTEXT");
  return static_cast<uint64_t>(word);
}

// Afterwards the process is as if the breakpoint had never been there.
absl::Status Stepper::RunToEnter() {
  if (is_trap_reached_) return absl::OkStatus();
  errno = 0;
  const long word = ptrace(PTRACE_PEEKTEXT, thread_, enter_, nullptr);
  if (errno != 0) return Failed("PTRACE_PEEKTEXT");
  const uint64_t patched =
      (static_cast<uint64_t>(word) & ~kByteMask) | kBreakpoint;
  if (ptrace(PTRACE_POKETEXT, thread_, enter_, patched) != 0) {
    return Failed("PTRACE_POKETEXT");
  }
  VRAMPOOL_RETURN_IF_ERROR(Resume(PTRACE_CONT));
  if (ptrace(PTRACE_POKETEXT, thread_, enter_, word) != 0) {
    return Failed("PTRACE_POKETEXT");
  }
  VRAMPOOL_ASSIGN_OR_RETURN(const bool is_entered, StepBackToEnter(thread_));
  is_trap_reached_ = !is_entered;
  return absl::OkStatus();
}

absl::StatusOr<Stepper::Walk> Stepper::WalkSections(const SectionMarks& marks,
                                                    uint64_t steps) {
  Walk walk;
  enter_ = marks.enter;
  while (true) {
    VRAMPOOL_RETURN_IF_ERROR(RunToEnter());
    walk.is_trap_reached = is_trap_reached_;
    if (walk.is_trap_reached) return walk;
    ++walk.sections;
    uint64_t end = 0;  // Where the section's leave returns to, once known.
    while (true) {
      if (walk.steps == steps) return walk;
      VRAMPOOL_RETURN_IF_ERROR(StepOnce());
      ++walk.steps;
      VRAMPOOL_ASSIGN_OR_RETURN(const user_regs_struct registers,
                                RegistersOf(thread_));
      if (registers.rip == marks.leave) {
        VRAMPOOL_ASSIGN_OR_RETURN(end, ReturnAddress());
      }
      if (registers.rip == end) break;
    }
  }
}

// A tracer hears of the end of each thread, and of the process's after them.
absl::Status Stepper::Kill() {
  if (kill(pid_, SIGKILL) != 0) return Failed("kill");
  while (true) {
    siginfo_t ended{};
    if (waitid(P_PGID, static_cast<id_t>(pid_), &ended,
               WEXITED | WNOWAIT | __WALL) != 0) {
      if (errno == EINTR) continue;
      return Failed("waitid");
    }
    if (ended.si_pid == pid_) return absl::OkStatus();
    (void)waitpid(ended.si_pid, nullptr, __WALL);
  }
}

}  // namespace vrampool::testing
