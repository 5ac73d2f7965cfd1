// session.h - one attachment to one daemon: everything that ends together when
// the connection does.
//
// After a restart of the daemon the client attaches anew and has another
// Session; slabs and objects keep the one they came from alive, because its
// manifest is where they are recorded.
//
// Threads: thread-safe but for manifest(), which the client's lock guards.

#ifndef VRAMPOOL_CLIENT_SESSION_SESSION_H_
#define VRAMPOOL_CLIENT_SESSION_SESSION_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/ids.h"
#include "client/session/attach_link.h"
#include "client/session/contents_words.h"
#include "client/session/control_channel.h"
#include "client/session/environment.h"
#include "client/session/leak_check.h"
#include "client/session/manifest_writer.h"
#include "client/session/object_holds.h"
#include "client/session/status.h"

namespace vrampool::client {

// Makes the channel to the daemon at `socket_path`. `token` has 32 bytes.
using ChannelFactory = std::function<Result<std::unique_ptr<ControlChannel>>(
    const std::string& socket_path, const uint8_t* token)>;

// The factory that loads the RPC module.
ChannelFactory RpcChannelFactory();

class Session {
 public:
  // Finds the device, greets its daemon and starts to listen to it. `events`
  // must outlive the session. Errors of FindDevice(), Greet() and the factory.
  static Result<std::shared_ptr<Session>> Attach(
      const Settings& settings, const ChannelFactory& factory,
      LinkEvents& events, std::chrono::steady_clock::time_point deadline);

  // Closes the attach socket: the daemon ends the session.
  ~Session() = default;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  LinkSerial serial() const { return serial_; }
  SessionId id() const { return id_; }
  Epoch epoch() const { return epoch_; }
  const std::string& tenant() const { return tenant_; }
  const std::string& device_uuid() const { return device_uuid_; }
  uint64_t granule_bytes() const { return granule_bytes_; }
  // What its leases are made of.
  HandleKind kind() const { return kind_; }

  AttachLink& link() { return *link_; }
  ManifestWriter& manifest() { return manifest_; }
  const ObjectTable& table() const { return table_; }
  const ContentsWords& contents() const { return contents_; }
  // Whether the object has yet to become complete or broken. (While the daemon
  // decides about its end, it says so of a complete one, too.)
  bool IsPending(ObjectId object) const {
    return !contents_.IsComplete(object) && table_.MayBePending(object);
  }

  // False once the daemon has refused this session's token, too: then the link
  // has not noticed yet that it was started anew.
  bool is_live() const {
    return link_->is_live() && !is_disowned_.load(std::memory_order_relaxed);
  }

  // Makes one call and says how it went, in words.
  //   Ended  the daemon condemned the session
  using Call = std::function<CallOutcome(ControlChannel&)>;
  Status Make(const Call& call);

  // As Make(), and the bare outcome, for callers that act on reasons. Makes it
  // again, for some seconds, while the daemon has too many calls in progress
  // (busy_daemon.h).
  CallOutcome MakeRaw(const Call& call);
  Status Explain(const CallOutcome& outcome) const;

  uint64_t calls_made() const {
    return calls_made_.load(std::memory_order_relaxed);
  }

 private:
  Session(Greeting& greeting, HandleKind kind, ManifestWriter manifest,
          ObjectTable table, ContentsWords contents,
          std::unique_ptr<ControlChannel> channel);

  const LinkSerial serial_;
  SessionId id_;
  Epoch epoch_;
  std::string tenant_;
  std::string device_uuid_;
  uint64_t granule_bytes_;
  HandleKind kind_;
  ManifestWriter manifest_;
  ModuleTable modules_;         // Of the manifest.
  const LeakCheck leak_check_;  // Likewise.
  ObjectTable table_;
  ContentsWords contents_;
  std::unique_ptr<ControlChannel> channel_;
  std::unique_ptr<AttachLink> link_;
  std::atomic<uint64_t> calls_made_{0};
  std::atomic<bool> is_disowned_{false};
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_SESSION_H_
