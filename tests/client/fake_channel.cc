// What calls of the fake daemon do.

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/turned_away.h"
#include "tests/client/fake_daemon.h"

namespace vrampool::client {
namespace {

constexpr uint64_t kGranule = 2 << 20;

CallOutcome Refuse(CallCode code, CallReason reason, const char* message) {
  CallOutcome outcome;
  outcome.code = code;
  outcome.reason = reason;
  std::strncpy(outcome.message, message, sizeof(outcome.message) - 1);
  return outcome;
}

CallOutcome RefuseByRate(FakeDaemon::Ledger& ledger) {
  --ledger.too_fast;
  ++ledger.refused_by_rate;
  CallOutcome outcome = Refuse(CallCode::kResourceExhausted,
                               CallReason::kRateLimited, "too fast");
  outcome.retry_after_ms = ledger.retry_after_ms;
  return outcome;
}

std::optional<CallOutcome> RefuseAsBusy(FakeDaemon::Ledger& ledger) {
  if (ledger.refused_as_busy > 0) {
    --ledger.refused_as_busy;
    CallOutcome outcome =
        Refuse(CallCode::kResourceExhausted, CallReason::kLimitReached, "busy");
    std::strcpy(outcome.subject, "open_rpcs");
    return outcome;
  }
  if (ledger.cancelled_as_busy > 0) {
    --ledger.cancelled_as_busy;
    return Refuse(CallCode::kResourceExhausted, CallReason::kNone, kTurnedAway);
  }
  return std::nullopt;
}

// `size` is `asked`, rounded.
std::optional<CallOutcome> RefuseAsFull(const FakeDaemon::Ledger& ledger,
                                        uint64_t asked, uint64_t size) {
  uint64_t used = 0;
  for (const auto& [id, slab] : ledger.leases) {
    used += ledger.slab_bytes.at(slab);
  }
  if (size > ledger.largest_slab) {
    return Refuse(CallCode::kResourceExhausted, CallReason::kPoolExhausted,
                  "full");
  }
  if (used + size <= ledger.limit_bytes) return std::nullopt;
  CallOutcome outcome =
      Refuse(CallCode::kResourceExhausted, CallReason::kQuotaExceeded, "over");
  outcome.asked_bytes = asked;
  outcome.used_bytes = used;
  outcome.limit_bytes = ledger.limit_bytes;
  std::strcpy(outcome.subject, "root/team-a");
  return outcome;
}

CallOutcome Away() {
  CallOutcome outcome;
  outcome.code = CallCode::kUnavailable;
  return outcome;
}

}  // namespace

// The calls of one session: they run in the client's thread.
class FakeChannel final : public ControlChannel {
 public:
  explicit FakeChannel(FakeDaemon& daemon)
      : daemon_(daemon), life_(daemon.life_) {}

  CallOutcome Lease(const LeaseCall& call, LeaseReply& reply) override {
    const std::lock_guard living(life_->mu);
    if (!life_->is_alive) return Away();
    MutexLock lock(daemon_.mu_);
    if (daemon_.on_lease_) daemon_.on_lease_();
    FakeDaemon::Ledger& ledger = daemon_.ledger_;
    if (ledger.too_fast > 0) return RefuseByRate(ledger);
    if (const auto busy = RefuseAsBusy(ledger)) return *busy;
    const std::string key(reinterpret_cast<const char*>(call.key.data()), 16);
    const uint64_t size =
        (call.size_bytes + kGranule - 1) / kGranule * kGranule;
    uint64_t lease = 0;
    if (const auto known = ledger.keys.find(key); known != ledger.keys.end()) {
      lease = known->second;
    } else {
      ledger.lease_sizes.push_back(call.size_bytes);
      if (const auto full = RefuseAsFull(ledger, call.size_bytes, size)) {
        return *full;
      }
      lease = daemon_.next_id_++;
      const uint64_t slab = daemon_.next_id_++;
      ledger.keys[key] = lease;
      ledger.leases[lease] = slab;
      ledger.slab_bytes[slab] = size;
      ledger.mapped.push_back(slab);
      daemon_.SendSlab(slab, size);
    }
    if (ledger.lost_replies > 0) {
      --ledger.lost_replies;
      return Refuse(CallCode::kDeadlineExceeded, CallReason::kNone, "lost");
    }
    const uint64_t slab = ledger.leases[lease];
    reply = {.epoch = Epoch{daemon_.epoch_},
             .lease = LeaseId{lease},
             .slab = {.slab = SlabId{slab},
                      .size_bytes = ledger.slab_bytes[slab],
                      .kind = HandleKind::kHostFd}};
    daemon_.changed_.NotifyAll();
    return {};
  }

