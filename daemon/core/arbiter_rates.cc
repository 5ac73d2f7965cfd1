// Leases and calls that a tenant's rate holds up: see arbiter.h and rates.h.

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "daemon/core/arbiter.h"
#include "daemon/core/refusal.h"

namespace vrampool {
namespace {

// Of all that is told to clients: who waits longer should look again.
constexpr absl::Duration kLongestRetry = absl::Hours(1);

// Rounded up to what a refusal can tell: credit must be there then.
absl::Duration RetryAfter(absl::Duration wait) {
  return std::min(absl::Ceil(wait, absl::Milliseconds(1)), kLongestRetry);
}

std::string Number(RateKind kind, uint64_t amount) {
  if (kind == RateKind::kBytes) return FormatBytes(Bytes(amount));
  return absl::StrCat(amount, kind == RateKind::kLeases ? " leases" : " calls");
}

}  // namespace

std::optional<RateObstacle> Arbiter::CreditLacking(TenantId tenant, Bytes size,
                                                   absl::Time now) const {
  return rates_.FindObstacle(tenant, AmountsOfLease(size), nullptr, now);
}

Amounts Arbiter::Awaited(TenantId tenant, TicketId except) const {
  Amounts sum = {};
  for (const auto& [id, ticket] : tickets_) {
    if (ticket.state != TicketState::kWaiting || id == except) continue;
    if (!ledger_.IsWithin(ticket.tenant, tenant)) continue;
    sum = Sum(sum, AmountsOfLease(ticket.size));
  }
  return sum;
}

std::optional<RateObstacle> Arbiter::LackingAtTheEnd(TenantId tenant,
                                                     Bytes size,
                                                     TicketId except,
                                                     absl::Time now) const {
  return rates_.FindObstacle(
      tenant, AmountsOfLease(size),
      [this, except](TenantId at) { return Awaited(at, except); }, now);
}

absl::Status Arbiter::RefuseForRate(TenantId tenant, Bytes asked, Bytes size,
                                    absl::Time now) const {
  const std::optional<RateObstacle> obstacle =
      LackingAtTheEnd(tenant, size, TicketId{}, now);
  // Those that it would overtake wait for more than it asks for.
  if (!obstacle.has_value()) return RefuseForRoom(tenant, asked, size);
  return RefuseForRate(*obstacle, {.reason = Reason::kRateLimited,
                                   .asked = asked,
                                   .charged = size,
                                   .used = ledger_.used(tenant),
                                   .limit = ledger_.limit(tenant),
                                   .largest_free = RoomFor(tenant),
                                   .guarantee = ledger_.guarantee(tenant)});
}

absl::Status Arbiter::RefuseForRate(const RateObstacle& obstacle,
                                    Refusal refusal) const {
  const std::string& path = ledger_.path(obstacle.tenant);
  const Rate& rate = ledger_.resolved(obstacle.tenant)
                         .rates[static_cast<size_t>(obstacle.kind)];
  refusal.subject = absl::StrCat(RateName(obstacle.kind), " of ", path);
  refusal.retry_after = RetryAfter(obstacle.wait);
  const std::string text = absl::StrCat(
      "tenant ", path, " may have ", Number(obstacle.kind, rate.per_second),
      " per second, and ", Number(obstacle.kind, rate.burst),
      " at once (tenants.", RateName(obstacle.kind), "); try again in ",
      absl::FormatDuration(*refusal.retry_after),
      ", wait (wait_ms), ask more rarely, or have the rate raised");
  return Refuse(std::move(refusal), text);
}

absl::Status Arbiter::FitsLater(TenantId tenant, Bytes asked, Bytes size,
                                TicketId except, absl::Time now) const {
  const std::optional<RateObstacle> obstacle =
      LackingAtTheEnd(tenant, size, except, now);
  Refusal refusal{.reason = Reason::kWaitedOut, .asked = asked};
  if (obstacle.has_value()) refusal.retry_after = RetryAfter(obstacle->wait);
  const TenantId slow = obstacle.has_value() ? obstacle->tenant : tenant;
  return Refuse(std::move(refusal),
                absl::StrCat("there is room for ", FormatBytes(asked),
                             ", but a rate of tenant ", ledger_.path(slow),
                             " does not let it through yet"));
}

bool Arbiter::MayWaitForCredit() const {
  return std::any_of(tickets_.begin(), tickets_.end(),
                     [this](const auto& entry) {
                       return entry.second.state == TicketState::kWaiting &&
                              rates_.IsBounded(entry.second.tenant);
                     });
}

std::vector<std::pair<TicketId, absl::Time>> Arbiter::Dues(
    absl::Time now) const {
  std::vector<std::pair<TicketId, absl::Time>> dues;
  if (!MayWaitForCredit()) return dues;
  std::vector<Stop> limits;
  std::vector<Stop> stops;
  const std::vector<Standing> line = LineUp(limits, now);
  const std::vector<Standing> claims = CreditClaims(line);
  for (const Standing& standing : line) {
    const Ticket& ticket = tickets_.at(standing.place.arrival);
    if (IsStopped(ticket, stops)) continue;
    if (FindClaim(standing.place, ticket.tenant, claims) != nullptr) continue;
    stops.push_back(standing.stop);
    if (standing.stop.lack != Lack::kCredit) continue;
    const auto lacking = CreditLacking(ticket.tenant, ticket.size, now);
    dues.emplace_back(ticket.id,
                      now + (lacking ? lacking->wait : absl::ZeroDuration()));
  }
  return dues;
}

void Arbiter::ServeDue(absl::Time now, Effects& effects) { Pump(now, effects); }

absl::Status Arbiter::AdmitRpc(SessionId id, absl::Time now) {
  const Session* const session = Find(id);
  if (session == nullptr || session->state == SessionState::kEnded) {
    return absl::OkStatus();
  }
  if (rates_.TryTake(session->tenant, AmountsOfRpc(), now)) {
    return absl::OkStatus();
  }
  const auto obstacle =
      rates_.FindObstacle(session->tenant, AmountsOfRpc(), nullptr, now);
  return CountRefusal(
      session->tenant,
      RefuseForRate(*obstacle, {.reason = Reason::kRateLimited}));
}

}  // namespace vrampool
