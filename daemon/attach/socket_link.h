// socket_link.h - the way to one client: a SessionLink over its attach socket.
//
// The link owns the socket, so that senders on other threads and the door's
// loop, which closes it, cannot meet a number that means something else by now.
// Until the Welcome is sent, what others send is kept (within a bound) and
// follows it: a client's first packet is always Welcome or Refused.
//
// Threads: thread-safe. mu_ guards the socket and the queue; no send blocks, so
// it is held for a system call at most.

#ifndef VRAMPOOL_DAEMON_ATTACH_SOCKET_LINK_H_
#define VRAMPOOL_DAEMON_ATTACH_SOCKET_LINK_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "daemon/attach/packet.h"
#include "daemon/broker/broker.h"

namespace vrampool {

class SocketLink final : public SessionLink {
 public:
  // `process`: a pidfd of the client; empty if it cannot be killed.
  explicit SocketLink(UniqueFd socket, UniqueFd process = UniqueFd());

  // For the door's loop alone, which also is the one that ends the link: the
  // number stays good until it does.
  int socket() const { return number_; }

  // The first packet, with its descriptors (`contents` may be invalid), then
  // what was kept. Errors as for SendHandle.
  absl::Status SendWelcome(const attach::Packet<attach::Welcome>& welcome,
                           const UniqueFd& manifest, const UniqueFd& table,
                           const UniqueFd& contents);

  // Closes the socket after a Refused, or as it is. Every later send fails with
  // SESSION_ENDED.
  void Refuse(attach::RefusedCode code, std::string_view text);
  void End();

  absl::Status SendHandle(SlabId slab, Bytes size,
                          ExportedHandle handle) override;
  void SendReclaim(Bytes bytes) override;
  void SendObjectEnded(ObjectId object) override;
  void SendObjectSettled(ObjectId object) override;
  bool SendPromises(const std::vector<PromisedObject>& promises) override;
  void SendFarewell(bool is_condemned, std::string_view text) override;
  // By the pidfd, so it never hits another process with the same number.
  bool Kill() override;

 private:
  struct Kept {
    std::string bytes;
    UniqueFd fd;  // May be empty.
  };

  absl::Status SendOrKeep(std::string_view bytes, UniqueFd fd);

  const int number_;
  Mutex mu_;
  UniqueFd socket_ VRAMPOOL_GUARDED_BY(mu_);   // Empty: ended.
  UniqueFd process_ VRAMPOOL_GUARDED_BY(mu_);  // Likewise.
  bool is_welcome_sent_ VRAMPOOL_GUARDED_BY(mu_) = false;
  std::vector<Kept> kept_ VRAMPOOL_GUARDED_BY(mu_);
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_ATTACH_SOCKET_LINK_H_