  CallOutcome Return(const ReturnCall& call) override {
    const std::lock_guard living(life_->mu);
    if (!life_->is_alive) return Away();
    MutexLock lock(daemon_.mu_);
    FakeDaemon::Ledger& ledger = daemon_.ledger_;
    const auto lease = ledger.leases.find(static_cast<uint64_t>(call.lease));
    if (lease == ledger.leases.end()) {
      return Refuse(CallCode::kNotFound, CallReason::kLeaseUnknown, "none");
    }
    if (IsHeldIn(lease->second)) {
      ++ledger.refused_returns;
      daemon_.changed_.NotifyAll();
      return Refuse(CallCode::kFailedPrecondition, CallReason::kLeaseInUse,
                    "an object there is held");
    }
    std::erase(ledger.mapped, lease->second);
    ledger.leases.erase(lease);
    ++ledger.returned_leases;
    daemon_.changed_.NotifyAll();
    return {};
  }

  CallOutcome ReportUnmapped(Epoch, const SlabId* slabs, size_t count,
                             uint32_t& kept) override {
    const std::lock_guard living(life_->mu);
    if (!life_->is_alive) return Away();
    MutexLock lock(daemon_.mu_);
    kept = 0;
    for (size_t i = 0; i < count; ++i) {
      const uint64_t slab = static_cast<uint64_t>(slabs[i]);
      if (IsLeased(slab)) {
        ++kept;
        continue;
      }
      daemon_.ledger_.unmapped.push_back(slab);
      std::erase(daemon_.ledger_.mapped, slab);
    }
    daemon_.changed_.NotifyAll();
    return {};
  }

  CallOutcome Share(const ShareCall& call, ShareReply& reply) override {
    const std::lock_guard living(life_->mu);
    if (!life_->is_alive) return Away();
    MutexLock lock(daemon_.mu_);
    if (daemon_.ledger_.too_fast > 0) return RefuseByRate(daemon_.ledger_);
    const uint64_t slot = daemon_.next_id_++ % FakeDaemon::kSlots;
    const ObjectId object = MakeObjectId(slot, 1);
    daemon_.ledger_.objects[static_cast<uint64_t>(object)].assign(
        call.buffers, call.buffers + call.buffer_count);
    ++daemon_.ledger_.holds[static_cast<uint64_t>(object)];
    daemon_.ledger_.grants.clear();
    for (size_t i = 0; i < call.grant_count; ++i) {
      daemon_.ledger_.grants.emplace_back(call.grants[i].data,
                                          call.grants[i].size);
    }
    daemon_.SetSlot(object, call.is_pending ? shm::ObjectState::kPending
                                            : shm::ObjectState::kLive);
    if (call.is_pending) {
      daemon_.ledger_.pending.insert(static_cast<uint64_t>(object));
    }
    reply = {.epoch = Epoch{daemon_.epoch_}, .object = object};
    reply.secret.fill(7);
    daemon_.SendPromises(daemon_.ledger_.promises);
    return {};
  }

  CallOutcome Ready(const ObjectCall& call, ReadyOutcome outcome) override {
    const std::lock_guard living(life_->mu);
    if (!life_->is_alive) return Away();
    MutexLock lock(daemon_.mu_);
    FakeDaemon::Ledger& ledger = daemon_.ledger_;
    ++ledger.ready_calls;
    daemon_.changed_.NotifyAll();
    if (ledger.unheard_readies > 0) {
      --ledger.unheard_readies;
      return Away();
    }
    daemon_.HearReady(call.object, outcome);
    if (ledger.lost_readies > 0) {
      --ledger.lost_readies;
      return Refuse(CallCode::kDeadlineExceeded, CallReason::kNone, "lost");
    }
    return {};
  }

