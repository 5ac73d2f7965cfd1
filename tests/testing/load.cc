#include "tests/testing/load.h"

#include <algorithm>
#include <utility>

namespace vrampool::testing {
namespace {

constexpr size_t kMaxTickets = 64;
// Contents are complete as soon as the producer's stream gets there; a name may
// be nobody's.
constexpr uint64_t kContentsWaitMs = 30'000;
constexpr uint64_t kNameWaitMs = 2;
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
  if (random_() % 2 == 0) work_->ChangeStream();
  const uint64_t dice = random_() % 100;
  if (dice < 34) {
    return exchange_.blocks() < options_.max_blocks ? Allocate() : Free();
  }
  if (dice < 62) return Free();
  if (dice < 66) return Scribble();
  if (dice < 76) {
    return exchange_.shared() < options_.max_shared ? Share() : CloseOne();
  }
  if (dice < 88) return Open();
  if (dice < 91) return ShareByName();
  if (dice < 94) return OpenByName();
  if (dice < 99) return CloseOne();
  return Judge("trim", client_.Trim());
}

// Small ones are the most frequent.
size_t Load::RandomSize() {
  const uint64_t most = options_.max_bytes >> (random_() % 10);
  return 1 + random_() % std::max<uint64_t>(most, 1);
}

std::string Load::Allocate() {
  const size_t size = RandomSize();
  void* const data = client_.Allocate(size, work_->stream());
  if (data == nullptr) return Judge("allocate", Status::Last());
  Put({data, size}, random_() % kNameSeeds);
  return "";
}

void Load::Put(MemoryWork::Piece piece, uint64_t seed) {
  work_->Fill(piece, seed);
  exchange_.Put(Exchange::Block{
      .piece = piece, .seed = seed, .written = work_->MakeMark()});
}

// Given back while the GPU has yet to write it: whoever gets the memory comes
// after that.
std::string Load::Scribble() {
  const size_t size = RandomSize();
  void* const data = client_.Allocate(size, work_->stream());
  if (data == nullptr) return Judge("allocate", Status::Last());
  work_->FillLate({data, size}, random_());
  client_.Deallocate(data, size, work_->stream());
  return Judge("deallocate", Status::Last());
}

std::string Load::GiveBack(const Exchange::Block& block) {
  work_->WaitFor(block.written);
  if (!work_->HasPattern(block.piece, block.seed)) {
    return "a block of " + std::to_string(block.piece.size) +
           " bytes has changed";
  }
  ++verified_;
  client_.Deallocate(block.piece.data, block.piece.size, work_->stream());
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
  work_->WaitFor(block.written);
  if (random_() % 2 == 0) {
    options.stream = work_->stream();
  } else {
    work_->Synchronize();
  }
  Result<Object> object =
      client_.Share({{block.piece.data, block.piece.size}}, options);
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
  exchange_.Put(Exchange::Shared{.object = *std::move(object),
                                 .seed = block.seed,
                                 .written = block.written});
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
  const size_t size = block->piece.size;
  void* const data = client_.Allocate(size, work_->stream());
  const std::string returned = GiveBack(*block);
  if (!returned.empty() || data == nullptr) {
    return !returned.empty() ? returned : Judge("allocate", Status::Last());
  }
  const uint64_t seed = SeedOfName(number);
  work_->Fill({data, size}, seed);
  return Publish(
      {.piece = {data, size}, .seed = seed, .written = work_->MakeMark()},
      NameOf(number));
}

// Half of them are closed while the GPU has yet to read them.
std::string Load::LookAndClose(Object object, uint64_t seed) {
  const MemoryWork::Piece piece{object.data(), object.size()};
  if (random_() % 2 == 0) {
    work_->CheckLate(piece, seed);
  } else if (!work_->HasPattern(piece, seed)) {
    return "an object of " + std::to_string(piece.size) + " bytes has changed";
  }
  return Judge("close", object.Close(work_->stream()));
}

std::string Load::Open() {
  const auto ticket = exchange_.ReadTicket(random_());
  if (!ticket) return "";
  Result<Object> object =
      client_.OpenToken(ticket->token.c_str(), kContentsWaitMs);
  if (!object.ok()) return Judge("open", object.status());
  ++opened_;
  if (random_() % 4 != 0) {
    return LookAndClose(*std::move(object), ticket->seed);
  }
  exchange_.Put(Exchange::Shared{
      .object = *std::move(object), .seed = ticket->seed, .written = nullptr});
  return "";
}

std::string Load::OpenByName() {
  const uint64_t number = random_() % kNames;
  Result<Object> object = client_.OpenName(NameOf(number).c_str(), kNameWaitMs);
  if (object.status().code() == VRAMPOOL_TIMEOUT) return "";
  if (!object.ok()) return Judge("open by name", object.status());
  ++met_;
  return LookAndClose(*std::move(object), SeedOfName(number));
}

std::string Load::CloseOne() {
  auto shared = exchange_.TakeShared(random_());
  if (!shared) return "";
  work_->WaitFor(shared->written);
  return LookAndClose(std::move(shared->object), shared->seed);
}

std::string Load::FindLateWrongs() {
  const uint64_t wrong = work_->CountWrong();
  if (wrong == 0) return "";
  return "objects have changed while they were read: " + std::to_string(wrong) +
         " words";
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
  return FindLateWrongs();
}

}  // namespace vrampool::testing
