// The driver's functions for VMM memory: handles, reserved addresses, mappings.
// None of them waits for work, and none needs a context.

#include <fcntl.h>
#include <sys/mman.h>

#include <map>

#include "tests/cuda/fake/entry_points.h"
#include "tests/cuda/fake/fake_cuda.h"
#include "tests/cuda/fake/process.h"

namespace vrampool::cuda {
namespace {

using fake_cuda::Access;
using fake_cuda::Allocation;
using fake_cuda::kGranularity;
using fake_cuda::MemoryKind;
using fake_cuda::Process;
using fake_cuda::Range;
using fake_cuda::RangeKind;

struct Handle {
  Allocation allocation;
  bool is_imported = false;
  bool is_exportable = false;
};

struct Vmm {
  Mutex mu;
  std::map<MemHandle, Handle> handles VRAMPOOL_GUARDED_BY(mu);
  MemHandle last VRAMPOOL_GUARDED_BY(mu) = 0;
  std::map<uint64_t, uint64_t> reserved VRAMPOOL_GUARDED_BY(mu);
};

Vmm& State() {
  static Vmm* const vmm = new Vmm();
  return *vmm;
}

bool IsWhole(uint64_t bytes) { return bytes > 0 && bytes % kGranularity == 0; }

void* At(uint64_t address) { return reinterpret_cast<void*>(address); }

int Protection(Access access) {
  if (access == Access::kNone) return PROT_NONE;
  return access == Access::kRead ? PROT_READ : PROT_READ | PROT_WRITE;
}

// The directory's index of the device in `location`, or -1.
int DeviceOf(const MemLocation& location) {
  if (location.type != kLocationDevice) return -1;
  return Process::Get().DeviceAt(location.id);
}

void SetAccessOf(Process& process, const std::vector<Range>& tiles, int device,
                 Access access) {
  for (const Range& range : tiles) {
    if (device != range.device) {
      process.addresses().SetPeerAccess(range.base, device, access);
      continue;
    }
    const bool grows =
        static_cast<int>(access) > static_cast<int>(range.access);
    if (!grows) process.addresses().SetAccess(range.base, access);
    ::mprotect(At(range.base), range.bytes, Protection(access));
    if (grows) process.addresses().SetAccess(range.base, access);
  }
}

MemHandle Keep(Handle handle) {
  Vmm& vmm = State();
  const MutexLock lock(vmm.mu);
  vmm.handles.emplace(++vmm.last, std::move(handle));
  return vmm.last;
}

}  // namespace

Result cuMemGetAllocationGranularity(size_t* granularity,
                                     const MemAllocationProp* prop, int) {
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__));
  if (DeviceOf(prop->location) < 0) return kInvalidDevice;
  *granularity = kGranularity;
  return kSuccess;
}

Result cuMemCreate(MemHandle* handle, size_t bytes,
                   const MemAllocationProp* prop, unsigned long long flags) {
  Process& process = Process::Get();
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.Enter(__func__));
  if (!IsWhole(bytes) || flags != 0 || prop->type != kAllocationPinned) {
    return kInvalidValue;
  }
  const int device = DeviceOf(prop->location);
  if (device < 0) return kInvalidDevice;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.device(device).lost);
  Handle made;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.book().Create(
      process.entry(),
      {.device = device, .bytes = bytes, .kind = MemoryKind::kVmm},
      &made.allocation));
  made.is_exportable = (prop->requested_handle_types & kHandlePosixFd) != 0;
  *handle = Keep(std::move(made));
  return kSuccess;
}

Result cuMemRelease(MemHandle handle) {
  Process& process = Process::Get();
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.Enter(__func__));
  Vmm& vmm = State();
  uint64_t id = 0;
  bool is_imported = false;
  {
    const MutexLock lock(vmm.mu);
    const auto found = vmm.handles.find(handle);
    if (found == vmm.handles.end()) return kInvalidValue;
    id = found->second.allocation.id;
    is_imported = found->second.is_imported;
    vmm.handles.erase(found);
  }
  const bool non_isolating =
      process.state()
          ->settings[static_cast<int>(fake_cuda::Setting::kNonIsolating)] != 0;
  if (non_isolating && !is_imported) process.book().MarkFreed(id);
  process.book().DropIfUnheld(id);
  return kSuccess;
}

Result cuMemExportToShareableHandle(void* shareable, MemHandle handle, int type,
                                    unsigned long long flags) {
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__));
  Vmm& vmm = State();
  const MutexLock lock(vmm.mu);
  const auto found = vmm.handles.find(handle);
  if (found == vmm.handles.end() || type != kHandlePosixFd || flags != 0 ||
      found->second.is_imported || !found->second.is_exportable) {
    return kInvalidValue;
  }
  const int fd =
      ::fcntl(found->second.allocation.file.get(), F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return kOutOfMemory;
  *static_cast<int*>(shareable) = fd;
  return kSuccess;
}

Result cuMemImportFromShareableHandle(MemHandle* handle, void* os_handle,
                                      int type) {
  Process& process = Process::Get();
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.Enter(__func__));
  if (type != kHandlePosixFd) return kInvalidValue;
  Handle imported;
  imported.is_imported = true;
  const auto fd = static_cast<int>(reinterpret_cast<intptr_t>(os_handle));
  VRAMPOOL_FAKE_RETURN_IF_ERROR(
      process.book().Identify(fd, &imported.allocation));
  *handle = Keep(std::move(imported));
  return kSuccess;
}

