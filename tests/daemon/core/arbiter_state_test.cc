// What survives a restart of the daemon, and what a damaged state cannot do.

#include <functional>
#include <utility>
#include <vector>

#include "daemon/core/core_state.h"
#include "proto/shm/object_table.h"
#include "tests/daemon/core/arbiter_fixture.h"

namespace vrampool::testing {
namespace {

class ArbiterStateTest : public ArbiterTest {
 protected:
  // A bit of everything; see the names.
  void Populate() {
    owner_ = Attach("root/a", 1001);
    opener_ = Attach("root/a", 1002);
    leased_ = Lease(owner_, Slabs(1));
    parked_ = Lease(owner_, Slabs(1));
    clean_ = Lease(owner_, Slabs(1));
    Park(owner_, parked_);
    Return(owner_, clean_);
    object_ = Share(owner_, leased_, "model");
    EXPECT_THAT(Open(opener_, object_), IsOk());
    const SessionId dead = Attach("root/a", 1001);
    kept_ = Lease(dead, Slabs(2));
    orphan_ = Share(dead, kept_, "orphan");
    Die(dead);
    ended_ = Attach("root/b", 1003);
    lingering_ = Lease(ended_, Slabs(1));
    CloseSocket(ended_);
    DestroyedAll();
  }
  CoreState Save() { return arbiter().Save(); }
  absl::Status TryRestore(const CoreState& state) {
    FakeObjectTable table;
    return Arbiter::Restore(world().settings(), state, table, world().oracle)
        .status();
  }
  // Restoring what `damage` makes of a good state is refused.
  absl::Status AfterDamage(const std::function<void(CoreState&)>& damage) {
    CoreState state = Save();
    damage(state);
    return TryRestore(state);
  }
  void Restart() { world().Restart(CoreWorld::Underway::kNotDone); }

  SessionId owner_{}, opener_{}, ended_{};
  LeaseGrant leased_, parked_, clean_, kept_, lingering_;
  ShareGrant object_, orphan_;
};

TEST_F(ArbiterStateTest, AnEmptyStateComesBack) {
  const CoreState state = Save();
  Restart();
  EXPECT_EQ(Save(), state);
  EXPECT_EQ(Free(), Slabs(8));
}

TEST_F(ArbiterStateTest, SaveRestoreSaveIsEqual) {
  Populate();
  const CoreState state = Save();
  EXPECT_EQ(state.sessions.size(), 3u);
  EXPECT_EQ(state.slabs.size(), 5u);
  EXPECT_EQ(state.objects.size(), 2u);
  Restart();
  EXPECT_EQ(Save(), state);
}

TEST_F(ArbiterStateTest, SlabsAreWhereTheyWereAndCharged) {
  Populate();
  const Bytes used = Used("root/a");
  Restart();
  EXPECT_EQ(StateOf(leased_.slab.id), SlabState::kLeased);
  EXPECT_EQ(StateOf(parked_.slab.id), SlabState::kParked);
  EXPECT_EQ(StateOf(clean_.slab.id), SlabState::kClean);
  EXPECT_EQ(StateOf(kept_.slab.id), SlabState::kKept);
  EXPECT_EQ(StateOf(lingering_.slab.id), SlabState::kLingering);
  EXPECT_EQ(Used("root/a"), used);
  EXPECT_EQ(Used("root/b"), Slabs(1));
}

TEST_F(ArbiterStateTest, LifeGoesOnWhereItStopped) {
  Populate();
  Restart();
  EXPECT_EQ(Lease(owner_, Slabs(1)).slab.id, parked_.slab.id);
  EXPECT_EQ(Lease(opener_, Slabs(1)).slab.id, clean_.slab.id);
  EXPECT_THAT(TryReturn(owner_, leased_.lease, ReturnMode::kUnmapped),
              IsRefused(Reason::kLeaseInUse));
  EXPECT_THAT(Open(opener_, "orphan"), IsOk());
  EXPECT_THAT(Unlink(opener_, "model"), IsOk());
  EXPECT_THAT(Close(owner_, object_.object), IsOk());
  EXPECT_THAT(Close(opener_, object_.object), IsOk());
  ASSERT_EQ(world().ended.size(), 1u);
  EXPECT_EQ(world().ended[0].producer, owner_);
  EndProcess(ended_);
  EXPECT_EQ(Used("root/b"), Bytes(0));
  EXPECT_THAT(Unlink(opener_, "orphan"), IsOk());
  Die(owner_);
  Die(opener_);
  DestroyedAll();
  EXPECT_TRUE(IsWhole());
}

TEST_F(ArbiterStateTest, ARepeatedRequestStillGivesItsLease) {
  const SessionId a = Attach();
  const LeaseRequest request = Ask(Slabs(1));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant grant, TryLease(a, request));
  Restart();
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant again, TryLease(a, request));
  EXPECT_EQ(again.lease, grant.lease);
}

