#include "daemon/service/translate_admin.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "daemon/core/refusal.h"
#include "daemon/observe/reason_name.h"
#include "daemon/service/layout.h"
#include "daemon/service/translate.h"

namespace vrampool {
namespace {

v1::SessionInfo::State ToProto(SessionState state) {
  switch (state) {
    case SessionState::kLive:
      return v1::SessionInfo::STATE_LIVE;
    case SessionState::kCondemned:
      return v1::SessionInfo::STATE_CONDEMNED;
    case SessionState::kEnded:
      return v1::SessionInfo::STATE_ENDED;
  }
  return v1::SessionInfo::STATE_UNSPECIFIED;
}

void FillProcess(const PeerIdentity& peer, v1::ProcessIdentity& process) {
  process.set_pid(static_cast<uint32_t>(peer.pid));
  process.set_uid(peer.uid);
  process.set_gid(peer.gid);
  process.set_start_time_ticks(peer.start_time_ticks);
  process.set_cgroup(peer.cgroup);
  process.set_executable(peer.executable);
  process.set_command_line(peer.command_line);
}

void FillBlock(const BlockRecordView& record, v1::BlockInfo& block) {
  block.set_slab_id(record.slab);
  block.set_offset_bytes(record.offset);
  block.set_size_bytes(record.size);
  block.set_stream(record.stream);
  block.set_allocated_unix_ns(record.allocated_unix_ns);
  block.set_tag(record.tag);
  block.set_call_site(record.call_site);
  block.set_thread(record.thread);
  block.set_stack(record.stack);
}

v1::BlockGroup ToProto(const BlockGroup& group) {
  v1::BlockGroup message;
  message.set_tag(group.tag);
  message.set_call_site(group.call_site);
  message.set_blocks(group.blocks);
  message.set_bytes(group.bytes.count());
  message.set_oldest_unix_ns(group.oldest_unix_ns);
  return message;
}

v1::StackGroup ToProto(const StackGroup& group) {
  v1::StackGroup message;
  message.set_tag(group.tag);
  for (const FrameView& frame : group.frames) {
    v1::StackFrame& told = *message.add_frames();
    told.set_address(frame.address);
    told.set_text(frame.text);
  }
  message.set_sampled_blocks(group.sampled_blocks);
  message.set_sampled_bytes(group.sampled_bytes.count());
  message.set_estimated_blocks(group.estimated_blocks);
  message.set_estimated_bytes(group.estimated_bytes.count());
  return message;
}

v1::TagGrowth ToProto(const TagGrowth& growth) {
  v1::TagGrowth message;
  message.set_tag(growth.tag);
  message.set_bytes(growth.bytes.count());
  message.set_blocks(growth.blocks);
  message.set_is_suspect(growth.is_suspect);
  for (const GrowthWindow& window : growth.windows) {
    v1::GrowthWindow& told = *message.add_windows();
    told.set_window_ms(absl::ToInt64Milliseconds(window.span));
    told.set_bytes(window.bytes);
    told.set_blocks(window.blocks);
  }
  return message;
}

v1::AlertInfo ToProto(const AlertView& alert) {
  v1::AlertInfo info;
  info.set_name(AlertName(alert.kind));
  info.set_raised(alert.is_raised);
  if (alert.is_raised) info.set_since_unix_ns(ToUnixNs(alert.since));
  info.set_value(alert.value);
  info.set_threshold(alert.threshold);
  return info;
}

}  // namespace

int64_t ToUnixNs(absl::Time time) {
  if (time == absl::InfinitePast() || time == absl::InfiniteFuture()) return 0;
  return absl::ToUnixNanos(time);
}

v1::PoolUsage ToProto(const PoolUsage& pool) {
  v1::PoolUsage usage;
  usage.set_capacity_bytes(pool.capacity.count());
  usage.set_free_bytes(pool.free.count());
  usage.set_creating_bytes(pool.of(SlabState::kCreating).count());
  usage.set_clean_bytes(pool.of(SlabState::kClean).count());
  usage.set_leased_bytes(pool.of(SlabState::kLeased).count());
  usage.set_parked_bytes(pool.of(SlabState::kParked).count());
  usage.set_kept_bytes(pool.of(SlabState::kKept).count());
  usage.set_destroying_bytes(pool.of(SlabState::kDestroying).count());
  usage.set_lingering_bytes(pool.of(SlabState::kLingering).count());
  return usage;
}

v1::SessionInfo ToProto(const SessionView& session, const LiveUse& live) {
  v1::SessionInfo info;
  info.set_session_id(static_cast<uint64_t>(session.id));
  info.set_tenant(session.tenant);
  FillProcess(session.peer, *info.mutable_process());
  info.set_name(session.labels.name);
  info.set_tag(session.labels.tag);
  info.set_framework(session.labels.framework);
  info.set_state(ToProto(session.state));
  info.set_attached_unix_ns(ToUnixNs(session.attached_at));
  info.set_charged_bytes(session.charged.count() + session.lingering.count());
  info.set_leases(session.leases);
  info.set_holds(session.holds);
  info.set_live_blocks(live.blocks);
  info.set_live_bytes(live.bytes.count());
  info.set_lingering_bytes(session.lingering.count());
  return info;
}

v1::TenantInfo ToProto(const TenantView& tenant) {
  v1::TenantInfo info;
  info.set_tenant(tenant.path);
  info.set_limit_bytes(tenant.limit.count());
  info.set_used_bytes(tenant.used.count());
  info.set_opened_bytes(tenant.opened.count());
  info.set_available_bytes(tenant.available.count());
  info.set_sessions(tenant.sessions);
  info.set_peak_bytes(tenant.peak.count());
  info.set_clean_bytes(tenant.clean.count());
  info.set_guarantee_bytes(tenant.guarantee.count());
  info.set_guaranteed_bytes(tenant.covered.count());
  info.set_burst_bytes(tenant.burst.count());
  info.set_priority(tenant.priority);
  info.set_weight(tenant.weight);
  info.set_lends_unused(tenant.lends);
  info.set_evictable(tenant.evictable);
  const auto& [leases, bytes, rpcs] = tenant.rates;
  info.set_leases_per_second(leases.per_second);
  info.set_leases_burst(leases.burst);
  info.set_bytes_per_second(bytes.per_second);
  info.set_bytes_burst(bytes.burst);
  info.set_rpcs_per_second(rpcs.per_second);
  info.set_rpcs_burst(rpcs.burst);
  info.set_lingering_bytes(tenant.lingering.count());
  for (const AlertView& alert : tenant.alerts) {
    *info.add_alerts() = ToProto(alert);
  }
  return info;
}

static void FillRates(const v1::SetQuotaRequest& request, Quota& change) {
  auto& [leases, bytes, rpcs] = change.rates;
  if (request.has_leases_per_second()) {
    leases.per_second = request.leases_per_second();
  }
  if (request.has_leases_burst()) leases.burst = request.leases_burst();
  if (request.has_bytes_per_second()) {
    bytes.per_second = request.bytes_per_second();
  }
  if (request.has_bytes_burst()) bytes.burst = request.bytes_burst();
  if (request.has_rpcs_per_second()) {
    rpcs.per_second = request.rpcs_per_second();
  }
  if (request.has_rpcs_burst()) rpcs.burst = request.rpcs_burst();
}

absl::StatusOr<Quota> FromProto(const v1::SetQuotaRequest& request) {
  if (request.tenant().empty()) {
    return Refuse(Reason::kBadArgument, "name the tenant whose quota to set");
  }
  Quota change;
  if (request.has_limit_bytes()) change.limit = Bytes(request.limit_bytes());
  if (request.has_guarantee_bytes()) {
    change.guarantee = Bytes(request.guarantee_bytes());
  }
  if (request.has_priority()) change.priority = request.priority();
  if (request.has_weight()) change.weight = request.weight();
  if (request.has_lend_unused()) change.lends = request.lend_unused();
  if (request.has_unreclaimable_burst()) {
    change.unreclaimable_burst = request.unreclaimable_burst();
  }
  if (request.has_evict()) change.evict = request.evict();
  FillRates(request, change);
  if (change == Quota()) {
    return Refuse(Reason::kBadArgument,
                  "nothing to set: give a limit, a guarantee or another part "
                  "of the quota");
  }
  return change;
}

v1::LeaseInfo ToProto(const SlabView& slab) {
  v1::LeaseInfo info;
  info.set_lease_id(static_cast<uint64_t>(slab.lease));
  info.set_slab_id(static_cast<uint64_t>(slab.id));
  info.set_session_id(static_cast<uint64_t>(slab.session));
  info.set_tenant(slab.tenant);
  info.set_payer(slab.payer);
  info.set_size_bytes(slab.size.count());
  info.set_kind(ToProto(slab.kind));
  info.set_state(SlabStateName(slab.state));
  info.set_since_unix_ns(ToUnixNs(slab.since));
  info.set_objects(slab.objects);
  for (const SessionId session : slab.mapped_by) {
    info.add_mapped_by(static_cast<uint64_t>(session));
  }
  return info;
}

v1::ObjectInfo ToProto(const ObjectView& object) {
  v1::ObjectInfo info;
  info.set_object_id(static_cast<uint64_t>(object.id));
  info.set_name(object.name);
  info.set_tenant(object.tenant);
  info.mutable_grants()->Assign(object.grants.begin(), object.grants.end());
  info.set_producer_session(static_cast<uint64_t>(object.producer));
  info.set_producer_alive(object.producer_is_live);
  info.set_size_bytes(object.size.count());
  info.set_buffers(object.buffers);
  info.set_holds(static_cast<uint32_t>(object.holders.size()));
  for (const SessionId session : object.holders) {
    info.add_holders(static_cast<uint64_t>(session));
  }
  info.set_state(ObjectPhaseName(object.phase));
  info.set_created_unix_ns(ToUnixNs(object.created_at));
  info.set_last_opened_unix_ns(ToUnixNs(object.last_opened_at));
  info.set_metadata_bytes(object.metadata_bytes);
  info.set_sealed(object.is_sealed);
  if (object.expires_at != absl::InfiniteFuture()) {
    info.set_expires_unix_ns(ToUnixNs(object.expires_at));
  }
  *info.mutable_layouts() = DecodeLayouts(object.layout);
  return info;
}

v1::ReservationInfo ToProto(const ReservationView& reservation) {
  v1::ReservationInfo info;
  info.set_reservation_id(static_cast<uint64_t>(reservation.id));
  info.set_session_id(static_cast<uint64_t>(reservation.session));
  info.set_tenant(reservation.tenant);
  info.set_left_bytes(reservation.left.count());
  info.set_kind(ToProto(reservation.kind));
  info.set_expires_unix_ns(ToUnixNs(reservation.expires_at));
  return info;
}

v1::LeakReport ToProto(const LeakReport& report) {
  v1::LeakReport leak;
  // The report's own numbers are of one reading of the manifest; a live
  // session's would be of another.
  *leak.mutable_session() = ToProto(
      report.session,
      LiveUse{.blocks = report.blocks_total, .bytes = report.bytes_total});
  leak.set_session_live(report.is_live);
  leak.set_ended_unix_ns(ToUnixNs(report.ended_at));
  leak.set_end_cause(report.end_cause);
  leak.set_blocks_total(report.blocks_total);
  leak.set_bytes_total(report.bytes_total.count());
  for (const BlockRecordView& block : report.blocks) {
    FillBlock(block, *leak.add_blocks());
  }
  leak.set_leased_bytes(report.leased.count());
  leak.set_manifest_fault(report.manifest_fault);
  for (const BlockGroup& group : report.groups) {
    *leak.add_groups() = ToProto(group);
  }
  if (report.ungrouped.blocks > 0) {
    *leak.mutable_ungrouped() = ToProto(report.ungrouped);
  }
  leak.set_stacks_left_out(report.stacks_left_out);
  for (const StackGroup& group : report.stacks) {
    *leak.add_stacks() = ToProto(group);
  }
  for (const TagGrowth& growth : report.growth) {
    *leak.add_growth() = ToProto(growth);
  }
  for (const ModuleView& module : report.modules) {
    v1::Module& told = *leak.add_modules();
    told.set_begin(module.begin);
    told.set_end(module.end);
    told.set_bias(module.bias);
    told.set_build_id(module.build_id);
    told.set_path(module.path);
  }
  return leak;
}

v1::Event ToProto(const EventHub::Delivery& delivery) {
  const Event& event = delivery.event;
  v1::Event message;
  message.set_kind(static_cast<v1::Event::Kind>(event.kind));
  message.set_number(delivery.number);
  message.set_time_unix_ns(ToUnixNs(event.at));
  message.set_dropped(delivery.dropped);
  message.set_tenant(event.tenant);
  message.set_session_id(static_cast<uint64_t>(event.session));
  message.set_pid(static_cast<uint32_t>(event.pid));
  message.set_lease_id(static_cast<uint64_t>(event.lease));
  message.set_slab_id(static_cast<uint64_t>(event.slab));
  message.set_object_id(static_cast<uint64_t>(event.object));
  message.set_bytes(event.bytes.count());
  message.set_text(event.text);
  message.set_alert(event.alert);
  if (!event.refusal.ok()) {
    message.set_reason(ReasonNameOf(event.refusal));
    if (event.text.empty()) {
      message.set_text(std::string(event.refusal.message()));
    }
  }
  return message;
}

EventHub::Filter FromProto(const v1::WatchRequest& request) {
  EventHub::Filter filter{.tenant = request.tenant(), .kinds = {}};
  for (const int kind : request.kinds()) {
    filter.kinds.push_back(static_cast<EventKind>(kind));
  }
  return filter;
}

v1::DeviceUse ToProto(const DeviceReport& report) {
  v1::DeviceUse use;
  use.set_total_bytes(report.use.total.count());
  use.set_free_bytes(report.use.free.count());
  use.set_missing_bytes(report.missing.count());
  return use;
}

v1::DeviceNote ToProto(const DeviceNote& note) {
  v1::DeviceNote message;
  message.set_text(note.text);
  message.set_is_warning(note.is_warning);
  return message;
}

bool IsWithin(std::string_view path, std::string_view tenant) {
  if (tenant.empty()) return true;
  return path.substr(0, tenant.size()) == tenant &&
         (path.size() == tenant.size() || path[tenant.size()] == '/');
}

void FillLingering(const Snapshot& snapshot, v1::ListLeaksResponse& response) {
  absl::flat_hash_map<SessionId, const SessionView*> sessions;
  for (const SessionView& session : snapshot.sessions) {
    sessions.emplace(session.id, &session);
  }
  for (const SlabView& slab : snapshot.slabs) {
    const bool is_waiting_for_holders =
        slab.state == SlabState::kDestroying && !slab.mapped_by.empty();
    if (slab.state != SlabState::kLingering && !is_waiting_for_holders) {
      continue;
    }
    v1::LingeringSlab& lingering = *response.add_lingering();
    lingering.set_slab_id(static_cast<uint64_t>(slab.id));
    lingering.set_size_bytes(slab.size.count());
    lingering.set_tenant(slab.tenant);
    lingering.set_since_unix_ns(ToUnixNs(slab.since));
    for (const SessionId id : slab.mapped_by) {
      const auto found = sessions.find(id);
      if (found == sessions.end()) continue;
      *lingering.add_suspects() = ToProto(*found->second, LiveUse());
    }
  }
}

void FillMissing(v1::FullSnapshot& snapshot) {
  for (const v1::LeakReport& report : snapshot.leaks().reports()) {
    const uint64_t session = report.session().session_id();
    const auto listed = static_cast<uint64_t>(report.blocks_size());
    if (listed < report.blocks_total()) {
      snapshot.add_missing(absl::StrCat("session ", session, ": the largest ",
                                        listed, " of ", report.blocks_total(),
                                        " blocks are listed"));
    }
    if (report.has_ungrouped()) {
      snapshot.add_missing(absl::StrCat("session ", session, ": ",
                                        report.ungrouped().blocks(),
                                        " blocks are in no group"));
    }
    if (!report.manifest_fault().empty()) {
      snapshot.add_missing(absl::StrCat(
          "session ", session,
          ": blocks that could not be read: ", report.manifest_fault()));
    }
  }
  if (const uint64_t forgotten = snapshot.leaks().forgotten_reports();
      forgotten > 0) {
    snapshot.add_missing(absl::StrCat(
        forgotten, " reports of ended sessions were dropped before"));
  }
}

void FillOutside(const DeviceReport& report, v1::ListLeaksResponse& response) {
  for (const OutsideProcess& process : report.suspects) {
    v1::OutsideProcess& outside = *response.add_outside();
    outside.set_pid(static_cast<uint32_t>(process.pid));
    outside.set_used_bytes(process.used.count());
    outside.set_name(process.name);
  }
}

}  // namespace vrampool
