// control_channel.h - the calls a session makes to its daemon.
//
// The library knows only this interface; the one that speaks gRPC is a module
// of its own (client/rpc), opened at run time, and tests bring theirs.
//
// Nothing that owns heap memory crosses it, in either direction: the module is
// loaded with RTLD_DEEPBIND and may use another malloc than the library does
// (an application that replaces malloc shows it to the library, not to the
// module). So requests point at the caller's memory for the length of the call,
// and replies are fixed-size structs that the caller provides. Nothing throws.
//
// Every call has a deadline: `wait_ms` where the call can wait, and a margin
// for the round trip.
//
// Threads: thread-safe; calls block.

#ifndef VRAMPOOL_CLIENT_SESSION_CONTROL_CHANNEL_H_
#define VRAMPOOL_CLIENT_SESSION_CONTROL_CHANNEL_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/ids.h"
#include "base/tensor_layout.h"

namespace vrampool::client {

inline constexpr size_t kMaxBuffers = 64;
inline constexpr size_t kMaxMetadataBytes = 64 << 10;
inline constexpr size_t kMaxNameBytes = 255;
inline constexpr size_t kMaxGrants = 16;
// Of a tenant's path: 8 components of 64 characters, and the slashes.
inline constexpr size_t kMaxTenantBytes = 8 * 65;
inline constexpr uint64_t kNoNumber = ~uint64_t{0};
inline constexpr uint64_t kMaxWaitMs = 3600 * 1000;

using IdempotencyKey = std::array<uint8_t, 16>;
using ObjectSecret = std::array<uint8_t, 16>;

// What kind of failure; the values of gRPC's status codes.
enum class CallCode : uint32_t {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

// Which failure exactly; the values of vrampool.v1.Reason, whose comments say
// what each means (client/rpc compares them when it is compiled).
enum class CallReason : uint32_t {
  kNone = 0,
  kQuotaExceeded = 1,
  kPoolExhausted = 2,
  kLimitReached = 3,
  kWaitQueueFull = 4,
  kDescriptorBacklog = 5,
  kUnreclaimableBurst = 6,
  kRateLimited = 7,
  kSessionUnknown = 10,
  kSessionForeign = 11,
  kNoPolicy = 20,
  kNotAdmin = 21,
  kOtherTenant = 22,
  kStaleEpoch = 30,
  kLeaseInUse = 31,
  kIdempotencyConflict = 32,
  kSessionEnded = 33,
  kNotShareable = 34,
  kLeaseUnknown = 40,
  kObjectUnknown = 41,
  kTenantUnknown = 42,
  kReservationUnknown = 43,
  kNameTaken = 50,
  kObjectBroken = 60,
  kWaitedOut = 70,
  kShuttingDown = 80,
  kDeviceLost = 81,
  kDeviceError = 90,
  kBadArgument = 100,
  kKindNotOffered = 101,
};

// How a call went. Numbers that the daemon did not give are kNoNumber.
struct CallOutcome {
  CallCode code = CallCode::kOk;
  CallReason reason = CallReason::kNone;
  uint64_t asked_bytes = kNoNumber;
  uint64_t charged_bytes = kNoNumber;
  uint64_t used_bytes = kNoNumber;
  uint64_t limit_bytes = kNoNumber;
  uint64_t largest_free_bytes = kNoNumber;
  uint64_t guarantee_bytes = kNoNumber;
  uint64_t retry_after_ms = kNoNumber;
  char subject[256] = {};  // NUL-terminated, as all text here.
  char largest_holder[64] = {};
  char message[512] = {};

