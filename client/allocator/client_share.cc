// Making objects out of blocks.

#include <algorithm>
#include <string>
#include <utility>

#include "base/status_macros.h"
#include "client/allocator/client.h"

namespace vrampool::client {

struct Client::Pieces {
  SessionPtr session;
  std::vector<BufferPlace> places;
  std::vector<Block*> blocks;  // One for each buffer; counted as shared.
  std::vector<HeldObject::Buffer> buffers;
  std::optional<GpuOrder::Recorded> event;  // Of the contents.
};

namespace {

Status BadShare(const std::string& what) {
  return {VRAMPOOL_INVALID_ARGUMENT, what};
}

Status NotDedicated(size_t index) {
  return {VRAMPOOL_NOT_SHAREABLE,
          "buffer " + std::to_string(index) +
              " lies in a slab with other blocks, which the tenants that it is "
              "granted to would map, too; allocate it with "
              "vrampool_client_allocate_dedicated (in Python: "
              "dedicated=True) and share that"};
}

template <typename Request>
Status CheckShare(const Request& request) {
  if (request.buffers.empty() || request.buffers.size() > kMaxBuffers) {
    return BadShare("an object has 1 to " + std::to_string(kMaxBuffers) +
                    " buffers, not " + std::to_string(request.buffers.size()));
  }
  if (!request.layouts.empty() &&
      request.layouts.size() != request.buffers.size()) {
    return BadShare("give one layout for each buffer, or none");
  }
  if (request.name.size() > kMaxNameBytes) {
    return BadShare("a name has at most " + std::to_string(kMaxNameBytes) +
                    " bytes; choose a shorter one");
  }
  if (request.metadata.size() > kMaxMetadataBytes) {
    return BadShare("metadata has at most " +
                    std::to_string(kMaxMetadataBytes) +
                    " bytes; put more of it into a buffer");
  }
  if (request.grants.size() > kMaxGrants) {
    return BadShare("an object is granted to at most " +
                    std::to_string(kMaxGrants) +
                    " tenants; name one above several of them");
  }
  if (request.expires_ms > 0 && request.name.empty()) {
    return BadShare(
        "an object without a name ends with its last hold and does not "
        "expire; give a name, or no time");
  }
  return {};
}

// What a promise is good for. A layout that is none the daemon refuses with its
// words; in a message it would be a breach.
bool IsPlain(const ShareRequest& request) {
  const bool has_good_layout =
      request.layouts.size() == 1 && request.buffers.size() == 1 &&
      LayoutProblem(request.layouts.front(), request.buffers.front().second)
          .empty();
  return request.buffers.size() == 1 &&
         (request.layouts.empty() || has_good_layout) && request.name.empty() &&
         request.metadata.empty() && request.grants.empty() &&
         request.expires_ms == 0;
}

}  // namespace

// Counts the blocks as shared, so that none is reused from here on, whatever
// the application does.
Status Client::ResolveBuffers(const ShareRequest& request, Pieces& pieces) {
  for (const auto& [data, size] : request.buffers) {
    const uint64_t address = reinterpret_cast<uint64_t>(data);
    Block* const block = slabs_.blocks().BlockAround(address);
    const uint64_t offset = block == nullptr ? 0 : address - block->address;
    const uint64_t room = block == nullptr ? 0 : block->asked_bytes.load();
    if (block == nullptr || !block->is_live() || size == 0 || offset > room ||
        size > room - offset || !slabs_.AddObject(block)) {
      return BadShare(
          "buffer " + std::to_string(pieces.places.size()) +
          " does not lie inside one live block of this client; share only what "
          "it allocated");
    }
    pieces.blocks.push_back(block);
    Slab& slab = slabs_.Get(block->slab);
    if (slab.session != pieces.session) {
      return {VRAMPOOL_STALE,
              "buffer " + std::to_string(pieces.places.size()) +
                  " is memory from before the daemon was restarted; copy it "
                  "into a new block and share that"};
    }
    if (!request.grants.empty() && !slab.is_dedicated) {
      return NotDedicated(pieces.places.size());
    }
    const uint64_t base = reinterpret_cast<uint64_t>(slab.mapping.base());
    pieces.places.push_back(
        {.slab = slab.id, .offset_bytes = address - base, .size_bytes = size});
    pieces.buffers.push_back({.slab = slab.key,
                              .data = static_cast<std::byte*>(data),
                              .size = size});
  }
  return {};
}

void Client::UndoShare(const Pieces& pieces) {
  MutexLock lock(mu_);
  for (Block* const block : pieces.blocks) slabs_.RemoveObject(block);
  NoteIdle();
}

Status Client::CallShare(const ShareRequest& request, Pieces& pieces,
                         ShareReply& reply) {
  std::vector<Text> grants;
  for (const std::string& grant : request.grants) {
    grants.push_back({grant.data(), grant.size()});
  }
  ShareCall call;
  call.grants = grants.data();
  call.grant_count = grants.size();
  call.buffers = pieces.places.data();
  call.buffer_count = pieces.places.size();
  call.layouts = request.layouts.empty() ? nullptr : request.layouts.data();
  call.name = {request.name.data(), request.name.size()};
  call.metadata = {request.metadata.data(), request.metadata.size()};
  call.is_pending = request.is_pending || pieces.event.has_value();
  call.is_sealed = request.is_sealed;
  call.expires_ms = request.expires_ms;
  const CallOutcome outcome = CallWithin(
      *pieces.session,
      std::chrono::steady_clock::now() +
          std::chrono::milliseconds(settings_.wait_ms),
      [&](ControlChannel& channel) { return channel.Share(call, reply); });
  // If the daemon may have made the object, somebody may open it by its name:
  // its blocks are never reused.
  if (!outcome.ok() && !outcome.may_be_lost()) UndoShare(pieces);
  if (!outcome.ok() && pieces.event) order_->Drop(*pieces.event);
  return pieces.session->Explain(outcome);
}

std::unique_ptr<HeldObject> Client::NewHeld(const SessionPtr& session) {
  auto held = std::make_unique<HeldObject>();
  held->client = this;
  held->session = session;
  held->token.epoch = session->epoch();
  return held;
}

Result<std::unique_ptr<HeldObject>> Client::Share(ShareRequest request) {
  VRAMPOOL_RETURN_IF_ERROR(CheckShare(request));
  Pieces pieces;
  VRAMPOOL_ASSIGN_OR_RETURN(pieces.session,
                            LiveSession(std::chrono::steady_clock::now()));
  Status resolved;
  {
    MutexLock lock(mu_);
    resolved = ResolveBuffers(request, pieces);
  }
  if (resolved.ok()) {
    const auto event = RecordContents(request);
    resolved = event.status();
    if (event.ok()) pieces.event = *event;
  }
  if (!resolved.ok()) {
    UndoShare(pieces);
    const bool is_misuse = resolved.code() == VRAMPOOL_INVALID_ARGUMENT;
    return debug_ != nullptr && is_misuse ? ExplainShare(request, resolved)
                                          : resolved;
  }
  std::unique_ptr<HeldObject> held = NewHeld(pieces.session);
  held->token.is_sealed = request.is_sealed;
  if (pieces.places.size() == 1) held->token.place = pieces.places.front();
  SetDetails(request.layouts.data(), request.layouts.size(),
             !request.name.empty() || !request.metadata.empty(), held->token);
  held->buffers = pieces.buffers;
  held->token.is_ordered = pieces.event.has_value();
  if (pieces.event) held->ready = std::make_shared<ReadyNotice>();
  if (!TryPromise(request, pieces, *held)) {
    ShareReply reply;
    VRAMPOOL_RETURN_IF_ERROR(CallShare(request, pieces, reply));
    held->token.object = reply.object;
    held->token.secret = reply.secret;
    MutexLock lock(mu_);
    EnterProduced(pieces, *held);
  }
  {
    MutexLock lock(held->mu);
    held->has_call_hold = true;
    held->details = std::make_unique<ObjectDetails>(
        ObjectDetails{.layouts = std::move(request.layouts),
                      .metadata = std::move(request.metadata),
                      .name = std::move(request.name)});
  }
  if (pieces.event) {
    AwaitContents(*held, *pieces.event, *request.stream);
  }
  return held;
}

// Without a call; false: nothing has changed. It is entered before it is sent:
// the daemon may answer, that it has ended, as soon as it has read it.
bool Client::TryPromise(const ShareRequest& request, Pieces& pieces,
                        HeldObject& held) {
  if (!IsPlain(request)) return false;
  std::string layout;  // Made first: once it is entered nothing may fail.
  if (!request.layouts.empty()) AppendLayout(request.layouts[0], layout);
  Session& session = *pieces.session;
  MutexLock lock(mu_);
  // What a dedicated slab's objects do is told by calls: it goes back by one.
  if (slabs_.Get(pieces.buffers.front().slab).is_dedicated) return false;
  const std::optional<Promise> promise = promises_.Take(session.serial());
  if (!promise.has_value()) return false;
  held.token.object = promise->object;
  held.token.secret = promise->secret;
  held.token.is_promised = true;
  EnterProduced(pieces, held);
  if (session.link().TrySendShared(
          {.object = promise->object,
           .place = pieces.places.front(),
           .is_pending = request.is_pending || pieces.event.has_value(),
           .is_sealed = request.is_sealed,
           .layout = layout})) {
    return true;
  }
  const auto entered = produced_.find({session.serial(), promise->object});
  pieces.blocks = std::move(entered->second);
  produced_.erase(entered);
  for (const SlabKey slab : std::exchange(held.pinned, {})) slabs_.Unpin(slab);
  held.token.is_promised = false;
  promises_.PutBack(*promise);
  return false;
}

void Client::EnterProduced(Pieces& pieces, HeldObject& held) {
  for (const HeldObject::Buffer& buffer : held.buffers) {
    slabs_.Pin(buffer.slab);
    held.pinned.push_back(buffer.slab);
  }
  produced_.emplace(std::pair(pieces.session->serial(), held.token.object),
                    std::move(pieces.blocks));
  // Ended meanwhile.
  if (pieces.session != current_) EndProduced(*pieces.session);
}

void Client::LetGoIn(SlabKey key) {
  MutexLock lock(mu_);
  LetGoOfProduced(key);
  NoteIdle();
}

bool Client::IsGivenUp(const std::vector<Block*>& blocks) {
  for (const Block* const block : blocks) {
    const Slab& slab = slabs_.Get(block->slab);
    if (!slab.is_dedicated || slab.pins > 0 || block->is_live()) return false;
  }
  return true;
}

// Of which the daemon's notice did not come: the socket was full.
void Client::LetGoOfEnded() {
  for (auto next = produced_.begin(); next != produced_.end();) {
    const auto one = next++;
    const auto& [session, object] = one->first;
    if (session != current_->serial() || !current_->table().HasEnded(object)) {
      continue;
    }
    for (Block* const block : one->second) slabs_.RemoveObject(block);
    produced_.erase(one);
    ++ends_;
    changed_.NotifyAll();
  }
}

void Client::LetGoOfProduced(SlabKey key) {
  for (auto next = produced_.begin(); next != produced_.end();) {
    const auto one = next++;
    const auto& [session, object] = one->first;
    const std::vector<Block*>& blocks = one->second;
    const auto is_there = [key](const Block* block) {
      return block->slab == key;
    };
    // As the daemon sees it: it would not take the slab before.
    if (session != current_->serial() ||
        current_->table().MayBePending(object) ||
        std::none_of(blocks.begin(), blocks.end(), is_there) ||
        !IsGivenUp(blocks)) {
      continue;
    }
    for (Block* const block : blocks) slabs_.RemoveObject(block);
    produced_.erase(one);
    ++ends_;
    changed_.NotifyAll();
  }
}

Status Client::Ready(HeldObject& object) {
  if (object.ready != nullptr) {
    return BadShare(
        "the object was shared in the order of a stream: it becomes ready by "
        "itself when that stream is");
  }
  const ObjectCall call{.epoch = object.token.epoch,
                        .object = object.token.object};
  return object.session->Make([&](ControlChannel& channel) {
    return channel.Ready(call, ReadyOutcome::kComplete);
  });
}

// Until `count`, which mu_ guards, is more than `seen`.
Status Client::AwaitMore(const uint64_t& count, uint64_t seen, uint64_t wait_ms,
                         MutexLock& lock) {
  const TimePoint deadline =
      std::chrono::steady_clock::now() +
      std::chrono::milliseconds(std::min(wait_ms, kMaxWaitMs));
  bool is_late = false;
  while (count <= seen && !is_retired_ && !is_late) {
    is_late = !changed_.WaitUntil(lock, deadline);
  }
  if (count > seen) return {};
  if (is_retired_) {
    return {VRAMPOOL_UNAVAILABLE,
            "this client is being closed, as the process exits"};
  }
  return {VRAMPOOL_TIMEOUT, "what was waited for has not happened meanwhile"};
}

Status Client::AwaitEnds(uint64_t seen, uint64_t wait_ms, uint64_t& ends) {
  MutexLock lock(mu_);
  const Status status = AwaitMore(ends_, seen, wait_ms, lock);
  ends = ends_;
  return status;
}

Status Client::AwaitReclaim(uint64_t seen, uint64_t wait_ms,
                            Reclaims& reclaims) {
  MutexLock lock(mu_);
  const Status status = AwaitMore(reclaims_.count, seen, wait_ms, lock);
  reclaims = reclaims_;
  return status;
}

Status Client::SharedStatus(const Token& token) {
  MutexLock lock(mu_);
  const bool is_produced =
      token.epoch == current_->epoch() &&
      produced_.contains({current_->serial(), token.object});
  if (is_produced && current_->is_live()) return {};
  if (is_produced || orphans_.contains({token.epoch, token.object})) {
    return {VRAMPOOL_STALE,
            "the session in which the object was shared has ended: those who "
            "have it may go on using it, so keep its memory as it is"};
  }
  return {VRAMPOOL_NOT_FOUND,
          "the object has ended, or this client did not share it, or has given "
          "back its memory"};
}

Status Client::Unlink(const std::string& name) {
  VRAMPOOL_ASSIGN_OR_RETURN(SessionPtr session,
                            LiveSession(std::chrono::steady_clock::now()));
  return session->Make([&](ControlChannel& channel) {
    return channel.Unlink({name.data(), name.size()});
  });
}

}  // namespace vrampool::client
