// attach_link.h - the attach socket after the greeting, and the thread that
// reads it.
//
// Everything that arrives is told to the LinkEvents. The end of the socket is
// the end of the daemon, as far as this session is concerned.
//
// Threads: thread-safe. The reading thread blocks all signals, calls the events
// and nothing else of the library's; events must not block and must not call
// Stop(). In a forked child the thread does not exist and nothing here may be
// called.

#ifndef VRAMPOOL_CLIENT_SESSION_ATTACH_LINK_H_
#define VRAMPOOL_CLIENT_SESSION_ATTACH_LINK_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "client/session/attach.h"
#include "client/session/control_channel.h"
#include "client/session/status.h"

namespace vrampool::client {

// Names a link within this process, for ever: session ids begin anew with each
// life of the daemon.
enum class LinkSerial : uint64_t {};

// A slab's handle as it arrived.
struct SlabParcel {
  uint64_t size_bytes = 0;
  HandleKind kind = HandleKind::kNone;
  UniqueFd fd;
  std::array<uint8_t, 64> handle{};
};

// An id, and the secret of its token, for an object to be shared.
struct Promise {
  ObjectId object{};
  ObjectSecret secret = {};
};

using Promises = std::vector<Promise>;

// What is said of an object that is made of a promise.
struct SharedNotice {
  ObjectId object{};
  BufferPlace place;
  bool is_pending = false;
  bool is_sealed = false;
  std::string_view layout =
      {};  // The bytes of one that the buffer has; or none.
};

class LinkEvents {
 public:
  virtual ~LinkEvents() = default;
  virtual void OnSlabArrived(LinkSerial session, SlabId slab,
                             SlabParcel parcel) = 0;
  virtual void OnReclaim(LinkSerial session, uint64_t bytes) = 0;
  virtual void OnObjectEnded(LinkSerial session, ObjectId object) = 0;
  virtual void OnPromises(LinkSerial session, const Promises& promises) = 0;
  // A packet was read, of whatever kind: pending objects may be so no more (see
  // ObjectSettled in proto/attach/messages.h).
  virtual void OnPacket(LinkSerial session) = 0;
  // No more grants: state() says why.
  virtual void OnLinkEnded(LinkSerial session) = 0;
};

// How a packet went.
enum class Sending { kSent, kFull, kFailed };

enum class LinkState {
  kLive,
  kStopping,   // The daemon said so: no more grants.
  kCondemned,  // The daemon has ended this session by force.
  kGone,       // The socket is at its end.
};

class AttachLink {
 public:
  // Starts the thread. `events` must outlive the link. Internal if the system
  // gives no thread or descriptor.
  static Result<std::unique_ptr<AttachLink>> Start(LinkSerial session,
                                                   UniqueFd socket,
                                                   LinkEvents& events);
  // Stops the thread and closes the socket: the session ends.
  ~AttachLink();
  AttachLink(const AttachLink&) = delete;
  AttachLink& operator=(const AttachLink&) = delete;

  // Stops the thread; the socket stays open until destruction.
  void Stop();

  LinkState state() const { return state_.load(std::memory_order_acquire); }
  bool is_live() const { return state() == LinkState::kLive; }

  // What the daemon said when it condemned the session.
  std::string farewell() const;

  // Tells the daemon that a hold in the manifest was let go. Never blocks; what
  // does not fit into the socket now is sent when there is room.
  void SendHoldReleased(ObjectId object);
  // The same for a hold by call.
  void SendClosed(ObjectId object);
  // And for what has become of a pending object of this session.
  void SendReady(ObjectId object, ReadyOutcome outcome);

  // Tells the daemon of an object. Never blocks; false if it was not sent: the
  // socket is full, or at its end.
  bool TrySendShared(const SharedNotice& notice);

 private:
  AttachLink(LinkSerial session, UniqueFd socket, UniqueFd wake,
             LinkEvents& events);
  void Run();
  bool ReadAll();  // False at the link's end.
  void Handle(ReceivedPacket& packet);
  void HandlePromises(const ReceivedPacket& packet);
  void HandleFarewell(const ReceivedPacket& packet);
  // What has to arrive, if the session lives, in its order.
  struct Notice {
    attach::MessageType type{};
    ObjectId object{};
    attach::ReadyCode code{};  // Of a Ready.
  };
  void SendNotice(const Notice& notice);
  Sending Send(const Notice& notice) const;
  void FlushAtEnd();
  bool FlushNotices() VRAMPOOL_REQUIRES(mu_);  // False: some are left.
  void EnterState(LinkState state);

  const LinkSerial session_;
  const UniqueFd socket_;
  const UniqueFd wake_;  // An eventfd.
  LinkEvents& events_;
  std::atomic<LinkState> state_{LinkState::kLive};
  std::atomic<bool> is_stop_wanted_{false};
  std::thread thread_;

  mutable Mutex mu_;
  std::deque<Notice> notices_ VRAMPOOL_GUARDED_BY(mu_);
  std::string farewell_ VRAMPOOL_GUARDED_BY(mu_);
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_ATTACH_LINK_H_
