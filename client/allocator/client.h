// client.h - one client of one device: sessions, slabs, blocks and objects.
//
// Client orders calls: what to cut where is SlabSet's, what travels to the
// daemon Session's. Allocating from a slab in hand takes the lock and nothing
// else; everything that needs the daemon happens without it.
//
// When the daemon goes away, slabs in hand go on being used; the next call that
// needs the daemon attaches anew. Then the slabs of the session before are
// retired: they are used up, never cut from again, and unmapped when empty.
//
// Each thread has a cache of what it freed, and allocates from that first
// (thread_cache.h); there is no lock on that path.
//
// Locks: mu_, which guards everything here that changes. It is never held
// across an RPC, a greeting, a mapping or a call to CUDA. Under it the locks of
// the caches may be seized: a thread is inside for some ten instructions.
// Threads of its own: one reads the attach socket (AttachLink) and never makes
// a call that waits for it; one (maintenance) gives slabs back; on a GPU one or
// more (GpuOrder's) wait for events.
//
// Threads: thread-safe. Nothing here may be called in a forked child.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_CLIENT_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_CLIENT_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/mutex.h"
#include "client/allocator/client_answers.h"
#include "client/allocator/debug_mode.h"
#include "client/allocator/debug_quarantine.h"
#include "client/allocator/graph_ends.h"
#include "client/allocator/growth_policy.h"
#include "client/allocator/held_object.h"
#include "client/allocator/return_book.h"
#include "client/allocator/share_request.h"
#include "client/allocator/slab_set.h"
#include "client/allocator/thread_caches.h"
#include "client/cuda/gpu_context.h"
#include "client/cuda/stream_events.h"
#include "client/order/contents_writer.h"
#include "client/order/gpu_order.h"
#include "client/session/environment.h"
#include "client/session/promise_stock.h"
#include "client/session/session.h"
#include "client/session/status.h"

namespace vrampool::client {

class Client final : private LinkEvents {
 public:
  // Errors of Session::Attach(), of GpuContext::Open() for a GPU's client, and
  // of a lease when something is to be reserved.
  // `events` is for tests: streams without a GPU.
  static Result<std::unique_ptr<Client>> Open(
      Settings settings, ChannelFactory factory,
      std::shared_ptr<StreamEvents> events = nullptr);
  // How long the end of a client waits for objects that closes in the order of
  // a stream still wait for, and then for work of the GPU that the shares and
  // closes before it depend on; afterwards it goes on as if the process died.
  static constexpr std::chrono::seconds kOrderLimit{10};

  // Waits for the GPU, gives back what is idle, ends the session, unmaps
  // everything.
  ~Client() override;

  // The same, and stops all threads, but keeps what is mapped:
  // for the end of the process, when others may still use it. From then on
  // calls that would need the daemon fail.
  void Retire();

  // A block; null for zero bytes. Errors as in vrampool.h.
  Result<void*> Allocate(BlockRequest request);
  // `is_careful`: the stream may be capturing unannounced.
  Status Free(void* p, uint64_t bytes, cudaStream_t stream = nullptr,
              bool is_careful = false);

  // The live block that begins at `p` is also used on `stream`: see
  // vrampool_record_stream().
  Status RecordStream(void* p, cudaStream_t stream, bool is_careful = false,
                      uint64_t call_site = 0);

  // Allocate() and Free() from this thread's cache (client_cache.cc), under the
  // tag that the thread has set. Null, or false: nothing has happened, go the
  // slow way, with the stream's key if it was asked for.
  QuickBlock TryAllocate(uint64_t bytes, cudaStream_t stream,
                         uint64_t call_site);
  QuickFree TryFree(void* p, uint64_t bytes, cudaStream_t stream);
  // And without a look there. Throw std::bad_alloc, and nothing has happened.
  Result<void*> AllocateSlowly(BlockRequest request);
  Status FreeSlowly(const FreeRequest& request);

  // Returns every idle slab; waits for those that are on their way. Never
  // waits for the GPU.
  Status Trim();
  // Waits for the GPU, and unmaps and returns all that is not in use.
  Status Quiesce();
  // Of that what needs no wait for the GPU.
  Status GiveBackUnused();

  // A stream's capture begins; it has been ended with this graph (null: with
  // none). As in vrampool.h.
  Status BeginCapture(cudaStream_t stream);
  Status EndCapture(cudaStream_t stream, cuda::Graph graph);