TEST_F(ArbiterStateTest, IdsGoOnAndAreNotUsedTwice) {
  const SessionId first = Attach();
  const LeaseGrant grant = Lease(first, Slabs(8));
  const ShareGrant share = Share(first, grant);
  EXPECT_THAT(Close(first, share.object), IsOk());
  Return(first, grant);
  Die(first);
  Restart();
  const SessionId second = Attach("root/b");
  EXPECT_GT(second, first);
  const LeaseGrant next = Lease(second, Slabs(8));
  EXPECT_GT(next.slab.id, grant.slab.id);
  EXPECT_GT(next.lease, grant.lease);
  const ShareGrant other = Share(second, next);
  EXPECT_EQ(ObjectSlot(other.object), ObjectSlot(share.object));
  EXPECT_GT(ObjectGeneration(other.object), ObjectGeneration(share.object));
}

TEST_F(ArbiterStateTest, TheTableIsPublishedAnew) {
  Populate();
  const ShareGrant ended = Share(owner_, leased_);
  EXPECT_THAT(Close(owner_, ended.object), IsOk());
  Restart();
  EXPECT_EQ(world().table.words.size(), 3u);
  EXPECT_EQ(world().table.words.at(ObjectSlot(object_.object)),
            shm::MakeSlotWord(1, shm::ObjectState::kLive));
  EXPECT_EQ(world().table.words.at(ObjectSlot(ended.object)),
            shm::MakeSlotWord(2, shm::ObjectState::kFree));
}

TEST_F(ArbiterStateTest, AWatchedObjectIsWatchedOn) {
  const SessionId a = Attach();
  const ShareGrant share = Share(a, Lease(a, Slabs(1)));
  HoldInManifest(a, share.object);
  EXPECT_THAT(Close(a, share.object), IsOk());
  Restart();
  EXPECT_EQ(world().table.words.at(0),
            shm::MakeSlotWord(1, shm::ObjectState::kWatched));
  ReleaseInManifest(a, share.object);
  EXPECT_FALSE(Find(share.object).has_value());
}

TEST_F(ArbiterStateTest, LimitsSetWhileRunningAndPeaksSurvive) {
  const SessionId a = Attach();
  Return(a, Lease(a, Slabs(4)));
  SetLimit("root/a", Slabs(3));
  SetLimit("root", Slabs(5));
  Restart();
  for (const TenantView& tenant : Look().tenants) {
    if (tenant.path == "root/a") {
      EXPECT_EQ(tenant.limit, Slabs(3));
      EXPECT_EQ(tenant.peak, Slabs(4));
    }
    if (tenant.path == "root") {
      EXPECT_EQ(tenant.limit, Slabs(5));
    }
  }
}

TEST_F(ArbiterStateTest, TicketsAndSlabsInCreationAreNotSaved) {
  const SessionId a = Attach();
  Wait(a, Slabs(4));
  Wait(Attach("root/b"), Slabs(8));
  EXPECT_TRUE(Save().slabs.empty());
  Restart();
  EXPECT_EQ(Look().waiting, 0u);
  EXPECT_EQ(Free(), Slabs(8));
  EXPECT_EQ(Used("root"), Bytes(0));
  EXPECT_THAT(TryLease(a, Slabs(8)), IsOk());
}

TEST_F(ArbiterStateTest, DestroysUnderWayAreAskedForAgain) {
  const SessionId a = Attach();
  const LeaseGrant grant = Lease(a, Slabs(1));
  Die(a);
  world().Restart(CoreWorld::Underway::kDone);
  EXPECT_EQ(StateOf(grant.slab.id), SlabState::kDestroying);
  EXPECT_EQ(Used("root/a"), Slabs(1));
  EXPECT_EQ(ToDestroy(), std::vector<SlabId>{grant.slab.id});
  DestroyedAll();
  EXPECT_TRUE(IsWhole());
}

TEST_F(ArbiterStateTest, ARestartedDaemonIsNeitherStoppingNorLost) {
  BeginShutdown();
  LoseDevice();
  Restart();
  EXPECT_THAT(TryAttach("root/a", 1), IsOk());
}

