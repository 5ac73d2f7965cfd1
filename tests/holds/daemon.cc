#include "tests/holds/daemon.h"

#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include "absl/time/time.h"
#include "base/check.h"
#include "tests/daemon/core/core_world.h"

namespace vrampool::testing {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1);
constexpr ObjectSecret kSecret = {7};

}  // namespace

// Without a run nobody may ask, and what is stored is seen by nobody.
class Daemon::Ports final : public ObjectTable, public HoldOracle {
 public:
  Ports(Steps& steps, const std::vector<SessionId>& sessions)
      : steps_(steps), sessions_(sessions) {}

  void Connect(Replay& replay) { replay_ = &replay; }

  void Store(uint64_t slot, uint64_t word) override {
    VRAMPOOL_CHECK(slot == 0);
    if (replay_ == nullptr) return;
    Word words(*replay_, kSlotPlace);
    steps_.Publish(words, word);
  }

  // As BrokerImpl::IsHeld().
  bool IsHeld(ObjectId object,
              const std::vector<SessionId>& sessions) override {
    VRAMPOOL_CHECK(replay_ != nullptr);
    // They come in the order of a hash table, which differs from run to run.
    std::vector<SessionId> ascending = sessions;
    std::sort(ascending.begin(), ascending.end());
    for (const SessionId session : ascending) {
      const auto found = std::find(sessions_.begin(), sessions_.end(), session);
      const auto actor = static_cast<Actor>(found - sessions_.begin());
      if (actor == kProducer) continue;  // It opens nothing.
      ClientWords words(*replay_, actor);
      if (steps_.IsHeld(words, steps_.NameOf(object))) return true;
    }
    return false;
  }

 private:
  Steps& steps_;
  const std::vector<SessionId>& sessions_;
  Replay* replay_ = nullptr;
};

Daemon::Daemon(Steps& steps, shm::Takes takes)
    : steps_(steps),
      takes_(takes),
      automaton_(
          [this](const Question& question, Replay& replay) {
            return Run(question, replay);
          },
          [this](const Access& access) { return steps_.Change(access); }) {
  Ports ports(steps_, sessions_);
  Arbiter arbiter(SmallSettings(), ports, ports);
  Prepare(arbiter);
  Intern(arbiter);
}

void Daemon::Prepare(Arbiter& arbiter) {
  sessions_.push_back({});  // The daemon itself.
  for (Actor actor = 1; actor <= kProducer; ++actor) {
    sessions_.push_back(*arbiter.Attach({}, {}, "root/a", kNow));
  }
  const SessionId producer = sessions_[kProducer];
  Effects effects;
  const auto ticket = arbiter.RequestLease(producer, {.size = Slabs(1)},
                                           WaitMode::kMayWait, kNow, effects);
  VRAMPOOL_CHECK(ticket.ok() && effects.create.size() == 1);
  slab_ = effects.create[0].slab;
  arbiter.OnCreated(slab_, absl::OkStatus(), kNow, effects);
  VRAMPOOL_CHECK(Ask(arbiter, {0, kProducer, What::kShare, kX}));
  for (Actor client = 1; client <= kClients; ++client) {
    VRAMPOOL_CHECK(Ask(arbiter, {0, client, What::kOpen, kX}));
    VRAMPOOL_CHECK(Ask(arbiter, {0, client, What::kClose, kX}));
  }
}

uint16_t Daemon::Intern(const Arbiter& arbiter) {
  arbiter.CheckInvariants();
  Core core;
  core.state = arbiter.Save();
  core.state.counters = {};
  for (size_t i = 0; i < cores_.size(); ++i) {
    if (cores_[i].state == core.state) return static_cast<uint16_t>(i);
  }
  for (uint8_t object = 0; object < kObjects; ++object) {
    for (const ObjectRecord& record : core.state.objects) {
      if (record.id != IdOf(object)) continue;
      core.exists[object] = true;
      core.is_watched[object] = record.is_watched;
    }
  }
  cores_.push_back(std::move(core));
  return static_cast<uint16_t>(cores_.size() - 1);
}

Daemon::Outcome Daemon::Run(const Question& question, Replay& replay) {
  steps_.Begin();
  Ports ports(steps_, sessions_);
  auto arbiter = Arbiter::Restore(SmallSettings(), cores_[question.core].state,
                                  ports, ports);
  VRAMPOOL_CHECK(arbiter.ok());
  ports.Connect(replay);
  const bool is_ok = Ask(**arbiter, question);
  return {Intern(**arbiter), is_ok};
}

bool Daemon::Ask(Arbiter& arbiter, const Question& question) {
  const SessionId session = sessions_[question.from];
  const ObjectId object = IdOf(question.object);
  Effects effects;
  switch (question.what) {
    case What::kOpen: {
      const ObjectToken token{SmallSettings().epoch, object, kSecret};
      return arbiter
          .Open(session,
                {.token = token,
                 .name = "",
                 .takes_pending = takes_ == shm::Takes::kPending},
                kNow)
          .ok();
    }
    case What::kClose:
      return arbiter.Close(session, object, kNow, effects).ok();
    case What::kUnmap:
      return arbiter.ReportUnmapped(session, {slab_}, kNow, effects).ok();
    case What::kShare:
    case What::kSharePending: {
      ShareRequest request;
      request.buffers = {{.slab = slab_, .offset = 0, .size = KiB(4)}};
      request.is_pending = question.what == What::kSharePending;
      const auto share = arbiter.Share(session, request, kSecret, kNow);
      VRAMPOOL_CHECK(!share.ok() || share->object == object);
      return share.ok();
    }
    case What::kReady:
    case What::kFail:
      return arbiter
          .Ready(session, object,
                 question.what == What::kReady ? ReadyOutcome::kComplete
                                               : ReadyOutcome::kFailed,
                 kNow, effects)
          .ok();
    case What::kReleased:
      // By the name that the client has for it.
      arbiter.HoldReleased(session, steps_.NameOf(object), kNow, effects);
      return true;
    case What::kSocketClosed:
      arbiter.SocketClosed(session, kNow, effects);
      return true;
    case What::kProcessGone:
      arbiter.ProcessGone(session, kNow, effects);
      return true;
  }
  return false;
}

}  // namespace vrampool::testing
