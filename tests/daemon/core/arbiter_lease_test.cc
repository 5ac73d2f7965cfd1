// Which slab a request gets, and which requests are refused.

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/daemon/core/arbiter_fixture.h"

namespace vrampool::testing {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

class ArbiterLeaseTest : public ArbiterTest {};

TEST_F(ArbiterLeaseTest, AFirstRequestIsServedByANewSlabOfTheDevice) {
  const SessionId a = Attach();
  const TicketId ticket = Wait(a, Slabs(2));
  ASSERT_EQ(ToCreate().size(), 1u);
  EXPECT_FALSE(IsSettled(ticket));
  EXPECT_EQ(Used("root/a"), Slabs(2));
  Created(ToCreate()[0]);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant grant, OutcomeOf(ticket));
  EXPECT_EQ(grant.slab.size, Slabs(2));
  EXPECT_EQ(grant.slab.kind, HandleKind::kHostFd);
  EXPECT_FALSE(grant.slab.is_mapped);
  EXPECT_EQ(grant.used, Slabs(2));
  EXPECT_EQ(grant.limit, Slabs(8));
  EXPECT_EQ(StateOf(grant.slab.id), SlabState::kLeased);
  EXPECT_EQ(Find(grant.slab.id)->mapped_by, std::vector<SessionId>{a});
}

TEST_F(ArbiterLeaseTest, ASizeIsRoundedUpToTheGranule) {
  const SessionId a = Attach();
  const LeaseGrant grant = Lease(a, Bytes(1));
  EXPECT_EQ(grant.slab.size, Slabs(1));
  EXPECT_EQ(grant.asked, Bytes(1));
  EXPECT_EQ(Lease(a, Slabs(1) + Bytes(1)).slab.size, Slabs(2));
  EXPECT_EQ(Used("root/a"), Slabs(3));
}

TEST_F(ArbiterLeaseTest, AParkedSlabComesBeforeACleanOne) {
  const SessionId a = Attach();
  const LeaseGrant clean = Lease(a, Slabs(1));
  const LeaseGrant parked = Lease(a, Slabs(1));
  Return(a, clean);
  Park(a, parked);
  const LeaseGrant again = Lease(a, Slabs(1));
  EXPECT_EQ(again.slab.id, parked.slab.id);
  EXPECT_TRUE(again.slab.is_mapped);
  EXPECT_NE(again.lease, parked.lease);
  EXPECT_EQ(Used("root/a"), Slabs(1));
}

TEST_F(ArbiterLeaseTest, ACleanSlabOfTheTenantComesBeforeOneOfNobody) {
  const SessionId a = Attach();
  const SessionId b = Attach("root/b");
  // Its caller leaves while the slab is made: it becomes nobody's.
  Wait(b, Slabs(1));
  Die(b);
  CreatedAll();
  const SlabId nobodys = Look().slabs.at(0).id;
  ASSERT_EQ(Find(nobodys)->tenant, "");
  const LeaseGrant first = Lease(a, Slabs(1));
  EXPECT_EQ(first.slab.id, nobodys);
  const LeaseGrant second = Lease(a, Slabs(1));
  Return(a, second);
  const SessionId c = Attach("root/b");
  Wait(c, Slabs(1));
  Die(c);
  CreatedAll();
  EXPECT_EQ(Lease(a, Slabs(1)).slab.id, second.slab.id);
}

TEST_F(ArbiterLeaseTest, ACleanSlabComesBeforeANewOne) {
  const SessionId a = Attach();
  const LeaseGrant first = Lease(a, Slabs(1));
  Return(a, first);
  EXPECT_EQ(Used("root/a"), Bytes(0));
  EXPECT_EQ(Lease(a, Slabs(1)).slab.id, first.slab.id);
  EXPECT_TRUE(ToCreate().empty());
}

TEST_F(ArbiterLeaseTest, ANewSlabInFreeRoomComesBeforeEviction) {
  const SessionId a = Attach();
  const SessionId b = Attach("root/b");
  Return(a, Lease(a, Slabs(4)));
  Lease(b, Slabs(4));
  EXPECT_TRUE(ToDestroy().empty());
  EXPECT_EQ(In(SlabState::kClean), Slabs(4));
}

