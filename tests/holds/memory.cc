#include "tests/holds/memory.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace vrampool::testing {
namespace {

bool Acquires(std::memory_order order) {
  return order == std::memory_order_acquire ||
         order == std::memory_order_acq_rel ||
         order == std::memory_order_seq_cst;
}

bool Releases(std::memory_order order) {
  return order == std::memory_order_release ||
         order == std::memory_order_acq_rel ||
         order == std::memory_order_seq_cst;
}

void AppendView(std::string& key, const View& view) {
  key.append(view.begin(), view.end());
}

// An ObjectId or a slot's word; both are of the one slot, 0.
void AppendValue(std::string& key, uint64_t value) {
  for (int shift = 0; shift < 32; shift += 8) {
    key.push_back(static_cast<char>(value >> shift));
  }
}

}  // namespace

const char* NameOf(MemoryModel model) {
  switch (model) {
    case MemoryModel::kSequential:
      return "Sequential";
    case MemoryModel::kStoreBuffers:
      return "StoreBuffers";
    case MemoryModel::kCxx:
      return "Cxx";
  }
  return "?";
}

void Join(View& view, const View& other) {
  for (size_t i = 0; i < view.size(); ++i)
    view[i] = std::max(view[i], other[i]);
}

void Shift(View& view, const View& by) {
  for (size_t i = 0; i < view.size(); ++i) {
    view[i] = static_cast<uint8_t>(view[i] - std::min(view[i], by[i]));
  }
}

size_t Memory::OldestReadable(Actor actor, const Access& access) const {
  const uint8_t seen = views_[actor][access.place];
  return access.order == std::memory_order_seq_cst
             ? std::max(seen, total_[access.place])
             : seen;
}

bool Memory::IsAtOnce(const Access& access) const {
  return model_ == MemoryModel::kSequential ||
         access.kind == Access::Kind::kExchange ||
         access.order == std::memory_order_seq_cst;
}

int Memory::Ways(Actor actor, const Access& access) const {
  if (access.kind != Access::Kind::kLoad) {
    return buffers_[actor].empty() || !IsAtOnce(access) ? 1 : 0;
  }
  if (model_ != MemoryModel::kCxx) return 1;
  return static_cast<int>(written_[access.place].size() -
                          OldestReadable(actor, access));
}

uint64_t Memory::Do(Actor actor, const Access& access, int way) {
  return model_ == MemoryModel::kCxx ? DoViewed(actor, access, way)
                                     : DoBuffered(actor, access);
}

uint64_t Memory::DoBuffered(Actor actor, const Access& access) {
  std::vector<Buffered>& buffer = buffers_[actor];
  uint64_t& value = written_[access.place].back().value;
  if (access.kind == Access::Kind::kLoad) {
    for (auto entry = buffer.rbegin(); entry != buffer.rend(); ++entry) {
      if (!entry->letter && entry->place == access.place) return entry->value;
    }
    return value;
  }
  if (!IsAtOnce(access)) {
    buffer.push_back({std::nullopt, access.place, access.value});
    return 0;
  }
  VRAMPOOL_CHECK(buffer.empty());
  return std::exchange(value, access.value);
}

uint64_t Memory::DoViewed(Actor actor, const Access& access, int way) {
  std::vector<Written>& all = written_[access.place];
  View& view = views_[actor];
  uint8_t& seen = view[access.place];
  uint8_t& total = total_[access.place];
  const bool is_total = access.order == std::memory_order_seq_cst;
  size_t read = all.size() - 1;
  if (access.kind == Access::Kind::kLoad) {
    VRAMPOOL_CHECK(way < Ways(actor, access));
    read -= static_cast<size_t>(way);
  }
  const uint64_t value = all[read].value;
  View carried = {};
  if (access.kind != Access::Kind::kStore) {
    carried = all[read].view;
    if (Acquires(access.order)) Join(view, carried);
    seen = std::max(seen, static_cast<uint8_t>(read));
  }
  if (access.kind != Access::Kind::kLoad) {
    seen = static_cast<uint8_t>(all.size());
    if (Releases(access.order)) Join(carried, view);
    carried[access.place] = seen;
    all.push_back({access.value, carried});
  }
  if (is_total) total = std::max(total, seen);
  return value;
}

std::optional<Letter> Memory::Flush(Actor actor) {
  std::vector<Buffered>& buffer = buffers_[actor];
  const Buffered oldest = buffer.front();
  buffer.erase(buffer.begin());
  if (oldest.letter) return oldest.letter;
  written_[oldest.place].back().value = oldest.value;
  return std::nullopt;
}

std::optional<Letter> Memory::Send(Letter letter) {
  letter.view = views_[letter.from];
  std::vector<Buffered>& buffer = buffers_[letter.from];
  if (buffer.empty()) return letter;
  buffer.push_back({letter, 0, 0});
  return std::nullopt;
}

View Memory::Trim(uint8_t slot_readers) {
  View gone = {};
  if (model_ != MemoryModel::kCxx) return gone;
  for (Actor client = 1; client <= kClients; ++client) {
    if ((slot_readers >> client & 1) == 0) views_[client] = {};
  }
  for (Place place = 0; place < kPlaces; ++place) {
    std::vector<Written>& all = written_[place];
    size_t oldest = all.size() - 1;
    for (Actor actor = 0; actor < kActors; ++actor) {
      const bool reads =
          place == kSlotPlace ? slot_readers >> actor & 1 : actor == kDaemon;
      if (reads) oldest = std::min<size_t>(oldest, views_[actor][place]);
    }
    gone[place] = static_cast<uint8_t>(oldest);
    all.erase(all.begin(), all.begin() + static_cast<ptrdiff_t>(oldest));
  }
  for (View& view : views_) Shift(view, gone);
  for (std::vector<Written>& all : written_) {
    for (Written& one : all) Shift(one.view, gone);
  }
  Shift(total_, gone);
  return gone;
}

void Memory::AppendTo(std::string& key) const {
  for (const std::vector<Written>& all : written_) {
    key.push_back(static_cast<char>(all.size()));
    for (const Written& one : all) {
      AppendValue(key, one.value);
      if (model_ == MemoryModel::kCxx) AppendView(key, one.view);
    }
  }
  if (model_ == MemoryModel::kCxx) {
    for (const View& view : views_) AppendView(key, view);
    AppendView(key, total_);
  }
  if (model_ != MemoryModel::kStoreBuffers) return;
  for (const std::vector<Buffered>& buffer : buffers_) {
    key.push_back(static_cast<char>(buffer.size()));
    for (const Buffered& entry : buffer) {
      if (entry.letter) {
        key.push_back(
            static_cast<char>(0x80 | static_cast<int>(entry.letter->what)));
        key.push_back(static_cast<char>(entry.letter->object));
      } else {
        key.push_back(static_cast<char>(entry.place));
        AppendValue(key, entry.value);
      }
    }
  }
}

}  // namespace vrampool::testing
