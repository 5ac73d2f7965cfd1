// call_gate.h - how many calls are in progress, and whose.
//
// gRPC's synchronous API spends a thread on each call from its arrival until
// its answer is written, and a client that does not read can keep that from
// ending. The gate therefore counts every call for exactly that long (it is an
// interceptor: made when a call arrives, destroyed with the call's context) and
// sees to it that nobody can use up the threads:
//
//   - beyond `open` calls in all, or beyond three quarters of them by one uid,
//     a call is refused with LIMIT_REACHED;
//   - calls by which a client gives back have places of their own
//     (kGivingBack, shared in the same way): those that wait for memory must
//     not keep it from coming back;
//   - a uid that goes on gets its calls cancelled, which waits for no client;
//   - when a bound is reached, calls that were answered more than `patience`
//     ago and whose answer is still not taken are cancelled;
//   - of the reflection streams, which last as long as the client wants, the
//     newest `reflections` stay.
//
// Health checks and unknown methods hold no thread (gRPC serves them by its
// callback API) and are not counted.
//
//   grpc::Status Method(grpc::ServerContext* context, ...) {
//     CallGate::Visit visit(gate, *context);
//     if (!visit.verdict().ok()) return ...;
//
// Threads: thread-safe. Must outlive the server that it watches.

#ifndef VRAMPOOL_DAEMON_SERVICE_CALL_GATE_H_
#define VRAMPOOL_DAEMON_SERVICE_CALL_GATE_H_

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "daemon/service/connections.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_interceptor.h"

namespace vrampool {

class CallGate {
 public:
  struct Bounds {
    uint32_t open = 512;
    uint32_t reflections = 4;
    absl::Duration patience = absl::Seconds(5);
  };
  // Refusals that a uid may have under way before its calls are cancelled.
  static constexpr uint32_t kRefusalsPerUid = 16;
  // Calls in progress that give back. None of them waits for anything.
  static constexpr uint32_t kGivingBack = 64;

  CallGate(Bounds bounds, const Connections& connections, const Clock& clock);
  CallGate(const CallGate&) = delete;
  CallGate& operator=(const CallGate&) = delete;

  // To be installed in the server's builder.
  std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>
  MakeFactory();

  // A handler's stay with one call: the verdict at its begin; its end marks the
  // call as answered.
  class Visit {
   public:
    Visit(CallGate& gate, const grpc::ServerContext& context);
    ~Visit();
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;
    const absl::Status& verdict() const { return verdict_; }

   private:
    CallGate& gate_;
    const grpc::ServerContextBase* const context_;
    absl::Status verdict_;
  };

  // How many threads the server needs so that a refusal always finds one.
  uint32_t threads() const;

  uint32_t open() const;

  // Waits until no call is under way; false if one still is after `patience`.
  bool AwaitIdle(absl::Duration patience);

 private:
  class Counted;
  class Factory;

  struct Call {
    grpc_call* call = nullptr;  // Referenced for as long as it is listed.
    uid_t uid = 0;
    uint64_t number = 0;  // Order of arrival.
    bool is_reflection = false;
    bool gives_back = false;
    bool is_refused = false;
    std::optional<absl::Time> answered_at;
  };
  using Calls = absl::flat_hash_map<const grpc::ServerContextBase*, Call>;

  void Enter(grpc::experimental::ServerRpcInfo& info);
  void Leave(const grpc::ServerContextBase* context);
  absl::Status VerdictOf(const grpc::ServerContextBase* context) const;
  void MarkAnswered(const grpc::ServerContextBase* context);
  // Both list, with a reference, which calls are to be cancelled once the lock
  // is given up.
  void FindUnread(std::vector<grpc_call*>& doomed) VRAMPOOL_REQUIRES(mu_);
  void FindOldestReflection(std::vector<grpc_call*>& doomed)
      VRAMPOOL_REQUIRES(mu_);
  std::vector<grpc_call*> List(grpc::ServerContextBase* context, Call call);
  // Of a lane: calls that give back, or all others.
  uint32_t BoundOf(bool gives_back) const {
    return gives_back ? kGivingBack : bounds_.open;
  }
  uint32_t ShareOf(bool gives_back) const {
    return BoundOf(gives_back) - BoundOf(gives_back) / 4;
  }

  const Bounds bounds_;
  const Connections& connections_;
  const Clock& clock_;
  mutable Mutex mu_;
  CondVar idle_;  // No call is under way.
  uint64_t numbers_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  uint32_t reflections_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  Calls calls_ VRAMPOOL_GUARDED_BY(mu_);
  struct Lane {
    uint32_t calls = 0;
    absl::flat_hash_map<uid_t, uint32_t> per_uid;
  };
  std::array<Lane, 2> lanes_ VRAMPOOL_GUARDED_BY(mu_);  // By gives_back.
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_SERVICE_CALL_GATE_H_