TEST_F(ArbiterLeaseTest, CleanSlabsGiveWayTheLongestUnusedFirst) {
  const SessionId a = Attach();
  const SessionId b = Attach("root/b");
  const LeaseGrant older = Lease(a, Slabs(3));
  const LeaseGrant newer = Lease(a, Slabs(4));
  Return(a, older);
  Advance(absl::Seconds(1));
  Return(a, newer);
  const TicketId ticket = Wait(b, Slabs(2));
  EXPECT_EQ(ToDestroy(), std::vector<SlabId>{older.slab.id});
  EXPECT_TRUE(ToCreate().empty());
  Destroyed(older.slab.id);
  ASSERT_EQ(ToCreate().size(), 1u);
  CreatedAll();
  EXPECT_THAT(OutcomeOf(ticket), IsOk());
  EXPECT_EQ(StateOf(newer.slab.id), SlabState::kClean);
}

TEST_F(ArbiterLeaseTest, ALargerCleanSlabServesIfItWastesAtMostAnEighth) {
  CoreSettings settings = SmallSettings();
  settings.capacity = Slabs(40);
  settings.tenants = {{.path = "root/a", .quota = {.limit = Slabs(40)}}};
  Start(settings);
  const SessionId a = Attach();
  const LeaseGrant nine = Lease(a, Slabs(9));
  Return(a, nine);
  const LeaseGrant eight = Lease(a, Slabs(8));
  EXPECT_EQ(eight.slab.id, nine.slab.id);
  EXPECT_EQ(eight.slab.size, Slabs(9));
  EXPECT_EQ(Used("root/a"), Slabs(9));
  Return(a, eight);
  EXPECT_NE(Lease(a, Slabs(7)).slab.id, nine.slab.id);
}

TEST_F(ArbiterLeaseTest, ACleanSlabThatTheLimitDoesNotAdmitIsPassedBy) {
  CoreSettings settings = SmallSettings();
  settings.capacity = Slabs(40);
  settings.tenants = {{.path = "root/a", .quota = {.limit = Slabs(9)}}};
  Start(settings);
  const SessionId a = Attach();
  const LeaseGrant nine = Lease(a, Slabs(9));
  Return(a, nine);
  SetLimit("root/a", Slabs(8));
  const LeaseGrant eight = Lease(a, Slabs(8));
  EXPECT_NE(eight.slab.id, nine.slab.id);
  EXPECT_EQ(eight.slab.size, Slabs(8));
}

TEST_F(ArbiterLeaseTest, ZeroBytesAreABadArgument) {
  EXPECT_THAT(TryLease(Attach(), Bytes(0)), IsRefused(Reason::kBadArgument));
}

TEST_F(ArbiterLeaseTest, AnAbsurdSizeIsRefusedWithThePoolsSize) {
  const SessionId a = Attach();
  for (const Bytes size :
       {Bytes(UINT64_MAX), Bytes(UINT64_MAX / 2), Slabs(8) + Bytes(1)}) {
    const auto refused = TryLease(a, size);
    ASSERT_THAT(refused, IsRefused(Reason::kPoolExhausted));
    EXPECT_EQ(RefusalOf(refused.status())->asked, size);
    EXPECT_EQ(RefusalOf(refused.status())->limit, Slabs(8));
  }
  EXPECT_EQ(Look().counters.refused_pool, 3u);
  EXPECT_TRUE(IsWhole());
}

TEST_F(ArbiterLeaseTest, ThePoolAsAWholeCanBeLeased) {
  EXPECT_EQ(Lease(Attach(), Slabs(8)).slab.size, Slabs(8));
  EXPECT_EQ(Free(), Bytes(0));
}

TEST_F(ArbiterLeaseTest, TakeBeyondTenantLimitChangesNothing) {
  SetLimit("root/a", Slabs(2));
  const SessionId a = Attach();
  Lease(a, Slabs(1));
  const auto refused = TryLease(a, Slabs(2));
  ASSERT_THAT(refused, IsRefused(Reason::kQuotaExceeded));
  EXPECT_EQ(RefusalOf(refused.status())->subject, "root/a");
  EXPECT_EQ(RefusalOf(refused.status())->used, Slabs(1));
  EXPECT_EQ(Used("root/a"), Slabs(1));
  EXPECT_EQ(Free(), Slabs(7));
  EXPECT_EQ(Look().waiting, 0u);
  EXPECT_EQ(Look().counters.refused_quota, 1u);
}

