// translate_admin.h - between the core's values and messages of service Admin.
//
// Threads: pure functions.

#ifndef VRAMPOOL_DAEMON_SERVICE_TRANSLATE_ADMIN_H_
#define VRAMPOOL_DAEMON_SERVICE_TRANSLATE_ADMIN_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "daemon/broker/broker.h"
#include "daemon/core/quota.h"
#include "daemon/core/snapshot.h"
#include "daemon/observe/event_hub.h"
#include "vrampool/v1/admin.pb.h"

namespace vrampool {

// Unix nanoseconds; 0 for a time that never was or never will be.
int64_t ToUnixNs(absl::Time time);

v1::PoolUsage ToProto(const PoolUsage& pool);
v1::SessionInfo ToProto(const SessionView& session, const LiveUse& live);
v1::TenantInfo ToProto(const TenantView& tenant);
v1::LeaseInfo ToProto(const SlabView& slab);

// What a request sets. BAD_ARGUMENT if that is nothing, or of nobody.
absl::StatusOr<Quota> FromProto(const v1::SetQuotaRequest& request);

v1::ObjectInfo ToProto(const ObjectView& object);
v1::ReservationInfo ToProto(const ReservationView& reservation);
v1::LeakReport ToProto(const LeakReport& report);
v1::Event ToProto(const EventHub::Delivery& delivery);
EventHub::Filter FromProto(const v1::WatchRequest& request);
v1::DeviceUse ToProto(const DeviceReport& report);
v1::DeviceNote ToProto(const DeviceNote& note);

// Whether `path` is `tenant` or below it; an empty `tenant` has all below it.
bool IsWithin(std::string_view path, std::string_view tenant);

// The slabs that linger (also those that are to be destroyed but must wait for
// their holders), each with the sessions that may still map it.
void FillLingering(const Snapshot& snapshot, v1::ListLeaksResponse& response);
// Says what the lists of blocks leave out.
void FillMissing(v1::FullSnapshot& snapshot);
// The processes on the device that have no session.
void FillOutside(const DeviceReport& report, v1::ListLeaksResponse& response);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_SERVICE_TRANSLATE_ADMIN_H_
