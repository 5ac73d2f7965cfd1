#include "client/allocator/debug_book.h"

#include <algorithm>
#include <iterator>
#include <new>
#include <vector>

namespace vrampool::client {
namespace {

struct Books {
  Mutex mu;
  std::vector<const DebugBook*> all VRAMPOOL_GUARDED_BY(mu);
};

// Never destroyed: process-wide clients end late.
Books& AllBooks() {
  static Books& books = *new Books();
  return books;
}

}  // namespace

DebugBook::DebugBook() {
  Books& books = AllBooks();
  const MutexLock lock(books.mu);
  books.all.push_back(this);
}

DebugBook::~DebugBook() {
  Books& books = AllBooks();
  const MutexLock lock(books.mu);
  books.all.erase(std::remove(books.all.begin(), books.all.end(), this),
                  books.all.end());
}

void DebugBook::NoteAllocated(DebugRecord block) noexcept {
  try {
    const MutexLock lock(mu_);
    const uint64_t end = block.address + block.extent;
    EraseOverlaps(live_, block.address, end);
    EraseOverlaps(freed_, block.address, end);
    const uint64_t address = block.address;
    live_.insert_or_assign(address, std::move(block));
  } catch (const std::bad_alloc&) {  // Reports will say less.
  }
}

void DebugBook::NoteFreed(uint64_t address, DebugCall call) noexcept {
  try {
    const MutexLock lock(mu_);
    const auto found = live_.find(address);
    if (found == live_.end()) return;
    DebugRecord block = std::move(found->second);
    live_.erase(found);
    block.freed = std::move(call);
    KeepFreed(std::move(block));
  } catch (const std::bad_alloc&) {
  }
}

void DebugBook::KeepFreed(DebugRecord block) {
  EraseOverlaps(freed_, block.address, block.address + block.extent);
  order_.emplace_back(block.address, block.freed->at);
  const uint64_t address = block.address;
  freed_.insert_or_assign(address, std::move(block));
  while (order_.size() > kMaxFreed) {
    const auto [oldest, at] = order_.front();
    order_.pop_front();
    const auto found = freed_.find(oldest);
    if (found != freed_.end() && found->second.freed->at == at) {
      freed_.erase(found);
    }
  }
}

void DebugBook::EraseOverlaps(Records& records, uint64_t begin, uint64_t end) {
  auto first = records.lower_bound(begin);
  if (first != records.begin() && std::prev(first)->second.has(begin)) --first;
  auto last = first;
  while (last != records.end() && last->first < end) ++last;
  records.erase(first, last);
}

DebugBook::Records::const_iterator DebugBook::Around(const Records& records,
                                                     uint64_t pointer) {
  const auto after = records.upper_bound(pointer);
  if (after == records.begin() || !std::prev(after)->second.has(pointer)) {
    return records.end();
  }
  return std::prev(after);
}

std::optional<DebugRecord> DebugBook::Find(uint64_t pointer) const {
  const MutexLock lock(mu_);
  auto found = Around(live_, pointer);
  if (found != live_.end()) return found->second;
  found = Around(freed_, pointer);
  if (found != freed_.end()) return found->second;
  return std::nullopt;
}

// A live block before a freed one.
std::optional<DebugRecord> DebugBook::FindAnywhere(uint64_t pointer) {
  Books& books = AllBooks();
  const MutexLock lock(books.mu);
  std::optional<DebugRecord> freed;
  for (const DebugBook* const book : books.all) {
    std::optional<DebugRecord> found = book->Find(pointer);
    if (found && !found->freed) return found;
    if (found) freed = std::move(found);
  }
  return freed;
}

DebugFinding DebugBook::ExplainFree(uint64_t pointer, uint64_t bytes,
                                    DebugCall call) const {
  using Kind = DebugFinding::Kind;
  DebugFinding finding;
  finding.pointer = pointer;
  finding.given_bytes = bytes;
  finding.call = std::move(call);
  finding.block = Find(pointer);
  if (!finding.block) {
    finding.block = FindAnywhere(pointer);
    finding.kind = finding.block ? Kind::kOtherClient : Kind::kForeign;
  } else if (finding.block->address != pointer) {
    finding.kind = Kind::kInterior;
  } else if (!finding.block->freed && finding.block->bytes != bytes) {
    finding.kind = Kind::kWrongSize;
  } else {  // Or another thread has freed it and has not said so yet.
    finding.kind = Kind::kDoubleFree;
  }
  return finding;
}

DebugFinding DebugBook::ExplainUse(uint64_t pointer, std::string doing,
                                   DebugCall call) const {
  DebugFinding finding;
  finding.pointer = pointer;
  finding.doing = std::move(doing);
  finding.call = std::move(call);
  finding.block = Find(pointer);
  if (!finding.block) finding.block = FindAnywhere(pointer);
  finding.kind = finding.block && finding.block->freed
                     ? DebugFinding::Kind::kUseAfterFree
                     : DebugFinding::Kind::kNoBlock;
  return finding;
}

}  // namespace vrampool::client
