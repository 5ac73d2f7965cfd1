#include "daemon/service/admin_service.h"

#include <unistd.h>

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "daemon/core/refusal.h"
#include "daemon/observe/logging.h"
#include "daemon/service/refusal_status.h"
#include "daemon/service/translate.h"
#include "daemon/service/translate_admin.h"

namespace vrampool {
namespace {

constexpr uint32_t kDefaultBlocks = 20;
constexpr uint32_t kMaxBlocks = 1000;
constexpr uint32_t kDefaultSnapshotBlocks = 1000;
constexpr uint32_t kMaxSnapshotBlocks = 100000;
// How often a watcher for whom nothing happens is looked after.
constexpr absl::Duration kWatcherLook = absl::Seconds(1);

absl::Status TenantUnknown(std::string_view tenant) {
  return Refuse(Reason::kTenantUnknown,
                absl::StrCat("there is no tenant \"",
                             absl::string_view(tenant.data(), tenant.size()),
                             "\"; `vrampool tenants` lists them"));
}

// Who asked, for the log: "uid 0, pid 12".
std::string NameOf(const PeerIdentity& admin) {
  return absl::StrCat("uid ", admin.uid, ", pid ", admin.pid);
}

}  // namespace

AdminService::AdminService(Facts facts, vrampool::Broker& broker,
                           EventHub& events, const Auth& auth, CallGate& gate)
    : facts_(facts),
      broker_(broker),
      events_(events),
      auth_(auth),
      gate_(gate) {}

template <typename Method>
grpc::Status AdminService::ServeAdmin(const grpc::ServerContext& context,
                                      Method method) {
  const CallGate::Visit visit(gate_, context);
  const auto run = [&]() -> absl::Status {
    VRAMPOOL_RETURN_IF_ERROR(visit.verdict());
    VRAMPOOL_ASSIGN_OR_RETURN(const auto admin, auth_.AdminOf(context));
    return method(*admin);
  };
  return ToGrpcStatus(run(), broker_.device_info().uuid);
}

grpc::Status AdminService::GetStatus(grpc::ServerContext* context,
                                     const v1::GetStatusRequest*,
                                     v1::GetStatusResponse* response) {
  const CallGate::Visit visit(gate_, *context);
  const DeviceInfo& device = broker_.device_info();
  if (!visit.verdict().ok()) return ToGrpcStatus(visit.verdict(), device.uuid);
  FillStatus(broker_.TakeSnapshot(), *response);
  return grpc::Status::OK;
}

void AdminService::FillStatus(const Snapshot& snapshot,
                              v1::GetStatusResponse& status) {
  const DeviceInfo& device = broker_.device_info();
  status.set_version(VRAMPOOL_VERSION);
  status.set_device_uuid(device.uuid);
  status.set_device_name(device.name);
  status.set_epoch(static_cast<uint64_t>(snapshot.epoch));
  status.set_started_unix_ns(ToUnixNs(facts_.started_at));
  status.set_granule_bytes(device.granule.count());
  for (const HandleKind kind : device.kinds) {
    status.add_kinds(ToProto(kind));
  }
  *status.mutable_pool() = ToProto(snapshot.pool);
  status.set_sessions(snapshot.sessions.size());
  status.set_leases(static_cast<uint64_t>(std::count_if(
      snapshot.slabs.begin(), snapshot.slabs.end(),
      [](const SlabView& slab) { return slab.state == SlabState::kLeased; })));
  status.set_objects(snapshot.objects.size());
  status.set_waiting(snapshot.waiting);
  // A device that cannot say is unhealthy, which device_health tells.
  if (const auto report = broker_.ReadDevice(); report.ok()) {
    status.set_ghost_bytes(report->ghosts.count());
    *status.mutable_device_use() = ToProto(*report);
  }
  for (const DeviceNote& note : device.notes) {
    *status.add_device_notes() = ToProto(note);
  }
  status.set_conservation_holds(snapshot.conservation_holds);
  const absl::Status health = broker_.DeviceHealth();
  status.set_device_health(health.ok() ? "ok" : std::string(health.message()));
  status.set_pid(static_cast<uint32_t>(getpid()));
  status.set_serving(is_serving_);
  status.set_refused_quota(snapshot.counters.refused_quota);
  status.set_refused_pool(snapshot.counters.refused_pool);
  status.set_refused_rate(snapshot.counters.refused_rate);
  status.set_preallocated(facts_.is_preallocated);
  uint64_t raised = 0;
  for (const TenantView& tenant : snapshot.tenants) {
    raised += static_cast<uint64_t>(
        std::count_if(tenant.alerts.begin(), tenant.alerts.end(),
                      [](const AlertView& alert) { return alert.is_raised; }));
  }
  status.set_alerts_raised(raised);
}

grpc::Status AdminService::ListSessions(grpc::ServerContext* context,
                                        const v1::ListSessionsRequest* request,
                                        v1::ListSessionsResponse* response) {
  return ServeAdmin(*context, [&](const PeerIdentity&) {
    for (const SessionView& session : broker_.TakeSnapshot().sessions) {
      if (!IsWithin(session.tenant, request->tenant())) continue;
      *response->add_sessions() =
          ToProto(session, broker_.ReadLiveUse(session.id));
    }
    return absl::OkStatus();
  });
}

grpc::Status AdminService::ListTenants(grpc::ServerContext* context,
                                       const v1::ListTenantsRequest*,
                                       v1::ListTenantsResponse* response) {
  return ServeAdmin(*context, [&](const PeerIdentity&) {
    for (const TenantView& tenant : broker_.TakeSnapshot().tenants) {
      *response->add_tenants() = ToProto(tenant);
    }
    return absl::OkStatus();
  });
}

grpc::Status AdminService::ListLeases(grpc::ServerContext* context,
                                      const v1::ListLeasesRequest* request,
                                      v1::ListLeasesResponse* response) {
  const SessionId wanted{request->session_id()};
  const auto is_wanted = [wanted](const SlabView& slab) {
    // Clean slabs are nobody's.
    if (slab.state == SlabState::kClean) return false;
    return wanted == SessionId{} || slab.session == wanted ||
           std::count(slab.mapped_by.begin(), slab.mapped_by.end(), wanted) > 0;
  };
  return ServeAdmin(*context, [&](const PeerIdentity&) {
    for (const SlabView& slab : broker_.TakeSnapshot().slabs) {
      if (is_wanted(slab)) *response->add_leases() = ToProto(slab);
    }
    return absl::OkStatus();
  });
}

grpc::Status AdminService::ListObjects(grpc::ServerContext* context,
                                       const v1::ListObjectsRequest*,
                                       v1::ListObjectsResponse* response) {
  return ServeAdmin(*context, [&](const PeerIdentity&) {
    for (const ObjectView& object : broker_.TakeSnapshot().objects) {
      *response->add_objects() = ToProto(object);
    }
    return absl::OkStatus();
  });
}

grpc::Status AdminService::ListReservations(
    grpc::ServerContext* context, const v1::ListReservationsRequest*,
    v1::ListReservationsResponse* response) {
  return ServeAdmin(*context, [&](const PeerIdentity&) {
    for (const ReservationView& view : broker_.TakeSnapshot().reservations) {
      *response->add_reservations() = ToProto(view);
    }
    return absl::OkStatus();
  });
}

grpc::Status AdminService::ListLeaks(grpc::ServerContext* context,
                                     const v1::ListLeaksRequest* request,
                                     v1::ListLeaksResponse* response) {
  return ServeAdmin(*context, [&](const PeerIdentity&) {
    LeakQuery query;
    query.min_age =
        absl::Milliseconds(std::max<int64_t>(request->min_age_ms(), 0));
    query.max_blocks = request->max_blocks() == 0
                           ? kDefaultBlocks
                           : std::min(request->max_blocks(), kMaxBlocks);
    FillLeaks(broker_.TakeSnapshot(), query, *response);
    return absl::OkStatus();
  });
}

void AdminService::FillLeaks(const Snapshot& snapshot, const LeakQuery& query,
                             v1::ListLeaksResponse& response) {
  const LeakAnswer answer = broker_.FindLeaks(query);
  for (const LeakReport& report : answer.reports) {
    *response.add_reports() = ToProto(report);
  }
  response.set_forgotten_reports(answer.forgotten);
  FillLingering(snapshot, response);
  for (const ObjectView& object : snapshot.objects) {
    if (object.name.empty() || !object.holders.empty()) continue;
    *response.add_unheld_objects() = ToProto(object);
  }
  if (const auto device = broker_.ReadDevice(); device.ok()) {
    response.set_ghost_bytes(device->ghosts.count());
    *response.mutable_device_use() = ToProto(*device);
    FillOutside(*device, response);
  }
}

grpc::Status AdminService::TakeSnapshot(grpc::ServerContext* context,
                                        const v1::TakeSnapshotRequest* request,
                                        v1::FullSnapshot* response) {
  return ServeAdmin(*context, [&](const PeerIdentity&) {
    const Snapshot snapshot = broker_.TakeSnapshot();
    response->set_taken_unix_ns(ToUnixNs(snapshot.taken_at));
    FillStatus(snapshot, *response->mutable_status());
    for (const TenantView& tenant : snapshot.tenants) {
      *response->add_tenants() = ToProto(tenant);
    }
    for (const SessionView& session : snapshot.sessions) {
      *response->add_sessions() =
          ToProto(session, broker_.ReadLiveUse(session.id));
    }
    for (const SlabView& slab : snapshot.slabs) {
      *response->add_leases() = ToProto(slab);
    }
    for (const ObjectView& object : snapshot.objects) {
      *response->add_objects() = ToProto(object);
    }
    LeakQuery query;
    query.max_blocks =
        request->max_blocks() == 0
            ? kDefaultSnapshotBlocks
            : std::min(request->max_blocks(), kMaxSnapshotBlocks);
    FillLeaks(snapshot, query, *response->mutable_leaks());
    FillMissing(*response);
    return absl::OkStatus();
  });
}

grpc::Status AdminService::Watch(grpc::ServerContext* context,
                                 const v1::WatchRequest* request,
                                 grpc::ServerWriter<v1::Event>* writer) {
  return ServeAdmin(*context, [&](const PeerIdentity&) -> absl::Status {
    VRAMPOOL_ASSIGN_OR_RETURN(const auto subscription,
                              events_.Subscribe(FromProto(*request)));
    v1::Event first;
    first.set_kind(v1::Event::KIND_WATCHING);
    bool is_read = writer->Write(first);
    while (is_read && !subscription->is_over()) {
      // gRPC tells a synchronous call only when asked that its client has gone.
      const auto delivery = subscription->Next(kWatcherLook);
      if (delivery.has_value()) {
        is_read = writer->Write(ToProto(*delivery));
      } else {
        is_read = !context->IsCancelled();
      }
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<v1::TenantInfo> AdminService::QuotaOf(std::string_view tenant) {
  for (const TenantView& view : broker_.TakeSnapshot().tenants) {
    if (view.path == tenant) return ToProto(view);
  }
  return TenantUnknown(tenant);
}

grpc::Status AdminService::GetQuota(grpc::ServerContext* context,
                                    const v1::GetQuotaRequest* request,
                                    v1::GetQuotaResponse* response) {
  return ServeAdmin(*context, [&](const PeerIdentity&) -> absl::Status {
    VRAMPOOL_ASSIGN_OR_RETURN(*response->mutable_tenant(),
                              QuotaOf(request->tenant()));
    return absl::OkStatus();
  });
}

grpc::Status AdminService::SetQuota(grpc::ServerContext* context,
                                    const v1::SetQuotaRequest* request,
                                    v1::SetQuotaResponse* response) {
  return ServeAdmin(*context, [&](const PeerIdentity& admin) -> absl::Status {
    VRAMPOOL_ASSIGN_OR_RETURN(const Quota change, FromProto(*request));
    const absl::Status set =
        broker_.SetQuota(request->tenant(), change, NameOf(admin));
    VRAMPOOL_RETURN_IF_ERROR(set);
    VRAMPOOL_ASSIGN_OR_RETURN(*response->mutable_tenant(),
                              QuotaOf(request->tenant()));
    return absl::OkStatus();
  });
}

grpc::Status AdminService::Reload(grpc::ServerContext* context,
                                  const v1::ReloadRequest*,
                                  v1::ReloadResponse* response) {
  return ServeAdmin(*context, [&](const PeerIdentity& admin) -> absl::Status {
    if (facts_.reload == nullptr) {
      return Refuse(Reason::kBadArgument, "there is nothing to read again");
    }
    VRAMPOOL_ASSIGN_OR_RETURN(const std::vector<std::string> changes,
                              facts_.reload(NameOf(admin)));
    for (const std::string& change : changes) response->add_changes(change);
    return absl::OkStatus();
  });
}

}  // namespace vrampool
