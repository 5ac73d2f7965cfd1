#include "daemon/core/pool.h"

#include <array>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace vrampool {
namespace {

using S = SlabState;
using Moves = std::vector<S>;

class PoolTest : public ::testing::Test {
 protected:
  ~PoolTest() override { pool_.CheckInvariants(); }

  Slab& Reserve(uint64_t bytes, HandleKind kind = HandleKind::kHostFd) {
    Slab& slab = pool_.Reserve(Bytes(bytes), kind, now_);
    pool_.CheckInvariants();
    return slab;
  }
  void Move(Slab& slab, S to) {
    now_ += absl::Seconds(1);
    pool_.Move(slab, to, now_);
    pool_.CheckInvariants();
  }
  // A clean slab that belonged to `tenant`, or to nobody.
  Slab& Clean(uint64_t bytes, std::optional<TenantId> tenant = std::nullopt,
              HandleKind kind = HandleKind::kHostFd) {
    Slab& slab = Reserve(bytes, kind);
    slab.tenant = tenant;
    Move(slab, S::kClean);
    return slab;
  }

  absl::Time now_ = absl::FromUnixSeconds(1000);
  Pool pool_{Bytes(1000)};
};

TEST_F(PoolTest, AFreshPoolIsFreeAsAWhole) {
  EXPECT_EQ(pool_.free(), Bytes(1000));
  EXPECT_EQ(pool_.capacity(), Bytes(1000));
  EXPECT_TRUE(pool_.IsConserved());
}

TEST_F(PoolTest, ReserveTakesItsBytesFromTheFreeOnes) {
  const Slab& slab = Reserve(300);
  EXPECT_EQ(slab.state(), S::kCreating);
  EXPECT_EQ(pool_.free(), Bytes(700));
  EXPECT_EQ(pool_.usage().of(S::kCreating), Bytes(300));
}

TEST_F(PoolTest, IdsAreNeverUsedTwice) {
  const SlabId first = Reserve(10).id;
  pool_.Erase(first);
  EXPECT_NE(Reserve(10).id, first);
  EXPECT_EQ(pool_.Find(first), nullptr);
}

TEST_F(PoolTest, AMoveCarriesTheBytesFromStateToState) {
  Slab& slab = Reserve(300);
  Move(slab, S::kLeased);
  EXPECT_EQ(pool_.usage().of(S::kCreating), Bytes(0));
  EXPECT_EQ(pool_.usage().of(S::kLeased), Bytes(300));
  EXPECT_EQ(slab.since(), now_);
}

TEST_F(PoolTest, EraseFreesTheBytesAndEndsTheCharge) {
  Ledger ledger(Bytes(1000), Bytes(1000));
  Slab& slab = Reserve(300);
  slab.charge = ledger.TakeRegardless(Ledger::kRoot, Bytes(300));
  pool_.Erase(slab.id);
  EXPECT_EQ(pool_.free(), Bytes(1000));
  EXPECT_EQ(ledger.used(Ledger::kRoot), Bytes(0));
}

TEST_F(PoolTest, FindCleanGivesTheSmallestThatHoldsTheSize) {
  Clean(109);
  const Slab& best = Clean(102);
  Clean(99);
  EXPECT_EQ(pool_.FindClean(std::nullopt, HandleKind::kHostFd, Bytes(100)),
            &best);
}

TEST_F(PoolTest, FindCleanWastesAtMostAnEighth) {
  Clean(109);
  EXPECT_EQ(pool_.FindClean(std::nullopt, HandleKind::kHostFd, Bytes(96)),
            nullptr);
  EXPECT_NE(pool_.FindClean(std::nullopt, HandleKind::kHostFd, Bytes(97)),
            nullptr);
}

TEST_F(PoolTest, FindCleanKeepsTenantsAndKindsApart) {
  const TenantId a{1};
  const TenantId b{2};
  const Slab& nobodys = Clean(100);
  const Slab& of_a = Clean(100, a);
  const Slab& vmm = Clean(100, a, HandleKind::kVmmFd);
  EXPECT_EQ(pool_.FindClean(std::nullopt, HandleKind::kHostFd, Bytes(100)),
            &nobodys);
  EXPECT_EQ(pool_.FindClean(a, HandleKind::kHostFd, Bytes(100)), &of_a);
  EXPECT_EQ(pool_.FindClean(a, HandleKind::kVmmFd, Bytes(100)), &vmm);
  EXPECT_EQ(pool_.FindClean(b, HandleKind::kHostFd, Bytes(100)), nullptr);
  EXPECT_EQ(pool_.FindClean(std::nullopt, HandleKind::kVmmFd, Bytes(100)),
            nullptr);
}

TEST_F(PoolTest, TheRootTenantIsNotNobody) {
  Clean(100, Ledger::kRoot);
  EXPECT_EQ(pool_.FindClean(std::nullopt, HandleKind::kHostFd, Bytes(100)),
            nullptr);
}

TEST_F(PoolTest, ASlabThatLeavesCleanIsFoundNoMore) {
  Slab& slab = Clean(100);
  Move(slab, S::kLeased);
  EXPECT_EQ(pool_.FindClean(std::nullopt, HandleKind::kHostFd, Bytes(100)),
            nullptr);
  EXPECT_EQ(pool_.OldestClean(), nullptr);
}

TEST_F(PoolTest, OldestCleanIsTheOneCleanForLongest) {
  const Slab& first = Clean(10);
  Slab& second = Clean(20);
  EXPECT_EQ(pool_.OldestClean(), &first);
  Move(*pool_.Find(first.id), S::kLeased);
  EXPECT_EQ(pool_.OldestClean(), &second);
  Move(*pool_.Find(first.id), S::kClean);
  EXPECT_EQ(pool_.OldestClean(), &second);
}

TEST_F(PoolTest, ComingCountsOnlyWhatNobodyMaps) {
  Slab& mapped = Clean(10);
  Slab& unmapped = Clean(20);
  Move(mapped, S::kLeased);
  mapped.mappers.insert(SessionId{1});
  Move(mapped, S::kDestroying);
  Move(unmapped, S::kDestroying);
  EXPECT_EQ(pool_.coming(), Bytes(20));
  pool_.Erase(unmapped.id);
  EXPECT_EQ(pool_.coming(), Bytes(0));
}

TEST_F(PoolTest, AReservationOfAllIsFine) {
  Reserve(1000);
  EXPECT_EQ(pool_.free(), Bytes(0));
}

// The moves table, written a second time: what is not here must abort.
const std::set<std::pair<S, S>>& Legal() {
  static const auto& legal = *new std::set<std::pair<S, S>>{
      {S::kCreating, S::kClean},      {S::kCreating, S::kLeased},
      {S::kClean, S::kLeased},        {S::kClean, S::kDestroying},
      {S::kLeased, S::kClean},        {S::kLeased, S::kParked},
      {S::kLeased, S::kKept},         {S::kLeased, S::kDestroying},
      {S::kParked, S::kLeased},       {S::kParked, S::kClean},
      {S::kParked, S::kDestroying},   {S::kKept, S::kDestroying},
      {S::kDestroying, S::kLingering}};
  return legal;
}

// A way by legal moves from creating to each state.
Moves PathTo(S state) {
  switch (state) {
    case S::kCreating:
      return {};
    case S::kClean:
      return {S::kClean};
    case S::kLeased:
      return {S::kLeased};
    case S::kParked:
      return {S::kLeased, S::kParked};
    case S::kKept:
      return {S::kLeased, S::kKept};
    case S::kDestroying:
      return {S::kClean, S::kDestroying};
    case S::kLingering:
      return {S::kClean, S::kDestroying, S::kLingering};
  }
  return {};
}

class PoolMoveTest : public PoolTest,
                     public ::testing::WithParamInterface<std::pair<int, int>> {
 protected:
  S from() const { return static_cast<S>(GetParam().first); }
  S to() const { return static_cast<S>(GetParam().second); }
  Slab& SlabIn(S state) {
    Slab& slab = Reserve(10);
    for (const S step : PathTo(state)) Move(slab, step);
    return slab;
  }
};

class PoolLegalMoveTest : public PoolMoveTest {};
class PoolIllegalMoveDeathTest : public PoolMoveTest {};

TEST_P(PoolLegalMoveTest, ReachesTheState) {
  Slab& slab = SlabIn(from());
  Move(slab, to());
  EXPECT_EQ(slab.state(), to());
  EXPECT_EQ(pool_.usage().of(to()), Bytes(10));
}

TEST_P(PoolIllegalMoveDeathTest, Aborts) {
  Slab& slab = SlabIn(from());
  EXPECT_DEATH(pool_.Move(slab, to(), now_), "IsMove");
}

std::vector<std::pair<int, int>> AllMoves(bool is_legal) {
  std::vector<std::pair<int, int>> moves;
  for (int from = 0; from < kSlabStates; ++from) {
    for (int to = 0; to < kSlabStates; ++to) {
      const auto move = std::pair(static_cast<S>(from), static_cast<S>(to));
      if (Legal().contains(move) == is_legal) moves.emplace_back(from, to);
    }
  }
  return moves;
}

std::string NameOf(const ::testing::TestParamInfo<std::pair<int, int>>& info) {
  return std::string(SlabStateName(static_cast<S>(info.param.first))) + "_to_" +
         SlabStateName(static_cast<S>(info.param.second));
}

INSTANTIATE_TEST_SUITE_P(All, PoolLegalMoveTest,
                         ::testing::ValuesIn(AllMoves(true)), NameOf);
INSTANTIATE_TEST_SUITE_P(All, PoolIllegalMoveDeathTest,
                         ::testing::ValuesIn(AllMoves(false)), NameOf);

class PoolDeathTest : public PoolTest {};

TEST_F(PoolDeathTest, AMappedSlabCannotBecomeClean) {
  Slab& slab = Reserve(10);
  Move(slab, S::kLeased);
  slab.mappers.insert(SessionId{1});
  EXPECT_DEATH(pool_.Move(slab, S::kClean, now_), "mappers");
}

TEST_F(PoolDeathTest, ReserveBeyondWhatIsFreeAborts) {
  EXPECT_DEATH(pool_.Reserve(Bytes(1001), HandleKind::kHostFd, now_),
               "check failed");
  EXPECT_DEATH(pool_.Reserve(Bytes(0), HandleKind::kHostFd, now_),
               "check failed");
}

TEST_F(PoolDeathTest, ALeasedOrCleanSlabCannotBeErased) {
  Slab& slab = Clean(10);
  EXPECT_DEATH(pool_.Erase(slab.id), "check failed");
  Move(slab, S::kLeased);
  EXPECT_DEATH(pool_.Erase(slab.id), "check failed");
  EXPECT_DEATH(pool_.Erase(SlabId{99}), "check failed");
}

}  // namespace
}  // namespace vrampool
