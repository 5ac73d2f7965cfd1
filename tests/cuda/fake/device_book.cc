#include "tests/cuda/fake/device_book.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <string>

#include "tests/cuda/fake/fake_cuda.h"

namespace vrampool::fake_cuda {
namespace {

uint64_t RoundUp(uint64_t bytes) {
  return (bytes + kGranularity - 1) / kGranularity * kGranularity;
}

uint64_t RandomSecret() {
  uint64_t secret = 0;
  (void)::getrandom(&secret, sizeof(secret), 0);
  return secret;
}

// A driver that clears nothing: something is left in every page.
void WriteResidue(int fd, uint64_t bytes) {
  constexpr uint64_t kResidue = 0x6563616465736552;
  for (uint64_t offset = 0; offset < bytes; offset += uint64_t{64} << 10) {
    (void)!::pwrite(fd, &kResidue, sizeof(kResidue),
                    static_cast<off_t>(offset));
  }
}

}  // namespace

AllocationEntry* DeviceBook::Find(uint64_t id) {
  if (id == 0) return nullptr;
  for (uint32_t i = 0; i < state().allocations_end; ++i) {
    if (state().allocations[i].id == id) return &state().allocations[i];
  }
  return nullptr;
}

AllocationEntry* DeviceBook::FreeEntry() {
  for (uint32_t i = 0; i < kMaxAllocations; ++i) {
    if (state().allocations[i].id != 0) continue;
    if (i >= state().allocations_end) state().allocations_end = i + 1;
    return &state().allocations[i];
  }
  return nullptr;
}

bool DeviceBook::DropEntryIfUnheld(AllocationEntry& entry) {
  const std::string path = directory_.Path("memory", entry.id);
  if (!IsUnheld(path)) return false;
  ::unlink(path.c_str());
  entry.id = 0;
  return true;
}

void DeviceBook::Sweep(int device) {
  for (uint32_t i = 0; i < state().allocations_end; ++i) {
    AllocationEntry& entry = state().allocations[i];
    if (entry.id != 0 && entry.device == static_cast<uint32_t>(device)) {
      DropEntryIfUnheld(entry);
    }
  }
  for (ProcessEntry& process : state().processes) {
    if (process.serial == 0) continue;
    const std::string path = directory_.Path("process", process.serial);
    if (!IsUnheld(path)) continue;
    process.serial = 0;
    ::unlink(path.c_str());
  }
}

uint64_t DeviceBook::Charged(int device) {
  uint64_t charged = 0;
  for (uint32_t i = 0; i < state().allocations_end; ++i) {
    const AllocationEntry& entry = state().allocations[i];
    if (entry.id != 0 && entry.device == static_cast<uint32_t>(device)) {
      charged += entry.bytes;
    }
  }
  for (const ProcessEntry& process : state().processes) {
    if (process.serial != 0 && (process.contexts >> device & 1) != 0) {
      charged += state().context_bytes;
    }
  }
  return charged;
}

bool DeviceBook::Fits(int device, uint64_t bytes) {
  const uint64_t total = state().devices[device].total_bytes;
  const auto fits = [&] {
    const uint64_t charged = Charged(device);
    return charged <= total && bytes <= total - charged;
  };
  if (fits()) return true;
  Sweep(device);
  return fits();
}

ProcessEntry* DeviceBook::Register(UniqueFd& life) {
  const Directory::Lock lock(directory_);
  Sweep(-1);
  for (ProcessEntry& entry : state().processes) {
    if (entry.serial != 0) continue;
    const uint64_t serial = ++state().last_id;
    life = OpenLocked(directory_.Path("process", serial), O_CREAT,
                      FileLock::kExclusive);
    if (!life.is_valid()) return nullptr;
    entry.pid = ::getpid();
    entry.contexts = 0;
    entry.broken = 0;
    entry.serial = serial;
    return &entry;
  }
  return nullptr;
}

UniqueFd DeviceBook::NewFile(uint64_t id, uint64_t bytes) {
  UniqueFd file = OpenLocked(directory_.Path("memory", id), O_CREAT | O_EXCL,
                             FileLock::kShared);
  if (!file.is_valid()) return file;
  if (::ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) file.reset();
  return file;
}

// A driver that does not isolate gives the same pages to the next who asks.
UniqueFd DeviceBook::RecycledFile(uint64_t id, uint64_t bytes) {
  const std::string freed = directory_.Path("recycled", 0);
  struct stat facts {};
  if (::stat(freed.c_str(), &facts) != 0 ||
      static_cast<uint64_t>(facts.st_size) < bytes) {
    return UniqueFd();
  }
  const std::string path = directory_.Path("memory", id);
  if (::rename(freed.c_str(), path.c_str()) != 0) return UniqueFd();
  return OpenLocked(path, 0, FileLock::kShared);
}

cuda::Result DeviceBook::Create(const ProcessEntry& owner,
                                const AllocationRequest& request,
                                Allocation* out) {
  const Directory::Lock lock(directory_);
  const uint64_t total = state().devices[request.device].total_bytes;
  if (request.bytes > total) return cuda::kOutOfMemory;
  const uint64_t bytes = RoundUp(request.bytes);
  if (!Fits(request.device, bytes)) return cuda::kOutOfMemory;
  AllocationEntry* const entry = FreeEntry();
  if (entry == nullptr) return cuda::kOutOfMemory;
  const uint64_t id = ++state().last_id;
  UniqueFd file = RecycledFile(id, bytes);
  if (!file.is_valid()) file = NewFile(id, bytes);
  struct stat facts {};
  if (!file.is_valid() || ::fstat(file.get(), &facts) != 0) {
    return cuda::kOutOfMemory;
  }
  if (state().settings[static_cast<int>(Setting::kDirty)] != 0) {
    WriteResidue(file.get(), bytes);
  }
  entry->bytes = bytes;
  entry->asked_bytes = request.bytes;
  entry->secret = RandomSecret();
  entry->inode = facts.st_ino;
  entry->owner = owner.serial;
  entry->device = static_cast<uint32_t>(request.device);
  entry->kind = request.kind;
  entry->is_freed = 0;
  entry->id = id;
  *out = {.id = id,
          .bytes = request.bytes,
          .secret = entry->secret,
          .device = request.device,
          .file = std::move(file)};
  return cuda::kSuccess;
}

cuda::Result DeviceBook::OpenLegacy(const ProcessEntry& opener, uint64_t id,
                                    uint64_t secret, Allocation* out) {
  const Directory::Lock lock(directory_);
  if (id == 0 || id > state().last_id) return cuda::kInvalidValue;
  AllocationEntry* const entry = Find(id);
  if (entry == nullptr) return cuda::kNotPermitted;
  if (entry->kind != MemoryKind::kLegacy || entry->secret != secret) {
    return cuda::kInvalidValue;
  }
  if (entry->owner == opener.serial) return cuda::kInvalidContext;
  if (entry->is_freed != 0 ||
      IsUnheld(directory_.Path("process", entry->owner))) {
    return cuda::kNotPermitted;
  }
  UniqueFd file =
      OpenLocked(directory_.Path("memory", id), 0, FileLock::kShared);
  if (!file.is_valid()) return cuda::kNotPermitted;
  *out = {.id = id,
          .bytes = entry->asked_bytes,
          .secret = secret,
          .device = static_cast<int>(entry->device),
          .file = std::move(file)};
  return cuda::kSuccess;
}

cuda::Result DeviceBook::Identify(int fd, Allocation* out) {
  struct stat facts {};
  if (::fstat(fd, &facts) != 0) return cuda::kInvalidValue;
  const Directory::Lock lock(directory_);
  for (uint32_t i = 0; i < state().allocations_end; ++i) {
    const AllocationEntry& entry = state().allocations[i];
    if (entry.id == 0 || entry.inode != facts.st_ino ||
        entry.kind != MemoryKind::kVmm) {
      continue;
    }
    struct stat ours {};
    const std::string path = directory_.Path("memory", entry.id);
    if (::stat(path.c_str(), &ours) != 0 || ours.st_dev != facts.st_dev) {
      continue;
    }
    UniqueFd file(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!file.is_valid()) return cuda::kOutOfMemory;
    *out = {.id = entry.id,
            .bytes = entry.asked_bytes,
            .secret = entry.secret,
            .device = static_cast<int>(entry.device),
            .file = std::move(file)};
    return cuda::kSuccess;
  }
  return cuda::kInvalidValue;
}

void DeviceBook::MarkFreed(uint64_t id) {
  const Directory::Lock lock(directory_);
  AllocationEntry* const entry = Find(id);
  if (entry == nullptr) return;
  entry->is_freed = 1;
  if (state().settings[static_cast<int>(Setting::kNonIsolating)] == 0) return;
  // Its bytes count as free at once, and go to whoever comes next.
  const std::string path = directory_.Path("memory", id);
  ::rename(path.c_str(), directory_.Path("recycled", 0).c_str());
  entry->id = 0;
}

void DeviceBook::DropIfUnheld(uint64_t id) {
  const Directory::Lock lock(directory_);
  AllocationEntry* const entry = Find(id);
  if (entry != nullptr) DropEntryIfUnheld(*entry);
}

cuda::Result DeviceBook::AddContext(ProcessEntry& process, int device) {
  const Directory::Lock lock(directory_);
  if (!Fits(device, state().context_bytes)) return cuda::kOutOfMemory;
  process.contexts |= 1U << device;
  return cuda::kSuccess;
}

void DeviceBook::RemoveContext(ProcessEntry& process, int device) {
  const Directory::Lock lock(directory_);
  process.contexts &= ~(1U << device);
}

uint64_t DeviceBook::FreeBytes(int device) {
  const Directory::Lock lock(directory_);
  Sweep(device);
  const uint64_t total = state().devices[device].total_bytes;
  const uint64_t charged = Charged(device);
  return charged < total ? total - charged : 0;
}

std::vector<RunningProcess> DeviceBook::ProcessesOn(int device) {
  const Directory::Lock lock(directory_);
  Sweep(device);
  std::vector<RunningProcess> running;
  for (const ProcessEntry& process : state().processes) {
    if (process.serial == 0) continue;
    const bool has_context = (process.contexts >> device & 1) != 0;
    RunningProcess one{.pid = process.pid,
                       .bytes = has_context ? state().context_bytes : 0};
    for (uint32_t i = 0; i < state().allocations_end; ++i) {
      const AllocationEntry& entry = state().allocations[i];
      if (entry.id != 0 && entry.is_freed == 0 &&
          entry.owner == process.serial &&
          entry.device == static_cast<uint32_t>(device)) {
        one.bytes += entry.bytes;
      }
    }
    if (has_context || one.bytes > 0) running.push_back(one);
  }
  return running;
}

bool DeviceBook::ProcessIsAlive(uint64_t serial) {
  return !IsUnheld(directory_.Path("process", serial));
}

}  // namespace vrampool::fake_cuda
