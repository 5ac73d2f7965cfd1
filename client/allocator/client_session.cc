// The client's sessions: attaching, and what the link tells.

#include <algorithm>

#include "base/status_macros.h"
#include "client/allocator/client.h"
#include "client/cuda/gpu_stream_events.h"
#include "client/session/discovery.h"
#include "client/session/quiet_thread.h"

namespace vrampool::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// A daemon answers a greeting in microseconds, and in seconds when hundreds
// come at once to a busy machine; one that does not for this long is stopped or
// stuck.
constexpr milliseconds kGreetingLimit(20000);

Status Closing() {
  return {VRAMPOOL_UNAVAILABLE,
          "this client is being closed, as the process exits; nothing more can "
          "be asked of the daemon"};
}

bool IsOfGpu(HandleKind kind) {
  return kind == HandleKind::kCudaIpc || kind == HandleKind::kVmmFd;
}

}  // namespace

Result<std::unique_ptr<Client>> Client::Open(
    Settings settings, ChannelFactory factory,
    std::shared_ptr<StreamEvents> events) {
  std::unique_ptr<Client> client(
      new Client(std::move(settings), std::move(factory)));
  const auto deadline =
      steady_clock::now() + milliseconds(client->settings_.wait_ms);
  VRAMPOOL_ASSIGN_OR_RETURN(SessionPtr session, client->AttachUntil(deadline));
  VRAMPOOL_RETURN_IF_ERROR(client->OpenDevice(*session, std::move(events)));
  if (client->events_ != nullptr && client->settings_.detects_captures) {
    client->events_->captures().NoteUnannounced();
  }
  if (client->settings_.debug.is_on) client->BeginDebugging();
  {
    MutexLock lock(client->mu_);
    client->Install(std::move(session));
  }
  VRAMPOOL_RETURN_IF_ERROR(client->LeaseReserve(deadline));
  VRAMPOOL_ASSIGN_OR_RETURN(
      client->maintenance_,
      StartQuietThread([raw = client.get()] { raw->Maintain(); }));
  return client;
}

Client::Client(Settings settings, ChannelFactory factory)
    : settings_(std::move(settings)),
      factory_(std::move(factory)),
      graph_ends_(std::make_shared<GraphEnds>(
          [this](CaptureId capture) { OnGraphEnded(capture); })),
      is_slow_(settings_.detects_captures),
      quarantine_(settings_.debug.quarantine.count()) {
  BiasedLock::Prepare();
}

Status Client::OpenDevice(const Session& session,
                          std::shared_ptr<StreamEvents> events) {
  device_ = session.device_uuid();
  events_ = std::move(events);
  if (!IsOfGpu(session.kind())) return {};
  VRAMPOOL_ASSIGN_OR_RETURN(gpu_, GpuContext::Open(device_));
  if (events_ == nullptr) events_ = std::make_shared<GpuStreamEvents>(gpu_);
  VRAMPOOL_ASSIGN_OR_RETURN(order_, GpuOrder::Start(gpu_));
  gates_.store(&order_->gates(), std::memory_order_release);
  // Not those of later sessions: it would hold up work that is under way.
  contents_writer_ = ContentsWriter::Register(gpu_, session.contents());
  return {};
}

// A daemon that was restarted may serve the device in another way.
Status Client::CheckDevice(const Session& session) const {
  if (device_.empty() || IsOfGpu(session.kind()) == (gpu_ != nullptr)) {
    return {};
  }
  return {VRAMPOOL_VERSION_MISMATCH,
          std::string("the daemon of ") + device_ +
              " now gives memory of "
              "kind " +
              HandleKindName(session.kind()) +
              ", which this client was not opened for; restart this process"};
}

