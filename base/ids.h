// ids.h - the numbers by which both sides name things.
//
// Every id is an enum class, so that one cannot be passed for another. Zero is
// never given out and means "none". Ids count up within one epoch (one life of
// the daemon's state) and are never used twice in it; what travels to a client
// and could outlive a restart travels together with the epoch.

#ifndef VRAMPOOL_BASE_IDS_H_
#define VRAMPOOL_BASE_IDS_H_

#include <cstdint>

namespace vrampool {

enum class Epoch : uint64_t {};
enum class SessionId : uint64_t {};
enum class SlabId : uint64_t {};
enum class LeaseId : uint64_t {};

// An object's place in the published object table and the generation of that
// place: slot in the low kObjectSlotBits bits, generation (from 1) above. The
// same 64 bits are what a client writes into its manifest as a hold.
enum class ObjectId : uint64_t {};

inline constexpr unsigned kObjectSlotBits = 24;
inline constexpr uint64_t kObjectSlotMask =
    (uint64_t{1} << kObjectSlotBits) - 1;
inline constexpr uint64_t kMaxObjectGeneration =
    (uint64_t{1} << (64 - kObjectSlotBits)) - 1;

constexpr ObjectId MakeObjectId(uint64_t slot, uint64_t generation) {
  return ObjectId{(generation << kObjectSlotBits) | (slot & kObjectSlotMask)};
}
constexpr uint64_t ObjectSlot(ObjectId id) {
  return static_cast<uint64_t>(id) & kObjectSlotMask;
}
constexpr uint64_t ObjectGeneration(ObjectId id) {
  return static_cast<uint64_t>(id) >> kObjectSlotBits;
}

// How a slab travels to a client. The values are wire format.
enum class HandleKind : uint32_t {
  kNone = 0,
  kCudaIpc = 1,  // A 64-byte cudaIpcMemHandle.
  kVmmFd = 2,    // A descriptor of a cuMemCreate allocation.
  kHostFd = 3,   // A memfd sealed against resizing.
};

constexpr const char* HandleKindName(HandleKind kind) {
  switch (kind) {
    case HandleKind::kCudaIpc:
      return "CUDA_IPC";
    case HandleKind::kVmmFd:
      return "VMM_FD";
    case HandleKind::kHostFd:
      return "HOST_FD";
    case HandleKind::kNone:
      break;
  }
  return "NONE";
}

}  // namespace vrampool

#endif  // VRAMPOOL_BASE_IDS_H_
