// stepper.h - stops a traced process at single instructions of its manifest
// sections (client/session/manifest_section.h).
//
// Only the main thread of the process is traced; the others run on. The process
// raises SIGTRAP where the test has something to say to it.
//
// Threads: the thread that started the process, as ptrace(2) has it.

#ifndef VRAMPOOL_TESTS_INTEGRATION_STEPPER_H_
#define VRAMPOOL_TESTS_INTEGRATION_STEPPER_H_

#include <sys/types.h>

#include <cstdint>

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
  explicit Stepper(pid_t pid) : pid_(pid) {}

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
  // `steps` steps have been made or it raises SIGTRAP. It is stopped then.
  absl::StatusOr<Walk> WalkSections(const SectionMarks& marks, uint64_t steps);

 private:
  absl::Status Resume(int request);
  absl::StatusOr<int> AwaitStop();
  absl::StatusOr<uint64_t> ProgramCounter();
  absl::StatusOr<uint64_t> ReturnAddress();
  absl::Status RunToEnter(uint64_t enter, bool& is_trap_reached);

  const pid_t pid_;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_INTEGRATION_STEPPER_H_