Client::~Client() {
  if (session() != nullptr) {
    EndGates();  // Or the GPU would wait for them, and we for the GPU.
    DropReserve();
    // On error the GPU does no work of ours any more.
    if (Quiesce().ok()) {
      if (contents_writer_ != nullptr) contents_writer_->Release();
      ForgetGraphs();
      (void)GiveBackUnused();
    }
    Retire();
  }
  debug_.reset();  // It may be reading what is unmapped next.
  graph_ends_->Detach();
  std::vector<SessionPtr> sessions;
  ReturnBook returns;
  std::vector<cuda::Event> events;
  SlabSet slabs;  // Unmapped without the lock.
  {
    MutexLock lock(mu_);
    sessions.swap(sessions_);
    std::swap(returns, returns_);
    current_.reset();
    parcels_.clear();
    events = slabs_.ordered().TakeEvents();
    std::swap(slabs, slabs_);
  }
  for (const cuda::Event event : events) events_->Destroy(event);
}

void Client::DropReserve() {
  MutexLock lock(mu_);
  (void)slabs_.DropReserve(SlabSet::Reserved::kAll);
}

void Client::Retire() {
  StopOrder();
  DropReserve();
  (void)Trim();  // What cannot be given back ends with the session.
  StopThreads();
  MarkClosed();
}

// Tells the daemon that what it finds now is what the application left. Blocks
// that only objects keep were given back by the application: they are no leak,
// whoever holds the objects.
void Client::MarkClosed() {
  MutexLock lock(mu_);
  for (const auto& [object, blocks] : produced_) {
    for (Block* const block : blocks) slabs_.StrikeGivenUp(block);
  }
  for (const SessionPtr& session : sessions_) session->manifest().MarkClosed();
}

void Client::StopThreads() {
  std::vector<SessionPtr> sessions;
  {
    MutexLock lock(mu_);
    is_retired_ = true;
    is_stop_wanted_ = true;
    sessions = sessions_;
    changed_.NotifyAll();
    maintenance_wanted_.NotifyAll();
  }
  if (maintenance_.joinable()) maintenance_.join();
  for (const SessionPtr& session : sessions) session->link().Stop();
}

std::shared_ptr<Session> Client::session() {
  MutexLock lock(mu_);
  return current_;
}

Result<Client::SessionPtr> Client::LiveSession(TimePoint deadline) {
  SessionPtr live;
  VRAMPOOL_RETURN_IF_ERROR(BeginAttach(live, deadline));
  if (live != nullptr) return live;
  Result<SessionPtr> attached = AttachUntil(deadline);
  MutexLock lock(mu_);
  is_attaching_ = false;
  changed_.NotifyAll();
  if (!attached.ok()) return attached;
  if (is_retired_) return Closing();
  Install(*attached);
  return attached;
}

// OK with no `live` session: the caller attaches, and nobody else meanwhile.
Status Client::BeginAttach(SessionPtr& live, TimePoint deadline) {
  MutexLock lock(mu_);
  const TimePoint give_up =
      std::max(deadline, steady_clock::now()) + kGreetingLimit;
  while (true) {
    if (is_retired_) return Closing();
    if (current_->is_live()) {
      live = current_;
      return {};
    }
    if (current_->link().state() == LinkState::kCondemned) {
      return current_->Explain({.code = CallCode::kFailedPrecondition});
    }
    if (!is_attaching_) break;
    if (!changed_.WaitUntil(lock, give_up)) {
      return {VRAMPOOL_UNAVAILABLE,
              "another thread of this process is attaching to the daemon and "
              "gets no answer; see whether it is alive (vrampool doctor)"};
    }
  }
  is_attaching_ = true;
  return {};
}

Result<Client::SessionPtr> Client::AttachUntil(TimePoint deadline) {
  Settings settings = settings_;
  // Memory of another device would be no substitute.
  if (!device_.empty()) settings.device = device_;
  while (true) {
    Result<SessionPtr> session = Session::Attach(
        settings, factory_, *this, steady_clock::now() + kGreetingLimit);
    const bool may_come = !session.ok() &&
                          session.status().code() == VRAMPOOL_UNAVAILABLE &&
                          steady_clock::now() < deadline;
    if (session.ok()) VRAMPOOL_RETURN_IF_ERROR(CheckDevice(**session));
    if (!may_come) return session;
    {
      MutexLock lock(mu_);
      if (is_retired_) return Closing();
    }
    AwaitDaemon(settings.directory, settings.device, deadline);
  }
}

