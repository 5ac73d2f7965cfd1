// Allocating: from a slab in hand, or else from a new lease.

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "base/bytes.h"
#include "base/status_macros.h"
#include "client/allocator/canary.h"
#include "client/allocator/client.h"
#include "client/allocator/stack_choice.h"
#include "client/allocator/thread_head.h"

namespace vrampool::client {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

// The handle is sent before the reply that names it; it is late only if the
// daemon has stopped in between.
constexpr milliseconds kArrivalLimit(5000);
constexpr int kTries = 3;

Status NoSuchSize(const BlockRequest& request) {
  const uint64_t alignment = request.alignment;
  if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
    return {VRAMPOOL_INVALID_ARGUMENT,
            "an alignment of " + std::to_string(alignment) +
                " is not possible; ask for a power of two"};
  }
  return {VRAMPOOL_INVALID_ARGUMENT,
          "no device has room for a block of " +
              FormatBytes(Bytes(request.bytes)) + " aligned to " +
              FormatBytes(Bytes(alignment)) +
              "; look for a negative number or a wrong unit"};
}

Status SpoiltCapture() {
  return {VRAMPOOL_INVALID_ARGUMENT,
          "the stream's capture is invalid: it was not announced when vrampool "
          "was called on it, or something else spoilt it; end it, and call "
          "vrampool_capture_begin before the next one, or set the option "
          "detect_captures (VRAMPOOL_DETECT_CAPTURES=1)"};
}

uint64_t MsUntil(steady_clock::time_point deadline) {
  const auto left = duration_cast<milliseconds>(deadline - steady_clock::now());
  return static_cast<uint64_t>(std::max<int64_t>(left.count(), 0));
}

// The call may have been carried out all the same.
bool IsUncertain(const CallOutcome& outcome) {
  return outcome.reason == CallReason::kNone &&
         (outcome.code == CallCode::kDeadlineExceeded ||
          outcome.code == CallCode::kUnavailable ||
          outcome.code == CallCode::kCancelled);
}

Result<IdempotencyKey> RandomKey() {
  IdempotencyKey key;
  while (::getrandom(key.data(), key.size(), 0) !=
         static_cast<ssize_t>(key.size())) {
    if (errno != EINTR) {
      return Status(VRAMPOOL_INTERNAL, "the kernel gives no random bytes");
    }
  }
  return key;
}

void* AddressOf(const Block* block) {
  return reinterpret_cast<void*>(block->address);
}

}  // namespace

Result<void*> Client::Allocate(BlockRequest request) {
  if (!request.is_careful && !request.is_dedicated &&
      request.alignment <= BlockAllocator::kQuantum &&
      request.tag_version == thread_head.tag_version) {
    const QuickBlock tried =
        TryAllocate(request.bytes, request.stream, request.call_site);
    if (tried.block != nullptr) return tried.block;
    request.asked_key = tried.asked;
  }
  return AllocateSlowly(request);
}

Result<void*> Client::AllocateSlowly(BlockRequest request) {
  if (request.bytes == 0) return static_cast<void*>(nullptr);
  StackSampler* const sampler =
      thread_head.client == serial_ ? &thread_head.cache->sampler() : nullptr;
  const StackChoice choice = ChooseStack(request, sampler, settings_.stacks);
  if (choice.wants_frames) return VRAMPOOL_WANTS_FRAMES;
  request.tag = TagOf(request);
  if (debug_ != nullptr) request.red_zone = CanaryPattern::kRedZone;
  VRAMPOOL_ASSIGN_OR_RETURN(
      request.use,
      Identify(request.stream, request.is_careful, request.asked_key));
  if (request.use.is_spoilt) return SpoiltCapture();
  if (choice.stack) request.stack = &*choice.stack;
  void* const noted = choice.stack ? TryAllocateNoted(request) : nullptr;
  Result<void*> p = noted != nullptr ? noted : AllocateOrGrow(request);
  if (p.ok()) {
    if (debug_ != nullptr) NoteAllocated(request, *p);
    RecordIfDue(request.use, request.stream);
    LearnFrom(request);
  }
  return p;
}

