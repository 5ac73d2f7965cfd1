// broker_service.h - service Broker of broker.proto: only translates.
//
// Each method admits the call (CallGate), finds its session (Auth), translates,
// asks the Broker, and translates back. Nothing is decided here.
//
// Threads: thread-safe. What is passed in must outlive it.

#ifndef VRAMPOOL_DAEMON_SERVICE_BROKER_SERVICE_H_
#define VRAMPOOL_DAEMON_SERVICE_BROKER_SERVICE_H_

#include "absl/time/time.h"
#include "base/clock.h"
#include "daemon/broker/broker.h"
#include "daemon/service/auth.h"
#include "daemon/service/call_gate.h"
#include "vrampool/v1/broker.grpc.pb.h"

namespace vrampool {

class BrokerService final : public v1::Broker::Service {
 public:
  BrokerService(Broker& broker, const Auth& auth, CallGate& gate,
                const Clock& clock);

  grpc::Status Lease(grpc::ServerContext* context,
                     const v1::LeaseRequest* request,
                     v1::LeaseResponse* response) override;
  grpc::Status Return(grpc::ServerContext* context,
                      const v1::ReturnRequest* request,
                      v1::ReturnResponse* response) override;
  grpc::Status ReportUnmapped(grpc::ServerContext* context,
                              const v1::ReportUnmappedRequest* request,
                              v1::ReportUnmappedResponse* response) override;
  grpc::Status Share(grpc::ServerContext* context,
                     const v1::ShareRequest* request,
                     v1::ShareResponse* response) override;
  grpc::Status Ready(grpc::ServerContext* context,
                     const v1::ReadyRequest* request,
                     v1::ReadyResponse* response) override;
  grpc::Status Open(grpc::ServerContext* context,
                    const v1::OpenRequest* request,
                    v1::OpenResponse* response) override;
  grpc::Status Close(grpc::ServerContext* context,
                     const v1::CloseRequest* request,
                     v1::CloseResponse* response) override;
  grpc::Status Unlink(grpc::ServerContext* context,
                      const v1::UnlinkRequest* request,
                      v1::UnlinkResponse* response) override;
  grpc::Status Wait(grpc::ServerContext* context,
                    const v1::WaitRequest* request,
                    v1::WaitResponse* response) override;
  grpc::Status Reserve(grpc::ServerContext* context,
                       const v1::ReserveRequest* request,
                       v1::ReserveResponse* response) override;
  grpc::Status ReleaseReservation(
      grpc::ServerContext* context,
      const v1::ReleaseReservationRequest* request,
      v1::ReleaseReservationResponse* response) override;
  grpc::Status Budget(grpc::ServerContext* context,
                      const v1::BudgetRequest* request,
                      v1::BudgetResponse* response) override;

 private:
  // Whether a rate of calls may refuse it. Not so calls by which a session
  // gives back: refusing them would keep what others wait for. Nor Ready, which
  // openers wait for.
  enum class Counted { kNo, kYes };
  // Runs `method(session)`, which gives an absl::Status, for the call's
  // session.
  template <typename Method>
  grpc::Status Serve(const grpc::ServerContext& context, Counted counted,
                     Method method);

  // When a call that may wait for `wait_ms` must be answered: within the hour
  // and before its own deadline. InfinitePast for a call that does not wait.
  absl::Time DeadlineOf(const grpc::ServerContext& context,
                        uint64_t wait_ms) const;

  vrampool::Broker& broker_;
  const Auth& auth_;
  CallGate& gate_;
  const Clock& clock_;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_SERVICE_BROKER_SERVICE_H_