void Client::Install(SessionPtr session) {
  if (current_ != nullptr) {
    // No thread allocates from its cache before that has moved to the new
    // session.
    CloseCaches();
    slabs_.RetireSession(*current_);
    caches_.MoveTo(session->manifest());
    caches_.Reopen();
    earlier_calls_ += current_->calls_made();
    // Nobody will come for these.
    const SessionPtr before = current_;
    const LinkSerial old = before->serial();
    EndProduced(*before);
    std::erase_if(parcels_, [&](auto& p) { return p.first.first == old; });
    returns_.Forget(old);
    std::erase_if(lost_leases_, [&](auto& l) { return l.session == old; });
  }
  ++attachments_;
  sessions_.push_back(session);
  current_ = std::move(session);
  promises_ = PromiseStock(current_->serial());
  WakeMaintenance();
  changed_.NotifyAll();
}

// Objects end with the daemon that knew of them. Who holds one goes on using
// its bytes, here and elsewhere: what is retired is never cut again, and only
// unmapped here.
void Client::EndProduced(const Session& session) {
  for (auto next = produced_.begin(); next != produced_.end();) {
    const auto one = next++;
    if (one->first.first != session.serial()) continue;
    for (Block* const block : one->second) slabs_.RemoveObject(block);
    orphans_.emplace(session.epoch(), one->first.second);
    produced_.erase(one);
    ++ends_;
  }
}

// After a call failed as if the daemon were gone: its link will say so in a
// moment, if that is the case.
void Client::AwaitLinkEnd(const SessionPtr& session, TimePoint deadline) {
  const TimePoint soon = steady_clock::now() + milliseconds(250);
  MutexLock lock(mu_);
  while (session->is_live() && !is_retired_) {
    if (!changed_.WaitUntil(lock, std::min(soon, deadline))) return;
  }
}

CallOutcome Client::CallWithin(Session& session, TimePoint deadline,
                               const Session::Call& call) {
  while (true) {
    const CallOutcome outcome = session.MakeRaw(call);
    if (outcome.reason != CallReason::kRateLimited ||
        outcome.retry_after_ms == kNoNumber) {
      return outcome;
    }
    const uint64_t wait_ms =
        std::clamp<uint64_t>(outcome.retry_after_ms, 1, kMaxWaitMs);
    const TimePoint again = steady_clock::now() + milliseconds(wait_ms);
    if (again > deadline) return outcome;
    MutexLock lock(mu_);
    while (steady_clock::now() < again) {
      if (!session.is_live() || is_retired_) return outcome;
      (void)changed_.WaitUntil(lock, again);
    }
  }
}

void Client::OnSlabArrived(LinkSerial session, SlabId slab, SlabParcel parcel) {
  MutexLock lock(mu_);
  parcels_[{session, slab}] = std::move(parcel);
  changed_.NotifyAll();
}

void Client::OnReclaim(LinkSerial /*session*/, uint64_t bytes) {
  // Everything idle goes back: what is needed again is leased again.
  MutexLock lock(mu_);
  reclaims_ = {.count = reclaims_.count + 1, .bytes = bytes};
  changed_.NotifyAll();
  ahead_.NoteReclaim(steady_clock::now());
  is_reclaim_wanted_ = true;
  WakeMaintenance();
}

void Client::OnObjectEnded(LinkSerial session, ObjectId object) {
  MutexLock lock(mu_);
  const auto found = produced_.find({session, object});
  if (found == produced_.end()) return;
  for (Block* const block : found->second) slabs_.RemoveObject(block);
  produced_.erase(found);
  ++ends_;
  changed_.NotifyAll();
  NoteIdle();
}

void Client::OnPromises(LinkSerial session, const Promises& promises) {
  MutexLock lock(mu_);
  promises_.Add(session, promises);
}

void Client::OnPacket(LinkSerial session) {
  GateBook* const gates = gates_.load(std::memory_order_acquire);
  if (gates != nullptr) gates->Look(session);
}