Result<void*> Client::AllocateOrGrow(const BlockRequest& request) {
  if (request.is_dedicated) return AllocateDedicated(request);
  VRAMPOOL_ASSIGN_OR_RETURN(Block * block, CutSettled(request));
  if (block == nullptr) {
    VRAMPOOL_ASSIGN_OR_RETURN(block, CutDue(request));
  }
  const SessionPtr used = session();
  if (block == nullptr && !used->is_live()) {
    VRAMPOOL_ASSIGN_OR_RETURN(block, CutAcross(request));
  }
  if (block != nullptr) return AddressOf(block);
  const auto needed = BlockAllocator::SlabBytesFor(
      RoundUpToClass(request.bytes_to_cut()), request.alignment,
      MappingAlignment(used->kind()));
  if (!needed.has_value()) return NoSuchSize(request);
  if (AwaitAhead(*needed)) {
    VRAMPOOL_ASSIGN_OR_RETURN(block, CutLocked(request));
    if (block != nullptr) return AddressOf(block);
  }
  Result<void*> grown = Grow(request, *needed);
  if (grown.ok()) return grown;
  VRAMPOOL_ASSIGN_OR_RETURN(block, CutFromQuarantine(request));
  if (block != nullptr) return AddressOf(block);
  VRAMPOOL_ASSIGN_OR_RETURN(block, CutAcross(request));
  return block != nullptr ? AddressOf(block) : grown;
}

Result<void*> Client::AllocateDedicated(const BlockRequest& request) {
  if (request.bytes > BlockAllocator::kMaxBytes) return NoSuchSize(request);
  // In debug mode all of a class's extent is watched.
  return Grow(request, request.red_zone == 0
                           ? request.bytes
                           : RoundUpToClass(request.bytes_to_cut()));
}

// Looks once more after emptying the caches, and again after asking the GPU
// what is done.
Result<Block*> Client::CutSettled(const BlockRequest& request) {
  if (request.is_dedicated) return static_cast<Block*>(nullptr);
  Result<Block*> cut = CutLocked(request);
  if (!cut.ok() || *cut != nullptr) return cut;
  if (Settle()) {
    cut = CutLocked(request);
    if (!cut.ok() || *cut != nullptr) return cut;
  }
  MutexLock lock(mu_);
  slabs_.ordered().NoteWanted();
  return cut;
}

Result<Block*> Client::CutLocked(const BlockRequest& request) {
  MutexLock lock(mu_);
  if (request.bytes > kMaxSmall) JoinLargeOnes(request.use);
  Result<Block*> cut = slabs_.Cut(request);
  if (slabs_.TakeAheadUsed() &&
      IsOfManyInAStep(request.bytes, slabs_.totals().common_bytes(),
                      settings_.slab.count())) [[unlikely]] {
    NoteStep();
  }
  const bool is_found =
      cut.ok() ? *cut != nullptr : cut.status().code() != VRAMPOOL_LIMIT;
  if (is_found || !DrainCaches(ThreadCaches::Which::kAll)) return cut;
  return slabs_.Cut(request);
}

Result<void*> Client::Grow(const BlockRequest& request, uint64_t needed) {
  const TimePoint deadline =
      steady_clock::now() +
      milliseconds(request.is_impatient ? 0 : settings_.wait_ms);
  for (int tries = 1;; ++tries) {
    VRAMPOOL_ASSIGN_OR_RETURN(SessionPtr session, LiveSession(deadline));
    Result<void*> grown = GrowIn(session, request, needed, deadline);
    if (grown.ok() || grown.status().code() != VRAMPOOL_UNAVAILABLE) {
      return grown;
    }
    // The daemon went away under the call. If it is back already, go on.
    AwaitLinkEnd(session,
                 std::max(deadline, steady_clock::now() + milliseconds(50)));
    const bool is_over = steady_clock::now() >= deadline;
    if (is_over && (session->is_live() || tries >= kTries)) return grown;
  }
}