Result cuMemAddressReserve(DevicePtr* pointer, size_t bytes, size_t alignment,
                           DevicePtr address, unsigned long long flags) {
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__));
  if (alignment < kGranularity) alignment = kGranularity;
  if (!IsWhole(bytes) || flags != 0 || (alignment & (alignment - 1)) != 0) {
    return kInvalidValue;
  }
  const size_t room = bytes + alignment;
  if (room < bytes) return kOutOfMemory;
  void* const mapped =
      ::mmap(At(address), room, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return kOutOfMemory;
  const auto start = reinterpret_cast<uint64_t>(mapped);
  const uint64_t base = (start + alignment - 1) & ~(alignment - 1);
  if (base > start) ::munmap(mapped, base - start);
  const uint64_t behind = start + room - (base + bytes);
  if (behind > 0) ::munmap(At(base + bytes), behind);
  Vmm& vmm = State();
  const MutexLock lock(vmm.mu);
  vmm.reserved[base] = bytes;
  *pointer = base;
  return kSuccess;
}

Result cuMemAddressFree(DevicePtr pointer, size_t bytes) {
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__));
  Vmm& vmm = State();
  const MutexLock lock(vmm.mu);
  const auto found = vmm.reserved.find(pointer);
  if (found == vmm.reserved.end() || found->second != bytes ||
      Process::Get().addresses().IsTouched(pointer, bytes)) {
    return kInvalidValue;
  }
  vmm.reserved.erase(found);
  ::munmap(At(pointer), bytes);
  return kSuccess;
}

Result cuMemMap(DevicePtr pointer, size_t bytes, size_t offset,
                MemHandle handle, unsigned long long flags) {
  Process& process = Process::Get();
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.Enter(__func__));
  Vmm& vmm = State();
  const MutexLock lock(vmm.mu);
  const auto found = vmm.handles.find(handle);
  if (found == vmm.handles.end() || !IsWhole(bytes) || offset != 0 ||
      flags != 0 || pointer % kGranularity != 0) {
    return kInvalidValue;
  }
  const Allocation& allocation = found->second.allocation;
  auto room = vmm.reserved.upper_bound(pointer);
  if (bytes > allocation.bytes || room == vmm.reserved.begin()) {
    return kInvalidValue;
  }
  --room;
  if (pointer - room->first > room->second ||
      bytes > room->second - (pointer - room->first) ||
      process.addresses().IsTouched(pointer, bytes)) {
    return kInvalidValue;
  }
  if (::mmap(At(pointer), bytes, PROT_NONE, MAP_SHARED | MAP_FIXED,
             allocation.file.get(), 0) == MAP_FAILED) {
    return kOutOfMemory;
  }
  process.addresses().Add({.base = pointer,
                           .bytes = bytes,
                           .kind = RangeKind::kVmm,
                           .access = Access::kNone,
                           .id = allocation.id,
                           .device = allocation.device});
  return kSuccess;
}

Result cuMemUnmap(DevicePtr pointer, size_t bytes) {
  Process& process = Process::Get();
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.Enter(__func__));
  const auto tiles = process.addresses().Tiles(pointer, bytes, RangeKind::kVmm);
  if (tiles.empty()) return kInvalidValue;
  for (const Range& range : tiles) {
    if (!process.addresses().Remove(range.base, RangeKind::kVmm)) continue;
    ::mmap(At(range.base), range.bytes, PROT_NONE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    process.book().DropIfUnheld(range.id);
  }
  return kSuccess;
}

Result cuMemSetAccess(DevicePtr pointer, size_t bytes,
                      const MemAccessDesc* desc, size_t count) {
  Process& process = Process::Get();
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.Enter(__func__));
  const auto tiles = process.addresses().Tiles(pointer, bytes, RangeKind::kVmm);
  if (tiles.empty() || count == 0) return kInvalidValue;
  for (size_t i = 0; i < count; ++i) {
    const int device = DeviceOf(desc[i].location);
    const auto access = static_cast<Access>(desc[i].flags);
    if (device < 0 || (access != Access::kNone && access != Access::kRead &&
                       access != Access::kReadWrite)) {
      return kInvalidValue;
    }
  }
  for (size_t i = 0; i < count; ++i) {
    SetAccessOf(process, tiles, DeviceOf(desc[i].location),
                static_cast<Access>(desc[i].flags));
  }
  return kSuccess;
}

Result cuMemGetAccess(unsigned long long* flags, const MemLocation* location,
                      DevicePtr pointer) {
  Process& process = Process::Get();
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.Enter(__func__));
  const auto range = process.addresses().Find(pointer);
  if (!range || range->kind != RangeKind::kVmm || DeviceOf(*location) < 0) {
    return kInvalidValue;
  }
  const int device = DeviceOf(*location);
  Access access = range->access;
  if (device != range->device) {
    const auto peer = range->peers.find(device);
    access = peer == range->peers.end() ? Access::kNone : peer->second;
  }
  *flags = static_cast<unsigned long long>(access);
  return kSuccess;
}

}  // namespace vrampool::cuda