  // Sends slabs that the session has not got (those of "another process").
  CallOutcome Open(const OpenCall& call, OpenReply& reply) override {
    std::function<void()> hook;
    CallOutcome outcome;
    {
      const std::lock_guard living(life_->mu);
      if (!life_->is_alive) return Away();
      outcome = OpenNow(call, reply, hook);
    }
    if (hook) hook();  // Which may make calls, and wait for those of others.
    return outcome;
  }
  CallOutcome OpenNow(const OpenCall& call, OpenReply& reply,
                      std::function<void()>& hook) {
    MutexLock lock(daemon_.mu_);
    FakeDaemon::Ledger& ledger = daemon_.ledger_;
    const auto object = ledger.objects.find(static_cast<uint64_t>(call.object));
    if (object == ledger.objects.end()) {
      return Refuse(CallCode::kNotFound, CallReason::kObjectUnknown,
                    "no such object");
    }
    if (ledger.opens_need_all && !ledger.leases.empty()) {
      return Refuse(CallCode::kResourceExhausted, CallReason::kQuotaExceeded,
                    "too much is leased");
    }
    if (ledger.pending.count(object->first) > 0 && !call.takes_pending) {
      return Refuse(CallCode::kDeadlineExceeded, CallReason::kWaitedOut,
                    "not ready");
    }
    ++ledger.holds[object->first];
    reply.epoch = Epoch{daemon_.epoch_};
    reply.object = call.object;
    reply.secret.fill(7);
    for (const BufferPlace& place : object->second) {
      reply.buffers[reply.buffer_count++] = place;
      const uint64_t slab = static_cast<uint64_t>(place.slab);
      const bool is_mapped =
          std::count(ledger.mapped.begin(), ledger.mapped.end(), slab) != 0;
      if (!is_mapped) {
        daemon_.SendSlab(slab, ledger.slab_bytes[slab]);
        ledger.mapped.push_back(slab);
      }
      reply.slabs[reply.slab_count++] = {
          .slab = place.slab,
          .size_bytes = ledger.slab_bytes[slab],
          .kind = HandleKind::kHostFd,
          .is_mapped = is_mapped,
          .is_foreign = ledger.foreign.contains(slab)};
    }
    std::memcpy(reply.metadata, "schema", 6);
    reply.metadata_size = 6;
    hook = daemon_.on_opened_;
    return {};
  }

  CallOutcome Close(const ObjectCall& call) override {
    const std::lock_guard living(life_->mu);
    if (!life_->is_alive) return Away();
    MutexLock lock(daemon_.mu_);
    --daemon_.ledger_.holds[static_cast<uint64_t>(call.object)];
    daemon_.changed_.NotifyAll();
    return {};
  }
  CallOutcome Unlink(const Text&) override {
    return Refuse(CallCode::kNotFound, CallReason::kObjectUnknown, "no name");
  }
  CallOutcome Wait(const WaitCall&) override { return {}; }
  CallOutcome Budget(BudgetReply& reply) override {
    const std::lock_guard living(life_->mu);
    if (!life_->is_alive) return Away();
    MutexLock lock(daemon_.mu_);
    reply.limit_bytes = daemon_.ledger_.limit_bytes;
    return {};
  }
  CallOutcome Reserve(const ReserveCall& call, ReserveReply& reply) override {
    const std::lock_guard living(life_->mu);
    if (!life_->is_alive) return Away();
    MutexLock lock(daemon_.mu_);
    if (call.size_bytes > daemon_.ledger_.limit_bytes) {
      return Refuse(CallCode::kResourceExhausted, CallReason::kQuotaExceeded,
                    "too much");
    }
    reply.epoch = Epoch{daemon_.epoch_};
    reply.reservation = 1;
    return {};
  }
  CallOutcome ReleaseReservation(const ReserveReply& reservation) override {
    const std::lock_guard living(life_->mu);
    if (!life_->is_alive) return Away();
    if (reservation.reservation == 1) return {};
    return Refuse(CallCode::kNotFound, CallReason::kReservationUnknown,
                  "no such reservation");
  }

 private:
  bool IsLeased(uint64_t slab) const VRAMPOOL_REQUIRES(daemon_.mu_) {
    for (const auto& [lease, leased] : daemon_.ledger_.leases) {
      if (leased == slab) return true;
    }
    return false;
  }
  // An object there, by call.
  bool IsHeldIn(uint64_t slab) VRAMPOOL_REQUIRES(daemon_.mu_) {
    for (const auto& [object, places] : daemon_.ledger_.objects) {
      if (daemon_.ledger_.holds[object] == 0) continue;
      for (const BufferPlace& place : places) {
        if (static_cast<uint64_t>(place.slab) == slab) return true;
      }
    }
    return false;
  }

  FakeDaemon& daemon_;
  const std::shared_ptr<FakeDaemon::Life> life_;
};

ChannelFactory FakeDaemon::Channels() {
  return [this](const std::string&,
                const uint8_t*) -> Result<std::unique_ptr<ControlChannel>> {
    return std::unique_ptr<ControlChannel>(new FakeChannel(*this));
  };
}

}  // namespace vrampool::client