  using Usage = client::Usage;
  Usage ReadUsage();
  using BlockPlace = client::BlockPlace;
  // The live block that `p` points into; NotFound if it is in none.
  Result<BlockPlace> Describe(const void* p);
  Result<BudgetReply> ReadBudget();
  Status WaitForRoom(uint64_t bytes, uint64_t wait_ms);
  Result<bool> Fits(uint64_t bytes);
  Result<ReserveReply> Reserve(uint64_t bytes, uint64_t hold_ms);
  // NotFound also if the reservation was made of another life of the daemon.
  Status ReleaseReservation(const ReserveReply& reservation);
  std::shared_ptr<Session> session();  // In use now, or last.
  const std::string& device_uuid() const { return device_; }
  // Null for a client of the host.
  const std::shared_ptr<const GpuContext>& gpu() const { return gpu_; }
  const DebugMode* debug() const { return debug_.get(); }  // Mostly null.

  using ShareRequest = client::ShareRequest;
  using Opened = Result<std::unique_ptr<HeldObject>>;
  Opened Share(ShareRequest request);
  Status Ready(HeldObject& object);
  // For `stream`, if there is one, also when the object is pending: the stream
  // then waits for it. Memory of the host has no streams.
  Result<std::unique_ptr<HeldObject>> OpenToken(
      const Token& token, uint64_t wait_ms,
      std::optional<cuda::Stream> stream = std::nullopt);
  // `tenant`: whose object it is; empty: one of this client's.
  Opened OpenName(const std::string& name, uint64_t wait_ms,
                  std::optional<cuda::Stream> stream = std::nullopt,
                  const std::string& tenant = "");
  // OK, or Broken or Unavailable as in vrampool_object_status(). No RPC.
  static Status StateOf(const HeldObject& object);
  // Stays valid until the object is closed.
  Result<const ObjectDetails*> Details(HeldObject& object);
  // Ends the hold now.
  void Close(std::unique_ptr<HeldObject> object);
  // Ends it when what was enqueued on `stream` so far is done, and does not
  // wait for that; on memory of the host at once. On error `object` is still
  // open. Errors of EventPool::Record().
  Status CloseOn(std::unique_ptr<HeldObject>& object, cuda::Stream stream);
  Status Unlink(const std::string& name);
  // As the functions of vrampool.h and objects.h.
  Status AwaitEnds(uint64_t seen, uint64_t wait_ms, uint64_t& ends);
  Status AwaitReclaim(uint64_t seen, uint64_t wait_ms, Reclaims& reclaims);
  Status SharedStatus(const Token& token);

 private:
  using TimePoint = std::chrono::steady_clock::time_point;
  using SessionPtr = std::shared_ptr<Session>;

  Client(Settings settings, ChannelFactory factory);

  // Sessions (client_session.cc). A live session; attaches anew if there is
  // none, trying until `deadline`. Unavailable, Ended, errors of Attach().
  Result<SessionPtr> LiveSession(TimePoint deadline);
  Status OpenDevice(const Session& session,
                    std::shared_ptr<StreamEvents> events);
  Status CheckDevice(const Session& session) const;
  Status BeginAttach(SessionPtr& live, TimePoint deadline);
  Result<SessionPtr> AttachUntil(TimePoint deadline);
  void Install(SessionPtr session) VRAMPOOL_REQUIRES(mu_);
  void EndProduced(const Session& session) VRAMPOOL_REQUIRES(mu_);
  void AwaitLinkEnd(const SessionPtr& session, TimePoint deadline);
  // Makes a call; when a rate of the tenant's refuses it, again when the daemon
  // says that it will not, if that is before the deadline.
  CallOutcome CallWithin(Session& session, TimePoint deadline,
                         const Session::Call& call);

  void OnSlabArrived(LinkSerial session, SlabId slab,
                     SlabParcel parcel) override;
  void OnReclaim(LinkSerial session, uint64_t bytes) override;
  void OnObjectEnded(LinkSerial session, ObjectId object) override;
  void OnPromises(LinkSerial session, const Promises& promises) override;
  void OnPacket(LinkSerial session) override;
  void OnLinkEnded(LinkSerial session) override;