// While a growth waits for room: what other threads free falls idle at once,
// and goes back at once.
class Client::RoomWanted {
 public:
  explicit RoomWanted(Client& client) : client_(client) {
    MutexLock lock(client_.mu_);
    client_.CloseCaches();
    ++client_.waiting_growths_;
  }
  ~RoomWanted() {
    MutexLock lock(client_.mu_);
    --client_.waiting_growths_;
    client_.caches_.Reopen();
  }
  RoomWanted(const RoomWanted&) = delete;
  RoomWanted& operator=(const RoomWanted&) = delete;

 private:
  Client& client_;
};

Result<void*> Client::GrowIn(const SessionPtr& session,
                             const BlockRequest& request, uint64_t needed,
                             TimePoint deadline) {
  const uint64_t granule = session->granule_bytes();
  const uint64_t chosen = settings_.slab.count();
  const uint64_t leased = NoteGrowing();
  const auto exact = CheckedRoundUp(Bytes(needed), Bytes(granule));
  if (!exact) return NoSuchSize(request);
  const auto preferred = request.is_dedicated
                             ? std::optional(exact->count())
                             : GrowthFor(needed, leased, chosen, granule);
  if (!preferred) return NoSuchSize(request);
  uint64_t gone_before = CountGone();
  Result<void*> grown =
      LeaseAndCut(session, *preferred, steady_clock::now(), request);
  if (grown.ok() && !request.is_dedicated &&
      IsOfManyInAStep(needed, leased, chosen)) {
    MutexLock lock(mu_);
    NoteStep();
  }
  if (grown.status().code() == VRAMPOOL_RATE_LIMITED &&
      (*preferred > exact->count() || steady_clock::now() < deadline)) {
    // Nothing that we could give back would help. Less is let through sooner.
    grown = LeaseAndCut(session, exact->count(), deadline, request);
  }
  if (grown.ok() || !IsForWantOfRoom(grown.status())) return grown;
  VRAMPOOL_ASSIGN_OR_RETURN(const Block* kept, CutFromQuarantine(request));
  if (kept != nullptr) return AddressOf(kept);
  VRAMPOOL_ASSIGN_OR_RETURN(const Block* across, CutAcross(request));
  if (across != nullptr) return AddressOf(across);
  const RoomWanted wanted(*this);
  bool is_worth_trying =
      *preferred > exact->count() || steady_clock::now() < deadline;
  for (int i = 0; i < kTries; ++i) {
    is_worth_trying |= MakeRoom(gone_before);
    if (!is_worth_trying) break;
    // Somebody may have freed enough meanwhile.
    VRAMPOOL_ASSIGN_OR_RETURN(const Block* cut, CutSettled(request));
    if (cut != nullptr) return AddressOf(cut);
    gone_before = CountGone();
    grown = LeaseAndCut(session, exact->count(), deadline, request);
    if (grown.ok() || !IsForWantOfRoom(grown.status())) break;
    is_worth_trying = false;  // But for what went back during the call.
  }
  return grown;
}

// Gives back what is kept in reserve. False if there was nothing, and nothing
// has been on its way back since CountGone() said `gone_before`: all that
// counts against us.
bool Client::MakeRoom(uint64_t gone_before) {
  const bool was_leaving = AwaitLeaving(gone_before);
  SlabSet::Departures idle;
  {
    MutexLock lock(mu_);
    (void)slabs_.DropReserve(SlabSet::Reserved::kUnused);
    idle = TakeIdle(SlabSet::Which::kAll);
  }
  const bool has_given = !idle.is_empty();
  GiveBack(std::move(idle));
  return was_leaving || has_given;
}

bool Client::MakeRoomAtOnce() {
  const uint64_t gone_before = CountGone();
  const RoomWanted wanted(*this);
  (void)Settle();
  return MakeRoom(gone_before);
}

