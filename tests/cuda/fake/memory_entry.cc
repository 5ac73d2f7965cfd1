// The driver's functions for legacy memory and its handles.
//
// Freeing and closing wait for all work of the context and keep launches of
// other threads out meanwhile.

#include <sys/mman.h>

#include <cstring>

#include "tests/cuda/fake/capture.h"
#include "tests/cuda/fake/entry_points.h"
#include "tests/cuda/fake/process.h"

namespace vrampool::cuda {
namespace {

using fake_cuda::Access;
using fake_cuda::Allocation;
using fake_cuda::Engine;
using fake_cuda::MemoryKind;
using fake_cuda::Process;
using fake_cuda::Range;
using fake_cuda::RangeKind;

constexpr uint64_t kHandleMagic = 0x6c64486d656d4146;

// What is in the 64 bytes.
struct HandleContent {
  uint64_t magic;
  uint64_t id;
  uint64_t secret;
};

uint64_t MappedBytes(uint64_t bytes) {
  return (bytes + fake_cuda::kGranularity - 1) & ~(fake_cuda::kGranularity - 1);
}

// Maps the allocation at a multiple of its granularity. 0: no room.
uint64_t MapAligned(const Allocation& allocation) {
  const uint64_t bytes = MappedBytes(allocation.bytes);
  void* const room = ::mmap(nullptr, bytes + fake_cuda::kGranularity, PROT_NONE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return 0;
  const auto start = reinterpret_cast<uint64_t>(room);
  const uint64_t base = MappedBytes(start);
  if (base > start) ::munmap(room, base - start);
  const uint64_t behind = start + fake_cuda::kGranularity - base;
  if (behind > 0) ::munmap(reinterpret_cast<void*>(base + bytes), behind);
  void* const mapped =
      ::mmap(reinterpret_cast<void*>(base), bytes, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_FIXED, allocation.file.get(), 0);
  return mapped == MAP_FAILED ? 0 : base;
}

Result AddRange(const Allocation& allocation, RangeKind kind,
                DevicePtr* pointer) {
  const uint64_t base = MapAligned(allocation);
  if (base == 0) return kOutOfMemory;
  Process::Get().addresses().Add({.base = base,
                                  .bytes = allocation.bytes,
                                  .kind = kind,
                                  .id = allocation.id,
                                  .secret = allocation.secret,
                                  .device = allocation.device});
  *pointer = base;
  return kSuccess;
}

void Unmap(const Range& range) {
  ::munmap(reinterpret_cast<void*>(range.base), MappedBytes(range.bytes));
  Process::Get().book().DropIfUnheld(range.id);
}

}  // namespace

Result cuMemAlloc_v2(DevicePtr* pointer, size_t bytes) {
  Context context = nullptr;
  Process& process = Process::Get();
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.Enter(__func__, &context));
  if (bytes == 0) return kInvalidValue;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(fake_cuda::RefuseUnsafe());
  Allocation allocation;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.book().Create(
      process.entry(),
      {.device = context->device, .bytes = bytes, .kind = MemoryKind::kLegacy},
      &allocation));
  return AddRange(allocation, RangeKind::kOwned, pointer);
}

Result cuMemFree_v2(DevicePtr pointer) {
  Context context = nullptr;
  Process& process = Process::Get();
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.Enter(__func__, &context));
  if (pointer == 0) return kSuccess;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(fake_cuda::RefuseUnsafe());
  const auto found = process.addresses().Find(pointer);
  if (!found.has_value() || found->base != pointer ||
      found->kind != RangeKind::kOwned) {
    return kInvalidValue;
  }
  const Engine::Stall stall(found->device);
  const auto range = process.addresses().Remove(pointer, RangeKind::kOwned);
  if (!range.has_value()) return kInvalidValue;
  process.book().MarkFreed(range->id);
  Unmap(*range);
  return kSuccess;
}

Result cuMemGetAddressRange_v2(DevicePtr* base, size_t* bytes,
                               DevicePtr pointer) {
  Context context = nullptr;
  Process& process = Process::Get();
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.Enter(__func__, &context));
  const auto range = process.addresses().Find(pointer);
  if (!range.has_value()) return kNotFound;
  if (base != nullptr) *base = range->base;
  if (bytes != nullptr) *bytes = range->bytes;
  return kSuccess;
}

Result cuIpcGetMemHandle(IpcMemHandle* handle, DevicePtr pointer) {
  Context context = nullptr;
  Process& process = Process::Get();
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.Enter(__func__, &context));
  const auto range = process.addresses().Find(pointer);
  if (!range.has_value() || range->kind != RangeKind::kOwned) {
    return kInvalidValue;
  }
  const HandleContent content{
      .magic = kHandleMagic, .id = range->id, .secret = range->secret};
  *handle = {};
  std::memcpy(handle->reserved, &content, sizeof(content));
  return kSuccess;
}