  // The caches of threads (client_cache.cc).
  static uint64_t NewSerial();
  StreamKey QuickKey(cudaStream_t stream) const;
  void AfterFree(const ThreadCache::Freed& freed, StreamKey key,
                 cudaStream_t stream);
  // True if anything was there.
  bool DrainCaches(ThreadCaches::Which which) VRAMPOOL_REQUIRES(mu_);
  bool ReleaseBatches(const ThreadCaches::Batches& batches)
      VRAMPOOL_REQUIRES(mu_);
  OrderedBlocks::Going ReleaseShed(const BlockList& blocks,
                                   const StreamUse& use, bool is_eager)
      VRAMPOOL_REQUIRES(mu_);
  void ReleasePutAside() VRAMPOOL_REQUIRES(mu_);
  // This thread's large blocks of the stream join their free neighbours: none
  // of them was what is wanted.
  void JoinLargeOnes(const StreamUse& use) VRAMPOOL_REQUIRES(mu_);
  void CloseCaches() VRAMPOOL_REQUIRES(mu_);
  std::chrono::milliseconds ScavengePeriod() const;
  void Scavenge();
  bool JoinThread();
  void LearnFrom(const BlockRequest& request);
  void LearnStream(const StreamUse& use);
  void NoteStream(StreamKey key);
  bool IsForCaches(const StreamUse& use) const;
  void* TryAllocateNoted(const BlockRequest& request);  // With request.stack.
  std::string_view TagOf(const BlockRequest& request) const;

  // Growth (client_growth.cc).
  Result<void*> AllocateOrGrow(const BlockRequest& request);
  // A slab of its own, for one block.
  Result<void*> AllocateDedicated(const BlockRequest& request);
  Result<Block*> CutLocked(const BlockRequest& request);
  Result<Block*> CutSettled(const BlockRequest& request);
  Result<void*> Grow(const BlockRequest& request, uint64_t needed);
  Result<void*> GrowIn(const SessionPtr& session, const BlockRequest& request,
                       uint64_t needed, TimePoint deadline);
  // The client is about to lease: what it has leased, of which what is idle
  // goes back.
  uint64_t NoteGrowing();
  // A slab leased, mapped and pinned.
  Result<SlabKey> LeaseSlab(const SessionPtr& session, uint64_t size,
                            TimePoint deadline);
  // The same in two steps: blocks are cut from it only after the second.
  Result<SlabKey> ObtainLease(const SessionPtr& session, uint64_t size,
                              TimePoint deadline, LeaseId& lease);
  Status EnterLease(SlabKey key, LeaseId lease) VRAMPOOL_REQUIRES(mu_);
  // Before it is needed (growth_policy.h), by the maintenance thread.
  bool IsAheadWanted() VRAMPOOL_REQUIRES(mu_);
  void NoteStep() VRAMPOOL_REQUIRES(mu_);
  void LeaseAhead();
  // Waits for one that is on its way, if it is for a block of `needed` bytes.
  // True if there was one.
  bool AwaitAhead(uint64_t needed);
  // Leases what the settings want in reserve. OverQuota, OutOfPool and other
  // errors of a lease: what was had is kept until the client is closed.
  Status LeaseReserve(TimePoint deadline);
  Status ReservePiece(const SessionPtr& session, uint64_t size,
                      TimePoint deadline, uint64_t& left);
  bool LeaseAheadIn(const SessionPtr& session, uint64_t size);
  class RoomWanted;
  bool MakeRoom(uint64_t gone_before);
  // For what is refused for want of room, and does not wait. False: in vain.
  bool MakeRoomAtOnce();
  Result<void*> LeaseAndCut(const SessionPtr& session, uint64_t size,
                            TimePoint deadline, const BlockRequest& request);
  Status Lease(Session& session, uint64_t size, TimePoint deadline,
               LeaseReply& reply);
  // The mapped slab that a reply named, pinned. NotFound: the daemon takes it
  // for mapped, but it is not any more; give back what the reply granted and
  // ask again.
  Result<SlabKey> ObtainSlab(const SessionPtr& session, const SlabReply& reply,
                             Access access);
  Result<SlabKey> MapSlab(const SessionPtr& session, const SlabReply& reply,
                          Access access);
  Status MakeWritable(SlabKey key);
  // Of the two, what is there now; `*key` is set if the slab is.
  enum class Arrival { kMapped, kParcel, kWithdrawn, kGone, kTimeout };
  Arrival AwaitSlab(const SessionPtr& session, const SlabReply& reply,
                    SlabKey& key, SlabParcel& parcel);