Result<void*> Client::LeaseAndCut(const SessionPtr& session, uint64_t size,
                                  TimePoint deadline,
                                  const BlockRequest& request) {
  LeaseId lease{};
  VRAMPOOL_ASSIGN_OR_RETURN(const SlabKey key,
                            ObtainLease(session, size, deadline, lease));
  // Under one lock: another thread would find room in it, and take that.
  MutexLock lock(mu_);
  VRAMPOOL_RETURN_IF_ERROR(EnterLease(key, lease));
  Result<Block*> cut = request.is_dedicated ? slabs_.CutWhole(key, request)
                                            : slabs_.Cut(request);
  slabs_.Unpin(key);
  NoteIdle();
  if (!cut.ok()) return std::move(cut).status();
  if (*cut != nullptr) return AddressOf(*cut);
  // Retired before it was used: the daemon went away meanwhile.
  return Status(VRAMPOOL_UNAVAILABLE,
                "the daemon went away during the call; try again");
}

Result<SlabKey> Client::LeaseSlab(const SessionPtr& session, uint64_t size,
                                  TimePoint deadline) {
  LeaseId lease{};
  VRAMPOOL_ASSIGN_OR_RETURN(const SlabKey key,
                            ObtainLease(session, size, deadline, lease));
  MutexLock lock(mu_);
  VRAMPOOL_RETURN_IF_ERROR(EnterLease(key, lease));
  return key;
}

Status Client::EnterLease(SlabKey key, LeaseId lease) {
  Slab& slab = slabs_.Get(key);
  if (slab.is_leased) {
    slabs_.Unpin(key);
    return {VRAMPOOL_INTERNAL,
            "the daemon leased the same slab twice; see its log"};
  }
  slabs_.MakeLeased(slab, lease);
  caches_.NoteLeased(slabs_.totals().common_bytes());
  return {};
}

Result<SlabKey> Client::ObtainLease(const SessionPtr& session, uint64_t size,
                                    TimePoint deadline, LeaseId& lease) {
  for (int i = 0; i < kTries; ++i) {
    LeaseReply reply;
    VRAMPOOL_RETURN_IF_ERROR(Lease(*session, size, deadline, reply));
    Result<SlabKey> key = ObtainSlab(session, reply.slab, Access::kReadWrite);
    if (!key.ok()) {
      (void)ReturnLease(
          {.session = session, .slab = reply.slab.slab, .lease = reply.lease});
      Reinstate({session->serial(), reply.slab.slab});
      if (key.status().code() == VRAMPOOL_NOT_FOUND) continue;
      return std::move(key).status();
    }
    lease = reply.lease;
    return *key;
  }
  return Status(VRAMPOOL_INTERNAL,
                "the daemon goes on taking slabs for mapped that are not; try "
                "again");
}

Status Client::Lease(Session& session, uint64_t size, TimePoint deadline,
                     LeaseReply& reply) {
  LeaseCall call;
  call.size_bytes = size;
  call.kind = session.kind();
  VRAMPOOL_ASSIGN_OR_RETURN(call.key, RandomKey());
  {
    // A lease that may have been granted without our knowing comes first.
    MutexLock lock(mu_);
    const auto lost = std::find_if(
        lost_leases_.begin(), lost_leases_.end(), [&](const LostLease& one) {
          return one.session == session.serial() && one.size_bytes == size;
        });
    if (lost != lost_leases_.end()) {
      call.key = lost->key;
      lost_leases_.erase(lost);
    }
  }
  CallOutcome outcome;
  for (int i = 0; i < 2; ++i) {
    outcome = CallWithin(session, deadline, [&](ControlChannel& channel) {
      call.wait_ms = std::min(MsUntil(deadline), kMaxWaitMs);
      return channel.Lease(call, reply);
    });
    if (!IsUncertain(outcome) || !session.is_live()) break;
  }
  if (IsUncertain(outcome)) {
    MutexLock lock(mu_);
    lost_leases_.push_back({session.serial(), size, call.key});
  }
  VRAMPOOL_RETURN_IF_ERROR(session.Explain(outcome));
  if (reply.epoch != session.epoch() || reply.slab.size_bytes < size) {
    return {VRAMPOOL_INTERNAL,
            "the daemon granted something else than was asked; see its log"};
  }
  return {};
}

