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

}  // namespace

absl::StatusOr<int> Stepper::AwaitStop() {
  int status = 0;
  while (waitpid(pid_, &status, __WALL) < 0) {
    if (errno != EINTR) return Failed("waitpid");
  }
  if (WIFSTOPPED(status)) return WSTOPSIG(status);
  return absl::AbortedError(
      absl::StrCat("the process has ended, status ", status));
}

absl::Status Stepper::AwaitExec() {
  VRAMPOOL_ASSIGN_OR_RETURN(const int signal, AwaitStop());
  if (signal == SIGTRAP) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("stopped by signal ", signal));
}

// Returns at the next SIGTRAP; other signals are delivered.
absl::Status Stepper::Resume(int request) {
  int signal = 0;
  do {
    if (ptrace(static_cast<__ptrace_request>(request), pid_, nullptr, signal) !=
        0) {
      return Failed("ptrace");
    }
    VRAMPOOL_ASSIGN_OR_RETURN(signal, AwaitStop());
  } while (signal != SIGTRAP);
  return absl::OkStatus();
}

absl::Status Stepper::RunToTrap() { return Resume(PTRACE_CONT); }

absl::StatusOr<uint64_t> Stepper::ProgramCounter() {
  user_regs_struct registers{};
  if (ptrace(PTRACE_GETREGS, pid_, nullptr, &registers) != 0) {
    return Failed("PTRACE_GETREGS");
  }
  return registers.rip;
}

// At the first instruction of a function.
absl::StatusOr<uint64_t> Stepper::ReturnAddress() {
  user_regs_struct registers{};
  if (ptrace(PTRACE_GETREGS, pid_, nullptr, &registers) != 0) {
    return Failed("PTRACE_GETREGS");
  }
  errno = 0;
  const long word = ptrace(PTRACE_PEEKTEXT, pid_, registers.rsp, nullptr);
  if (errno != 0) return Failed("PTRACE_PEEKTEXT");
  return static_cast<uint64_t>(word);
}

// No other thread may enter a section meanwhile: it would meet the breakpoint
// without a tracer. Afterwards the process is as if it had never been there.
absl::Status Stepper::RunToEnter(uint64_t enter, bool& is_trap_reached) {
  errno = 0;
  const long word = ptrace(PTRACE_PEEKTEXT, pid_, enter, nullptr);
  if (errno != 0) return Failed("PTRACE_PEEKTEXT");
  const uint64_t patched =
      (static_cast<uint64_t>(word) & ~kByteMask) | kBreakpoint;
  if (ptrace(PTRACE_POKETEXT, pid_, enter, patched) != 0) {
    return Failed("PTRACE_POKETEXT");
  }
  VRAMPOOL_RETURN_IF_ERROR(Resume(PTRACE_CONT));
  if (ptrace(PTRACE_POKETEXT, pid_, enter, word) != 0) {
    return Failed("PTRACE_POKETEXT");
  }
  user_regs_struct registers{};
  if (ptrace(PTRACE_GETREGS, pid_, nullptr, &registers) != 0) {
    return Failed("PTRACE_GETREGS");
  }
  is_trap_reached = registers.rip != enter + 1;
  if (is_trap_reached) return absl::OkStatus();
  registers.rip = enter;
  if (ptrace(PTRACE_SETREGS, pid_, nullptr, &registers) != 0) {
    return Failed("PTRACE_SETREGS");
  }
  return absl::OkStatus();
}

absl::StatusOr<Stepper::Walk> Stepper::WalkSections(const SectionMarks& marks,
                                                    uint64_t steps) {
  Walk walk;
  while (true) {
    VRAMPOOL_RETURN_IF_ERROR(RunToEnter(marks.enter, walk.is_trap_reached));
    if (walk.is_trap_reached) return walk;
    ++walk.sections;
    uint64_t end = 0;  // Where the section's leave returns to, once known.
    while (true) {
      if (walk.steps == steps) return walk;
      VRAMPOOL_RETURN_IF_ERROR(Resume(PTRACE_SINGLESTEP));
      ++walk.steps;
      VRAMPOOL_ASSIGN_OR_RETURN(const uint64_t at, ProgramCounter());
      if (at == marks.leave) {
        VRAMPOOL_ASSIGN_OR_RETURN(end, ReturnAddress());
      }
      if (at == end) break;
    }
  }
}

}  // namespace vrampool::testing