  // The order of streams (client_streams.cc).
  Result<StreamUse> Identify(cudaStream_t stream, bool is_careful,
                             StreamKey asked);
  Result<StreamUse> IdentifyForFree(cudaStream_t stream, bool is_careful,
                                    StreamKey asked);
  static StreamUse UseOf(StreamKey key);
  // The application's block that begins there, taken from it.
  Result<Block*> TakeLive(void* p, uint64_t bytes) VRAMPOOL_REQUIRES(mu_);
  OrderedBlocks::Going BeginFreeLocked(Block* block, const StreamUse& use,
                                       bool is_careful) VRAMPOOL_REQUIRES(mu_);
  // The rest of a free of a block that other streams use; it is kHeld.
  void FreeUsed(Block* block, const StreamUse& use, cudaStream_t stream,
                const DebugCall* from);
  Status RecordLive(void* p, cudaStream_t stream, bool is_careful);
  struct Recording {
    OrderedBlocks::Going going;
    cudaStream_t stream = nullptr;
  };
  std::vector<Recording> BeginFreeUsed(Block* block, const StreamUse& use,
                                       cudaStream_t stream);
  void RecordFree(OrderedBlocks::Going going, cudaStream_t stream);
  bool TryRecord(cuda::Event& event, cudaStream_t stream);
  void RecordIfDue(const StreamUse& use, cudaStream_t stream);
  // True if frees are covered now that were not.
  bool RecordAll();
  bool TryRecordAll(cuda::Event& event);
  void SettleSoon();
  void CoverIdle();
  // Asks the driver what is done, and lets go what graphs kept that have ended.
  // True if anybody can have more now.
  bool Settle();
  // A block of other streams' memory, which the stream waits for; or null.
  Result<Block*> CutAcross(const BlockRequest& request);
  Result<Block*> TryAcross(const BlockRequest& request);
  Status AwaitGpu();
  void OnGraphEnded(CaptureId capture);
  // No graph will run any more that was captured: what they keep is free.
  void ForgetGraphs();

  // The debug mode (client_debug.cc); but for the first two, only with it.
  void BeginDebugging();
  // What is in quarantine, or what should leave it now, is free; what a GPU is
  // not done with only with kAll, and kIdle: it was waited for. True if there
  // was anything. While a GPU is behind, kDue looks rarely.
  enum class Leaving { kDue, kDueNow, kDone, kAll, kIdle };
  bool EmptyQuarantine(Leaving which);
  bool SettleQuarantine(Leaving which);
  BlockList TakeLeaving(Leaving which) VRAMPOOL_REQUIRES(mu_);
  // Somebody waits for memory: nothing stays in it.
  bool IsQuarantineWanted() const VRAMPOOL_REQUIRES(mu_);
  // Null where there is not enough in it; of what is due, and of all.
  Result<Block*> CutDue(const BlockRequest& request);
  Result<Block*> CutFromQuarantine(const BlockRequest& request);
  void NoteAllocated(const BlockRequest& request, const void* p);
  void FillRedZone(const BlockRequest& request, const void* p);
  void AwaitFilled();
  Status FreeDebugged(const FreeRequest& request);
  void AwaitRedZone(Block* block, const StreamUse& use) VRAMPOOL_REQUIRES(mu_);
  struct Guarding;  // A free of a block that no other stream uses.
  void FreeGuarded(Block* block, Guarding guarding);
  Status RefuseUse(const void* p, const char* doing, uint64_t call_site) const;
  Status ExplainShare(const ShareRequest& request, Status refused);

  // Giving back (client_return.cc).
  void Maintain();
  void MaintainOnce();
  void OpenReclaim() VRAMPOOL_EXCLUDES(mu_);
  // When all that was idle has been given back: unless the GPU has not done
  // with something.
  void EndReclaim() VRAMPOOL_REQUIRES(mu_);
  Status AwaitMore(const uint64_t& count, uint64_t seen, uint64_t wait_ms,
                   MutexLock& lock) VRAMPOOL_REQUIRES(mu_);
  // False: the thread is to end.
  bool AwaitWork();
  std::optional<TimePoint> NextDue() VRAMPOOL_REQUIRES(mu_);
  bool HasWork() VRAMPOOL_REQUIRES(mu_);
  // Whether something waits for the GPU to be asked what it is done with.
  bool IsAsking() const VRAMPOOL_REQUIRES(mu_) {
    return slabs_.HasSettling() ||
           (events_ != nullptr && quarantine_.has_late());
  }
  void WakeMaintenance() VRAMPOOL_REQUIRES(mu_);
  // To be called when a slab may have become idle.
  void NoteIdle() VRAMPOOL_REQUIRES(mu_);
  SlabSet::Departures TakeIdle(SlabSet::Which which) VRAMPOOL_REQUIRES(mu_);
  void NoteLeaving(const SlabSet::Departures& taken) VRAMPOOL_REQUIRES(mu_);
  void NoteGone(SlabName slab) VRAMPOOL_REQUIRES(mu_);
  void GiveBack(SlabSet::Departures taken);
  void GiveBackOne(Slab slab);
  // True if the daemon no longer has the lease; else it is asked again later.
  bool ReturnLease(const Unreturned& one);
  static bool TryReturn(const Unreturned& one);
  // If the return of the slab's lease was not confirmed. True if it is now.
  bool ReturnAgain(SlabName slab);
  Status AwaitLeft(MutexLock& lock) VRAMPOOL_REQUIRES(mu_);
  uint64_t CountGone();
  bool AwaitLeaving(uint64_t gone_before);
  void Reinstate(SlabName slab);
  void AwaitReinstated(SlabName slab);
  void DropReserve();
  void StopThreads();
  void MarkClosed();
  std::vector<SessionPtr> TakeForgottenSessions() VRAMPOOL_REQUIRES(mu_);

