// core_world.h - an Arbiter with everything outside it played by a test: the
// device's queues, the published table, the manifests.
//
// The world does at once what a Broker would do: it takes over the effects of
// every call. Device work lies in `creates` and `destroys` until the test says
// how it went. The device is a strict one: it fails the test if it is asked for
// more than it has, for a slab twice, or to destroy what is not there (or, of a
// kind that does not isolate, what somebody still maps).

#ifndef VRAMPOOL_TESTS_DAEMON_CORE_CORE_WORLD_H_
#define VRAMPOOL_TESTS_DAEMON_CORE_CORE_WORLD_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "daemon/core/arbiter.h"

namespace vrampool::testing {

// Records every word, in order.
class FakeObjectTable final : public ObjectTable {
 public:
  void Store(uint64_t slot, uint64_t word) override {
    stores.emplace_back(slot, word);
    words[slot] = word;
  }

  std::vector<std::pair<uint64_t, uint64_t>> stores;
  std::map<uint64_t, uint64_t> words;
};

// The manifests: who holds what, as written by the clients themselves.
class FakeHoldOracle final : public HoldOracle {
 public:
  bool IsHeld(ObjectId object,
              const std::vector<SessionId>& sessions) override {
    ++questions;
    for (const SessionId session : sessions) {
      if (holds.contains({session, object})) return true;
    }
    return false;
  }

  std::set<std::pair<SessionId, ObjectId>> holds;
  int questions = 0;
};

inline constexpr Bytes kGranule = MiB(2);
constexpr Bytes Slabs(uint64_t n) { return Bytes(n * kGranule.count()); }

// A pool of eight granules; tenants root/a and root/b may have all of it.
CoreSettings SmallSettings();

class CoreWorld {
 public:
  explicit CoreWorld(CoreSettings settings);

  Arbiter& arbiter() { return *arbiter_; }
  const CoreSettings& settings() const { return settings_; }

  // Takes over what a call has decided and checks all invariants. Every call of
  // the Arbiter that has effects is followed by this.
  void Absorb(Effects effects);

  // What the device reports. The slab leaves the queue; after a failed destroy
  // it is still on the device.
  void FinishCreate(SlabId slab, const absl::Status& outcome);
  void FinishDestroy(SlabId slab, const absl::Status& outcome);

  // The daemon is killed and goes on from its saved state. Tickets and slabs in
  // creation are lost, destroys under way had or had not been done.
  enum class Underway { kDone, kNotDone };
  void Restart(Underway destroys_under_way);

  FakeObjectTable table;
  FakeHoldOracle oracle;
  absl::Time now = absl::FromUnixSeconds(1700000000);

  std::map<SlabId, Effects::Create> creates;  // Asked for, not yet made.
  std::set<SlabId> destroys;                  // Asked for, not yet gone.
  std::map<SlabId, Bytes> on_device;          // Made and not gone.
  std::map<TicketId, absl::StatusOr<LeaseGrant>> settled;
  std::vector<Effects::Reclaim> reclaims;
  std::vector<Effects::Evict> evicted;
  std::vector<Effects::Ended> ended;
  std::vector<std::pair<SessionId, ObjectId>> known;
  int objects_changes = 0;
  int room_changes = 0;

 private:
  void CheckDevice() const;
  // It must not be given up: its kind does not isolate, and somebody maps it.
  bool IsHeldAndShared(SlabId slab) const;

  std::set<SlabId> gone_unnoticed_;  // Destroyed when nobody heard of it.

  const CoreSettings settings_;
  std::unique_ptr<Arbiter> arbiter_;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_DAEMON_CORE_CORE_WORLD_H_