TEST_F(ArbiterStateTest, ALargerPoolIsAllowedAndASmallerOneIfAllFits) {
  Populate();
  const CoreState state = Save();
  FakeObjectTable table;
  CoreSettings settings = world().settings();
  settings.capacity = Slabs(16);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(
      auto larger, Arbiter::Restore(settings, state, table, world().oracle));
  EXPECT_EQ(larger->TakeSnapshot(world().now).pool.free, Slabs(10));
  EXPECT_EQ(larger->TakeSnapshot(world().now).tenants.at(0).limit, Slabs(16));
  settings.capacity = Slabs(5);
  EXPECT_THAT(Arbiter::Restore(settings, state, table, world().oracle).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(ArbiterStateTest, AnotherEpochOrTooFewPlacesForObjectsAreRefused) {
  Populate();
  EXPECT_THAT(AfterDamage([](CoreState& s) { s.epoch = Epoch{8}; }),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(AfterDamage([](CoreState& s) { s.generations.resize(70000, 1); }),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

using Damage = std::pair<const char*, std::function<void(CoreState&)>>;

std::vector<Damage> DamagesOfTheWhole() {
  return {
      {"no root", [](CoreState& s) { s.tenants.erase(s.tenants.begin()); }},
      {"tenant twice", [](CoreState& s) { s.tenants.push_back(s.tenants[1]); }},
      {"bad path", [](CoreState& s) { s.tenants[1].path = "x"; }},
      {"unreachable id", [](CoreState& s) { s.last_slab = UINT64_MAX; }},
      {"generation zero", [](CoreState& s) { s.generations[0] = 0; }},
      {"generation", [](CoreState& s) { s.generations[0] = UINT64_MAX; }},
      {"generation of another", [](CoreState& s) { ++s.generations[0]; }},
  };
}

std::vector<Damage> DamagesOfSessions() {
  return {
      {"session twice",
       [](CoreState& s) { s.sessions.push_back(s.sessions[0]); }},
      {"session zero", [](CoreState& s) { s.sessions[0].id = SessionId{0}; }},
      {"session of the future", [](CoreState& s) { s.last_session = 1; }},
      {"session without tenant",
       [](CoreState& s) { s.sessions[0].tenant = ""; }},
      {"session that is gone",
       [](CoreState& s) { s.sessions[2].is_process_gone = true; }},
      {"session state",
       [](CoreState& s) { s.sessions[0].state = SessionState{9}; }},
      {"lessee ended",
       [](CoreState& s) { s.sessions[0].state = SessionState::kEnded; }},
      {"lessee moved", [](CoreState& s) { s.sessions[0].tenant = "root/b"; }},
  };
}

// Slabs of Populate() by id: leased, parked, clean, kept, lingering.
std::vector<Damage> DamagesOfSlabs() {
  return {
      {"slab twice", [](CoreState& s) { s.slabs.push_back(s.slabs[2]); }},
      {"slab zero", [](CoreState& s) { s.slabs[2].id = SlabId{0}; }},
      {"slab of the future", [](CoreState& s) { s.last_slab = 1; }},
      {"empty slab", [](CoreState& s) { s.slabs[2].size = Bytes(0); }},
      {"odd slab", [](CoreState& s) { s.slabs[2].size = Bytes(1); }},
      {"slab kind", [](CoreState& s) { s.slabs[2].kind = HandleKind{9}; }},
      {"slab tenant", [](CoreState& s) { s.slabs[2].tenant = "root/x"; }},
      {"slab creating",
       [](CoreState& s) { s.slabs[2].state = SlabState::kCreating; }},
      {"slab state", [](CoreState& s) { s.slabs[2].state = SlabState{9}; }},
      {"clean but mapped",
       [](CoreState& s) { s.slabs[2].mappers = {SessionId{1}}; }},
      {"clean but charged", [](CoreState& s) { s.slabs[2].payer = "root/a"; }},
      {"charged to another tenant",
       [](CoreState& s) { s.slabs[0].payer = "root/b"; }},
      {"charged to nobody known",
       [](CoreState& s) {
         s.slabs[0].had_guests = true;
         s.slabs[0].payer = "root/x";
       }},
      {"clean but had guests",
       [](CoreState& s) { s.slabs[2].had_guests = true; }},
      {"clean but spoiled", [](CoreState& s) { s.slabs[2].is_spoiled = true; }},
      {"leased but free", [](CoreState& s) { s.slabs[0].payer = ""; }},
      {"leased by none",
       [](CoreState& s) { s.slabs[0].session = SessionId{0}; }},
      {"leased without lease",
       [](CoreState& s) { s.slabs[0].lease = LeaseId{0}; }},
      {"lease of the future", [](CoreState& s) { s.last_lease = 0; }},
      {"leased but not mapped", [](CoreState& s) { s.slabs[0].mappers = {}; }},
      {"asked for more",
       [](CoreState& s) { s.slabs[0].request.size = GiB(9); }},
      {"mapped twice",
       [](CoreState& s) { s.slabs[0].mappers.assign(2, SessionId{1}); }},
      {"mapped by nobody",
       [](CoreState& s) { s.slabs[0].mappers.push_back(SessionId{99}); }},
      {"mapped by another tenant",
       [](CoreState& s) { s.slabs[0].mappers.push_back(s.sessions[2].id); }},
      {"parked with a lease",
       [](CoreState& s) { s.slabs[1].lease = LeaseId{1}; }},
      {"kept for nothing", [](CoreState& s) { s.objects.pop_back(); }},
      {"kept by one", [](CoreState& s) { s.slabs[3].session = SessionId{1}; }},
      {"lingering with nobody", [](CoreState& s) { s.slabs[4].mappers = {}; }},
      {"lingering uncharged", [](CoreState& s) { s.slabs[4].payer = ""; }},
  };
}

std::vector<Damage> DamagesOfObjects() {
  return {
      {"grant to no path",
       [](CoreState& s) { s.objects[0].grants = {"root//b"}; }},
      {"too many grants",
       [](CoreState& s) { s.objects[0].grants.assign(17, "root/b"); }},
      {"object twice", [](CoreState& s) { s.objects.push_back(s.objects[0]); }},
      {"object slot",
       [](CoreState& s) { s.objects[0].id = MakeObjectId(77, 1); }},
      {"object tenant", [](CoreState& s) { s.objects[0].tenant = "root/b"; }},
      {"object name twice", [](CoreState& s) { s.objects[0].name = "orphan"; }},
      {"object name",
       [](CoreState& s) { s.objects[0].name = std::string(2, 0); }},
      {"object metadata",
       [](CoreState& s) { s.objects[0].metadata.resize(1 << 20); }},
      {"object nowhere", [](CoreState& s) { s.objects[0].buffers.clear(); }},
      {"object beyond",
       [](CoreState& s) { s.objects[0].buffers[0].offset = UINT64_MAX; }},
      {"object in clean",
       [](CoreState& s) { s.objects[0].buffers[0].slab = s.slabs[2].id; }},
      {"object of another",
       [](CoreState& s) { s.objects[0].producer = s.sessions[1].id; }},
      {"producer lives again",
       [](CoreState& s) { s.objects[1].producer_is_live = true; }},
      {"expires without a name",
       [](CoreState& s) {
         s.objects[0].name = "";
         s.objects[0].expires_at = absl::UnixEpoch();
       }},
  };
}

std::vector<Damage> DamagesOfHolds() {
  return {
      {"held by the dead",
       [](CoreState& s) {
         s.objects[1].holds = {{SessionId{3}, 1}};
       }},
      {"held no times", [](CoreState& s) { s.objects[0].holds[0].second = 0; }},
      {"held too often",
       [](CoreState& s) {
         for (ObjectRecord& object : s.objects) {
           object.holds = {{SessionId{2}, UINT32_MAX}};
         }
       }},
      {"held unsorted",
       [](CoreState& s) {
         s.objects[0].holds.push_back({SessionId{1}, 1});
       }},
      {"broken",
       [](CoreState& s) { s.objects[0].phase = ObjectPhase::kBroken; }},
      {"broken but held by nobody",
       [](CoreState& s) {
         s.objects[1].phase = ObjectPhase::kBroken;
         s.objects[1].name = "";
       }},
      {"pending without producer",
       [](CoreState& s) { s.objects[1].phase = ObjectPhase::kPending; }},
      {"should have ended", [](CoreState& s) { s.objects[1].name = ""; }},
      {"watched and held",
       [](CoreState& s) { s.objects[0].is_watched = true; }},
  };
}

TEST_F(ArbiterStateTest, ADamagedStateIsRefusedWithWhatIsWrong) {
  Populate();
  ASSERT_THAT(TryRestore(Save()), IsOk());
  for (const auto& damages :
       {DamagesOfTheWhole(), DamagesOfSessions(), DamagesOfSlabs(),
        DamagesOfObjects(), DamagesOfHolds()}) {
    for (const auto& [name, damage] : damages) {
      SCOPED_TRACE(name);
      EXPECT_THAT(AfterDamage(damage), StatusIs(absl::StatusCode::kDataLoss));
    }
  }
}

}  // namespace
}  // namespace vrampool::testing
