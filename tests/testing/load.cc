#include "tests/testing/load.h"

#include <algorithm>
#include <utility>

#include "tests/testing/pattern.h"

namespace vrampool::testing {
namespace {

constexpr size_t kMaxTickets = 64;
// Names that all processes share; a name tells the pattern of its object.
constexpr uint64_t kNames = 8;
constexpr uint64_t kNameSeeds = 1'000'000'000;

std::string NameOf(uint64_t number) { return "load-" + std::to_string(number); }
uint64_t SeedOfName(uint64_t number) { return kNameSeeds + number; }

template <typename T>
std::optional<T> TakeOne(std::vector<T>& from, uint64_t number) {
  if (from.empty()) return std::nullopt;
  std::swap(from[number % from.size()], from.back());
  std::optional<T> taken(std::move(from.back()));
  from.pop_back();
  return taken;
}

}  // namespace

void Exchange::Put(Block block) {
  MutexLock lock(mu_);
  blocks_.push_back(block);
}
void Exchange::Put(Shared shared) {
  MutexLock lock(mu_);
  shared_.push_back(std::move(shared));
}
void Exchange::Put(Ticket ticket) {
  MutexLock lock(mu_);
  if (tickets_.size() < kMaxTickets) {
    tickets_.push_back(std::move(ticket));
  } else {
    tickets_[next_ticket_++ % kMaxTickets] = std::move(ticket);
  }
}
std::optional<Exchange::Block> Exchange::TakeBlock(uint64_t number) {
  MutexLock lock(mu_);
  return TakeOne(blocks_, number);
}
std::optional<Exchange::Shared> Exchange::TakeShared(uint64_t number) {
  MutexLock lock(mu_);
  return TakeOne(shared_, number);
}
std::optional<Exchange::Ticket> Exchange::ReadTicket(uint64_t number) {
  MutexLock lock(mu_);
  if (tickets_.empty()) return std::nullopt;
  return tickets_[number % tickets_.size()];
}
size_t Exchange::blocks() {
  MutexLock lock(mu_);
  return blocks_.size();
}
size_t Exchange::shared() {
  MutexLock lock(mu_);
  return shared_.size();
}

std::string Load::Judge(const char* what, const Status& status) {
  last_ = status.code();
  if (status.ok() || options_.expected.count(status.code()) > 0) return "";
  return std::string(what) + ": " + status.name() + " " + status.message();
}

std::string Load::Step() {
  last_ = VRAMPOOL_OK;
  const uint64_t dice = random_() % 100;
  if (dice < 34) {
    return exchange_.blocks() < options_.max_blocks ? Allocate() : Free();
  }
  if (dice < 66) return Free();
  if (dice < 76) {
    return exchange_.shared() < options_.max_shared ? Share() : CloseOne();
  }
  if (dice < 88) return Open();
  if (dice < 91) return ShareByName();
  if (dice < 94) return OpenByName();
  if (dice < 99) return CloseOne();
  return Judge("trim", client_.Trim());
}

std::string Load::Allocate() {
  // Small ones are the most frequent.
  const uint64_t most = options_.max_bytes >> (random_() % 10);
  const Exchange::Block block{
      .data = nullptr,
      .size = 1 + random_() % std::max<uint64_t>(most, 1),
      .seed = random_() % kNameSeeds};
  void* const data = client_.Allocate(block.size);
  if (data == nullptr) return Judge("allocate", Status::Last());
  FillPattern(data, block.size, block.seed);
  exchange_.Put(
      Exchange::Block{.data = data, .size = block.size, .seed = block.seed});
  return "";
}

std::string Load::GiveBack(const Exchange::Block& block) {
  if (!HasPattern(block.data, block.size, block.seed)) {
    return "a block of " + std::to_string(block.size) + " bytes has changed";
  }
  ++verified_;
  client_.Deallocate(block.data, block.size);
  return Judge("deallocate", Status::Last());
}

std::string Load::Free() {
  const auto block = exchange_.TakeBlock(random_());
  return block ? GiveBack(*block) : "";
}

// Half of the blocks are given back at once, and so live as long as the object.
std::string Load::Publish(Exchange::Block block, const std::string& name) {
  Client::ShareOptions options;
  options.name = name;
  Result<Object> object = client_.Share({{block.data, block.size}}, options);
  if (!object.ok()) {
    const std::string wrong = Judge("share", object.status());
    const vrampool_status status = last_;
    const std::string returned = GiveBack(block);
    last_ = status;
    return wrong.empty() ? returned : wrong;
  }
  ++shared_;
  const Result<std::string> token = object->Token();
  if (!token.ok()) return Judge("token", token.status());
  exchange_.Put(Exchange::Ticket{.token = *token, .seed = block.seed});
  exchange_.Put(
      Exchange::Shared{.object = *std::move(object), .seed = block.seed});
  if (random_() % 2 == 0) return GiveBack(block);
  exchange_.Put(block);
  return "";
}

std::string Load::Share() {
  const auto block = exchange_.TakeBlock(random_());
  return block ? Publish(*block, "") : "";
}

std::string Load::ShareByName() {
  const uint64_t number = random_() % kNames;
  if (random_() % 4 == 0) {
    return Judge("unlink", client_.Unlink(NameOf(number).c_str()));
  }
  auto block = exchange_.TakeBlock(random_());
  if (!block) return "";
  // It may be part of an object with the pattern that it has.
  void* const data = client_.Allocate(block->size);
  const std::string returned = GiveBack(*block);
  if (!returned.empty() || data == nullptr) {
    return !returned.empty() ? returned : Judge("allocate", Status::Last());
  }
  block->data = data;
  block->seed = SeedOfName(number);
  FillPattern(data, block->size, block->seed);
  return Publish(*block, NameOf(number));
}

std::string Load::Look(const Object& object, uint64_t seed) {
  if (HasPattern(object.data(), object.size(), seed)) return "";
  return "an object of " + std::to_string(object.size()) + " bytes has changed";
}

std::string Load::Open() {
  const auto ticket = exchange_.ReadTicket(random_());
  if (!ticket) return "";
  Result<Object> object = client_.OpenToken(ticket->token.c_str());
  if (!object.ok()) return Judge("open", object.status());
  ++opened_;
  const std::string wrong = Look(*object, ticket->seed);
  if (wrong.empty() && random_() % 4 == 0) {
    exchange_.Put(
        Exchange::Shared{.object = *std::move(object), .seed = ticket->seed});
  }
  return wrong;
}

std::string Load::OpenByName() {
  const uint64_t number = random_() % kNames;
  Result<Object> object = client_.OpenName(NameOf(number).c_str());
  if (!object.ok()) return Judge("open by name", object.status());
  ++met_;
  return Look(*object, SeedOfName(number));
}

std::string Load::CloseOne() {
  const auto shared = exchange_.TakeShared(random_());
  return shared ? Look(shared->object, shared->seed) : "";
}

std::string Load::Finish() {
  for (uint64_t number = 0; number < kNames; ++number) {
    const std::string wrong =
        Judge("unlink", client_.Unlink(NameOf(number).c_str()));
    if (!wrong.empty()) return wrong;
  }
  while (exchange_.shared() > 0) {
    if (std::string wrong = CloseOne(); !wrong.empty()) return wrong;
  }
  while (exchange_.blocks() > 0) {
    if (std::string wrong = Free(); !wrong.empty()) return wrong;
  }
  return "";
}

}  // namespace vrampool::testing
