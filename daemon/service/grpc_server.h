// grpc_server.h - the daemon's gRPC server: services Broker and Admin, health
// and reflection. It listens nowhere: the Door accepts and hands connections to
// connections().
//
// Health names: "" (the server), "vrampool.v1.Broker" and "vrampool.v1.Admin".
//
// Threads: thread-safe; Drain() once, by one thread. What is passed in must
// outlive it, and it must outlive the Door.

#ifndef VRAMPOOL_DAEMON_SERVICE_GRPC_SERVER_H_
#define VRAMPOOL_DAEMON_SERVICE_GRPC_SERVER_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "daemon/attach/door.h"
#include "daemon/broker/broker.h"
#include "daemon/broker/session_tokens.h"
#include "daemon/config/policy.h"
#include "daemon/core/settings.h"
#include "daemon/observe/event_hub.h"

namespace vrampool {

class GrpcServer {
 public:
  struct Options {
    Bounds bounds;
    bool is_preallocated = false;  // What GetStatus says.
    // Reads the configuration again, asked for `by` whom; see admin.proto.
    std::function<absl::StatusOr<std::vector<std::string>>(std::string_view by)>
        reload = nullptr;
    // How long an answer may stay unread before its call counts as stuck.
    absl::Duration patience = absl::Seconds(5);
  };
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(
      Options options, Broker& broker, EventHub& events,
      const SessionTokens& tokens, const Policy& policy, const Clock& clock);
  virtual ~GrpcServer() = default;

  virtual ConnectionSink& connections() = 0;

  // What health checks and GetStatus say.
  virtual void SetServing(bool is_serving) = 0;

  // Makes one call through a connection of its own, as a client would.
  //   DeadlineExceeded  no answer within `patience`: gRPC does not serve.
  virtual absl::Status Probe(absl::Duration patience) = 0;

  // Turns new connections away, lets calls end for `patience`, cancels the
  // rest, and returns when none is left. Waiting calls end only when the Broker
  // wakes them: REQUIRES Broker::BeginShutdown() and EventHub::Close() before.
  virtual void Drain(absl::Duration patience) = 0;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_SERVICE_GRPC_SERVER_H_