  // Objects (client_share.cc, client_open.cc).
  // Objects in a dedicated slab whose block was freed, none of which is open
  // here or pending, are left to the daemon: the slab then goes back.
  void LetGoIn(SlabKey key) VRAMPOOL_EXCLUDES(mu_);
  void LetGoOfProduced(SlabKey key) VRAMPOOL_REQUIRES(mu_);
  void LetGoOfEnded() VRAMPOOL_REQUIRES(mu_);
  bool IsGivenUp(const std::vector<Block*>& blocks) VRAMPOOL_REQUIRES(mu_);
  struct Pieces;  // What Share() found out about its buffers.
  Status ResolveBuffers(const ShareRequest& request, Pieces& pieces)
      VRAMPOOL_REQUIRES(mu_);
  Status CallShare(const ShareRequest& request, Pieces& in, ShareReply& reply);
  void UndoShare(const Pieces& pieces);
  void EnterProduced(Pieces& pieces, HeldObject& held) VRAMPOOL_REQUIRES(mu_);
  bool TryPromise(const ShareRequest& request, Pieces& pieces, HeldObject& held)
      VRAMPOOL_EXCLUDES(mu_);
  std::unique_ptr<HeldObject> NewHeld(const SessionPtr& session);
  std::unique_ptr<HeldObject> OpenHere(const Token& token);
  std::unique_ptr<HeldObject> TryHoldHere(const Token& token, bool& must_report)
      VRAMPOOL_REQUIRES(mu_);
  Opened OpenFor(OpenCall call, const OpenWish& wish);
  Opened OpenByCall(OpenCall call, const OpenWish& wish);
  Status GateOff(HeldObject& held, std::optional<cuda::Stream> stream);
  Opened Assemble(const SessionPtr& session, const OpenReply& reply);
  Status FillBuffers(const OpenReply& reply, HeldObject& held);
  void Abandon(HeldObject& held, const OpenReply& reply);
  Status FetchDetails(HeldObject& object) VRAMPOOL_EXCLUDES(object.mu);
  void EndHold(HeldObject& object);
  bool IsToldByMessage(const HeldObject& object);
  void Unpin(const HeldObject& object);

  // Order (client_order.cc).
  Result<std::optional<GpuOrder::Recorded>> RecordContents(
      const ShareRequest& request);
  void AwaitContents(HeldObject& held, const GpuOrder::Recorded& recorded,
                     cuda::Stream stream);
  void TellReady(ReadyNotice& ready, ReadyOutcome outcome);
  void FinishContents(const ReadyNotice& ready, ReadyOutcome outcome);
  void CallReady(const ReadyNotice& ready, ReadyOutcome outcome);
  Status CheckStream(std::optional<cuda::Stream> stream) const;
  void EndGates();
  void StopOrder();

  const uint64_t serial_ = NewSerial();  // Never the same for two clients.
  const Settings settings_;
  const ChannelFactory factory_;
  // Written once, before any thread: the UUID; for a GPU its context, events.
  std::string device_;
  std::shared_ptr<const GpuContext> gpu_;
  std::shared_ptr<StreamEvents> events_;  // Shared with tests alone.
  std::shared_ptr<GraphEnds> graph_ends_;
  std::unique_ptr<GpuOrder> order_;  // Null on memory of the host.
  std::unique_ptr<ContentsWriter> contents_writer_;  // Null if it cannot be.
  std::unique_ptr<DebugMode> debug_;                 // Null in normal mode.
  // Its gates, for the threads of links, which begin before it is there.
  std::atomic<GateBook*> gates_{nullptr};
  std::thread maintenance_;

