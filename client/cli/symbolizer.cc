#include "client/cli/symbolizer.h"

#include <elf.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <string_view>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/unique_fd.h"
#include "client/cli/text.h"

namespace vrampool::cli {
namespace {

constexpr size_t kMaxParts = 1024;
constexpr size_t kMaxNotes = 64 << 10;
constexpr size_t kMaxBuildId = 64;
constexpr size_t kMaxOutput = 4 << 20;
constexpr size_t kMaxAddresses = 1000;
constexpr size_t kMaxName = 400;
constexpr size_t kMaxInlined = 4;  // Functions at one address.
constexpr std::chrono::seconds kPatience(10);

// Fills `size` bytes, or says no.
bool ReadAt(int file, uint64_t offset, void* data, size_t size) {
  if (offset > static_cast<uint64_t>(INT64_MAX) - size) return false;
  size_t done = 0;
  while (done < size) {
    const ssize_t got = ::pread(file, static_cast<char*>(data) + done,
                                size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    done += static_cast<size_t>(got);
  }
  return true;
}

uint64_t Aligned(uint64_t size) { return (size + 3) / 4 * 4; }

std::optional<std::string> BuildIdIn(std::string_view notes) {
  while (notes.size() >= sizeof(Elf64_Nhdr)) {
    Elf64_Nhdr head;
    std::memcpy(&head, notes.data(), sizeof(head));
    notes.remove_prefix(sizeof(head));
    const uint64_t name = Aligned(head.n_namesz);
    const uint64_t length = name + Aligned(head.n_descsz);
    if (length > notes.size()) return std::nullopt;
    if (head.n_type == NT_GNU_BUILD_ID && head.n_namesz == 4 &&
        notes.substr(0, 4) == std::string_view("GNU", 4) &&
        head.n_descsz <= kMaxBuildId) {
      return absl::BytesToHexString(
          absl::string_view(notes.data() + name, head.n_descsz));
    }
    notes.remove_prefix(length);
  }
  return std::nullopt;
}

// The file with the module's code, opened; not valid if there is none that is
// surely it.
UniqueFd OpenModule(const v1::Module& module,
                    const v1::ProcessIdentity& process, bool is_live) {
  std::vector<std::string> paths = {module.path()};
  if (is_live) {
    paths.push_back(
        absl::StrCat("/proc/", process.pid(), "/root", module.path()));
  }
  for (const std::string& path : paths) {
    if (module.build_id().empty() || path.empty() || path[0] != '/') continue;
    // Without blocking: a client could name a pipe.
    UniqueFd file(
        ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    struct stat facts {};
    if (file.is_valid() && ::fstat(file.get(), &facts) == 0 &&
        S_ISREG(facts.st_mode) &&
        ReadBuildId(file.get()) == module.build_id()) {
      return file;
    }
  }
  return UniqueFd();
}

// In the child: nothing but system calls, until addr2line runs or it ends.
[[noreturn]] void RunAddr2line(int file, int output, uid_t uid, gid_t gid,
                               char* const* arguments) {
  constexpr int kCannot = 127;
  // As the client's user it reads nothing that the client could not.
  // The bare calls: the C library's would look after other threads.
  if (::geteuid() == 0 && (::syscall(SYS_setgroups, 0, nullptr) != 0 ||
                           ::syscall(SYS_setresgid, gid, gid, gid) != 0 ||
                           ::syscall(SYS_setresuid, uid, uid, uid) != 0)) {
    ::_exit(kCannot);
  }
  const int nothing = ::open("/dev/null", O_RDWR);
  if (nothing < 0 || ::dup2(nothing, 0) < 0 || ::dup2(output, 1) < 0 ||
      ::dup2(nothing, 2) < 0 || ::dup2(file, 3) < 0 ||
      ::fcntl(3, F_SETFD, 0) != 0) {
    ::_exit(kCannot);
  }
  ::execvp(arguments[0], arguments);
  ::_exit(kCannot);
}

// What `child` writes, until it ends or its time is up; then it is no more.
std::string ReadAll(int from, pid_t child) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  std::string output;
  char piece[1 << 14];
  while (output.size() < kMaxOutput) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd ready = {.fd = from, .events = POLLIN, .revents = 0};
    if (left.count() <= 0 ||
        ::poll(&ready, 1, static_cast<int>(left.count())) == 0) {
      break;
    }
    const ssize_t got = ::read(from, piece, sizeof(piece));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    output.append(piece, static_cast<size_t>(got));
  }
  ::kill(child, SIGKILL);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) continue;
  return output;
}

// Of a line with nothing else.
std::optional<uint64_t> AddressIn(const std::string& line) {
  uint64_t address = 0;
  const char* const end = line.data() + line.size();
  if (line.compare(0, 2, "0x") != 0) return std::nullopt;
  const auto read = std::from_chars(line.data() + 2, end, address, 16);
  if (read.ec != std::errc() || read.ptr != end) return std::nullopt;
  return address;
}

// Empty if it is not known.
std::string NameIn(const std::string& function, const std::string& place) {
  if (function.empty() || function == "??" || place.empty()) return "";
  std::string line = place.substr(0, place.find(" ("));
  const bool is_known = line.compare(0, 2, "??") != 0;
  line = line.substr(line.rfind('/') + 1);
  return is_known ? absl::StrCat(function, " at ", line) : function;
}

// Without our header's functions that the innermost ones are, and not too many:
// what called them is what is asked for.
std::vector<std::string> WithoutWrappers(std::vector<std::string> functions) {
  constexpr std::string_view kOurs = "vrampool::cpp::";
  while (functions.size() > 1 &&
         functions[0].compare(0, kOurs.size(), kOurs) == 0) {
    functions.erase(functions.begin());
  }
  if (functions.size() > kMaxInlined) functions.resize(kMaxInlined);
  return functions;
}

}  // namespace