Result cuIpcOpenMemHandle_v2(DevicePtr* pointer, IpcMemHandle handle,
                             unsigned flags) {
  Context context = nullptr;
  Process& process = Process::Get();
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.Enter(__func__, &context));
  HandleContent content;
  std::memcpy(&content, handle.reserved, sizeof(content));
  if (flags != kIpcLazyPeerAccess || content.magic != kHandleMagic) {
    return kInvalidValue;
  }
  // Two threads must not both find it closed.
  static Mutex* const opening = new Mutex();
  const MutexLock lock(*opening);
  Allocation allocation;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.book().OpenLegacy(
      process.entry(), content.id, content.secret, &allocation));
  if (const auto again = process.addresses().OpenAgain(content.id)) {
    *pointer = again->base;
    return kSuccess;
  }
  return AddRange(allocation, RangeKind::kImported, pointer);
}

Result cuIpcCloseMemHandle(DevicePtr pointer) {
  Context context = nullptr;
  Process& process = Process::Get();
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.Enter(__func__, &context));
  VRAMPOOL_FAKE_RETURN_IF_ERROR(fake_cuda::RefuseUnsafe());
  const auto found = process.addresses().Find(pointer);
  if (!found.has_value() || found->kind != RangeKind::kImported) {
    return kInvalidValue;
  }
  const Engine::Stall stall(found->device);
  Range closed;
  const int left = process.addresses().Close(pointer, &closed);
  if (left < 0) return kInvalidValue;
  if (left == 0) Unmap(closed);
  return kSuccess;
}

Result cuMemHostAlloc(void** pointer, size_t bytes, unsigned) {
  Context context = nullptr;
  Process& process = Process::Get();
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.Enter(__func__, &context));
  if (bytes == 0) return kInvalidValue;
  void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return kOutOfMemory;
  process.addresses().Add({.base = reinterpret_cast<uint64_t>(memory),
                           .bytes = bytes,
                           .kind = RangeKind::kHost,
                           .device = context->device});
  *pointer = memory;
  return kSuccess;
}

Result cuMemFreeHost(void* pointer) {
  Context context = nullptr;
  Process& process = Process::Get();
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.Enter(__func__, &context));
  const Engine::Stall stall(context->device);
  const auto range = process.addresses().Remove(
      reinterpret_cast<uint64_t>(pointer), RangeKind::kHost);
  if (!range.has_value()) return kInvalidValue;
  ::munmap(pointer, range->bytes);
  return kSuccess;
}

// Of memory that the program has mapped.
Result cuMemHostRegister_v2(void* pointer, size_t bytes, unsigned flags) {
  Context context = nullptr;
  Process& process = Process::Get();
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.Enter(__func__, &context));
  const auto base = reinterpret_cast<uint64_t>(pointer);
  if (bytes == 0 || pointer == nullptr ||
      (flags & ~(kHostRegisterPortable | kHostRegisterDeviceMap)) != 0) {
    return kInvalidValue;
  }
  VRAMPOOL_FAKE_RETURN_IF_ERROR(fake_cuda::RefuseUnsafe());
  const Engine::Stall stall(context->device);
  if (process.addresses().IsTouched(base, bytes)) {
    return kTestHostMemoryAlreadyRegistered;
  }
  process.addresses().Add({.base = base,
                           .bytes = bytes,
                           .kind = RangeKind::kRegistered,
                           .device = context->device});
  return kSuccess;
}

Result cuMemHostUnregister(void* pointer) {
  Context context = nullptr;
  Process& process = Process::Get();
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.Enter(__func__, &context));
  const Engine::Stall stall(context->device);
  const auto range = process.addresses().Remove(
      reinterpret_cast<uint64_t>(pointer), RangeKind::kRegistered);
  return range.has_value() ? kSuccess : kTestHostMemoryNotRegistered;
}

Result cuMemHostGetDevicePointer_v2(DevicePtr* pointer, void* host_pointer,
                                    unsigned flags) {
  Context context = nullptr;
  Process& process = Process::Get();
  VRAMPOOL_FAKE_RETURN_IF_ERROR(process.Enter(__func__, &context));
  const auto address = reinterpret_cast<uint64_t>(host_pointer);
  const auto range = process.addresses().Find(address);
  const bool is_host =
      range.has_value() && (range->kind == RangeKind::kHost ||
                            range->kind == RangeKind::kRegistered);
  if (flags != 0 || !is_host) return kInvalidValue;
  *pointer = address;
  return kSuccess;
}

}  // namespace vrampool::cuda
