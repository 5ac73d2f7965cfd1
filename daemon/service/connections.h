// connections.h - who is at the other end of each gRPC connection.
//
// The Door accepts connections and learns from the kernel whose they are; gRPC
// serves them and tells a handler no more than "fd:N". Connections sits between
// the two: it remembers the identity under N, then gives the descriptor away.
//
// Why N is enough, although numbers are reused. A call holds its stream, a
// stream holds its transport, and the transport owns the endpoint, whose
// destructor is what closes the descriptor (gRPC's chttp2: grpc_call ->
// grpc_chttp2_stream, GRPC_CHTTP2_REF_TRANSPORT(t, "stream") ->
// grpc_chttp2_transport, grpc_endpoint_destroy(ep)). A client that disappears
// only gets its socket shut down. So while any call of a connection runs, its
// number is taken, the kernel cannot give it to a new connection, and the entry
// under N is still the one of the call's own connection. When N comes back, no
// call of the old connection is left and Adopt() replaces the entry before gRPC
// sees the new one. ConnectionsOverGrpcTest holds the library to this.
//
// gRPC does not say when a connection ends. What is counted is therefore looked
// at again when a bound is reached: an entry whose number no longer belongs to
// the socket that was adopted (another inode, or no descriptor) is dropped.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_DAEMON_SERVICE_CONNECTIONS_H_
#define VRAMPOOL_DAEMON_SERVICE_CONNECTIONS_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "daemon/attach/door.h"
#include "daemon/core/peer.h"

namespace vrampool {

class Connections final : public ConnectionSink {
 public:
  struct Bounds {
    uint32_t per_uid = 1024;
    uint32_t in_all = 4096;
  };
  // Takes ownership of a descriptor and serves it.
  using Serve = std::function<void(int fd)>;

  struct Connection {
    uint64_t generation = 0;  // Counts adopted connections; never used twice.
    // Shared with the calls that run on the connection while it is replaced.
    std::shared_ptr<const PeerIdentity> peer;
  };

  Connections(Bounds bounds, Serve serve);

  // Beyond a bound, and after Stop(), the connection is closed.
  void Adopt(UniqueFd connection, const PeerIdentity& peer) override;

  // The connection that gRPC calls `name` ("fd:12"), or nothing if the name is
  // none of ours.
  std::optional<Connection> Find(std::string_view name) const;

  // From now on connections are turned away. Returns after the last call of
  // Serve has.
  void Stop();

  uint64_t refused() const;

 private:
  struct Entry {
    Connection connection;
    dev_t device = 0;
    ino_t inode = 0;
  };

  bool HasRoom(uid_t uid) VRAMPOOL_REQUIRES(mu_);
  void Forget(absl::flat_hash_map<int, Entry>::iterator at)
      VRAMPOOL_REQUIRES(mu_);
  void ForgetClosed() VRAMPOOL_REQUIRES(mu_);

  const Bounds bounds_;
  const Serve serve_;
  // Held across Serve, so that Stop() can wait for it; ordered before mu_.
  Mutex serving_mu_;
  mutable Mutex mu_;
  bool is_stopped_ VRAMPOOL_GUARDED_BY(mu_) = false;
  uint64_t generations_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  uint64_t refused_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  absl::flat_hash_map<int, Entry> entries_ VRAMPOOL_GUARDED_BY(mu_);
  absl::flat_hash_map<uid_t, uint32_t> per_uid_ VRAMPOOL_GUARDED_BY(mu_);
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_SERVICE_CONNECTIONS_H_