TEST_F(ArbiterLeaseTest, ARefusalByQuotaNamesTheLargestHolderInThatTenant) {
  SetLimit("root/a", Slabs(4));
  const SessionId small = Attach("root/a/small");
  const SessionId large = Attach("root/a/large");
  Lease(Attach("root/b"), Slabs(3));
  Lease(small, Slabs(1));
  Lease(large, Slabs(2));
  const auto refused = TryLease(small, Slabs(2));
  ASSERT_THAT(refused, IsRefused(Reason::kQuotaExceeded));
  const Refusal refusal = *RefusalOf(refused.status());
  EXPECT_EQ(refusal.subject, "root/a");
  EXPECT_THAT(refusal.largest_holder,
              HasSubstr(absl::StrCat("session ", static_cast<uint64_t>(large),
                                     " (pid ")));
  EXPECT_THAT(refusal.largest_holder,
              EndsWith(absl::StrCat("with ", FormatBytes(Slabs(2)))));
  EXPECT_THAT(refused.status().message(), HasSubstr(refusal.largest_holder));
}

TEST_F(ArbiterLeaseTest, NobodyWaitsForWhatTheLimitNeverAdmits) {
  SetLimit("root/a", Slabs(2));
  const auto answer = Request(Attach(), Ask(Slabs(3)), WaitMode::kMayWait);
  EXPECT_THAT(answer, IsRefused(Reason::kQuotaExceeded));
  EXPECT_EQ(Look().waiting, 0u);
}

TEST_F(ArbiterLeaseTest, AFullPoolRefusesAtOnceThoseWhoDoNotWait) {
  const SessionId a = Attach();
  Lease(a, Slabs(7));
  const auto refused = TryLease(Attach("root/b"), Slabs(2));
  ASSERT_THAT(refused, IsRefused(Reason::kPoolExhausted));
  const Refusal refusal = *RefusalOf(refused.status());
  EXPECT_EQ(refusal.asked, Slabs(2));
  EXPECT_EQ(refusal.used, Slabs(7));
  EXPECT_EQ(refusal.limit, Slabs(8));
  EXPECT_EQ(refusal.largest_free, Slabs(1));
  EXPECT_TRUE(refusal.retry_after.has_value());
  EXPECT_EQ(Look().waiting, 0u);
  EXPECT_EQ(Look().counters.refused_pool, 1u);
}

TEST_F(ArbiterLeaseTest, TheDefaultKindIsTheFirstAndOthersAreOnRequest) {
  const SessionId a = Attach();
  EXPECT_EQ(Lease(a, Slabs(1)).slab.kind, HandleKind::kHostFd);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant vmm,
                                TryLease(a, Ask(Slabs(1), HandleKind::kVmmFd)));
  EXPECT_EQ(vmm.slab.kind, HandleKind::kVmmFd);
  Return(a, vmm);
  EXPECT_NE(Lease(a, Slabs(1)).slab.id, vmm.slab.id);
}

TEST_F(ArbiterLeaseTest, AParkedSlabOfAnotherKindDoesNotServe) {
  const SessionId a = Attach();
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant vmm,
                                TryLease(a, Ask(Slabs(1), HandleKind::kVmmFd)));
  Park(a, vmm);
  EXPECT_NE(Lease(a, Slabs(1)).slab.id, vmm.slab.id);
}

TEST_F(ArbiterLeaseTest, AKindThatIsNotOfferedIsRefused) {
  const SessionId a = Attach();
  EXPECT_THAT(TryLease(a, Ask(Slabs(1), HandleKind::kCudaIpc)),
              IsRefused(Reason::kKindNotOffered));
  EXPECT_THAT(TryLease(a, Ask(Slabs(1), HandleKind{999})),
              IsRefused(Reason::kKindNotOffered));
}

TEST_F(ArbiterLeaseTest, ARepeatedRequestGivesTheSameLease) {
  const SessionId a = Attach();
  const LeaseRequest request = Ask(Slabs(1));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant first, TryLease(a, request));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant again, TryLease(a, request));
  EXPECT_EQ(again.lease, first.lease);
  EXPECT_EQ(again.slab.id, first.slab.id);
  // The handle may have been lost with the reply.
  EXPECT_FALSE(again.slab.is_mapped);
  EXPECT_EQ(Used("root/a"), Slabs(1));
}

