// memory.h - the memory that the hold protocol shares, as a value, under three
// memory models.
//
//   kSequential    every access takes effect at once, in one order
//   kStoreBuffers  as x86 (TSO): a store waits in its thread's buffer, from
//                  where it reaches memory at any later moment, in order; the
//                  thread itself sees it; an exchange and a sequentially
//                  consistent store empty the buffer
//   kCxx           as C++20 allows: a load may give any value that its thread
//                  has not yet seen overwritten. What a thread has seen is its
//                  view; release stores carry it, acquire loads take it over,
//                  an exchange goes on with a release sequence. A sequentially
//                  consistent load sees at least what sequentially consistent
//                  accesses of the same word have seen or written before: the
//                  order in which they are made is the order S. Loads are not
//                  delayed beyond later stores (as in RC11).
//
// Every word has one writer. What goes by socket (a Letter) does so in the
// order of its sender's stores, and carries its view.
//
// Threads: values.

#ifndef VRAMPOOL_TESTS_HOLDS_MEMORY_H_
#define VRAMPOOL_TESTS_HOLDS_MEMORY_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace vrampool::testing {

enum class MemoryModel { kSequential, kStoreBuffers, kCxx };
const char* NameOf(MemoryModel model);

// Who acts. The producer only speaks with the daemon.
using Actor = uint8_t;
inline constexpr Actor kDaemon = 0;
inline constexpr int kClients = 3;  // Actors 1 to 3.
inline constexpr Actor kProducer = 4;
inline constexpr int kActors = 5;

// The words: the slot, and a mark and two holds of each client.
using Place = uint8_t;
inline constexpr Place kSlotPlace = 0;
inline constexpr int kHoldsOfClient = 2;
inline constexpr int kPlaces = 1 + kClients * (1 + kHoldsOfClient);
constexpr Place MarkPlace(Actor client) {
  return static_cast<Place>(1 + (client - 1) * (1 + kHoldsOfClient));
}
constexpr Place HoldPlace(Actor client, int hold) {
  return static_cast<Place>(MarkPlace(client) + 1 + hold);
}
constexpr bool IsMark(Place place) {
  return place != kSlotPlace && (place - 1) % (1 + kHoldsOfClient) == 0;
}
constexpr bool IsHold(Place place) {
  return place != kSlotPlace && !IsMark(place);
}

struct Access {
  enum class Kind : uint8_t { kLoad, kStore, kExchange };
  Kind kind = Kind::kLoad;
  Place place = 0;
  uint64_t value = 0;  // To be written.
  std::memory_order order = std::memory_order_seq_cst;
};

// How far somebody has seen: the newest value of every word, and how many of
// each client's uses of objects.
inline constexpr int kViewed = kPlaces + kClients;
using View = std::array<uint8_t, kViewed>;
constexpr size_t UseOf(Actor client) {
  return static_cast<size_t>(kPlaces + client - 1);
}
void Join(View& view, const View& other);

enum class What : uint8_t {
  kOpen,
  kClose,
  kUnmap,
  kShare,
  kSharePending,
  kReady,
  kFail,
  // The rest only as letters.
  kReleased,
  kSocketClosed,
  kProcessGone,
};

// A message to the daemon.
struct Letter {
  Actor from = 0;
  What what = What::kOpen;
  uint8_t object = 0;
  View view = {};
  auto operator<=>(const Letter&) const = default;
};

class Memory {
 public:
  explicit Memory(MemoryModel model) : model_(model) {
    for (std::vector<Written>& all : written_) all.resize(1);
  }

  MemoryModel model() const { return model_; }

  // In how many ways the access can go now; none: flush first. Way 0 is as if
  // all were sequential.
  int Ways(Actor actor, const Access& access) const;
  // What it read, if it reads.
  uint64_t Do(Actor actor, const Access& access, int way);

  bool HasBuffered(Actor actor) const { return !buffers_[actor].empty(); }
  // The oldest entry of the buffer takes effect; gives it if it is a letter.
  std::optional<Letter> Flush(Actor actor);
  // Nothing if it waits in the buffer now.
  std::optional<Letter> Send(Letter letter);
  void Receive(Actor actor, const View& view) { Join(views_[actor], view); }

  const View& view(Actor actor) const { return views_[actor]; }
  void NoteUse(Actor client) { ++views_[client][UseOf(client)]; }

  // Forgets the values that nobody can read any more, so that states that do
  // not differ are equal: `slot_readers` by bit, the daemon reads the rest.
  // Gives by how much all views outside have to be moved; see Shift().
  View Trim(uint8_t slot_readers);

  void AppendTo(std::string& key) const;

 private:
  struct Written {
    uint64_t value = 0;
    View view = {};
  };
  struct Buffered {
    std::optional<Letter> letter;
    Place place = 0;
    uint64_t value = 0;
  };
  bool IsAtOnce(const Access& access) const;
  uint64_t DoBuffered(Actor actor, const Access& access);
  uint64_t DoViewed(Actor actor, const Access& access, int way);
  size_t OldestReadable(Actor actor, const Access& access) const;

  MemoryModel model_;
  // kCxx: all values that can be read, the newest last. Else one of each.
  std::array<std::vector<Written>, kPlaces> written_;
  std::array<std::vector<Buffered>, kActors> buffers_;
  std::array<View, kActors> views_ = {};
  View total_ = {};  // By sequentially consistent accesses.
};

void Shift(View& view, const View& by);

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_HOLDS_MEMORY_H_
