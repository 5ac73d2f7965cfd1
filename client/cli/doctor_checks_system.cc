// The checks of doctor_checks.h about this machine: files, limits, kernel.

#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/bytes.h"
#include "client/cli/doctor_checks.h"
#include "client/cli/finding.h"

namespace vrampool::cli {
namespace {

// A descriptor per slab, a few per session, and the daemon's own.
constexpr uint64_t kFilesPerSession = 4;
constexpr uint64_t kFilesOfDaemon = 64;
constexpr uint64_t kComfortableFiles = 4096;
// What registering buffers for RDMA or pinning them commonly takes.
constexpr uint64_t kComfortableLocked = uint64_t{64} << 20;

std::string Octal(mode_t mode) {
  char text[16];
  std::snprintf(text, sizeof(text), "%04o", mode & 07777u);
  return text;
}

bool OffersKind(const v1::GetStatusResponse& status, v1::HandleKind wanted) {
  for (const int kind : status.kinds()) {
    if (kind == wanted) return true;
  }
  return false;
}

}  // namespace

report::Finding CheckDirectory(const PathFacts& directory) {
  constexpr char kCheck[] = "directory";
  if (directory.error != 0) {
    return MakeProblem(
        kCheck, {.what = absl::StrCat(directory.path, ": ",
                                      std::strerror(directory.error)),
                 .remedy = "Start a daemon, which makes it, or name the right "
                           "directory with --directory or VRAMPOOL_DIR."});
  }
  if (!S_ISDIR(directory.mode)) {
    return MakeProblem(kCheck, {.what = directory.path + " is no directory",
                                .remedy = "Remove it, or name the right "
                                          "directory with --directory."});
  }
  // A sticky bit does not help: a new name could still be added.
  if ((directory.mode & S_IWOTH) != 0) {
    return MakeProblem(
        kCheck,
        {.what = absl::StrCat(directory.path, " (mode ", Octal(directory.mode),
                              ") can be written to by everybody: anyone could "
                              "put a false daemon's socket into it"),
         .remedy = absl::StrCat("chmod 0755 ", directory.path)});
  }
  return MakeOk(kCheck,
                absl::StrCat(directory.path, ", mode ", Octal(directory.mode),
                             ", owner uid ", directory.uid));
}

report::Finding CheckSocket(const PathFacts& socket,
                            std::optional<uid_t> daemon_uid) {
  constexpr char kCheck[] = "sockets";
  if (socket.error != 0) {
    return MakeProblem(
        kCheck,
        {.what = absl::StrCat(socket.path, ": ", std::strerror(socket.error)),
         .remedy = "Restart the daemon; it makes both its sockets."});
  }
  if (!S_ISSOCK(socket.mode)) {
    return MakeProblem(kCheck, {.what = socket.path + " is no socket",
                                .remedy = "Remove it and restart the daemon."});
  }
  if (daemon_uid.has_value() && socket.uid != *daemon_uid) {
    return MakeProblem(
        kCheck,
        {.what = absl::StrCat(socket.path, " belongs to uid ", socket.uid,
                              ", but the daemon runs as ", *daemon_uid),
         .remedy = "Somebody else may have put it there: find out who, "
                   "remove it and restart the daemon."});
  }
  if ((socket.mode & 0222) == 0) {
    return MakeProblem(
        kCheck,
        {.what = absl::StrCat(socket.path, " has mode ", Octal(socket.mode),
                              ": only root can "
                              "connect"),
         .remedy = "Set socket_mode in the daemon's configuration "
                   "(0666, or 0660 for one group)."});
  }
  return MakeOk(kCheck, absl::StrCat(socket.path, ", mode ", Octal(socket.mode),
                                     ", owner uid ", socket.uid));
}

report::Finding CheckMemory(const SystemFacts& system,
                            const v1::GetStatusResponse* status) {
  constexpr char kCheck[] = "memory";
  if (!system.memory.has_value()) {
    return MakeWarning(kCheck, {.what = "/proc/meminfo cannot be read",
                                .remedy = "Mount /proc."});
  }
  const uint64_t available = system.memory->available_bytes;
  const std::string have =
      absl::StrCat(FormatBytes(Bytes(available)), " of ",
                   FormatBytes(Bytes(system.memory->total_bytes)),
                   " of this machine's memory are available");
  if (status == nullptr || !OffersKind(*status, v1::HANDLE_KIND_HOST_FD)) {
    return MakeOk(kCheck, have);
  }
  const uint64_t growth = status->pool().free_bytes();
  if (growth > available) {
    return MakeWarning(
        kCheck,
        {.what = absl::StrCat(have, ", but the pool may still grow by ",
                              FormatBytes(Bytes(growth)),
                              ": the kernel would have to kill somebody"),
         .remedy = "Give the daemon a smaller pool_size, or free memory; with "
                   "`preallocate` the daemon takes its room at start."});
  }
  return MakeOk(kCheck, absl::StrCat(have, "; the pool may still grow by ",
                                     FormatBytes(Bytes(growth))));
}

report::Finding CheckLimits(const SystemFacts& system,
                            const v1::GetStatusResponse* status) {
  constexpr char kCheck[] = "limits";
  if (!system.limits.has_value()) {
    return MakeWarning(kCheck, {.what = "/proc/self/limits cannot be read",
                                .remedy = "Mount /proc."});
  }
  const char* const whose =
      system.limits_are_daemons ? "the daemon's" : "this shell's";
  const LimitFacts& limits = *system.limits;
  const uint64_t used = status == nullptr
                            ? 0
                            : status->leases() +
                                  kFilesPerSession * status->sessions() +
                                  kFilesOfDaemon;
  if (limits.open_files.has_value() && *limits.open_files < used) {
    return MakeProblem(
        kCheck,
        {.what =
             absl::StrCat(whose, " limit of open files is ", *limits.open_files,
                          ", and about ", used, " are in use"),
         .remedy = "Raise it: LimitNOFILE=65536 in the unit, or ulimit -n."});
  }
  if (limits.open_files.has_value() && *limits.open_files < kComfortableFiles) {
    return MakeWarning(
        kCheck,
        {.what =
             absl::StrCat(whose, " limit of open files is ", *limits.open_files,
                          "; each slab and each session takes some"),
         .remedy = "Raise it: LimitNOFILE=65536 in the unit, or ulimit -n."});
  }
  const bool has_gpu =
      status != nullptr && (OffersKind(*status, v1::HANDLE_KIND_CUDA_IPC) ||
                            OffersKind(*status, v1::HANDLE_KIND_VMM_FD));
  const std::string locked = limits.locked_bytes.has_value()
                                 ? FormatBytes(Bytes(*limits.locked_bytes))
                                 : "unlimited";
  if (has_gpu && limits.locked_bytes.has_value() &&
      *limits.locked_bytes < kComfortableLocked) {
    return MakeWarning(
        kCheck,
        {.what = absl::StrCat(whose, " limit of locked memory is ", locked,
                              "; registering memory for RDMA needs more"),
         .remedy = "Raise it: LimitMEMLOCK=infinity in the unit, or "
                   "ulimit -l."});
  }
  return MakeOk(kCheck, absl::StrCat(whose, " limits: open files ",
                                     limits.open_files.has_value()
                                         ? absl::StrCat(*limits.open_files)
                                         : "unlimited",
                                     ", locked memory ", locked));
}

report::Finding CheckKernel(const KernelFacts& kernel) {
  constexpr char kCheck[] = "kernel";
  if (kernel.memfd_error != 0) {
    return MakeProblem(
        kCheck, {.what = absl::StrCat("no sealed memfd can be made: ",
                                      std::strerror(kernel.memfd_error)),
                 .remedy = "Use Linux 5.3 or newer, and allow memfd_create and "
                           "fcntl seals in the container's seccomp profile."});
  }
  if (kernel.pidfd_error != 0) {
    return MakeProblem(
        kCheck, {.what = absl::StrCat("pidfd_open fails: ",
                                      std::strerror(kernel.pidfd_error)),
                 .remedy = "Use Linux 5.3 or newer, and allow pidfd_open in "
                           "the container's seccomp profile."});
  }
  return MakeOk(kCheck, "sealed memfd and pidfd work");
}

}  // namespace vrampool::cli