std::optional<std::string> ReadBuildId(int file) {
  Elf64_Ehdr head;
  if (!ReadAt(file, 0, &head, sizeof(head)) ||
      std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 ||
      head.e_ident[EI_CLASS] != ELFCLASS64 ||
      head.e_phentsize != sizeof(Elf64_Phdr) || head.e_phnum > kMaxParts) {
    return std::nullopt;
  }
  for (uint64_t i = 0; i < head.e_phnum; ++i) {
    Elf64_Phdr part;
    if (!ReadAt(file, head.e_phoff + i * sizeof(part), &part, sizeof(part))) {
      return std::nullopt;
    }
    if (part.p_type != PT_NOTE || part.p_filesz > kMaxNotes) continue;
    std::string notes(part.p_filesz, '\0');
    if (!ReadAt(file, part.p_offset, notes.data(), notes.size())) continue;
    if (auto found = BuildIdIn(notes); found.has_value()) return found;
  }
  return std::nullopt;
}

std::map<uint64_t, std::string> ParseNames(const std::string& output,
                                           uint64_t bias) {
  std::map<uint64_t, std::string> names;
  const std::vector<std::string> lines = absl::StrSplit(output, '\n');
  size_t i = 0;
  while (i + 2 < lines.size()) {
    const std::optional<uint64_t> address = AddressIn(lines[i++]);
    if (!address.has_value()) break;
    std::vector<std::string> functions;  // The innermost first.
    for (; i + 1 < lines.size() && !AddressIn(lines[i]); i += 2) {
      if (const std::string name = NameIn(lines[i], lines[i + 1]);
          !name.empty()) {
        functions.push_back(name);
      }
    }
    if (functions.empty()) continue;
    names[*address + bias + 1] = Printable(
        absl::StrJoin(WithoutWrappers(functions), ", in ").substr(0, kMaxName));
  }
  return names;
}

std::map<uint64_t, std::string> Symbolize(const v1::Module& module,
                                          const v1::ProcessIdentity& process,
                                          bool is_live,
                                          const std::set<uint64_t>& addresses) {
  const UniqueFd file = OpenModule(module, process, is_live);
  if (!file.is_valid()) return {};
  std::vector<std::string> words = {
      "addr2line", "-f", "-C", "-a", "-i", "-e", "/proc/self/fd/3"};
  for (const uint64_t address : addresses) {
    if (words.size() == kMaxAddresses) break;
    words.push_back(absl::StrCat("0x", absl::Hex(address - module.bias() - 1)));
  }
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return {};
  const UniqueFd out(ends[0]);
  UniqueFd in(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return {};
  if (child == 0) {
    RunAddr2line(file.get(), in.get(), process.uid(), process.gid(),
                 arguments.data());
  }
  in = UniqueFd();
  return ParseNames(ReadAll(out.get(), child), module.bias());
}

}  // namespace vrampool::cli
