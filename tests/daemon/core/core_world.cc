#include "tests/daemon/core/core_world.h"

#include <algorithm>

#include "base/check.h"
#include "daemon/core/core_state.h"
#include "proto/shm/object_table.h"

namespace vrampool::testing {

// The world aborts with VRAMPOOL_CHECK and not with EXPECT: it also runs under
// the fuzzer, where a stop is what counts.

CoreSettings SmallSettings() {
  CoreSettings settings;
  settings.epoch = Epoch{7};
  settings.capacity = Slabs(8);
  settings.granule = kGranule;
  settings.kinds = {HandleKind::kHostFd, HandleKind::kVmmFd};
  settings.tenants = {{.path = "root/a", .quota = {.limit = Slabs(8)}},
                      {.path = "root/b", .quota = {.limit = Slabs(8)}}};
  settings.default_limit = Slabs(8);
  return settings;
}

CoreWorld::CoreWorld(CoreSettings settings)
    : settings_(std::move(settings)),
      arbiter_(std::make_unique<Arbiter>(settings_, table, oracle)) {
  arbiter_->CheckInvariants();
}

void CoreWorld::Absorb(Effects effects) {
  for (const Effects::Create& create : effects.create) {
    VRAMPOOL_CHECK(creates.emplace(create.slab, create).second);
    VRAMPOOL_CHECK(!on_device.contains(create.slab));
    VRAMPOOL_CHECK(!create.size.is_zero());
    VRAMPOOL_CHECK(create.size.count() % settings_.granule.count() == 0);
  }
  for (const SlabId slab : effects.destroy) {
    VRAMPOOL_CHECK(!IsHeldAndShared(slab));
    VRAMPOOL_CHECK(on_device.contains(slab) || gone_unnoticed_.contains(slab));
    VRAMPOOL_CHECK(destroys.insert(slab).second);
  }
  for (Effects::Settled& settlement : effects.settled) {
    VRAMPOOL_CHECK(
        settled.emplace(settlement.ticket, std::move(settlement.outcome))
            .second);
  }
  reclaims.insert(reclaims.end(), effects.reclaim.begin(),
                  effects.reclaim.end());
  evicted.insert(evicted.end(), effects.evict.begin(), effects.evict.end());
  ended.insert(ended.end(), effects.ended.begin(), effects.ended.end());
  for (const Effects::Known& one : effects.known) {
    // Whoever is told finds it in the table.
    VRAMPOOL_CHECK(table.words.at(ObjectSlot(one.object)) !=
                   shm::MakeSlotWord(ObjectGeneration(one.object),
                                     shm::ObjectState::kPending));
    known.emplace_back(one.opener, one.object);
  }
  objects_changes += effects.objects_changed ? 1 : 0;
  room_changes += effects.room_changed ? 1 : 0;
  arbiter_->CheckInvariants();
  CheckDevice();
}

// Giving up such a slab would let its holders into the memory of others.
bool CoreWorld::IsHeldAndShared(SlabId id) const {
  const auto& kinds = settings_.not_isolating;
  if (kinds.empty()) return false;
  for (const SlabView& slab : arbiter_->TakeSnapshot(now).slabs) {
    if (slab.id != id || slab.mapped_by.empty()) continue;
    return std::find(kinds.begin(), kinds.end(), slab.kind) != kinds.end();
  }
  return false;
}

// The device is never asked for more than the pool's capacity.
void CoreWorld::CheckDevice() const {
  Bytes sum;
  for (const auto& [slab, create] : creates) sum += create.size;
  for (const auto& [slab, size] : on_device) sum += size;
  VRAMPOOL_CHECK(sum <= settings_.capacity);
}

void CoreWorld::FinishCreate(SlabId slab, const absl::Status& outcome) {
  const auto found = creates.find(slab);
  VRAMPOOL_CHECK(found != creates.end());
  if (outcome.ok()) on_device[slab] = found->second.size;
  creates.erase(found);
  Effects effects;
  arbiter_->OnCreated(slab, outcome, now, effects);
  Absorb(std::move(effects));
}

void CoreWorld::FinishDestroy(SlabId slab, const absl::Status& outcome) {
  VRAMPOOL_CHECK(destroys.erase(slab) == 1);
  absl::Status report = outcome;
  if (gone_unnoticed_.contains(slab)) {
    if (outcome.ok()) report = absl::NotFoundError("no such slab");
    if (outcome.ok()) gone_unnoticed_.erase(slab);
  } else if (outcome.ok() || absl::IsNotFound(outcome)) {
    VRAMPOOL_CHECK(on_device.erase(slab) == 1);
  }
  Effects effects;
  arbiter_->OnDestroyed(slab, report, now, effects);
  Absorb(std::move(effects));
}

void CoreWorld::Restart(Underway destroys_under_way) {
  const CoreState state = arbiter_->Save();
  // Made or not, the state does not know them: they are destroyed.
  creates.clear();
  if (destroys_under_way == Underway::kDone) {
    for (const SlabId slab : destroys) on_device.erase(slab);
    gone_unnoticed_.insert(destroys.begin(), destroys.end());
  }
  destroys.clear();
  std::map<uint64_t, uint64_t> words = table.words;
  for (auto& [slot, word] : words) {
    if (shm::SlotState(word) != shm::ObjectState::kFree) continue;
    // What was promised will not be.
    word =
        shm::MakeSlotWord(state.generations.at(slot), shm::ObjectState::kFree);
  }
  table = FakeObjectTable();
  absl::StatusOr<std::unique_ptr<Arbiter>> restored =
      Arbiter::Restore(settings_, state, table, oracle);
  VRAMPOOL_CHECK(restored.ok());
  VRAMPOOL_CHECK((*restored)->Save() == state);
  VRAMPOOL_CHECK(table.words == words);
  arbiter_ = *std::move(restored);
  Effects effects;
  arbiter_->RetryDestroys(effects);
  Absorb(std::move(effects));
}

}  // namespace vrampool::testing
