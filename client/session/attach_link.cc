#include "client/session/attach_link.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string_view>
#include <system_error>
#include <utility>

#include "client/session/quiet_thread.h"

namespace vrampool::client {
namespace {

using attach::MessageType;

template <typename Body>
attach::Packet<Body> Begin(MessageType type) {
  attach::Packet<Body> packet{};
  packet.header = {.magic = attach::kMagic,
                   .version = attach::kVersion,
                   .type = static_cast<uint16_t>(type)};
  return packet;
}

constexpr std::chrono::milliseconds kLastFlush(1000);

template <typename Body>
std::string_view BytesOf(const attach::Packet<Body>& packet) {
  return {reinterpret_cast<const char*>(&packet), sizeof(packet)};
}

Sending TrySend(int socket, std::string_view packet) {
  while (true) {
    const ssize_t sent = ::send(socket, packet.data(), packet.size(),
                                MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) return Sending::kSent;
    if (errno == EINTR) continue;
    const bool is_full = errno == EAGAIN || errno == EWOULDBLOCK;
    return is_full ? Sending::kFull : Sending::kFailed;
  }
}

}  // namespace

Result<std::unique_ptr<AttachLink>> AttachLink::Start(LinkSerial session,
                                                      UniqueFd socket,
                                                      LinkEvents& events) {
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.is_valid()) {
    return Status(VRAMPOOL_INTERNAL, std::string("eventfd: ") +
                                         std::strerror(errno) +
                                         "; raise the limit on open files");
  }
  std::unique_ptr<AttachLink> link(
      new AttachLink(session, std::move(socket), std::move(wake), events));
  Result<std::thread> thread =
      StartQuietThread([raw = link.get()] { raw->Run(); });
  if (!thread.ok()) return std::move(thread).status();
  link->thread_ = *std::move(thread);
  return link;
}

AttachLink::AttachLink(LinkSerial session, UniqueFd socket, UniqueFd wake,
                       LinkEvents& events)
    : session_(session),
      socket_(std::move(socket)),
      wake_(std::move(wake)),
      events_(events) {}

AttachLink::~AttachLink() { Stop(); }

void AttachLink::Stop() {
  is_stop_wanted_.store(true, std::memory_order_release);
  (void)::eventfd_write(wake_.get(), 1);
  if (thread_.joinable()) {
    thread_.join();
    FlushAtEnd();
  }
  EnterState(LinkState::kGone);
}

void AttachLink::Run() {
  while (!is_stop_wanted_.load(std::memory_order_acquire)) {
    bool has_notices = false;
    {
      MutexLock lock(mu_);
      has_notices = !FlushNotices();
    }
    pollfd events[2] = {{.fd = socket_.get(), .events = POLLIN, .revents = 0},
                        {.fd = wake_.get(), .events = POLLIN, .revents = 0}};
    if (has_notices) events[0].events |= POLLOUT;
    (void)::poll(events, 2, -1);
    if (events[1].revents != 0) {
      eventfd_t count = 0;
      (void)::eventfd_read(wake_.get(), &count);
    }
    if (events[0].revents != 0 && !ReadAll()) break;
  }
}

bool AttachLink::ReadAll() {
  ReceivedPacket packet;
  // A daemon that sends without end keeps nobody from stopping.
  while (!is_stop_wanted_.load(std::memory_order_acquire)) {
    switch (Receive(socket_.get(), packet)) {
      case ReceiveOutcome::kPacket:
        Handle(packet);
        events_.OnPacket(session_);
        break;
      case ReceiveOutcome::kNothing:
        return true;
      case ReceiveOutcome::kEnd:
      case ReceiveOutcome::kMalformed:
        EnterState(LinkState::kGone);
        events_.OnLinkEnded(session_);
        return false;
    }
  }
  return true;
}

void AttachLink::Handle(ReceivedPacket& packet) {
  switch (static_cast<MessageType>(packet.header.type)) {
    case MessageType::kSlabHandle:
      if (const auto* message = packet.As<attach::SlabHandle>()) {
        SlabParcel parcel;
        parcel.size_bytes = message->size_bytes;
        parcel.kind = static_cast<HandleKind>(message->kind);
        if (packet.fd_count > 0) parcel.fd = std::move(packet.fds[0]);
        std::memcpy(parcel.handle.data(), message->handle,
                    parcel.handle.size());
        events_.OnSlabArrived(session_, SlabId{message->slab_id},
                              std::move(parcel));
      }
      return;
    case MessageType::kReclaim:
      if (const auto* message = packet.As<attach::Reclaim>()) {
        events_.OnReclaim(session_, message->bytes);
      }
      return;
    case MessageType::kObjectEnded:
      if (const auto* message = packet.As<attach::ObjectEnded>()) {
        events_.OnObjectEnded(session_, ObjectId{message->object_id});
      }
      return;
    case MessageType::kPromises:
      HandlePromises(packet);
      return;
    case MessageType::kFarewell:
      HandleFarewell(packet);
      return;
    case MessageType::kObjectSettled:
      return;  // What it is about is in the table: OnPacket() looks there.
    default:
      return;  // A newer daemon's notice: harmless by the protocol's rules.
  }
}

