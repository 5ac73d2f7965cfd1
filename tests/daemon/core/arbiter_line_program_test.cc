// The line over long random runs: what the rules forbid does not happen, and
// nobody starves.

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/daemon/core/arbiter_fixture.h"

namespace vrampool::testing {
namespace {

constexpr size_t kTenants = 4;
constexpr uint64_t kPool = 16;    // Slabs,
constexpr uint64_t kLargest = 8;  // as is this, of a request.

CoreSettings FlatSettings(const std::vector<int32_t>& priorities) {
  CoreSettings settings = SmallSettings();
  settings.capacity = Slabs(kPool);
  // Above the pool: no tenant ever waits for itself alone.
  settings.default_limit = Slabs(2 * kPool);
  settings.tenants.clear();
  for (size_t i = 0; i < kTenants; ++i) {
    settings.tenants.push_back({.path = "root/" + std::to_string(i),
                                .quota = {.priority = priorities.at(i)}});
  }
  return settings;
}

// Tenants without limits or guarantees, so that all want the same thing: room.
// The model beside them knows who waits and nothing of accounts.
class ArbiterLineProgramTest : public ArbiterTest {
 protected:
  struct Waiting {
    size_t tenant = 0;
    bool is_first = false;  // Of its tenant.
    Bytes passed;  // Given to others of its priority, since it is the first.
  };

  void Begin(const std::vector<int32_t>& priorities, uint64_t seed) {
    priorities_ = priorities;
    random_.seed(seed);
    Start(FlatSettings(priorities));
    sessions_.clear();
    leases_.clear();
    line_.clear();
    for (size_t i = 0; i < kTenants; ++i) {
      const std::string tenant = "root/" + std::to_string(i);
      sessions_.push_back({Attach(tenant), Attach(tenant)});
    }
  }

  uint64_t Random(uint64_t below) { return random_() % below; }
  size_t TenantOf(std::string_view path) const {
    return static_cast<size_t>(path.back() - '0');
  }

  // `tenant` was given `size`: by ticket, or (TicketId{}) at once. Those who
  // still wait were passed.
  void CheckPassed(size_t tenant, TicketId ticket, Bytes size) {
    for (auto& [id, waiting] : line_) {
      if (id == ticket) continue;
      ASSERT_LE(priorities_[waiting.tenant], priorities_[tenant]);
      if (waiting.tenant == tenant) {
        ASSERT_TRUE(ticket != TicketId{} && ticket < id);
      } else if (priorities_[waiting.tenant] == priorities_[tenant] &&
                 waiting.is_first) {
        waiting.passed += size;
        most_passed_ = std::max(most_passed_, waiting.passed);
      }
    }
  }

  // Compares who waits now with who did before.
  void Observe() {
    std::map<TicketId, WaitingView> now;
    for (const WaitingView& view : Look().line) now[view.ticket] = view;
    std::vector<std::pair<TicketId, std::pair<size_t, Bytes>>> served;
    for (const auto& [id, size] : sizes_) {
      if (now.contains(id) || !line_.contains(id)) continue;
      served.push_back({id, {line_.at(id).tenant, size}});
    }
    for (const auto& [id, what] : served) line_.erase(id);
    for (const auto& [id, what] : served) {
      CheckPassed(what.first, id, what.second);
      ++served_from_line_;
    }
    for (const auto& [id, view] : now) {
      line_.try_emplace(id, Waiting{TenantOf(view.tenant), false, {}});
      sizes_[id] = view.size;
    }
    std::set<size_t> seen;
    for (auto& [id, waiting] : line_) {
      waiting.is_first = seen.insert(waiting.tenant).second;
    }
    for (auto& [id, outcome] : world().settled) {
      ASSERT_THAT(outcome, IsOk());
      leases_.push_back({owners_.at(id), *outcome});
    }
    world().settled.clear();
  }

  void AskForSome() {
    const size_t tenant = Random(kTenants);
    const SessionId session = sessions_[tenant][Random(2)];
    const Bytes size =
        Slabs(Random(12) == 0 ? kLargest : uint64_t{1} + Random(3));
    const WaitMode mode =
        Random(3) == 0 ? WaitMode::kFailFast : WaitMode::kMayWait;
    const Answer answer = Request(session, Ask(size), mode);
    if (!answer.ok()) return;
    if (const auto* const grant = std::get_if<LeaseGrant>(&*answer)) {
      CheckPassed(tenant, TicketId{}, size);
      leases_.push_back({session, *grant});
      return;
    }
    const TicketId ticket = std::get<TicketId>(*answer);
    owners_[ticket] = session;
    const auto line = Look().line;
    const bool waits = std::any_of(
        line.begin(), line.end(),
        [&](const WaitingView& view) { return view.ticket == ticket; });
    if (!waits) CheckPassed(tenant, TicketId{}, size);  // But for the device.
  }

  void GiveSomeBack() {
    if (leases_.empty()) return;
    const size_t which = Random(leases_.size());
    const auto [session, grant] = leases_[which];
    leases_.erase(leases_.begin() + static_cast<std::ptrdiff_t>(which));
    Return(session, grant);
  }

  void LetTheDeviceWork() {
    if (Random(2) == 0) {
      DestroyedAll();
    } else {
      CreatedAll();
    }
  }

  void Step() {
    const uint64_t what = Random(8);
    if (what < 4) {
      AskForSome();
    } else if (what < 6) {
      GiveSomeBack();
    } else {
      LetTheDeviceWork();
    }
    Observe();
  }

  std::vector<int32_t> priorities_;
  std::mt19937_64 random_;
  std::vector<std::vector<SessionId>> sessions_;
  std::vector<std::pair<SessionId, LeaseGrant>> leases_;
  std::map<TicketId, Waiting> line_;
  std::map<TicketId, Bytes> sizes_;
  std::map<TicketId, SessionId> owners_;
  Bytes most_passed_;
  uint64_t served_from_line_ = 0;
};

// The bound: when a tenant's first request becomes that, its account is at most
// one largest request above each other's; each other is served until it is
// above, which is one more.
TEST_F(ArbiterLineProgramTest, NobodyIsPassedForLongerThanTheAccountsAllow) {
  const Bytes bound = Slabs((kTenants - 1) * 2 * kLargest);
  for (uint64_t seed = 0; seed < 10; ++seed) {
    SCOPED_TRACE(seed);
    Begin({0, 0, 0, 0}, seed);
    for (int i = 0; i < 2000; ++i) {
      Step();
      ASSERT_FALSE(HasFatalFailure());
      ASSERT_LE(most_passed_, bound);
    }
  }
  // It was a near thing, and often.
  EXPECT_GT(most_passed_, Slabs(kLargest));
  EXPECT_GT(served_from_line_, 1000u);
}

TEST_F(ArbiterLineProgramTest, AHigherPriorityIsNeverPassedByALowerOne) {
  const Bytes bound = Slabs((kTenants - 1) * 2 * kLargest);
  for (uint64_t seed = 0; seed < 10; ++seed) {
    SCOPED_TRACE(seed);
    Begin({1, 0, 1, -1}, seed);
    for (int i = 0; i < 2000; ++i) {
      Step();
      ASSERT_FALSE(HasFatalFailure());
      ASSERT_LE(most_passed_, bound);
    }
  }
  EXPECT_GT(served_from_line_, 1000u);
}

}  // namespace
}  // namespace vrampool::testing