TEST_F(ArbiterLeaseTest, ARepeatedRequestThatStillWaitsGivesTheSameTicket) {
  const SessionId a = Attach();
  const LeaseRequest request = Ask(Slabs(1));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto first,
                                Request(a, request, WaitMode::kMayWait));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto again,
                                Request(a, request, WaitMode::kFailFast));
  EXPECT_EQ(std::get<TicketId>(first), std::get<TicketId>(again));
  EXPECT_EQ(ToCreate().size(), 1u);
}

TEST_F(ArbiterLeaseTest, AKeyUsedForAnotherRequestIsAConflict) {
  const SessionId a = Attach();
  LeaseRequest request = Ask(Slabs(1));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto pending,
                                Request(a, request, WaitMode::kMayWait));
  request.size = Slabs(2);
  EXPECT_THAT(TryLease(a, request), IsRefused(Reason::kIdempotencyConflict));
  CreatedAll();
  EXPECT_THAT(OutcomeOf(std::get<TicketId>(pending)), IsOk());
  EXPECT_THAT(TryLease(a, request), IsRefused(Reason::kIdempotencyConflict));
  request.size = Slabs(1);
  request.kind = HandleKind::kVmmFd;
  EXPECT_THAT(TryLease(a, request), IsRefused(Reason::kIdempotencyConflict));
}

TEST_F(ArbiterLeaseTest, ARepeatedRequestBehindTheReturnGrantsNothing) {
  const SessionId a = Attach();
  const SessionId other = Attach();
  const LeaseRequest request = Ask(Slabs(1));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant first, TryLease(a, request));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant theirs,
                                TryLease(other, request));
  EXPECT_NE(theirs.lease, first.lease);  // Keys are a session's own.
  Return(a, first);
  EXPECT_THAT(TryLease(a, request), IsRefused(Reason::kIdempotencyConflict));
  EXPECT_EQ(Used("root/a"), Slabs(1));
}

TEST_F(ArbiterLeaseTest, ASessionHasABoundOnItsLeasesWaitingOnesIncluded) {
  CoreSettings settings = SmallSettings();
  settings.bounds.leases_per_session = 2;
  Start(settings);
  const SessionId a = Attach();
  Lease(a, Slabs(1));
  Wait(a, Slabs(1));
  const auto refused = TryLease(a, Slabs(1));
  ASSERT_THAT(refused, IsRefused(Reason::kLimitReached));
  EXPECT_EQ(RefusalOf(refused.status())->subject, "leases_per_session");
  EXPECT_THAT(TryLease(Attach(), Slabs(1)), IsOk());
}

TEST_F(ArbiterLeaseTest, AnUnknownSessionGetsNothing) {
  EXPECT_THAT(TryLease(SessionId{99}, Slabs(1)),
              IsRefused(Reason::kSessionEnded));
  EXPECT_THAT(TryLease(SessionId{0}, Slabs(1)),
              IsRefused(Reason::kSessionEnded));
}

TEST_F(ArbiterLeaseTest, AFailedCreateGivesTheRoomAndTheChargeBack) {
  const SessionId a = Attach();
  const TicketId ticket = Wait(a, Slabs(2));
  const int changes = world().room_changes;
  Created(ToCreate()[0], absl::ResourceExhaustedError("taken from outside"));
  EXPECT_THAT(OutcomeOf(ticket), IsRefused(Reason::kPoolExhausted));
  EXPECT_TRUE(IsWhole());
  EXPECT_EQ(Free(), Slabs(8));
  EXPECT_GT(world().room_changes, changes);
  const TicketId second = Wait(a, Slabs(2));
  Created(ToCreate()[0], absl::InternalError("driver"));
  EXPECT_THAT(OutcomeOf(second), IsRefused(Reason::kDeviceError));
  EXPECT_THAT(TryLease(a, Slabs(2)), IsOk());
}

TEST_F(ArbiterLeaseTest, ALeaseCanBeReturnedOnceOnlyAndByItsOwnerOnly) {
  const SessionId a = Attach();
  const SessionId other = Attach();
  const LeaseGrant grant = Lease(a, Slabs(1));
  EXPECT_THAT(TryReturn(other, grant.lease, ReturnMode::kUnmapped),
              IsRefused(Reason::kLeaseUnknown));
  Return(a, grant);
  EXPECT_THAT(TryReturn(a, grant.lease, ReturnMode::kUnmapped),
              IsRefused(Reason::kLeaseUnknown));
  EXPECT_THAT(TryReturn(a, LeaseId{0}, ReturnMode::kUnmapped),
              IsRefused(Reason::kLeaseUnknown));
  EXPECT_THAT(TryReturn(SessionId{99}, grant.lease, ReturnMode::kUnmapped),
              IsRefused(Reason::kSessionEnded));
}

