#include "tests/holds/scenarios.h"

#include <string>
#include <utility>

#include "base/check.h"

namespace vrampool::testing {
namespace {

constexpr Order kOpenX = {What::kOpen, kX};
constexpr Order kCloseX = {What::kClose, kX};
constexpr Order kOpenXAgain = {What::kOpen, kXAgain};
constexpr Order kCloseXAgain = {What::kClose, kXAgain};
constexpr Order kOpenY = {What::kOpen, kY};
constexpr Order kCloseY = {What::kClose, kY};
constexpr Order kShareY = {What::kShare, kY};
constexpr Order kSharePendingY = {What::kSharePending, kY};
constexpr Order kReadyY = {What::kReady, kY};
constexpr Order kFailY = {What::kFail, kY};
constexpr Order kUnmap = {What::kUnmap, kX};

constexpr uint8_t Bit(Actor actor) { return static_cast<uint8_t>(1 << actor); }

// Of openers that can tell when contents are complete.
std::vector<Scenario> PendingScenarios() {
  return {
      {.name = "APendingObjectIsOpened",
       .clients = {{kOpenX, kCloseX, kOpenY, kCloseY}, {kOpenY, kCloseY}},
       .producer = {kCloseX, kSharePendingY, kCloseY, kReadyY},
       .takes = shm::Takes::kPending},
      {.name = "APendingObjectFails",
       .clients = {{kOpenX, kCloseX, kOpenY, kCloseY}, {kOpenY, kCloseY}},
       .producer = {kCloseX, kSharePendingY, kFailY, kCloseY},
       .takes = shm::Takes::kPending},
      {.name = "ItsProducerDies",
       .clients = {{kOpenX, kCloseX, kOpenY, kCloseY}, {kOpenY, kCloseY}},
       .producer = {kCloseX, kSharePendingY},
       .mortals = Bit(kProducer),
       .takes = shm::Takes::kPending},
  };
}

std::vector<Scenario> LiveScenarios() {
  return {
      {.name = "TwoOpenersAndACloser",
       .clients = {{kOpenX, kCloseX}, {kOpenX, kCloseX}, {kCloseX}},
       .producer = {kCloseX},
       .holders = Bit(3)},
      {.name = "OpenedAgainAndAgain",
       .clients = {{kOpenX, kCloseX, kOpenX, kCloseX}, {kOpenX, kCloseX}},
       .producer = {kCloseX}},
      {.name = "OneHasItTwice",
       .clients = {{kOpenX, kOpenXAgain, kCloseX, kCloseXAgain},
                   {kOpenX, kCloseX}},
       .producer = {kCloseX}},
      {.name = "TheSlotIsUsedAgain",
       .clients = {{kOpenX, kCloseX, kOpenY, kCloseY}, {kOpenX, kCloseX}},
       .producer = {kCloseX, kShareY, kCloseY}},
      {.name = "AStaleTokenBesideANewOne",
       .clients = {{kOpenX, kOpenY, kCloseX, kCloseY}, {kOpenY, kCloseY}},
       .producer = {kCloseX, kShareY, kCloseY}},
      {.name = "ANewObjectBecomesReady",
       .clients = {{kOpenX, kCloseX, kOpenY, kCloseY}, {kOpenY, kCloseY}},
       .producer = {kCloseX, kSharePendingY, kReadyY, kCloseY}},
      {.name = "ANewObjectFails",
       .clients = {{kOpenX, kCloseX, kOpenY, kCloseY}, {kOpenY, kCloseY}},
       .producer = {kCloseX, kSharePendingY, kFailY, kCloseY}},
      {.name = "AClientDies",
       .clients = {{kCloseX, kOpenX, kCloseX}, {kOpenX, kCloseX}},
       .producer = {kCloseX},
       .holders = Bit(1),
       .mortals = Bit(1)},
      {.name = "AnybodyDies",
       .clients = {{kOpenX, kCloseX}, {kCloseX}},
       .producer = {kCloseX},
       .holders = Bit(2),
       .mortals = Bit(1) | Bit(2) | Bit(kProducer)},
      {.name = "CallsAreRefused",
       .clients = {{kOpenX, kCloseX}, {kOpenX, kCloseX}},
       .producer = {kCloseX},
       .may_refuse = true},
      {.name = "TheSlabIsUnmapped",
       .clients = {{kOpenX, kCloseX, kUnmap, kOpenX, kCloseX},
                   {kCloseX, kUnmap}},
       .producer = {kCloseX},
       .holders = Bit(2)},
      {.name = "SomebodyKeepsIt",
       .clients = {{kOpenX}, {kOpenX, kCloseX}, {kCloseX}},
       .producer = {kCloseX, kShareY, kCloseY},
       .holders = Bit(3)},
  };
}

}  // namespace

std::vector<Scenario> AllScenarios() {
  std::vector<Scenario> all = LiveScenarios();
  for (Scenario& scenario : PendingScenarios()) {
    all.push_back(std::move(scenario));
  }
  return all;
}

Scenario FindScenario(const std::string& name) {
  for (Scenario& scenario : AllScenarios()) {
    if (scenario.name == name) return std::move(scenario);
  }
  VRAMPOOL_CHECK(false);
}

}  // namespace vrampool::testing
