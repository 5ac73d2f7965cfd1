#include "daemon/attach/packet.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/tensor_layout.h"
#include "daemon/core/clean_text.h"
#include "daemon/core/promise_book.h"

namespace vrampool {
namespace {

using attach::MessageHeader;
using attach::MessageType;

// Replacing a byte makes a text longer; a label may not grow without bound.
constexpr size_t kMaxLabelBytes = 64;

template <size_t N>
std::string LabelFrom(const char (&field)[N]) {
  return CleanText(std::string_view(field, strnlen(field, N)), kMaxLabelBytes);
}

template <size_t N>
void CopyText(std::string_view text, char (&field)[N]) {
  const std::string clean = CleanText(text, N - 1);  // Always terminated.
  std::memcpy(field, clean.data(), clean.size());
}

template <typename Body>
attach::Packet<Body> Begin(MessageType type) {
  attach::Packet<Body> packet;
  // Padding-free by the layout's static_asserts; no byte of the stack leaves.
  std::memset(static_cast<void*>(&packet), 0, sizeof(packet));
  packet.header = {.magic = attach::kMagic,
                   .version = attach::kVersion,
                   .type = static_cast<uint16_t>(type)};
  return packet;
}

// The body of the message, if the packet has exactly its size.
template <typename Body>
bool ReadBody(std::string_view bytes, Body& body) {
  if (bytes.size() != sizeof(MessageHeader) + sizeof(Body)) return false;
  std::memcpy(&body, bytes.data() + sizeof(MessageHeader), sizeof(Body));
  return true;
}

ClientPacket WrongSize(std::string_view bytes, std::string_view name) {
  return BadPacket{
      absl::StrCat("a ", absl::string_view(name.data(), name.size()), " of ",
                   bytes.size(), " bytes, which is not its size")};
}

ClientPacket ReadyFrom(const attach::Ready& ready) {
  const ObjectId object{ready.object_id};
  switch (static_cast<attach::ReadyCode>(ready.code)) {
    case attach::ReadyCode::kComplete:
      return ReadyPacket{object, ReadyOutcome::kComplete};
    case attach::ReadyCode::kFailed:
      return ReadyPacket{object, ReadyOutcome::kFailed};
  }
  return BadPacket{absl::StrCat("a Ready of unknown code ", ready.code)};
}

bool IsNoneOrGood(std::string_view layout, uint64_t buffer_size) {
  if (layout.empty()) return true;
  const std::optional<TensorLayout> one = TakeLayout(layout);
  return one.has_value() && layout.empty() &&
         LayoutProblem(*one, buffer_size).empty();
}

// `bytes`: all of the packet.
ClientPacket ReadShared(std::string_view bytes) {
  attach::Shared shared;
  if (bytes.size() < sizeof(MessageHeader) + sizeof(shared)) {
    return WrongSize(bytes, "Shared");
  }
  std::memcpy(&shared, bytes.data() + sizeof(MessageHeader), sizeof(shared));
  const std::string_view layout =
      bytes.substr(sizeof(MessageHeader) + sizeof(shared));
  if (layout.size() != shared.layout_bytes) return WrongSize(bytes, "Shared");
  if ((shared.flags & ~(attach::kSharedPending | attach::kSharedSealed)) != 0) {
    return BadPacket{"a Shared with flags that there are not"};
  }
  if (!IsNoneOrGood(layout, shared.size_bytes)) {
    return BadPacket{"a Shared whose layout is none that its buffer has"};
  }
  return SharedPacket{
      {.object = ObjectId{shared.object_id},
       .buffer = {.slab = SlabId{shared.slab_id},
                  .offset = shared.offset_bytes,
                  .size = Bytes(shared.size_bytes)},
       .is_pending = (shared.flags & attach::kSharedPending) != 0,
       .is_sealed = (shared.flags & attach::kSharedSealed) != 0,
       .layout = std::string(layout)}};
}

}  // namespace

ClientPacket ParseClientPacket(std::string_view bytes) {
  MessageHeader header;
  if (bytes.size() < sizeof(header)) {
    return BadPacket{
        absl::StrCat("a packet of ", bytes.size(), " bytes, too short")};
  }
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.magic != attach::kMagic) {
    return BadPacket{"a packet that does not begin with the protocol's magic"};
  }
  if (header.version != attach::kVersion) {
    return OtherVersionPacket{header.version};
  }
  switch (static_cast<MessageType>(header.type)) {
    case MessageType::kHello: {
      attach::Hello hello;
      if (!ReadBody(bytes, hello)) return WrongSize(bytes, "Hello");
      return HelloPacket{.labels = {.name = LabelFrom(hello.name),
                                    .tag = LabelFrom(hello.tag),
                                    .framework = LabelFrom(hello.framework)},
                         .library_version = LabelFrom(hello.library_version)};
    }
    case MessageType::kHoldReleased: {
      attach::HoldReleased released;
      if (!ReadBody(bytes, released)) return WrongSize(bytes, "HoldReleased");
      return HoldReleasedPacket{ObjectId{released.object_id}};
    }
    case MessageType::kReady: {
      attach::Ready ready;
      if (!ReadBody(bytes, ready)) return WrongSize(bytes, "Ready");
      return ReadyFrom(ready);
    }
    case MessageType::kClosed: {
      attach::Closed closed;
      if (!ReadBody(bytes, closed)) return WrongSize(bytes, "Closed");
      return ClosedPacket{ObjectId{closed.object_id}};
    }
    case MessageType::kShared:
      return ReadShared(bytes);
    case MessageType::kWelcome:
    case MessageType::kRefused:
    case MessageType::kSlabHandle:
    case MessageType::kReclaim:
    case MessageType::kObjectEnded:
    case MessageType::kFarewell:
    case MessageType::kObjectSettled:
    case MessageType::kPromises:
      return BadPacket{absl::StrCat("a message of type ", header.type,
                                    ", which only the daemon sends")};
  }
  return BadPacket{absl::StrCat("a message of unknown type ", header.type)};
}

