// environment.h - what a client is to do: the caller's options, completed from
// the environment and by defaults, checked.
//
// In a program that runs with raised privileges (AT_SECURE) the environment is
// the caller's, not the program's: the RPC module's path is then not taken from
// it (see rpc_module.h); the rest only chooses a daemon, which is told apart by
// nothing but its socket anyway.
//
// Threads: reads the environment; as getenv.

#ifndef VRAMPOOL_CLIENT_SESSION_ENVIRONMENT_H_
#define VRAMPOOL_CLIENT_SESSION_ENVIRONMENT_H_

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/ids.h"
#include "client/session/status.h"

namespace vrampool::client {

// Of the debug mode (allocator/debug_mode.h).
struct DebugSettings {
  bool is_on = false;
  bool aborts = false;    // After the first report.
  bool protects = false;  // Freed pages of the host cannot be touched.
  Bytes quarantine = MiB(64);
  uint64_t patience_ms = 50;  // With our own copies of a GPU's memory.
};

// Of which allocations the whole stack is recorded (allocator/stack_sampler.h).
struct StackSettings {
  enum class Mode { kOff, kSampled, kAll };
  Mode mode = Mode::kSampled;
  unsigned log2_interval = 22;  // Of bytes.
  bool operator==(const StackSettings&) const = default;
};

struct Settings {
  std::string directory = "/run/vrampool";
  std::string device;  // Empty: the directory's only one.
  std::string name;
  std::string tag;
  std::string framework;
  Bytes slab;     // Zero: as growth_policy.h says.
  Bytes reserve;  // Leased when the client is opened, and kept.
  bool leases_ahead = true;
  uint64_t wait_ms = 0;
  uint64_t idle_ms = 1000;
  // Every call asks whether its stream is capturing.
  bool detects_captures = false;
  DebugSettings debug;
  StackSettings stacks;
  HandleKind kind = HandleKind::kNone;  // kNone: the daemon's default.
};

// InvalidArgument names the variable or option and what it should be.
Result<Settings> ResolveSettings(const vrampool_options* options);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_ENVIRONMENT_H_
