// What a damaged file can say must be refused, or hold together.

#include "daemon/core/core_state.h"

#include <random>
#include <string>

#include "daemon/core/arbiter.h"
#include "gtest/gtest.h"
#include "tests/daemon/core/arbiter_program.h"

namespace vrampool::testing {
namespace {

// Gives fields the values of other fields, and extremes: not as bit rot would,
// but as an attacker could.
class Vandal {
 public:
  explicit Vandal(uint64_t seed) : random_(seed) {}

  void Damage(CoreState& state) {
    if (!state.slabs.empty()) DamageSlab(state, Pick(state.slabs));
    if (!state.objects.empty()) DamageObject(state, Pick(state.objects));
    DamageSession(state, Pick(state.sessions));
    DamageRest(state);
  }

 private:
  template <typename List>
  typename List::value_type& Pick(List& list) {
    return list[random_() % list.size()];
  }
  uint64_t Number() {
    constexpr uint64_t kNumbers[] = {0, 1, 2, 3, 5, 8, UINT32_MAX, UINT64_MAX};
    return kNumbers[random_() % 8];
  }

  void DamageSlab(CoreState& state, SlabRecord& slab) {
    switch (random_() % 16) {
      case 0:
        slab.state = Pick(state.slabs).state;
        break;
      case 1:
        slab.session = SessionId{Number()};
        break;
      case 2:
        slab.lease = LeaseId{Number()};
        break;
      case 3:
        slab.mappers.push_back(SessionId{Number()});
        break;
      case 4:
        slab.mappers.clear();
        break;
      case 5:
        slab.payer = slab.payer.empty() ? "root/a" : "";
        break;
      case 6:
        slab.tenant = Pick(state.tenants).path;
        break;
      case 7:
        slab.size = Bytes(Number() << 21);
        break;
      case 8:
        slab.id = SlabId{Number()};
        break;
      default:
        break;
    }
  }

  void DamageObject(CoreState& state, ObjectRecord& object) {
    switch (random_() % 16) {
      case 0:
        object.producer_is_live = !object.producer_is_live;
        break;
      case 1:
        object.holds.push_back(
            {SessionId{Number()}, static_cast<uint32_t>(Number())});
        break;
      case 2:
        object.holds.clear();
        break;
      case 3:
        object.name = Pick(state.objects).name;
        break;
      case 4:
        object.is_watched = !object.is_watched;
        break;
      case 5:
        object.buffers = Pick(state.objects).buffers;
        break;
      case 6:
        object.phase = ObjectPhase{static_cast<int>(Number() % 4)};
        break;
      case 7:
        object.id = MakeObjectId(Number(), Number());
        break;
      case 8:
        object.expires_at =
            absl::FromUnixSeconds(static_cast<int64_t>(Number() >> 8));
        break;
      default:
        break;
    }
  }

  void DamageSession(CoreState& state, SessionRecord& session) {
    switch (random_() % 16) {
      case 0:
        session.state = SessionState{static_cast<int>(Number() % 4)};
        break;
      case 1:
        session.is_process_gone = !session.is_process_gone;
        break;
      case 2:
        session.tenant = Pick(state.tenants).path;
        break;
      case 3:
        session.id = SessionId{Number()};
        break;
      default:
        break;
    }
  }

  void DamageRest(CoreState& state) {
    switch (random_() % 16) {
      case 0:
        Pick(state.tenants).quota.limit = Bytes(Number());
        break;
      case 1:
        Pick(state.tenants).peak = Bytes(Number());
        break;
      case 2:
        state.last_slab = Number();
        break;
      case 3:
        state.generations.push_back(Number());
        break;
      default:
        break;
    }
  }

  std::mt19937_64 random_;
};

TEST(CoreStateTest, ARandomlyDamagedStateIsRefusedOrHoldsTogether) {
  int accepted = 0;
  int refused = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    const auto [good, settings] =
        ArbiterProgram::StateAfter(RandomProgram(seed));
    CoreState state = good;
    Vandal(seed).Damage(state);
    FakeObjectTable table;
    FakeHoldOracle oracle;
    const auto arbiter = Arbiter::Restore(settings, state, table, oracle);
    ++(arbiter.ok() ? accepted : refused);
    if (!arbiter.ok()) continue;
    (*arbiter)->CheckInvariants();
    // All of it can end.
    const absl::Time now = absl::UnixEpoch();
    Effects effects;
    for (const SessionRecord& session : state.sessions) {
      (*arbiter)->SocketClosed(session.id, now, effects);
      (*arbiter)->ProcessGone(session.id, now, effects);
      (*arbiter)->CheckInvariants();
    }
    EXPECT_TRUE((*arbiter)->Save().sessions.empty());
  }
  EXPECT_GT(accepted, 50);
  EXPECT_GT(refused, 50);
}

}  // namespace
}  // namespace vrampool::testing