  bool ok() const { return code == CallCode::kOk; }
  // The daemon may have done what was asked for, and may not.
  bool may_be_lost() const {
    return reason == CallReason::kNone &&
           (code == CallCode::kDeadlineExceeded ||
            code == CallCode::kUnavailable || code == CallCode::kCancelled);
  }
};

struct Text {
  const char* data = nullptr;
  size_t size = 0;
};

struct SlabReply {
  SlabId slab{};
  uint64_t size_bytes = 0;
  HandleKind kind = HandleKind::kNone;
  bool is_mapped = false;   // Nothing was sent: this session maps it already.
  bool is_foreign = false;  // Another tenant's.
};

struct LeaseCall {
  uint64_t size_bytes = 0;
  HandleKind kind = HandleKind::kNone;  // kNone: the device's default.
  uint64_t wait_ms = 0;
  IdempotencyKey key = {};
};
struct LeaseReply {
  Epoch epoch{};
  LeaseId lease{};
  SlabReply slab;
};

enum class ReturnedAs { kUnmapped, kStillMapped };
struct ReturnCall {
  Epoch epoch{};
  LeaseId lease{};
  ReturnedAs as = ReturnedAs::kUnmapped;
};

struct BufferPlace {
  SlabId slab{};
  uint64_t offset_bytes = 0;
  uint64_t size_bytes = 0;
};

struct ShareCall {
  const BufferPlace* buffers = nullptr;
  size_t buffer_count = 0;
  const TensorLayout* layouts = nullptr;  // Null, or one for each buffer.
  Text name;
  Text metadata;
  bool is_pending = false;
  bool is_sealed = false;
  uint64_t expires_ms = 0;  // Of the name; 0: never.
  const Text* grants = nullptr;
  size_t grant_count = 0;
};
struct ShareReply {
  Epoch epoch{};
  ObjectId object{};
  ObjectSecret secret = {};
};

// By token, or, when `name` is not empty, by name.
struct OpenCall {
  Epoch epoch{};
  ObjectId object{};
  ObjectSecret secret = {};
  Text name;
  Text tenant;  // With a name: whose; empty: the caller's.
  uint64_t wait_ms = 0;
  bool takes_pending = false;
};
// About 85 KiB: belongs on the heap.
struct OpenReply {
  Epoch epoch{};
  ObjectId object{};
  ObjectSecret secret = {};
  bool is_sealed = false;
  size_t buffer_count = 0;
  size_t slab_count = 0;
  size_t layout_count = 0;  // 0 or buffer_count.
  size_t name_size = 0;
  size_t owner_size = 0;
  size_t metadata_size = 0;
  BufferPlace buffers[kMaxBuffers];
  SlabReply slabs[kMaxBuffers];
  TensorLayout layouts[kMaxBuffers];
  char name[kMaxNameBytes + 1] = {};
  char owner[kMaxTenantBytes + 1] = {};  // Empty: the caller's tenant.
  uint8_t metadata[kMaxMetadataBytes] = {};
};

struct ObjectCall {
  Epoch epoch{};
  ObjectId object{};
};

enum class ReadyOutcome { kComplete, kFailed };

// Exactly one of the two.
struct WaitCall {
  uint64_t size_bytes = 0;
  Text name;
  uint64_t wait_ms = 0;
};

struct ReserveCall {
  uint64_t size_bytes = 0;
  HandleKind kind = HandleKind::kNone;
  uint64_t hold_ms = 0;
};
struct ReserveReply {
  Epoch epoch{};
  uint64_t reservation = 0;
};

struct BudgetReply {
  uint64_t used_bytes = 0;
  uint64_t limit_bytes = 0;
  uint64_t available_bytes = 0;
  uint64_t guarantee_bytes = 0;
  uint64_t guaranteed_bytes = 0;
  uint64_t total_bytes = 0;
};

class ControlChannel {
 public:
  virtual ~ControlChannel() = default;

  // What each does, and its errors: service Broker in broker.proto.
  virtual CallOutcome Lease(const LeaseCall& call, LeaseReply& reply) = 0;
  virtual CallOutcome Return(const ReturnCall& call) = 0;
  // At most 1024 slabs.
  virtual CallOutcome ReportUnmapped(Epoch epoch, const SlabId* slabs,
                                     size_t count, uint32_t& kept) = 0;
  virtual CallOutcome Share(const ShareCall& call, ShareReply& reply) = 0;
  virtual CallOutcome Ready(const ObjectCall& call, ReadyOutcome outcome) = 0;
  virtual CallOutcome Open(const OpenCall& call, OpenReply& reply) = 0;
  virtual CallOutcome Close(const ObjectCall& call) = 0;
  virtual CallOutcome Unlink(const Text& name) = 0;
  virtual CallOutcome Wait(const WaitCall& call) = 0;
  virtual CallOutcome Budget(BudgetReply& reply) = 0;
  virtual CallOutcome Reserve(const ReserveCall& call, ReserveReply& reply) = 0;
  virtual CallOutcome ReleaseReservation(const ReserveReply& reservation) = 0;
};

// What the module's one exported function, kRpcModuleSymbol, returns. The first
// two members keep their place and meaning in every version; the rest is looked
// at only if both match.
struct RpcModule {
  uint32_t abi;         // kRpcModuleAbi
  const char* version;  // VRAMPOOL_VERSION of its build.
  // A channel to the daemon listening on `socket_path`, which authenticates
  // with `token` (32 bytes); both are copied. Connects at the first call. The
  // caller deletes it.
  ControlChannel* (*open_channel)(const char* socket_path,
                                  const uint8_t* token);
};
inline constexpr uint32_t kRpcModuleAbi = 7;
inline constexpr char kRpcModuleSymbol[] = "vrampool_rpc_module";
using RpcModuleFunction = const RpcModule* (*)();

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_CONTROL_CHANNEL_H_
