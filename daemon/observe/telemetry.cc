#include "daemon/observe/telemetry.h"

#include <algorithm>

#include "daemon/observe/reason_name.h"

namespace vrampool {

const char* OperationName(Operation operation) {
  switch (operation) {
    case Operation::kLease:
      return "lease";
    case Operation::kReturn:
      return "return";
    case Operation::kShare:
      return "share";
    case Operation::kOpen:
      return "open";
    case Operation::kClose:
      return "close";
    case Operation::kWait:
      return "wait";
    case Operation::kCreate:
      return "create";
    case Operation::kDestroy:
      return "destroy";
    case Operation::kCall:
      return "call";
    case Operation::kAttach:
      return "attach";
  }
  return "unknown";
}

void Telemetry::OnEvent(Event event) {
  if (event.session != SessionId{}) {
    const MutexLock lock(mu_);
    const auto known = sessions_.find(event.session);
    if (event.kind == EventKind::kSessionAttached) {
      sessions_[event.session] = {
          .tenant = event.tenant, .pid = event.pid, .uid = event.uid};
    } else if (known != sessions_.end()) {
      event.tenant = known->second.tenant;
      event.pid = known->second.pid;
      event.uid = known->second.uid;
      if (event.kind == EventKind::kSessionEnded) sessions_.erase(known);
    }
  }
  if (audit_ != nullptr) audit_->Write(event);
  hub_.Publish(event);
}

void Telemetry::OnDone(Operation operation, absl::Duration took,
                       const absl::Status& outcome) {
  const double seconds = absl::ToDoubleSeconds(took);
  const auto bucket = static_cast<size_t>(
      std::lower_bound(kBuckets.begin(), kBuckets.end(), seconds) -
      kBuckets.begin());
  const std::string reason = outcome.ok() ? "" : ReasonNameOf(outcome);
  const MutexLock lock(mu_);
  Durations& durations = figures_.durations[static_cast<size_t>(operation)];
  ++durations.counts[bucket];
  durations.sum_seconds += seconds;
  if (!outcome.ok()) ++figures_.refusals[{operation, reason}];
}

void Telemetry::OnRefused(Operation operation, const absl::Status& refusal) {
  const std::string reason = ReasonNameOf(refusal);
  const MutexLock lock(mu_);
  ++figures_.refusals[{operation, reason}];
}

Telemetry::Figures Telemetry::figures() const {
  const MutexLock lock(mu_);
  return figures_;
}

}  // namespace vrampool