void AttachLink::HandlePromises(const ReceivedPacket& packet) {
  const auto* const message = packet.As<attach::Promises>();
  if (message == nullptr) return;
  Promises promises(std::min<size_t>(message->count, attach::kMaxPromises));
  for (size_t i = 0; i < promises.size(); ++i) {
    const attach::Promise& one = message->promises[i];
    promises[i].object = ObjectId{one.object_id};
    static_assert(sizeof(one.secret) == sizeof(promises[i].secret));
    std::memcpy(promises[i].secret.data(), one.secret, sizeof(one.secret));
  }
  events_.OnPromises(session_, promises);
}

void AttachLink::HandleFarewell(const ReceivedPacket& packet) {
  const auto* const message = packet.As<attach::Farewell>();
  if (message == nullptr) return;
  {
    MutexLock lock(mu_);
    farewell_.assign(message->text,
                     ::strnlen(message->text, sizeof(message->text)));
  }
  const bool is_condemned =
      message->code == static_cast<uint32_t>(attach::FarewellCode::kCondemned);
  EnterState(is_condemned ? LinkState::kCondemned : LinkState::kStopping);
  events_.OnLinkEnded(session_);
}

// Condemned is final: the end of the socket afterwards adds nothing.
void AttachLink::EnterState(LinkState state) {
  MutexLock lock(mu_);
  if (state_.load(std::memory_order_relaxed) != LinkState::kCondemned) {
    state_.store(state, std::memory_order_release);
  }
}

std::string AttachLink::farewell() const {
  MutexLock lock(mu_);
  return farewell_;
}

void AttachLink::SendHoldReleased(ObjectId object) {
  SendNotice({.type = MessageType::kHoldReleased, .object = object});
}

void AttachLink::SendClosed(ObjectId object) {
  SendNotice({.type = MessageType::kClosed, .object = object});
}

void AttachLink::SendReady(ObjectId object, ReadyOutcome outcome) {
  SendNotice({.type = MessageType::kReady,
              .object = object,
              .code = outcome == ReadyOutcome::kComplete
                          ? attach::ReadyCode::kComplete
                          : attach::ReadyCode::kFailed});
}

void AttachLink::SendNotice(const Notice& notice) {
  MutexLock lock(mu_);
  notices_.push_back(notice);
  if (!FlushNotices()) (void)::eventfd_write(wake_.get(), 1);
}

Sending AttachLink::Send(const Notice& notice) const {
  const uint64_t object = static_cast<uint64_t>(notice.object);
  if (notice.type == MessageType::kReady) {
    auto packet = Begin<attach::Ready>(notice.type);
    packet.body.object_id = object;
    packet.body.code = static_cast<uint32_t>(notice.code);
    return TrySend(socket_.get(), BytesOf(packet));
  }
  // The others have the object's id, and no more.
  static_assert(sizeof(attach::HoldReleased) == sizeof(attach::Closed));
  auto packet = Begin<attach::Closed>(notice.type);
  packet.body.object_id = object;
  return TrySend(socket_.get(), BytesOf(packet));
}

bool AttachLink::FlushNotices() {
  while (!notices_.empty()) {
    switch (Send(notices_.front())) {
      case Sending::kSent:
        notices_.pop_front();
        break;
      case Sending::kFull:
        return false;
      case Sending::kFailed:
        notices_.clear();  // The daemon's objects have gone with it.
        break;
    }
  }
  return true;
}

// A daemon that is alive reads in a moment.
void AttachLink::FlushAtEnd() {
  const auto deadline = std::chrono::steady_clock::now() + kLastFlush;
  while (true) {
    {
      MutexLock lock(mu_);
      if (FlushNotices()) return;
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return;
    pollfd event = {.fd = socket_.get(), .events = POLLOUT, .revents = 0};
    (void)::poll(&event, 1, static_cast<int>(left.count()));
  }
}

bool AttachLink::TrySendShared(const SharedNotice& notice) {
  auto packet = Begin<attach::Shared>(MessageType::kShared);
  packet.body = {
      .object_id = static_cast<uint64_t>(notice.object),
      .slab_id = static_cast<uint64_t>(notice.place.slab),
      .offset_bytes = notice.place.offset_bytes,
      .size_bytes = notice.place.size_bytes,
      .flags = (notice.is_pending ? uint32_t{attach::kSharedPending} : 0) |
               (notice.is_sealed ? uint32_t{attach::kSharedSealed} : 0),
      .layout_bytes = static_cast<uint32_t>(notice.layout.size())};
  std::array<char, sizeof(packet) + kMaxLayoutBytes> bytes;
  if (notice.layout.size() > kMaxLayoutBytes) return false;
  std::memcpy(bytes.data(), &packet, sizeof(packet));
  notice.layout.copy(bytes.data() + sizeof(packet), notice.layout.size());
  return TrySend(socket_.get(),
                 {bytes.data(), sizeof(packet) + notice.layout.size()}) ==
         Sending::kSent;
}

}  // namespace vrampool::client