void Client::OnLinkEnded(LinkSerial session) {
  GateBook* const gates = gates_.load(std::memory_order_acquire);
  if (gates != nullptr) gates->EndSession(session);
  MutexLock lock(mu_);
  changed_.NotifyAll();
}

Client::Usage Client::ReadUsage() {
  MutexLock lock(mu_);
  SlabSet::Totals totals = slabs_.totals();
  totals.live_bytes += static_cast<uint64_t>(caches_.live_bytes());
  totals.live_blocks += static_cast<uint64_t>(caches_.live_blocks());
  return {
      .totals = totals,
      .cached_bytes = caches_.cached_bytes(),
      .pending_bytes = slabs_.ordered().pending_bytes() + quarantine_.bytes(),
      .calls = earlier_calls_ + current_->calls_made(),
      .attachments = attachments_};
}

Result<Client::BlockPlace> Client::Describe(const void* p) {
  MutexLock lock(mu_);
  const uint64_t address = reinterpret_cast<uint64_t>(p);
  const Block* const block = slabs_.blocks().BlockAround(address);
  if (block == nullptr || !block->is_live() ||
      address - block->address >= block->asked_bytes.load()) {
    return Status(VRAMPOOL_NOT_FOUND,
                  "the pointer lies in no live block of this client");
  }
  const Slab& slab = slabs_.Get(block->slab);
  return BlockPlace{.address = block->address,
                    .size_bytes = block->asked_bytes,
                    .slab = slab.id,
                    .slab_bytes = slab.mapping.size_bytes(),
                    .kind = slab.mapping.kind()};
}

Result<BudgetReply> Client::ReadBudget() {
  VRAMPOOL_ASSIGN_OR_RETURN(SessionPtr session,
                            LiveSession(steady_clock::now()));
  BudgetReply reply;
  VRAMPOOL_RETURN_IF_ERROR(session->Make(
      [&](ControlChannel& channel) { return channel.Budget(reply); }));
  return reply;
}

Status Client::WaitForRoom(uint64_t bytes, uint64_t wait_ms) {
  wait_ms = std::min(wait_ms, kMaxWaitMs);
  VRAMPOOL_ASSIGN_OR_RETURN(
      SessionPtr session,
      LiveSession(steady_clock::now() + milliseconds(wait_ms)));
  WaitCall call;
  call.size_bytes = bytes;
  call.wait_ms = wait_ms;
  const TimePoint deadline = steady_clock::now() + milliseconds(wait_ms);
  return session->Explain(
      CallWithin(*session, deadline, [&](ControlChannel& channel) {
        const auto left =
            duration_cast<milliseconds>(deadline - steady_clock::now());
        call.wait_ms =
            static_cast<uint64_t>(std::max<int64_t>(left.count(), 0));
        return channel.Wait(call);
      }));
}

Result<bool> Client::Fits(uint64_t bytes) {
  const Status status = WaitForRoom(bytes, 0);
  if (status.ok()) return true;
  if (status.code() == VRAMPOOL_TIMEOUT) return false;
  return status;
}

Result<ReserveReply> Client::Reserve(uint64_t bytes, uint64_t hold_ms) {
  VRAMPOOL_ASSIGN_OR_RETURN(SessionPtr session,
                            LiveSession(steady_clock::now()));
  ReserveCall call;
  call.size_bytes = bytes;
  call.kind = session->kind();
  call.hold_ms = hold_ms;
  ReserveReply reply;
  VRAMPOOL_RETURN_IF_ERROR(session->Make(
      [&](ControlChannel& channel) { return channel.Reserve(call, reply); }));
  return reply;
}

Status Client::ReleaseReservation(const ReserveReply& reservation) {
  VRAMPOOL_ASSIGN_OR_RETURN(SessionPtr session,
                            LiveSession(steady_clock::now()));
  return session->Make([&](ControlChannel& channel) {
    return channel.ReleaseReservation(reservation);
  });
}

}  // namespace vrampool::client