TEST_F(ArbiterLeaseTest, AnUndoneLeaseLeavesACleanSlabAndItsKeyFree) {
  const SessionId a = Attach();
  const LeaseRequest request = Ask(Slabs(1));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const LeaseGrant grant, TryLease(a, request));
  const int changes = world().room_changes;
  Undo(a, grant.lease);
  EXPECT_TRUE(IsWhole());
  EXPECT_GT(world().room_changes, changes);
  EXPECT_EQ(StateOf(grant.slab.id), SlabState::kClean);
  EXPECT_THAT(TryReturn(a, grant.lease, ReturnMode::kUnmapped),
              IsRefused(Reason::kLeaseUnknown));
  EXPECT_THAT(TryLease(a, request), IsOk());
}

TEST_F(ArbiterLeaseTest, UndoingTheLeaseOfAParkedSlabParksItAgain) {
  const SessionId a = Attach();
  const LeaseGrant first = Lease(a, Slabs(1));
  Park(a, first);
  const LeaseGrant second = Lease(a, Slabs(1));
  ASSERT_EQ(second.slab.id, first.slab.id);
  Undo(a, second.lease);
  EXPECT_EQ(StateOf(first.slab.id), SlabState::kParked);
  EXPECT_EQ(Used("root/a"), Slabs(1));
  EXPECT_EQ(Find(first.slab.id)->mapped_by, std::vector<SessionId>{a});
}

TEST_F(ArbiterLeaseTest, UndoOfWhatIsGoneOrSharedChangesNothing) {
  const SessionId a = Attach();
  const LeaseGrant grant = Lease(a, Slabs(1));
  Share(a, grant);
  Undo(a, grant.lease);
  Undo(a, LeaseId{77});
  Undo(SessionId{77}, grant.lease);
  EXPECT_EQ(StateOf(grant.slab.id), SlabState::kLeased);
}

TEST_F(ArbiterLeaseTest, TheBudgetIsWhatTheLimitsAndThePoolLeave) {
  SetLimit("root/a", Slabs(6));
  const SessionId a = Attach();
  Lease(a, Slabs(2));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(Budget budget, arbiter().GetBudget(a));
  EXPECT_EQ(budget.tenant, "root/a");
  EXPECT_EQ(budget.used, Slabs(2));
  EXPECT_EQ(budget.limit, Slabs(6));
  EXPECT_EQ(budget.available, Slabs(4));
  Lease(Attach("root/b"), Slabs(5));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(budget, arbiter().GetBudget(a));
  EXPECT_EQ(budget.available, Slabs(1));
  SetLimit("root/a", Slabs(1));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(budget, arbiter().GetBudget(a));
  EXPECT_EQ(budget.available, Bytes(0));
}

TEST_F(ArbiterLeaseTest, FitsIsOkExactlyWhenALeaseWouldBeGranted) {
  SetLimit("root/a", Slabs(4));
  const SessionId a = Attach();
  EXPECT_THAT(Fits(a, Slabs(4)), IsOk());
  EXPECT_THAT(Fits(a, Slabs(5)), IsRefused(Reason::kBadArgument));
  EXPECT_THAT(Fits(a, Bytes(0)), IsRefused(Reason::kBadArgument));
  const LeaseGrant grant = Lease(a, Slabs(4));
  EXPECT_THAT(Fits(a, Slabs(1)), IsRefused(Reason::kWaitedOut));
  // A parked slab is charged already: the limit is not in its way.
  Park(a, grant);
  EXPECT_THAT(Fits(a, Slabs(4)), IsOk());
  EXPECT_THAT(Fits(a, Slabs(1)), IsRefused(Reason::kWaitedOut));
}

TEST_F(ArbiterLeaseTest, FitsIsNotOkWhileARequestOfTheTenantWaits) {
  SetLimit("root/a", Slabs(4));
  const SessionId a = Attach();
  Lease(a, Slabs(2));
  Wait(a, Slabs(4));
  EXPECT_THAT(TryLease(a, Slabs(1)), IsRefused(Reason::kPoolExhausted));
  EXPECT_THAT(Fits(a, Slabs(1)), IsRefused(Reason::kWaitedOut));
}

}  // namespace
}  // namespace vrampool::testing
