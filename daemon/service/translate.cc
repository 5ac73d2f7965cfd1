#include "daemon/service/translate.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "daemon/core/refusal.h"
#include "daemon/service/layout.h"

namespace vrampool {
namespace {

// Of broker.proto.
constexpr int kMaxBuffers = 64;
constexpr size_t kMaxNameBytes = 255;
constexpr size_t kMaxMetadataBytes = 64 * 1024;
// A century: beyond it a time of the calendar may not be reckoned with.
constexpr uint64_t kMaxExpiryMs = uint64_t{100} * 365 * 24 * 3600 * 1000;
constexpr int kMaxUnmapped = 1024;
constexpr int kMaxGrants = 16;

absl::Status Bad(const std::string& what) {
  return Refuse(Reason::kBadArgument, what);
}

absl::Status TooMuch(const char* bound, Bytes asked, Bytes limit,
                     const std::string& what) {
  Refusal refusal;
  refusal.reason = Reason::kLimitReached;
  refusal.subject = bound;
  refusal.asked = asked;
  refusal.limit = limit;
  return Refuse(refusal, what);
}

absl::Status CheckName(const std::string& name) {
  if (name.size() <= kMaxNameBytes) return absl::OkStatus();
  return Bad(absl::StrCat("the name is ", name.size(),
                          " bytes long; at most 255 are allowed"));
}

template <size_t kSize>
absl::StatusOr<std::array<uint8_t, kSize>> FixedBytes(const char* what,
                                                      const std::string& text) {
  if (text.size() != kSize) {
    return Bad(
        absl::StrCat(what, " has ", text.size(), " bytes; it needs ", kSize));
  }
  std::array<uint8_t, kSize> bytes;
  std::copy(text.begin(), text.end(), bytes.begin());
  return bytes;
}

std::string TextOf(const ObjectSecret& secret) {
  return std::string(secret.begin(), secret.end());
}

void FillSlab(const SlabGrant& grant, v1::Slab& slab) {
  slab.set_slab_id(static_cast<uint64_t>(grant.id));
  slab.set_size_bytes(grant.size.count());
  slab.set_kind(ToProto(grant.kind));
  slab.set_already_mapped(grant.is_mapped);
  slab.set_foreign(grant.is_foreign);
}

absl::StatusOr<HandleKind> KindOf(v1::HandleKind kind) {
  if (!v1::HandleKind_IsValid(kind)) {
    return Refuse(Reason::kKindNotOffered,
                  absl::StrCat("handle kind ", static_cast<int>(kind),
                               " is unknown here"));
  }
  return static_cast<HandleKind>(kind);
}

absl::Status CheckLayouts(const v1::ShareRequest& request) {
  if (request.layouts_size() == 0) return absl::OkStatus();
  if (request.layouts_size() != request.buffers_size()) {
    return Bad(absl::StrCat(request.layouts_size(), " layouts for ",
                            request.buffers_size(),
                            " buffers; give one for each, or none"));
  }
  for (int i = 0; i < request.layouts_size(); ++i) {
    VRAMPOOL_RETURN_IF_ERROR(CheckLayout(
        request.layouts(i), Bytes(request.buffers(i).size_bytes())));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckEpoch(uint64_t epoch, Epoch current) {
  if (epoch == static_cast<uint64_t>(current)) return absl::OkStatus();
  if (epoch == 0) return Bad("the epoch is required with every id");
  return Refuse(
      Reason::kStaleEpoch,
      absl::StrCat("the id is of epoch ", epoch, ", but this daemon's is ",
                   static_cast<uint64_t>(current),
                   ": it has restarted since; attach again"));
}

absl::StatusOr<ReserveRequest> FromProto(const v1::ReserveRequest& request) {
  ReserveRequest reserve;
  if (request.size_bytes() == 0) return Bad("size_bytes must be above 0");
  reserve.size = Bytes(request.size_bytes());
  VRAMPOOL_ASSIGN_OR_RETURN(reserve.kind, KindOf(request.kind()));
  const uint64_t longest =
      static_cast<uint64_t>(absl::ToInt64Milliseconds(kLongestHold));
  if (request.hold_ms() == 0 || request.hold_ms() > longest) {
    return Bad(absl::StrCat("hold_ms is ", request.hold_ms(), "; give 1 to ",
                            longest, " (an hour)"));
  }
  reserve.hold = absl::Milliseconds(static_cast<int64_t>(request.hold_ms()));
  return reserve;
}

absl::StatusOr<LeaseRequest> FromProto(const v1::LeaseRequest& request) {
  LeaseRequest lease;
  if (request.size_bytes() == 0) return Bad("size_bytes must be above 0");
  lease.size = Bytes(request.size_bytes());
  VRAMPOOL_ASSIGN_OR_RETURN(lease.kind, KindOf(request.kind()));
  VRAMPOOL_ASSIGN_OR_RETURN(
      lease.key, FixedBytes<16>("idempotency_key", request.idempotency_key()));
  return lease;
}

absl::StatusOr<ReturnMode> FromProto(v1::ReturnRequest::Mapping mapping) {
  switch (mapping) {
    case v1::ReturnRequest::MAPPING_UNMAPPED:
      return ReturnMode::kUnmapped;
    case v1::ReturnRequest::MAPPING_STILL_MAPPED:
      return ReturnMode::kStillMapped;
    default:
      return Bad("mapping must be MAPPING_UNMAPPED or MAPPING_STILL_MAPPED");
  }
}

absl::StatusOr<std::vector<SlabId>> FromProto(
    const v1::ReportUnmappedRequest& request) {
  if (request.slab_ids_size() > kMaxUnmapped) {
    return Bad(absl::StrCat(request.slab_ids_size(),
                            " slabs in one report; at most 1024 are allowed"));
  }
  std::vector<SlabId> slabs;
  slabs.reserve(static_cast<size_t>(request.slab_ids_size()));
  for (const uint64_t id : request.slab_ids()) slabs.push_back(SlabId{id});
  return slabs;
}

absl::StatusOr<ShareRequest> FromProto(const v1::ShareRequest& request) {
  if (request.buffers_size() == 0) return Bad("an object needs a buffer");
  if (request.buffers_size() > kMaxBuffers) {
    return TooMuch("buffers_per_object",
                   Bytes(static_cast<uint64_t>(request.buffers_size())),
                   Bytes(kMaxBuffers),
                   absl::StrCat(request.buffers_size(),
                                " buffers; an object has at most 64"));
  }
  if (request.metadata().size() > kMaxMetadataBytes) {
    return TooMuch("metadata_bytes_per_object",
                   Bytes(request.metadata().size()), Bytes(kMaxMetadataBytes),
                   absl::StrCat(request.metadata().size(),
                                " bytes of metadata; an object has at most ",
                                kMaxMetadataBytes));
  }
  if (request.grants_size() > kMaxGrants) {
    return TooMuch("grants",
                   Bytes(static_cast<uint64_t>(request.grants_size())),
                   Bytes(kMaxGrants),
                   absl::StrCat(request.grants_size(),
                                " grants; an object has at most 16: name a "
                                "tenant above several of them"));
  }
  VRAMPOOL_RETURN_IF_ERROR(CheckName(request.name()));
  VRAMPOOL_RETURN_IF_ERROR(CheckLayouts(request));
  ShareRequest share;
  share.buffers.reserve(static_cast<size_t>(request.buffers_size()));
  for (const v1::Buffer& buffer : request.buffers()) {
    share.buffers.push_back({.slab = SlabId{buffer.slab_id()},
                             .offset = buffer.offset_bytes(),
                             .size = Bytes(buffer.size_bytes())});
  }
  share.name = request.name();
  share.layout = EncodeLayouts(request.layouts());
  share.metadata = request.metadata();
  share.is_pending = request.pending();
  share.is_sealed = request.sealed();
  share.grants.assign(request.grants().begin(), request.grants().end());
  if (request.expires_ms() > 0) {
    share.lifetime = absl::Milliseconds(
        static_cast<int64_t>(std::min(request.expires_ms(), kMaxExpiryMs)));
  }
  return share;
}

absl::StatusOr<ReadyOutcome> FromProto(v1::ReadyRequest::Outcome outcome) {
  switch (outcome) {
    case v1::ReadyRequest::OUTCOME_COMPLETE:
      return ReadyOutcome::kComplete;
    case v1::ReadyRequest::OUTCOME_FAILED:
      return ReadyOutcome::kFailed;
    default:
      return Bad("outcome must be OUTCOME_COMPLETE or OUTCOME_FAILED");
  }
}

absl::StatusOr<OpenRequest> FromProto(const v1::OpenRequest& request) {
  OpenRequest open;
  open.takes_pending = request.takes_pending();
  if (request.has_token()) {
    ObjectToken token;
    token.epoch = Epoch{request.token().epoch()};
    token.object = ObjectId{request.token().object_id()};
    VRAMPOOL_ASSIGN_OR_RETURN(
        token.secret,
        FixedBytes<16>("the token's secret", request.token().secret()));
    open.token = token;
    if (request.tenant().empty()) return open;
    return Bad("a token says whose it is; name a tenant with a name only");
  }
  if (request.name().empty()) return Bad("give a token or a name");
  VRAMPOOL_RETURN_IF_ERROR(CheckName(request.name()));
  open.name = request.name();
  if (!request.tenant().empty() && !IsTenantPath(request.tenant())) {
    return Bad("the tenant is no tenant's path; use root/NAME/...");
  }
  open.tenant = request.tenant();
  return open;
}

absl::Status CheckWait(const v1::WaitRequest& request) {
  if ((request.size_bytes() != 0) == !request.name().empty()) {
    return Bad("wait for a size or for a name: give exactly one of the two");
  }
  return CheckName(request.name());
}

v1::HandleKind ToProto(HandleKind kind) {
  return static_cast<v1::HandleKind>(kind);
}

v1::LeaseResponse ToProto(const LeaseGrant& grant, Epoch epoch) {
  v1::LeaseResponse response;
  response.set_epoch(static_cast<uint64_t>(epoch));
  response.set_lease_id(static_cast<uint64_t>(grant.lease));
  FillSlab(grant.slab, *response.mutable_slab());
  v1::Numbers& numbers = *response.mutable_numbers();
  numbers.set_asked_bytes(grant.asked.count());
  numbers.set_charged_bytes(grant.slab.size.count());
  numbers.set_used_bytes(grant.used.count());
  numbers.set_limit_bytes(grant.limit.count());
  numbers.set_rounded_bytes(grant.rounded.count());
  numbers.set_guarantee_bytes(grant.guarantee.count());
  return response;
}

v1::ShareResponse ToProto(const ShareGrant& grant, Epoch epoch) {
  v1::ShareResponse response;
  response.set_epoch(static_cast<uint64_t>(epoch));
  response.set_object_id(static_cast<uint64_t>(grant.object));
  response.set_secret(TextOf(grant.secret));
  return response;
}

v1::OpenResponse ToProto(OpenGrant grant, Epoch epoch) {
  v1::OpenResponse response;
  response.set_epoch(static_cast<uint64_t>(epoch));
  response.set_object_id(static_cast<uint64_t>(grant.object));
  for (const BufferRef& ref : grant.buffers) {
    v1::Buffer& buffer = *response.add_buffers();
    buffer.set_slab_id(static_cast<uint64_t>(ref.slab));
    buffer.set_offset_bytes(ref.offset);
    buffer.set_size_bytes(ref.size.count());
  }
  for (const SlabGrant& slab : grant.slabs) {
    FillSlab(slab, *response.add_slabs());
  }
  *response.mutable_layouts() = DecodeLayouts(grant.layout);
  response.set_metadata(std::move(grant.metadata));
  response.set_name(std::move(grant.name));
  response.set_secret(TextOf(grant.secret));
  response.set_pending(grant.is_pending);
  response.set_sealed(grant.is_sealed);
  response.set_owner(std::move(grant.owner));
  return response;
}

v1::ReserveResponse ToProto(const ReservationGrant& grant, Epoch epoch) {
  v1::ReserveResponse response;
  response.set_epoch(static_cast<uint64_t>(epoch));
  response.set_reservation_id(static_cast<uint64_t>(grant.reservation));
  v1::Numbers& numbers = *response.mutable_numbers();
  numbers.set_asked_bytes(grant.asked.count());
  numbers.set_rounded_bytes(grant.reserved.count());
  numbers.set_charged_bytes(grant.reserved.count());
  numbers.set_used_bytes(grant.used.count());
  numbers.set_limit_bytes(grant.limit.count());
  numbers.set_guarantee_bytes(grant.guarantee.count());
  return response;
}

v1::BudgetResponse ToProto(const Budget& budget) {
  v1::BudgetResponse response;
  response.set_tenant(budget.tenant);
  response.set_used_bytes(budget.used.count());
  response.set_limit_bytes(budget.limit.count());
  response.set_available_bytes(budget.available.count());
  response.set_guarantee_bytes(budget.guarantee.count());
  response.set_guaranteed_bytes(budget.covered.count());
  response.set_total_bytes(budget.obtainable.count());
  return response;
}

}  // namespace vrampool
