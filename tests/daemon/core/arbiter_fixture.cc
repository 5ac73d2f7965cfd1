#include "tests/daemon/core/arbiter_fixture.h"

#include <cstring>
#include <memory>

namespace vrampool::testing {

void ArbiterTest::Start(CoreSettings settings) {
  world_ = std::make_unique<CoreWorld>(std::move(settings));
}

void ArbiterTest::Preallocate(Bytes slab) {
  Effects effects;
  arbiter().Preallocate(slab, world_->now, effects);
  world_->Absorb(std::move(effects));
}

absl::StatusOr<SessionId> ArbiterTest::TryAttach(std::string_view tenant,
                                                 uid_t uid) {
  PeerIdentity peer;
  peer.pid = 4000;
  peer.uid = uid;
  auto session = arbiter().Attach(
      peer, {.name = "test", .tag = "", .framework = ""}, tenant, world_->now);
  arbiter().CheckInvariants();
  return session;
}

SessionId ArbiterTest::Attach(std::string_view tenant, uid_t uid) {
  const absl::StatusOr<SessionId> session = TryAttach(tenant, uid);
  EXPECT_THAT(session, IsOk());
  return session.value_or(SessionId{});
}

void ArbiterTest::Condemn(SessionId session) {
  Effects effects;
  arbiter().Condemn(session, world_->now, effects);
  world_->Absorb(std::move(effects));
}

void ArbiterTest::CloseSocket(SessionId session) {
  // The manifest of a dead process is nobody's any more.
  Effects effects;
  arbiter().SocketClosed(session, world_->now, effects);
  world_->Absorb(std::move(effects));
}

void ArbiterTest::EndProcess(SessionId session) {
  Effects effects;
  arbiter().ProcessGone(session, world_->now, effects);
  world_->Absorb(std::move(effects));
}

void ArbiterTest::Die(SessionId session) {
  CloseSocket(session);
  EndProcess(session);
}

ArbiterTest::Answer ArbiterTest::Request(SessionId session,
                                         LeaseRequest request, WaitMode mode) {
  Effects effects;
  Answer answer =
      arbiter().RequestLease(session, request, mode, world_->now, effects);
  world_->Absorb(std::move(effects));
  return answer;
}

LeaseRequest ArbiterTest::Ask(Bytes size, HandleKind kind) {
  LeaseRequest request{.size = size, .kind = kind, .key = {}};
  ++last_key_;
  std::memcpy(request.key.data(), &last_key_, sizeof(last_key_));
  return request;
}

absl::StatusOr<LeaseGrant> ArbiterTest::TryLease(SessionId session,
                                                 LeaseRequest request) {
  Answer answer = Request(session, request, WaitMode::kFailFast);
  if (!answer.ok()) return answer.status();
  if (const auto* const grant = std::get_if<LeaseGrant>(&*answer)) {
    return *grant;
  }
  const TicketId ticket = std::get<TicketId>(*answer);
  DestroyedAll();
  CreatedAll();
  EXPECT_TRUE(IsSettled(ticket));
  return OutcomeOf(ticket);
}

absl::StatusOr<LeaseGrant> ArbiterTest::TryLease(SessionId session,
                                                 Bytes size) {
  return TryLease(session, Ask(size));
}

LeaseGrant ArbiterTest::Lease(SessionId session, Bytes size) {
  const absl::StatusOr<LeaseGrant> grant = TryLease(session, size);
  EXPECT_THAT(grant, IsOk());
  return grant.value_or(LeaseGrant{});
}

TicketId ArbiterTest::Wait(SessionId session, Bytes size) {
  const Answer answer = Request(session, Ask(size), WaitMode::kMayWait);
  EXPECT_THAT(answer, IsOk());
  if (!answer.ok() || !std::holds_alternative<TicketId>(*answer)) {
    ADD_FAILURE() << "the request did not have to wait";
    return TicketId{};
  }
  return std::get<TicketId>(*answer);
}

bool ArbiterTest::Cancel(TicketId ticket) {
  Effects effects;
  const bool is_cancelled =
      arbiter().CancelTicket(ticket, world_->now, effects);
  world_->Absorb(std::move(effects));
  return is_cancelled;
}

bool ArbiterTest::IsSettled(TicketId ticket) const {
  return world_->settled.contains(ticket);
}

absl::StatusOr<LeaseGrant> ArbiterTest::OutcomeOf(TicketId ticket) const {
  const auto found = world_->settled.find(ticket);
  if (found == world_->settled.end()) {
    return absl::NotFoundError("the ticket has no answer");
  }
  return found->second;
}

void ArbiterTest::Undo(SessionId session, LeaseId lease) {
  Effects effects;
  arbiter().UndoLease(session, lease, world_->now, effects);
  world_->Absorb(std::move(effects));
}

absl::Status ArbiterTest::TryReturn(SessionId session, LeaseId lease,
                                    ReturnMode mode) {
  Effects effects;
  absl::Status status =
      arbiter().Return(session, lease, mode, world_->now, effects);
  world_->Absorb(std::move(effects));
  return status;
}

void ArbiterTest::Return(SessionId session, const LeaseGrant& grant) {
  EXPECT_THAT(TryReturn(session, grant.lease, ReturnMode::kUnmapped), IsOk());
}

void ArbiterTest::Park(SessionId session, const LeaseGrant& grant) {
  EXPECT_THAT(TryReturn(session, grant.lease, ReturnMode::kStillMapped),
              IsOk());
}

uint32_t ArbiterTest::Unmap(SessionId session, std::vector<SlabId> slabs) {
  Effects effects;
  const absl::StatusOr<uint32_t> kept =
      arbiter().ReportUnmapped(session, slabs, world_->now, effects);
  world_->Absorb(std::move(effects));
  EXPECT_THAT(kept, IsOk());
  return kept.value_or(0);
}

ShareRequest ArbiterTest::Buffer(SlabId slab, std::string name) {
  ShareRequest request;
  request.buffers = {{.slab = slab, .offset = 0, .size = KiB(4)}};
  request.name = std::move(name);
  return request;
}

absl::StatusOr<ShareGrant> ArbiterTest::TryShare(SessionId session,
                                                 ShareRequest request) {
  ObjectSecret secret = {};
  secret[15] = ++last_secret_;
  absl::StatusOr<ShareGrant> grant =
      arbiter().Share(session, std::move(request), secret, world_->now);
  arbiter().CheckInvariants();
  return grant;
}

ShareGrant ArbiterTest::Share(SessionId session, const LeaseGrant& grant,
                              std::string name) {
  const auto share = TryShare(session, Buffer(grant.slab.id, std::move(name)));
  EXPECT_THAT(share, IsOk());
  return share.value_or(ShareGrant{});
}

ShareGrant ArbiterTest::ShareWith(std::string tenant, SessionId session,
                                  const LeaseGrant& grant, std::string name) {
  ShareRequest request = Buffer(grant.slab.id, std::move(name));
  request.grants = {std::move(tenant)};
  auto share = TryShare(session, request);
  EXPECT_THAT(share, IsOk());
  return share.value_or(ShareGrant{});
}

ShareGrant ArbiterTest::SharePending(SessionId session, const LeaseGrant& grant,
                                     std::string name) {
  ShareRequest request = Buffer(grant.slab.id, std::move(name));
  request.is_pending = true;
  const auto share = TryShare(session, std::move(request));
  EXPECT_THAT(share, IsOk());
  return share.value_or(ShareGrant{});
}

std::vector<PromisedObject> ArbiterTest::GivePromises(SessionId session) {
  std::vector<ObjectSecret> secrets(arbiter().PromisesWanted(session));
  for (ObjectSecret& secret : secrets) secret[15] = ++last_secret_;
  std::vector<PromisedObject> given = arbiter().GivePromises(session, secrets);
  arbiter().CheckInvariants();
  return given;
}

Fulfilment ArbiterTest::Fulfil(SessionId session, const PromisedShare& share) {
  Effects effects;
  Fulfilment fulfilment =
      arbiter().Fulfil(session, share, world_->now, effects);
  world_->Absorb(std::move(effects));
  return fulfilment;
}

Fulfilment ArbiterTest::Fulfil(SessionId session, const PromisedObject& promise,
                               SlabId slab) {
  return Fulfil(session,
                {.object = promise.object,
                 .buffer = {.slab = slab, .offset = 0, .size = KiB(4)}});
}

absl::Status ArbiterTest::Ready(SessionId session, ObjectId object) {
  return Ready(session, object, ReadyOutcome::kComplete);
}

absl::Status ArbiterTest::Ready(SessionId session, ObjectId object,
                                ReadyOutcome outcome) {
  Effects effects;
  absl::Status status =
      arbiter().Ready(session, object, outcome, world_->now, effects);
  world_->Absorb(std::move(effects));
  return status;
}

ObjectToken ArbiterTest::TokenOf(const ShareGrant& share) const {
  return {.epoch = world_->settings().epoch,
          .object = share.object,
          .secret = share.secret};
}

absl::StatusOr<OpenGrant> ArbiterTest::Open(SessionId session,
                                            const ShareGrant& share) {
  auto grant = arbiter().Open(session, {.token = TokenOf(share), .name = ""},
                              world_->now);
  arbiter().CheckInvariants();
  return grant;
}

absl::StatusOr<OpenGrant> ArbiterTest::OpenPending(SessionId session,
                                                   const ShareGrant& share) {
  auto grant = arbiter().Open(
      session, {.token = TokenOf(share), .name = "", .takes_pending = true},
      world_->now);
  arbiter().CheckInvariants();
  return grant;
}

absl::StatusOr<OpenGrant> ArbiterTest::Open(SessionId session,
                                            std::string_view name,
                                            std::string_view tenant) {
  auto grant = arbiter().Open(session,
                              {.token = std::nullopt,
                               .name = std::string(name),
                               .tenant = std::string(tenant)},
                              world_->now);
  arbiter().CheckInvariants();
  return grant;
}

absl::Status ArbiterTest::Close(SessionId session, ObjectId object) {
  Effects effects;
  absl::Status status = arbiter().Close(session, object, world_->now, effects);
  world_->Absorb(std::move(effects));
  return status;
}

absl::Status ArbiterTest::Unlink(SessionId session, std::string_view name) {
  Effects effects;
  absl::Status status = arbiter().Unlink(session, name, world_->now, effects);
  world_->Absorb(std::move(effects));
  return status;
}

void ArbiterTest::ExpireNames() {
  Effects effects;
  arbiter().ExpireNames(world_->now, effects);
  world_->Absorb(std::move(effects));
}

void ArbiterTest::HoldInManifest(SessionId session, ObjectId object) {
  world_->oracle.holds.insert({session, object});
}

void ArbiterTest::ReleaseInManifest(SessionId session, ObjectId object) {
  world_->oracle.holds.erase({session, object});
  Effects effects;
  arbiter().HoldReleased(session, object, world_->now, effects);
  world_->Absorb(std::move(effects));
}

void ArbiterTest::Created(SlabId slab, absl::Status outcome) {
  world_->FinishCreate(slab, outcome);
}

void ArbiterTest::Destroyed(SlabId slab, absl::Status outcome) {
  world_->FinishDestroy(slab, outcome);
}

void ArbiterTest::CreatedAll() {
  while (!world_->creates.empty()) Created(world_->creates.begin()->first);
}

void ArbiterTest::DestroyedAll() {
  while (!world_->destroys.empty()) Destroyed(*world_->destroys.begin());
}

std::vector<SlabId> ArbiterTest::ToCreate() const {
  std::vector<SlabId> slabs;
  for (const auto& [id, create] : world_->creates) slabs.push_back(id);
  return slabs;
}

std::vector<SlabId> ArbiterTest::ToDestroy() const {
  return {world_->destroys.begin(), world_->destroys.end()};
}

void ArbiterTest::SetLimit(std::string_view tenant, Bytes limit) {
  Effects effects;
  EXPECT_THAT(
      arbiter().SetQuota(tenant, {.limit = limit}, world_->now, effects),
      IsOk());
  world_->Absorb(std::move(effects));
}

absl::Status ArbiterTest::TrySetQuota(std::string_view tenant,
                                      const Quota& change) {
  Effects effects;
  absl::Status status =
      arbiter().SetQuota(tenant, change, world_->now, effects);
  world_->Absorb(std::move(effects));
  return status;
}

void ArbiterTest::SetDeviceRoom(Bytes ceiling) {
  Effects effects;
  arbiter().OnDeviceRoom(ceiling, world_->now, effects);
  world_->Absorb(std::move(effects));
}

absl::StatusOr<ReservationGrant> ArbiterTest::TryReserve(SessionId session,
                                                         Bytes size,
                                                         absl::Duration hold) {
  Effects effects;
  const ReserveRequest request{
      .size = size, .kind = HandleKind::kNone, .hold = hold};
  auto grant = arbiter().Reserve(session, request, world_->now, effects);
  world_->Absorb(std::move(effects));
  return grant;
}

absl::Status ArbiterTest::Release(SessionId session,
                                  ReservationId reservation) {
  Effects effects;
  absl::Status status =
      arbiter().ReleaseReservation(session, reservation, world_->now, effects);
  world_->Absorb(std::move(effects));
  return status;
}

void ArbiterTest::ServeDue() {
  Effects effects;
  arbiter().ServeDue(world_->now, effects);
  world_->Absorb(std::move(effects));
}

std::optional<absl::Time> ArbiterTest::DueOf(TicketId ticket) {
  for (const auto& [id, due] : arbiter().Dues(world_->now)) {
    if (id == ticket) return due;
  }
  return std::nullopt;
}

absl::Status ArbiterTest::AdmitRpc(SessionId session) {
  absl::Status status = arbiter().AdmitRpc(session, world_->now);
  arbiter().CheckInvariants();
  return status;
}

void ArbiterTest::Tick() {
  Effects effects;
  arbiter().Tick(world_->now, effects);
  world_->Absorb(std::move(effects));
}

void ArbiterTest::LoseDevice() {
  Effects effects;
  arbiter().OnDeviceLost("it fell off the bus", effects);
  world_->Absorb(std::move(effects));
}

void ArbiterTest::BeginShutdown() {
  Effects effects;
  arbiter().BeginShutdown(effects);
  world_->Absorb(std::move(effects));
}

absl::Status ArbiterTest::Fits(SessionId session, Bytes size) {
  return arbiter().Fits(session, size, world_->now);
}

std::optional<SlabView> ArbiterTest::Find(SlabId slab) {
  for (const SlabView& view : Look().slabs) {
    if (view.id == slab) return view;
  }
  return std::nullopt;
}

std::optional<SlabState> ArbiterTest::StateOf(SlabId slab) {
  const std::optional<SlabView> view = Find(slab);
  if (!view.has_value()) return std::nullopt;
  return view->state;
}

std::optional<ObjectView> ArbiterTest::Find(ObjectId object) {
  for (const ObjectView& view : Look().objects) {
    if (view.id == object) return view;
  }
  return std::nullopt;
}

Bytes ArbiterTest::Used(std::string_view tenant) {
  for (const TenantView& view : Look().tenants) {
    if (view.path == tenant) return view.used;
  }
  ADD_FAILURE() << "no tenant " << tenant;
  return Bytes();
}

Bytes ArbiterTest::Opened(std::string_view tenant) {
  for (const TenantView& view : Look().tenants) {
    if (view.path == tenant) return view.opened;
  }
  ADD_FAILURE() << "no tenant " << tenant;
  return Bytes();
}

bool ArbiterTest::IsWhole() {
  const Snapshot snapshot = Look();
  return snapshot.pool.free + snapshot.pool.of(SlabState::kClean) ==
             snapshot.pool.capacity &&
         Used("root").is_zero();
}

}  // namespace vrampool::testing
