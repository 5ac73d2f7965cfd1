// requests.h - what clients ask of the core and what they get, as plain values.
//
// Sizes and ids in requests are hostile: the core checks all of them.

#ifndef VRAMPOOL_DAEMON_CORE_REQUESTS_H_
#define VRAMPOOL_DAEMON_CORE_REQUESTS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "daemon/core/quota.h"

namespace vrampool {

using IdempotencyKey = std::array<uint8_t, 16>;
using ObjectSecret = std::array<uint8_t, 16>;

// In constant time: the time tells nothing about the secret.
inline bool IsSameSecret(const ObjectSecret& a, const ObjectSecret& b) {
  unsigned difference = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned>(a[i] ^ b[i]);
  }
  return difference == 0;
}

struct LeaseRequest {
  Bytes size;
  HandleKind kind = HandleKind::kNone;  // kNone: the default kind.
  IdempotencyKey key = {};
  bool operator==(const LeaseRequest&) const = default;
};

// Room that is held for a session.
enum class ReservationId : uint64_t {};
inline constexpr absl::Duration kLongestHold = absl::Hours(1);

struct ReserveRequest {
  Bytes size;
  HandleKind kind = HandleKind::kNone;  // kNone: the default kind.
  absl::Duration hold;
};

struct ReservationGrant {
  ReservationId reservation{};
  Bytes asked;
  Bytes reserved;  // To whole granules; charged.
  Bytes used;      // By the tenant, this included.
  Bytes limit;     // The tenant's own.
  Bytes guarantee;
  absl::Time expires_at;
};

// A slab as its lessee or opener sees it.
struct SlabGrant {
  SlabId id{};
  Bytes size;
  HandleKind kind{};
  bool is_mapped = false;   // The session maps it already: send no handle.
  bool is_foreign = false;  // Another tenant's.
};

struct LeaseGrant {
  LeaseId lease{};
  SlabGrant slab;
  Bytes asked;
  Bytes rounded;           // That, to whole granules.
  Bytes used;              // By the tenant, this lease included.
  Bytes limit;             // The tenant's own.
  Bytes guarantee;         // Likewise.
  bool is_repeat = false;  // An earlier call got it too.
};

enum class ReturnMode { kUnmapped, kStillMapped };

struct BufferRef {
  SlabId slab{};
  uint64_t offset = 0;
  Bytes size;
  bool operator==(const BufferRef&) const = default;
};

struct ShareRequest {
  std::vector<BufferRef> buffers;
  std::string name;  // Empty: anonymous.
  // Opaque here, and already validated: the bytes of base/tensor_layout.h.
  std::string layout;
  std::string metadata;  // Opaque.
  // Paths of tenants that may open it besides the owner's, each with all below
  // it.
  std::vector<std::string> grants = {};
  bool is_pending = false;
  bool is_sealed = false;  // For openers to know; nothing here depends on it.
  // How long the name stays; only with a name.
  absl::Duration lifetime = absl::InfiniteDuration();
};

// What an object, or a request for one, has in text: what counts as metadata.
template <typename Described>
Bytes DescriptionBytes(const Described& described) {
  uint64_t sum = described.metadata.size() + described.layout.size();
  for (const std::string& grant : described.grants) sum += grant.size();
  return Bytes(sum);
}

struct ShareGrant {
  ObjectId object{};
  ObjectSecret secret = {};
};

// The id and the secret of an object that does not exist yet: of a promise.
using PromisedObject = ShareGrant;

// An object that a client makes of a promise, without a call.
struct PromisedShare {
  ObjectId object{};
  BufferRef buffer;
  bool is_pending = false;
  bool is_sealed = false;
  std::string layout = {};  // As ShareRequest's.
};

// What came of it. An object that was not made has its promise used up.
struct Fulfilment {
  bool was_promised = true;  // False: nothing has changed.
  absl::Status made = {};    // Else why it was not.
};

// What has become of a pending object's contents.
enum class ReadyOutcome { kComplete, kFailed };

struct ObjectToken {
  Epoch epoch{};
  ObjectId object{};
  ObjectSecret secret = {};
};

struct OpenRequest {
  std::optional<ObjectToken> token;  // Either this
  std::string name;                  // or that, of this tenant;
  std::string tenant = {};           // empty: the session's own.
  bool takes_pending = false;        // Also contents that are not complete yet.
};

struct OpenGrant {
  ObjectId object{};
  ObjectSecret secret = {};
  std::string name;
  std::vector<BufferRef> buffers;
  std::vector<SlabGrant> slabs;  // Each slab of the buffers once.
  std::string layout;
  std::string metadata;
  std::string owner = {};   // The tenant's path if it is another's.
  bool is_pending = false;  // The session is told when it no longer is.
  bool is_sealed = false;
};

// A tenant's quota that was set anew.
struct QuotaChange {
  std::string tenant;
  Quota before;
  Quota after;
};

struct Budget {
  std::string tenant;
  Bytes used;
  Bytes limit;  // The smallest on the way to the root.
  Bytes guarantee = {};
  Bytes available;        // What a lease could get now.
  Bytes covered = {};     // Of that: by guarantee. The rest is burst.
  Bytes obtainable = {};  // What it could ever have, others' guarantees left.
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_REQUESTS_H_