  // No thread uses its cache: a capture has been announced, or any stream may
  // be capturing.
  std::atomic<bool> is_slow_;
  std::atomic<StreamKey> first_stream_{
      kNoStream};                         // That anything was done on.
  std::atomic<bool> has_streams_{false};  // There were others.

  Mutex mu_;
  CondVar changed_;  // Anything below.
  CondVar maintenance_wanted_;
  SlabSet slabs_ VRAMPOOL_GUARDED_BY(mu_);
  ThreadCaches caches_ VRAMPOOL_GUARDED_BY(mu_);
  // In debug mode: freed, and not to be reused yet; and how many blocks are
  // being looked at, on their way out of it.
  DebugQuarantine quarantine_ VRAMPOOL_GUARDED_BY(mu_);
  uint64_t leaving_quarantine_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  // Out of caches, for want of memory to free them.
  BlockList put_aside_ VRAMPOOL_GUARDED_BY(mu_);
  TimePoint scavenged_at_ VRAMPOOL_GUARDED_BY(mu_) =
      std::chrono::steady_clock::now();
  // Since when slabs wait for frees that no event covers.
  std::optional<TimePoint> uncovered_since_ VRAMPOOL_GUARDED_BY(mu_);
  SessionPtr current_ VRAMPOOL_GUARDED_BY(mu_);
  // All that slabs or objects may still refer to, the current one too: none is
  // destroyed on the thread of its own link.
  std::vector<SessionPtr> sessions_ VRAMPOOL_GUARDED_BY(mu_);
  bool is_attaching_ VRAMPOOL_GUARDED_BY(mu_) = false;
  bool is_retired_ VRAMPOOL_GUARDED_BY(mu_) = false;
  bool is_stop_wanted_ VRAMPOOL_GUARDED_BY(mu_) = false;
  bool is_reclaim_wanted_ VRAMPOOL_GUARDED_BY(mu_) = false;
  Reclaims reclaims_ VRAMPOOL_GUARDED_BY(mu_);
  // Until then what falls idle goes back at once: the daemon has asked, and the
  // GPU had not done with all that was idle.
  std::optional<TimePoint> reclaim_until_ VRAMPOOL_GUARDED_BY(mu_);
  // A slab is being leased because what is idle was too small.
  bool is_growing_ VRAMPOOL_GUARDED_BY(mu_) = false;
  AheadPolicy ahead_ VRAMPOOL_GUARDED_BY(mu_);
  uint64_t coming_bytes_ VRAMPOOL_GUARDED_BY(mu_) = 0;  // Being leased ahead.
  bool is_timer_set_ VRAMPOOL_GUARDED_BY(mu_) = false;
  TimePoint timer_due_ VRAMPOOL_GUARDED_BY(mu_);  // When set by the thread.
  // Growths that wait in the daemon for room: what falls idle goes back at
  // once.
  uint64_t waiting_growths_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  // Handles that nobody has collected yet.
  std::map<SlabName, SlabParcel> parcels_ VRAMPOOL_GUARDED_BY(mu_);
  ReturnBook returns_ VRAMPOOL_GUARDED_BY(mu_);
  // Captures whose graphs have ended and that still keep memory.
  std::vector<CaptureId> ended_captures_ VRAMPOOL_GUARDED_BY(mu_);
  // Announced, and not among those yet, or among them.
  uint64_t living_captures_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  TimePoint settled_at_ VRAMPOOL_GUARDED_BY(mu_);  // Settle() ran last.
  TimePoint emptied_at_ VRAMPOOL_GUARDED_BY(mu_);  // EmptyQuarantine() did.
  std::vector<LostLease> lost_leases_ VRAMPOOL_GUARDED_BY(mu_);
  // Objects made here that have not ended, and their blocks.
  std::map<std::pair<LinkSerial, ObjectId>, std::vector<Block*>> produced_
      VRAMPOOL_GUARDED_BY(mu_);
  // What had not ended when its session did: who has it is not known.
  std::set<std::pair<Epoch, ObjectId>> orphans_ VRAMPOOL_GUARDED_BY(mu_);
  uint64_t ends_ VRAMPOOL_GUARDED_BY(mu_) = 0;      // Of all of them.
  PromiseStock promises_ VRAMPOOL_GUARDED_BY(mu_);  // Of the current session.
  uint64_t attachments_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  uint64_t earlier_calls_ VRAMPOOL_GUARDED_BY(mu_) = 0;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_CLIENT_H_
