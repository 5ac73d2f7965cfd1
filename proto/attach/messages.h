// messages.h - what travels on the attach socket.
//
// The attach socket is a SOCK_SEQPACKET unix socket. A client process connects
// once, and the connection lives as long as its session: the kernel closes it
// when the process and every forked child that inherited it are gone. One
// packet is one message: a MessageHeader, then the message's own struct, both
// exactly as declared here (little-endian, natural alignment, no padding that
// is not declared; the static_asserts below pin every size). Text fields are
// UTF-8, NUL-padded, not necessarily NUL-terminated. Descriptors travel as
// SCM_RIGHTS beside the packet they belong to.
//
//   client                                 daemon
//     | -- connect ------------------------> |  identity from the kernel
//     | -- Hello --------------------------> |  policy finds the tenant
//     | <----------- Refused, then close --- |  (no policy, bound, version), or
//     | <--- Welcome + manifest, table fds - |  the session is live
//     |                                      |
//     | <------- SlabHandle + descriptor --- |  before the reply of Lease, Open
//     | <----------------------- Reclaim --- |  "give memory back, please"
//     | <------------------- ObjectEnded --- |  the producer's blocks are free
//     | <----------------- ObjectSettled --- |  a pending object is so no more
//     | <---------------------- Promises --- |  ids for objects to be shared
//     | -- Shared -------------------------> |  an object, of a promise
//     | -- HoldReleased -------------------> |  a hold in the manifest let go
//     | -- Ready, Closed ------------------> |  as the calls Ready and Close
//     | <---------------------- Farewell --- |  the daemon stops, or condemned
//     | -- close (exit, crash, kill) ------> |  the session ends
//
//   States of a connection, and who moves it:
//
//     greeting --(daemon: Hello is good)--> live --(daemon)--> condemned
//        |                                   |                     |
//        +--(daemon: bad Hello)--> refused   +--(kernel: EOF)------+--> ended
//
// Versions: `version` counts changes that the other side must know. A daemon
// answers a Hello of another version with Refused(kOtherVersion), whose text
// names both versions; nothing else in the packet is looked at.
//
// Threads: the client reads the socket on one thread and may write from any
// (packets are atomic). Neither side ever blocks in a send: a daemon whose send
// would block refuses the call that wanted it (DESCRIPTOR_BACKLOG).
//
// Everything the client sends is hostile: the daemon checks size, type and
// state of every packet, closes descriptors it did not ask for, and condemns a
// session that breaks the protocol.

#ifndef VRAMPOOL_PROTO_ATTACH_MESSAGES_H_
#define VRAMPOOL_PROTO_ATTACH_MESSAGES_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace vrampool::attach {

inline constexpr uint32_t kMagic = 0x31504d56;  // "VMP1"
inline constexpr uint16_t kVersion = 3;
inline constexpr size_t kMaxPacketBytes = 1024;
inline constexpr size_t kTokenBytes = 32;
inline constexpr size_t kUuidBytes = 64;
inline constexpr size_t kMaxKinds = 4;
inline constexpr size_t kObjectSecretBytes = 16;
inline constexpr size_t kMaxPromises = 32;

// File names in a device's directory, DIR/<uuid>/.
inline constexpr char kAttachSocketName[] = "attach.sock";
inline constexpr char kBrokerSocketName[] = "broker.sock";
inline constexpr char kLockName[] = "lock";

enum class MessageType : uint16_t {
  // client to daemon
  kHello = 1,
  kHoldReleased = 2,
  kShared = 3,
  kReady = 4,
  kClosed = 5,
  // daemon to client
  kWelcome = 101,
  kRefused = 102,
  kSlabHandle = 103,
  kReclaim = 104,
  kObjectEnded = 105,
  kFarewell = 106,
  kObjectSettled = 107,
  kPromises = 108,
};

struct MessageHeader {
  uint32_t magic;    // kMagic
  uint16_t version;  // kVersion
  uint16_t type;     // MessageType
};
static_assert(sizeof(MessageHeader) == 8);

// The first packet of a connection. All text is a label, never an identity.
struct Hello {
  char name[64];
  char tag[64];
  char framework[32];
  char library_version[32];
};
static_assert(sizeof(Hello) == 192);

// The client cleared a hold in its manifest and then read, in the object table,
// a state other than kLive: the daemon should look again whether the object has
// ended (see proto/shm/object_table.h). Unknown ids are ignored.
struct HoldReleased {
  uint64_t object_id;
};
static_assert(sizeof(HoldReleased) == 8);

// The client made an object of one buffer, without a name, metadata or grants,
// under the id of a promise: what the call Share does otherwise. Behind this
// struct come `layout_bytes` bytes, none or one layout (base/tensor_layout.h),
// whose elements lie in the buffer. There is no answer. If the daemon cannot
// make it (the slab is not leased by this session any more, say), the promise
// is used up and ObjectEnded is sent. A promise that the session has not got,
// or not any more, is a breach.
struct Shared {
  uint64_t object_id;
  uint64_t slab_id;
  uint64_t offset_bytes;
  uint64_t size_bytes;
  uint32_t flags;  // Of SharedFlag; all others are 0.
  uint32_t layout_bytes;
};
static_assert(sizeof(Shared) == 40);
static_assert(offsetof(Shared, object_id) == 0);
static_assert(offsetof(Shared, slab_id) == 8);
static_assert(offsetof(Shared, offset_bytes) == 16);
static_assert(offsetof(Shared, size_bytes) == 24);
static_assert(offsetof(Shared, flags) == 32);
enum SharedFlag : uint32_t {
  kSharedPending = 1,  // Not ready yet; the call Ready says when.
  kSharedSealed = 2,
};

