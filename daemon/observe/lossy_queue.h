// lossy_queue.h - a bounded queue whose writers never wait: what finds no room
// is refused.
//
// Writers of any number take no lock and make no system call: each claims a
// place by one compare-and-swap and publishes it by one store (Vyukov's bounded
// queue). There is one reader. A writer that is stopped between the two keeps
// the reader from what came after it, and nobody else from anything.
//
// Threads: TryPush() by any thread, TryPop() by one at a time.

#ifndef VRAMPOOL_DAEMON_OBSERVE_LOSSY_QUEUE_H_
#define VRAMPOOL_DAEMON_OBSERVE_LOSSY_QUEUE_H_

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "base/check.h"

namespace vrampool {

template <typename T>
class LossyQueue {
 public:
  // REQUIRES: `places` is a power of two above 1.
  explicit LossyQueue(size_t places)
      : mask_(places - 1), cells_(std::make_unique<Cell[]>(places)) {
    VRAMPOOL_CHECK(places > 1 && std::has_single_bit(places));
    for (size_t i = 0; i < places; ++i) {
      cells_[i].turn.store(i, std::memory_order_relaxed);
    }
  }
  LossyQueue(const LossyQueue&) = delete;
  LossyQueue& operator=(const LossyQueue&) = delete;

  // False if there is no room; then `value` is as it was.
  bool TryPush(T&& value) {
    uint64_t place = tail_.load(std::memory_order_relaxed);
    while (true) {
      Cell& cell = cells_[place & mask_];
      const uint64_t turn = cell.turn.load(std::memory_order_acquire);
      if (turn == place) {
        if (tail_.compare_exchange_weak(place, place + 1,
                                        std::memory_order_relaxed)) {
          cell.value = std::move(value);
          cell.turn.store(place + 1, std::memory_order_release);
          return true;
        }
      } else if (turn < place) {
        return false;  // What was there a round ago has not been read.
      } else {
        place = tail_.load(std::memory_order_relaxed);
      }
    }
  }

  std::optional<T> TryPop() {
    Cell& cell = cells_[head_ & mask_];
    if (cell.turn.load(std::memory_order_acquire) != head_ + 1) {
      return std::nullopt;
    }
    std::optional<T> value(std::exchange(cell.value, T()));
    cell.turn.store(head_ + mask_ + 1, std::memory_order_release);
    ++head_;
    return value;
  }

 private:
  // Whose turn it is with a cell: place p's writer at p, its reader at p + 1,
  // and the writer of the next round at p + the number of places.
  struct Cell {
    std::atomic<uint64_t> turn;
    T value;
  };

  const uint64_t mask_;
  const std::unique_ptr<Cell[]> cells_;
  alignas(64) std::atomic<uint64_t> tail_{0};
  alignas(64) uint64_t head_ = 0;  // The reader's own.
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_OBSERVE_LOSSY_QUEUE_H_