attach::Packet<attach::Welcome> MakeWelcome(const Admission& admission,
                                            const SessionToken& token,
                                            const DeviceInfo& device) {
  auto packet = Begin<attach::Welcome>(MessageType::kWelcome);
  attach::Welcome& body = packet.body;
  body.epoch = static_cast<uint64_t>(admission.epoch);
  body.session_id = static_cast<uint64_t>(admission.session);
  static_assert(sizeof(body.token) == sizeof(token));
  std::memcpy(body.token, token.data(), sizeof(body.token));
  CopyText(device.uuid, body.device_uuid);
  CopyText(admission.tenant, body.tenant);
  body.granule_bytes = device.granule.count();
  body.manifest_bytes = admission.manifest_bytes;
  body.table_bytes = admission.table_bytes;
  body.contents_bytes = admission.contents_bytes;
  const size_t kinds = std::min(device.kinds.size(), attach::kMaxKinds);
  for (size_t i = 0; i < kinds; ++i) {
    body.kinds[i] = static_cast<uint32_t>(device.kinds[i]);
  }
  return packet;
}

attach::Packet<attach::Refused> MakeRefused(attach::RefusedCode code,
                                            std::string_view text) {
  auto packet = Begin<attach::Refused>(MessageType::kRefused);
  packet.body.code = static_cast<uint32_t>(code);
  packet.body.daemon_version = attach::kVersion;
  CopyText(text, packet.body.text);
  return packet;
}

attach::Packet<attach::SlabHandle> MakeSlabHandle(
    SlabId slab, Bytes size, const ExportedHandle& handle) {
  auto packet = Begin<attach::SlabHandle>(MessageType::kSlabHandle);
  packet.body.slab_id = static_cast<uint64_t>(slab);
  packet.body.size_bytes = size.count();
  packet.body.kind = static_cast<uint32_t>(handle.kind);
  static_assert(sizeof(packet.body.handle) == sizeof(handle.bytes));
  std::memcpy(packet.body.handle, handle.bytes.data(), handle.bytes.size());
  return packet;
}

attach::Packet<attach::Reclaim> MakeReclaim(Bytes bytes) {
  auto packet = Begin<attach::Reclaim>(MessageType::kReclaim);
  packet.body.bytes = bytes.count();
  return packet;
}

attach::Packet<attach::ObjectEnded> MakeObjectEnded(ObjectId object) {
  auto packet = Begin<attach::ObjectEnded>(MessageType::kObjectEnded);
  packet.body.object_id = static_cast<uint64_t>(object);
  return packet;
}

attach::Packet<attach::ObjectSettled> MakeObjectSettled(ObjectId object) {
  auto packet = Begin<attach::ObjectSettled>(MessageType::kObjectSettled);
  packet.body.object_id = static_cast<uint64_t>(object);
  return packet;
}

attach::Packet<attach::Promises> MakePromises(
    const std::vector<PromisedObject>& promises) {
  auto packet = Begin<attach::Promises>(MessageType::kPromises);
  static_assert(kMostPromises <= attach::kMaxPromises);
  const size_t count = std::min(promises.size(), attach::kMaxPromises);
  packet.body.count = static_cast<uint32_t>(count);
  for (size_t i = 0; i < count; ++i) {
    attach::Promise& one = packet.body.promises[i];
    one.object_id = static_cast<uint64_t>(promises[i].object);
    static_assert(sizeof(one.secret) == sizeof(promises[i].secret));
    std::memcpy(one.secret, promises[i].secret.data(), sizeof(one.secret));
  }
  return packet;
}

attach::Packet<attach::Farewell> MakeFarewell(attach::FarewellCode code,
                                              std::string_view text) {
  auto packet = Begin<attach::Farewell>(MessageType::kFarewell);
  packet.body.code = static_cast<uint32_t>(code);
  CopyText(text, packet.body.text);
  return packet;
}

std::string VersionRefusalText(uint16_t client_version) {
  return absl::StrCat("the client library speaks attach protocol version ",
                      client_version, ", this daemon version ",
                      attach::kVersion, ": install matching packages");
}

}  // namespace vrampool