Client::Arrival Client::AwaitSlab(const SessionPtr& session,
                                  const SlabReply& reply, SlabKey& key,
                                  SlabParcel& parcel) {
  const SlabName name{session->serial(), reply.slab};
  const TimePoint deadline = steady_clock::now() + kArrivalLimit;
  MutexLock lock(mu_);
  while (true) {
    if (Slab* const slab = slabs_.Find(*session, reply.slab)) {
      key = slab->key;
      slabs_.Pin(key);
      return Arrival::kMapped;
    }
    if (const auto found = parcels_.find(name); found != parcels_.end()) {
      parcel = std::move(found->second);
      parcels_.erase(found);
      return Arrival::kParcel;
    }
    if (returns_.IsWithdrawn(name)) return Arrival::kWithdrawn;
    const LinkState state = session->link().state();
    if (state == LinkState::kGone || state == LinkState::kCondemned) {
      return Arrival::kGone;
    }
    if (!changed_.WaitUntil(lock, deadline)) return Arrival::kTimeout;
  }
}

// A slab in which only sealed objects were opened is for reading; what else is
// done there makes it writable, for as long as it is mapped.
Result<SlabKey> Client::ObtainSlab(const SessionPtr& session,
                                   const SlabReply& reply, Access access) {
  Result<SlabKey> key = MapSlab(session, reply, access);
  if (!key.ok() || access == Access::kReadOnly) return key;
  const Status made = MakeWritable(*key);
  if (made.ok()) return key;
  MutexLock lock(mu_);
  slabs_.Unpin(*key);
  NoteIdle();
  return made;
}

// REQUIRES: the slab is pinned.
Status Client::MakeWritable(SlabKey key) {
  const SlabMapping* mapping = nullptr;
  {
    MutexLock lock(mu_);
    const Slab& slab = slabs_.Get(key);
    if (slab.is_writable) return {};
    mapping = &slab.mapping;
  }
  VRAMPOOL_RETURN_IF_ERROR(mapping->MakeWritable());
  MutexLock lock(mu_);
  slabs_.Get(key).is_writable = true;
  return {};
}

Result<SlabKey> Client::MapSlab(const SessionPtr& session,
                                const SlabReply& reply, Access access) {
  SlabKey key{};
  SlabParcel parcel;
  switch (AwaitSlab(session, reply, key, parcel)) {
    case Arrival::kMapped:
      return key;
    case Arrival::kWithdrawn:
      return Status(VRAMPOOL_NOT_FOUND, "the slab was unmapped meanwhile");
    case Arrival::kGone:
      return Status(VRAMPOOL_UNAVAILABLE,
                    "the daemon went away before a slab's handle arrived; try "
                    "again");
    case Arrival::kTimeout:
      return Status(VRAMPOOL_UNAVAILABLE,
                    "a slab's handle did not arrive; see whether the daemon "
                    "is alive (vrampool doctor)");
    case Arrival::kParcel:
      break;
  }
  Result<SlabMapping> mapping =
      SlabMapping::Map(std::move(parcel), reply.size_bytes, gpu_, access);
  if (!mapping.ok()) {
    // A CUDA_IPC handle of a daemon that has died opens nothing.
    AwaitLinkEnd(session, TimePoint::max());
    if (session->is_live()) return std::move(mapping).status();
    return Status(VRAMPOOL_UNAVAILABLE,
                  "the daemon went away before its slab was mapped; try again");
  }
  MutexLock lock(mu_);
  Slab& slab = slabs_.AddOpened(session, reply.slab, *std::move(mapping));
  slab.is_foreign = reply.is_foreign;
  if (session != current_) slabs_.RetireSession(*session);
  changed_.NotifyAll();
  return slab.key;
}

}  // namespace vrampool::client
