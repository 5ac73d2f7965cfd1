// What the fake daemon sends on the attach socket.

#include <sys/socket.h>

#include <cstring>
#include <utility>

#include "tests/client/fake_daemon.h"

namespace vrampool::client {

void FakeDaemon::SendPacket(attach::MessageType type, const void* body,
                            size_t size, const std::vector<int>& fds) {
  attach::MessageHeader header{.magic = attach::kMagic,
                               .version = attach::kVersion,
                               .type = static_cast<uint16_t>(type)};
  iovec parts[2] = {{&header, sizeof(header)}, {const_cast<void*>(body), size}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 4)] = {};
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    cmsghdr* const c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    std::memcpy(CMSG_DATA(c), fds.data(), sizeof(int) * fds.size());
  }
  (void)::sendmsg(connection_.get(), &message, MSG_NOSIGNAL);
}

void FakeDaemon::SendSlab(uint64_t slab, uint64_t size) {
  UniqueFd& file = files_[slab];
  if (!file.is_valid()) {
    const bool is_empty = ledger_.empty_handles > 0;
    if (is_empty) --ledger_.empty_handles;
    file = MakeSealedFile(is_empty ? 0 : size);
  }
  attach::SlabHandle handle{};
  handle.slab_id = slab;
  handle.size_bytes = size;
  handle.kind = static_cast<uint32_t>(HandleKind::kHostFd);
  SendPacket(attach::MessageType::kSlabHandle, &handle, sizeof(handle),
             {file.get()});
  if (!std::exchange(ledger_.ends_with_handle, false)) return;
  (void)::shutdown(connection_.get(), SHUT_RDWR);
}

void FakeDaemon::SendReclaim() {
  const attach::Reclaim body{.bytes = kReclaimBytes};
  MutexLock lock(mu_);
  SendPacket(attach::MessageType::kReclaim, &body, sizeof(body), {});
}

void FakeDaemon::SendObjectEnded(ObjectId object) {
  const attach::ObjectEnded body{.object_id = static_cast<uint64_t>(object)};
  MutexLock lock(mu_);
  SendPacket(attach::MessageType::kObjectEnded, &body, sizeof(body), {});
}

void FakeDaemon::SendObjectSettled(ObjectId object) {
  MutexLock lock(mu_);
  SendSettledLocked(object);
}

void FakeDaemon::SendSettledLocked(ObjectId object) {
  const attach::ObjectSettled body{.object_id = static_cast<uint64_t>(object)};
  SendPacket(attach::MessageType::kObjectSettled, &body, sizeof(body), {});
}

void FakeDaemon::SendPromises(uint64_t count) {
  if (count == 0) return;
  attach::Promises body{};
  body.count = static_cast<uint32_t>(count);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t number = next_id_++;
    const ObjectId object = MakeObjectId(number % kSlots, number);
    SetSlot(object, shm::ObjectState::kFree);
    ledger_.promised.insert(static_cast<uint64_t>(object));
    body.promises[i].object_id = static_cast<uint64_t>(object);
    std::memset(body.promises[i].secret, 7, sizeof(body.promises[i].secret));
  }
  SendPacket(attach::MessageType::kPromises, &body, sizeof(body), {});
}

void FakeDaemon::NoteShared(const attach::Shared& shared,
                            std::string_view layout) {
  ledger_.shared.push_back(shared);
  ledger_.layouts.emplace_back(layout);
  if (ledger_.promised.erase(shared.object_id) == 0) return;
  const ObjectId object{shared.object_id};
  if (ledger_.unmakable > 0) {
    --ledger_.unmakable;
    const attach::ObjectEnded body{.object_id = shared.object_id};
    SendPacket(attach::MessageType::kObjectEnded, &body, sizeof(body), {});
    return;
  }
  ledger_.objects[shared.object_id] = {{.slab = SlabId{shared.slab_id},
                                        .offset_bytes = shared.offset_bytes,
                                        .size_bytes = shared.size_bytes}};
  ++ledger_.holds[shared.object_id];
  if (ledger_.kept_back > 0) {
    --ledger_.kept_back;
    return;
  }
  const bool is_pending = (shared.flags & attach::kSharedPending) != 0;
  if (is_pending) ledger_.pending.insert(shared.object_id);
  SetSlot(object,
          is_pending ? shm::ObjectState::kPending : shm::ObjectState::kLive);
}

void FakeDaemon::Settle(ObjectId object, ReadyOutcome outcome) {
  MutexLock lock(mu_);
  SettleLocked(object, outcome);
}

void FakeDaemon::SettleLocked(ObjectId object, ReadyOutcome outcome) {
  ledger_.pending.erase(static_cast<uint64_t>(object));
  SetSlot(object, outcome == ReadyOutcome::kComplete
                      ? shm::ObjectState::kLive
                      : shm::ObjectState::kBroken);
  SendSettledLocked(object);
}

void FakeDaemon::SendFarewell(attach::FarewellCode code,
                              const std::string& text) {
  attach::Farewell body{};
  body.code = static_cast<uint32_t>(code);
  std::strncpy(body.text, text.c_str(), sizeof(body.text) - 1);
  MutexLock lock(mu_);
  SendPacket(attach::MessageType::kFarewell, &body, sizeof(body), {});
}

}  // namespace vrampool::client