// The contents of a pending object of this session are complete, or never will
// be: as the call Ready, without an answer. Objects that are not its own, or
// not pending, are ignored. What a client has sent before it closes its socket
// is read before its session ends.
//
// Others know of it before the daemon does (proto/shm/contents_words.h), so who
// says Ready by a message says Closed by one, too: a call could overtake it,
// and the object would seem to end before it was complete.
enum class ReadyCode : uint32_t { kComplete = 1, kFailed = 2 };
struct Ready {
  uint64_t object_id;
  uint32_t code;  // ReadyCode
  uint32_t reserved;
};
static_assert(sizeof(Ready) == 16);

// One hold by call on the object ends: as the call Close, without an answer.
// Objects of which the session has none are ignored.
struct Closed {
  uint64_t object_id;
};
static_assert(sizeof(Closed) == 8);

// The session is live. Two descriptors travel with it, in this order: the
// manifest (read-write, manifest_bytes) and the object table (read-only,
// table_bytes). From a daemon that serves a GPU a third one follows: the
// tenant's contents words (read-write, contents_bytes; else 0).
struct Welcome {
  uint64_t epoch;
  uint64_t session_id;
  uint8_t token[kTokenBytes];  // Secret. See broker.proto.
  char device_uuid[kUuidBytes];
  char tenant[128];  // For error texts; cut if longer.
  uint64_t granule_bytes;
  uint64_t manifest_bytes;
  uint64_t table_bytes;
  uint64_t contents_bytes;
  uint32_t kinds[kMaxKinds];  // HandleKind; the first is the default; 0: none.
};
static_assert(sizeof(Welcome) == 8 + 8 + 32 + 64 + 128 + 32 + 16);

enum class RefusedCode : uint32_t {
  kOtherVersion = 1,  // Of the protocol: install matching packages.
  kPolicy = 2,        // No rule admits this process.
  kBound = 3,         // Too many sessions.
  kStopping = 4,      // The daemon is shutting down.
  kProtocol = 5,      // The Hello was malformed.
  kIdentity = 6,      // The kernel would not say who the peer is (pid 0, gone).
};
struct Refused {
  uint32_t code;  // RefusedCode
  uint32_t daemon_version;
  char text[256];
};
static_assert(sizeof(Refused) == 264);

// A slab for this session: the bearer secret by which it is mapped. VMM_FD and
// HOST_FD: one descriptor travels along and `handle` is zero. CUDA_IPC: none
// does and `handle` holds the cudaIpcMemHandle.
struct SlabHandle {
  uint64_t slab_id;
  uint64_t size_bytes;
  uint32_t kind;  // HandleKind
  uint32_t reserved;
  uint8_t handle[64];
};
static_assert(sizeof(SlabHandle) == 88);

// Somebody waits for memory: return idle slabs, at least `bytes` if there are
// that many. A request, not a command.
struct Reclaim {
  uint64_t bytes;
};
static_assert(sizeof(Reclaim) == 8);

// To the producer: the object has ended, its blocks may be used again.
struct ObjectEnded {
  uint64_t object_id;
};
static_assert(sizeof(ObjectEnded) == 8);

// To a session that opened a pending object: it is live or broken now. Which of
// the two, and whether at all, is in the object table, which the daemon writes
// before it sends this; the message says no more than that there is something
// to see. It is lost when the client's socket is full. So a client looks at all
// objects that it expects whenever it has read a packet of any kind: what fills
// the socket is read after the table was written.
struct ObjectSettled {
  uint64_t object_id;
};
static_assert(sizeof(ObjectSettled) == 8);

// Promises of objects: ids, and the secrets of their tokens, that this session
// alone may give to objects that it shares from now on, each once. The slot of
// each in the object table says (generation, kFree) until then. They end with
// the session. `count` of them are there, the rest is zero.
struct Promise {
  uint64_t object_id;
  uint8_t secret[kObjectSecretBytes];
};
static_assert(sizeof(Promise) == 24);
struct Promises {
  uint32_t count;
  uint32_t reserved;
  Promise promises[kMaxPromises];
};
static_assert(sizeof(Promises) == 8 + kMaxPromises * sizeof(Promise));

enum class FarewellCode : uint32_t {
  kStopping = 1,   // Orderly shutdown; memory already leased stays usable.
  kCondemned = 2,  // Protocol breach or eviction: no more grants, ever.
};
struct Farewell {
  uint32_t code;  // FarewellCode
  uint32_t reserved;
  char text[256];
};
static_assert(sizeof(Farewell) == 264);

// A packet of message type Body.
template <typename Body>
struct Packet {
  MessageHeader header;
  Body body;
};
static_assert(std::is_trivially_copyable_v<Packet<Welcome>>);
static_assert(sizeof(Packet<Welcome>) ==
              sizeof(MessageHeader) + sizeof(Welcome));
static_assert(sizeof(Packet<Welcome>) <= kMaxPacketBytes);
static_assert(sizeof(Packet<Promises>) <= kMaxPacketBytes);

}  // namespace vrampool::attach

#endif  // VRAMPOOL_PROTO_ATTACH_MESSAGES_H_
