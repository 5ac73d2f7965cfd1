// stepper.h - stops a traced process at single instructions of its manifest
// sections (client/session/manifest_section.h).
//
// One thread at a time is stopped, whichever enters a section; the others run
// on. The main thread raises SIGTRAP where the test has something to say to it.
//
// Threads: the thread that started the process, as ptrace(2) has it.

#ifndef VRAMPOOL_TESTS_INTEGRATION_STEPPER_H_
#define VRAMPOOL_TESTS_INTEGRATION_STEPPER_H_

#include <sys/types.h>

#include <cstdint>
#include <set>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace vrampool::testing {

// Where the two marks lie in the process.
struct SectionMarks {
  uint64_t enter = 0;
  uint64_t leave = 0;
};

class Stepper {
 public:
  explicit Stepper(pid_t pid) : pid_(pid), threads_{pid}, thread_(pid) {}

  // Until it has become its program and stands at the first instruction of it.
  absl::Status AwaitExec();
  // Lets it run until it raises SIGTRAP.
  absl::Status RunToTrap();

  struct Walk {
    uint64_t steps = 0;            // Made inside sections.
    uint64_t sections = 0;         // Entered.
    bool is_trap_reached = false;  // The process raised SIGTRAP meanwhile.
  };
  // Lets it run, and inside of sections makes one step after the other, until
  // `steps` steps have been made or it raises SIGTRAP. The thread that did so
  // is stopped then.
  absl::StatusOr<Walk> WalkSections(const SectionMarks& marks, uint64_t steps);

  // SIGKILL. Afterwards its end can be waited for as that of any child.
  absl::Status Kill();

 private:
  absl::StatusOr<pid_t> AwaitTrap();
  absl::Status Resume(int request);
  absl::Status StepOnce();
  absl::StatusOr<uint64_t> ReturnAddress();
  absl::Status RunToEnter();
  absl::StatusOr<bool> StepBackToEnter(pid_t thread);

  const pid_t pid_;
  std::set<pid_t> threads_;  // That have been seen.
  pid_t thread_;             // Stopped; the next to be resumed.
  uint64_t enter_ = 0;       // Where a section begins.
  bool is_trap_reached_ = false;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_INTEGRATION_STEPPER_H_
