#include "tests/daemon/core/arbiter_program.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/check.h"
#include "daemon/core/refusal.h"
#include "proto/shm/object_table.h"

namespace vrampool::testing {
namespace {

constexpr std::array<std::string_view, 5> kTenants = {
    "root/a", "root/a/x", "root/b", "root/c", "root"};

// Small, so that programs run into every bound.
CoreSettings TightSettings(ByteReader& bytes) {
  CoreSettings settings = SmallSettings();
  settings.capacity = Slabs(uint64_t{4} + bytes.Next() % 16);
  const uint64_t limit_a = uint64_t{2} + bytes.Next() % 16;
  const uint64_t limit_b = uint64_t{2} + bytes.Next() % 16;
  settings.tenants = {{.path = "root/a", .quota = {.limit = Slabs(limit_a)}},
                      {.path = "root/a/x", .quota = {.limit = Slabs(4)}},
                      {.path = "root/b", .quota = {.limit = Slabs(limit_b)}}};
  if (bytes.OneIn(2)) {
    settings.tenants[0].quota.guarantee = Slabs(2);
    settings.tenants[1].quota.guarantee = Slabs(1);
    settings.tenants[2].quota.guarantee = Slabs(2);
    settings.tenants[2].quota.lends = bytes.OneIn(4);
    settings.tenants[2].quota.priority = bytes.Next() % 3 - 1;
  }
  settings.default_limit = Slabs(6);
  settings.bounds.sessions = 11;
  settings.bounds.sessions_per_uid = 6;
  settings.bounds.leases_per_session = 6;
  settings.bounds.objects = 8;
  settings.bounds.objects_per_session = 5;
  settings.bounds.holds_per_session = 6;
  settings.bounds.metadata_per_tenant = Bytes(600);
  settings.bounds.waiting = 5;
  settings.bounds.waiting_per_session = 3;
  if (bytes.OneIn(2)) {
    settings.tenants.push_back({.path = "root", .quota = {.evict = true}});
  }
  if (bytes.OneIn(2)) {  // Enough for promises.
    settings.bounds.objects = 24;
    settings.bounds.objects_per_session = 16;
    settings.bounds.holds_per_session = 16;
  }
  if (bytes.OneIn(4)) settings.not_isolating = {HandleKind::kHostFd};
  return settings;
}

}  // namespace

void ArbiterProgram::Coverage::Add(const Coverage& other) {
  actions += other.actions;
  grants += other.grants;
  settled += other.settled;
  opened += other.opened;
  guests += other.guests;
  left += other.left;
  passed_on += other.passed_on;
  ended_objects += other.ended_objects;
  expired += other.expired;
  known += other.known;
  lingered += other.lingered;
  failed_destroys += other.failed_destroys;
  restarts += other.restarts;
  shortages += other.shortages;
  evictions += other.evictions;
  reservations += other.reservations;
  quotas += other.quotas;
  promises += other.promises;
  fulfilled += other.fulfilled;
  dues += other.dues;
}

ArbiterProgram::Coverage ArbiterProgram::Run(std::span<const uint8_t> bytes) {
  ByteReader reader(bytes);
  ArbiterProgram program(reader);
  program.RunActions(reader);
  program.Finish();
  return program.coverage_;
}

std::pair<CoreState, CoreSettings> ArbiterProgram::StateAfter(
    std::span<const uint8_t> bytes) {
  ByteReader reader(bytes);
  ArbiterProgram program(reader);
  program.RunActions(reader);
  return {program.arbiter().Save(), program.world_->settings()};
}

void ArbiterProgram::RunActions(ByteReader& bytes) {
  while (const std::optional<Action> action = ReadAction(bytes)) {
    ++coverage_.actions;
    std::visit([this](const auto& a) { Do(a); }, *action);
  }
}

ArbiterProgram::ArbiterProgram(ByteReader& bytes)
    : world_(std::make_unique<CoreWorld>(TightSettings(bytes))) {
  if (bytes.OneIn(4)) {
    preallocated_ = Slabs(uint64_t{1} + bytes.Next() % 2);
    Effects effects;
    arbiter().Preallocate(preallocated_, world_->now, effects);
    Absorb(std::move(effects));
  }
  for (const std::string_view tenant : kTenants) {
    const auto session = arbiter().Attach({}, {}, tenant, world_->now);
    VRAMPOOL_CHECK(session.ok());
    clients_[*session] = {.id = *session, .tenant = tenant, .is_witness = true};
    order_.push_back(*session);
  }
}

void ArbiterProgram::Absorb(Effects effects) {
  coverage_.ended_objects += effects.ended.size();
  coverage_.known += effects.known.size();
  for (const Effects::Ended& ended : effects.ended) {
    std::erase_if(objects_, [&](const Shared& known) {
      if (known.grant.object != ended.object) return false;
      ended_objects_.push_back(known);
      return true;
    });
  }
  world_->Absorb(std::move(effects));
  CheckSettled();
}

void ArbiterProgram::Do(const RestartDaemon& action) {
  ++coverage_.restarts;
  // The callers of tickets are gone with the daemon.
  tickets_.clear();
  promised_.clear();
  world_->Restart(action.under_way % 2 == 0 ? CoreWorld::Underway::kDone
                                            : CoreWorld::Underway::kNotDone);
  CheckSettled();
  if (preallocated_.is_zero()) return;
  Effects effects;
  arbiter().Preallocate(preallocated_, world_->now, effects);
  Absorb(std::move(effects));
}

void ArbiterProgram::Do(const DeviceRoomChanges& action) {
  // Mostly enough, or little would be granted.
  const Bytes capacity = world_->settings().capacity;
  const Bytes ceiling = action.ceiling % 4 == 0
                            ? Slabs(uint64_t{action.ceiling} / 4 % 8)
                            : capacity + capacity;
  Effects effects;
  arbiter().OnDeviceRoom(ceiling, world_->now, effects);
  if (!arbiter().TakeSnapshot(world_->now).missing.is_zero()) {
    ++coverage_.shortages;
  }
  Absorb(std::move(effects));
}

// Whoever could go on does, and whoever waits for time alone waits for some.
void ArbiterProgram::ServeDue() {
  Effects effects;
  arbiter().ServeDue(world_->now, effects);
  Absorb(std::move(effects));
  for (const auto& [ticket, when] : arbiter().Dues(world_->now)) {
    VRAMPOOL_CHECK(tickets_.contains(ticket) && when > world_->now);
    ++coverage_.dues;
  }
}

void ArbiterProgram::CheckSettled() {
  for (const auto& [ticket, outcome] : world_->settled) {
    const auto found = tickets_.find(ticket);
    VRAMPOOL_CHECK(found != tickets_.end());
    VRAMPOOL_CHECK(!cancelled_.contains(ticket));
    const auto [session, request] = found->second;
    ++coverage_.settled;
    if (outcome.ok()) {
      CheckGrant(session, request, *outcome);
    } else {
      VRAMPOOL_CHECK(RefusalOf(outcome.status()).has_value());
    }
    promised_.erase(ticket);
    tickets_.erase(found);
  }
  world_->settled.clear();
}

bool ArbiterProgram::IsPromised(SessionId session,
                                const LeaseRequest& request) {
  const Snapshot now = arbiter().TakeSnapshot(world_->now);
  const std::optional<Bytes> size = CheckedRoundUp(request.size, kGranule);
  if (!size.has_value() || size->is_zero() || now.waiting > 0) return false;
  if (!now.missing.is_zero() || !now.reservations.empty()) return false;
  if (now.pool.free + now.pool.of(SlabState::kClean) < *size) return false;
  for (const TenantView& tenant : now.tenants) {
    // What was lent, or limits below use, may have to be got back first.
    if (tenant.lends || tenant.used > tenant.limit) return false;
  }
  const SessionView view = arbiter().ViewOf(session);
  for (const TenantView& tenant : now.tenants) {
    if (tenant.path == view.tenant) {
      return tenant.covered >= *size && tenant.available >= *size;
    }
  }
  return false;
}

void ArbiterProgram::CheckGrant(SessionId session, const LeaseRequest& request,
                                const LeaseGrant& grant) {
  ++coverage_.grants;
  VRAMPOOL_CHECK(grant.slab.size >= request.size);
  VRAMPOOL_CHECK(grant.slab.size.count() % kGranule.count() == 0);
  VRAMPOOL_CHECK(request.kind == HandleKind::kNone ||
                 grant.slab.kind == request.kind);
  VRAMPOOL_CHECK(world_->on_device.at(grant.slab.id) == grant.slab.size);
  VRAMPOOL_CHECK(!world_->destroys.contains(grant.slab.id));
  VRAMPOOL_CHECK(grant.slab.is_mapped || !spoiled_.contains(grant.slab.id));
  VRAMPOOL_CHECK(!visited_.contains(grant.slab.id));
  // Slabs never cross tenants.
  const auto [first, is_new] =
      first_lessee_.try_emplace(grant.slab.id, session);
  if (is_new) slabs_.push_back(grant.slab.id);
  VRAMPOOL_CHECK(clients_.at(first->second).tenant ==
                 clients_.at(session).tenant);
  const SessionView view = arbiter().ViewOf(session);
  VRAMPOOL_CHECK(view.state == SessionState::kLive);
  leases_.push_back(
      {.session = session, .id = grant.lease, .slab = grant.slab.id});
}

bool ArbiterProgram::MayOpen(SessionId session, const Shared& shared) const {
  const std::string tenant(clients_.at(session).tenant);
  if (tenant == clients_.at(shared.producer).tenant) return true;
  return std::any_of(shared.grants.begin(), shared.grants.end(),
                     [&](const std::string& grant) {
                       return (tenant + "/").starts_with(grant + "/");
                     });
}

const ArbiterProgram::Client& ArbiterProgram::PickClient(uint8_t n) const {
  std::vector<SessionId> mortals;
  for (auto at = order_.rbegin(); at != order_.rend(); ++at) {
    if (!clients_.at(*at).is_witness) mortals.push_back(*at);
    if (mortals.size() == 6) break;
  }
  if (mortals.empty()) return clients_.at(order_.front());
  return clients_.at(mortals[n % mortals.size()]);
}

SessionId ArbiterProgram::PickSession(uint8_t n) const {
  // The latest are the likeliest to be alive.
  if (n >= 250) return SessionId{uint64_t{n} * 1000};
  const size_t back = n % std::min<size_t>(order_.size(), 8);
  return order_[order_.size() - 1 - back];
}

SessionId ArbiterProgram::PickPeer(SessionId session, uint8_t n) const {
  if (n % 8 == 0) return PickSession(n);
  const std::string_view tenant = clients_.at(session).tenant;
  std::vector<SessionId> peers;
  for (auto at = order_.rbegin(); at != order_.rend(); ++at) {
    if (clients_.at(*at).tenant == tenant) peers.push_back(*at);
  }
  return peers[n % std::min<size_t>(peers.size(), 4)];
}

ArbiterProgram::Lease ArbiterProgram::PickLease(uint8_t n) const {
  const std::vector<Lease>& leases = n < 232 ? leases_ : ended_leases_;
  if (leases.empty() || n == 255) {
    return {.session = SessionId{1}, .id = LeaseId{n}, .slab = SlabId{n}};
  }
  const size_t back = n % std::min<size_t>(leases.size(), 8);
  return leases[leases.size() - 1 - back];
}

SlabId ArbiterProgram::PickSlab(uint8_t n) const {
  if (slabs_.empty() || n == 255) return SlabId{n};
  const size_t back = n % std::min<size_t>(slabs_.size(), 12);
  return slabs_[slabs_.size() - 1 - back];
}

// One of the session's leases, or all.
void ArbiterProgram::EndLeases(SessionId session,
                               std::optional<LeaseId> lease) {
  std::erase_if(leases_, [&](const Lease& known) {
    if (known.session != session) return false;
    if (lease.has_value() && known.id != *lease) return false;
    ended_leases_.push_back(known);
    return true;
  });
}

ArbiterProgram::Shared ArbiterProgram::PickObject(uint8_t n) const {
  const std::vector<Shared>& objects = n < 240 ? objects_ : ended_objects_;
  if (objects.empty() || n == 255) {
    return {.producer = SessionId{1},
            .grant = {.object = MakeObjectId(n, n), .secret = {}}};
  }
  const size_t back = n % std::min<size_t>(objects.size(), 8);
  return objects[objects.size() - 1 - back];
}

Bytes ArbiterProgram::PickSize(uint8_t n) const {
  if (n == 255) return Bytes(UINT64_MAX);
  if (n == 254) return Bytes(0);
  if (n == 253) return world_->settings().capacity + Bytes(1);
  if (n == 252) return world_->settings().capacity;
  // Mostly one to four slabs, not always whole ones.
  const Bytes size = Slabs(uint64_t{1} + n % 4);
  return n % 3 == 0 ? size - Bytes(1) : size;
}

// The device does its work, and does it well, until there is none.
void ArbiterProgram::FinishDeviceWork() {
  Do(RetryDevice{});
  while (!world_->creates.empty() || !world_->destroys.empty()) {
    while (!world_->creates.empty()) {
      world_->FinishCreate(world_->creates.begin()->first, absl::OkStatus());
      CheckSettled();
    }
    while (!world_->destroys.empty()) {
      world_->FinishDestroy(*world_->destroys.begin(), absl::OkStatus());
      CheckSettled();
    }
  }
}

void ArbiterProgram::Finish() {
  FinishDeviceWork();
  VRAMPOOL_CHECK(promised_.empty());
  for (const SessionId id : order_) {
    if (clients_.at(id).is_witness) continue;
    EndSocket(id);
    EndProcess(id);
  }
  for (size_t i = 0; i < order_.size(); ++i) {
    const SessionId id = order_[i];
    if (!clients_.at(id).is_witness) continue;
    if (arbiter().ViewOf(id).state != SessionState::kLive) {
      // It was evicted. Another one of its tenant unlinks the names, unless the
      // daemon admits nobody any more: then they stay.
      EndSocket(id);
      EndProcess(id);
      const std::string_view tenant = clients_.at(id).tenant;
      const auto heir = arbiter().Attach({}, {}, tenant, world_->now);
      if (!heir.ok()) return;
      clients_[*heir] = {.id = *heir, .tenant = tenant, .is_witness = true};
      order_.push_back(*heir);
      continue;
    }
    for (const ObjectView& object :
         arbiter().TakeSnapshot(world_->now).objects) {
      if (object.name.empty() || object.tenant != clients_.at(id).tenant) {
        continue;
      }
      Effects effects;
      VRAMPOOL_CHECK(
          arbiter().Unlink(id, object.name, world_->now, effects).ok());
      Absorb(std::move(effects));
    }
    EndProcess(id);
    EndSocket(id);
  }
  FinishDeviceWork();
  CheckWhole();
}

void ArbiterProgram::CheckWhole() {
  const Snapshot snapshot = arbiter().TakeSnapshot(world_->now);
  VRAMPOOL_CHECK(snapshot.conservation_holds);
  VRAMPOOL_CHECK(snapshot.sessions.empty());
  VRAMPOOL_CHECK(snapshot.objects.empty());
  VRAMPOOL_CHECK(snapshot.waiting == 0);
  VRAMPOOL_CHECK(tickets_.empty());
  VRAMPOOL_CHECK(snapshot.pool.free + snapshot.pool.of(SlabState::kClean) ==
                 snapshot.pool.capacity);
  for (const TenantView& tenant : snapshot.tenants) {
    VRAMPOOL_CHECK(tenant.used.is_zero() && tenant.opened.is_zero());
  }
  for (const auto& [slot, word] : world_->table.words) {
    VRAMPOOL_CHECK(shm::SlotState(word) == shm::ObjectState::kFree);
  }
}

}  // namespace vrampool::testing
