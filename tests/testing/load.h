// load.h - random work of one thread on a client, checked all the time.
//
// Every piece of memory carries the pattern of a seed from when it is made to
// when it is given back; threads of a process hand pieces to one another, and
// processes find each other's objects by name. Whatever the client answers, it
// must be one of the answers that the test expects.
//
// On a GPU each thread works on two streams of its own: blocks and objects are
// made and given back in their order, with work on them that is still to come.
//
// Threads: Exchange is thread-safe; a Load belongs to one thread.

#ifndef VRAMPOOL_TESTS_TESTING_LOAD_H_
#define VRAMPOOL_TESTS_TESTING_LOAD_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "tests/testing/memory_work.h"
#include "vrampool/vrampool.hpp"

namespace vrampool::testing {

// What the threads of one process hand to one another.
class Exchange {
 public:
  struct Block {
    MemoryWork::Piece piece;
    uint64_t seed = 0;
    MemoryWork::Mark written;  // It has its pattern.
  };
  // An object that this process holds, and the pattern in it.
  struct Shared {
    Object object;
    uint64_t seed = 0;
    MemoryWork::Mark written;  // Null: complete when it was opened.
  };
  struct Ticket {
    std::string token;
    uint64_t seed = 0;
  };

  void Put(Block block);
  void Put(Shared shared);
  void Put(Ticket ticket);
  // One of those that are there, chosen by `number`.
  std::optional<Block> TakeBlock(uint64_t number);
  std::optional<Shared> TakeShared(uint64_t number);
  std::optional<Ticket> ReadTicket(uint64_t number);
  size_t blocks();
  size_t shared();

 private:
  Mutex mu_;
  std::vector<Block> blocks_ VRAMPOOL_GUARDED_BY(mu_);
  std::vector<Shared> shared_ VRAMPOOL_GUARDED_BY(mu_);
  // The newest; those before may name objects that have ended.
  std::vector<Ticket> tickets_ VRAMPOOL_GUARDED_BY(mu_);
  size_t next_ticket_ VRAMPOOL_GUARDED_BY(mu_) = 0;
};

class Load {
 public:
  struct Options {
    uint64_t seed = 1;
    size_t max_blocks = 256;  // Of the exchange, likewise.
    size_t max_shared = 64;
    size_t max_bytes = size_t{256} << 10;
    // Besides OK.
    std::set<vrampool_status> expected;
  };
  // `gpu` is that of the client, or null.
  Load(Client& client, const Gpu* gpu, Exchange& exchange, Options options)
      : client_(client),
        exchange_(exchange),
        options_(std::move(options)),
        work_(MemoryWork::Start(gpu)),
        random_(options_.seed) {}

  // One random operation. What is wrong with it, or "".
  std::string Step();

  // How it went: OK, or the (expected) status of the last call that failed.
  vrampool_status last() const { return last_; }
  uint64_t opened() const { return opened_; }      // Objects opened by token.
  uint64_t met() const { return met_; }            // Objects opened by name.
  uint64_t shared() const { return shared_; }      // Objects made.
  uint64_t verified() const { return verified_; }  // Blocks given back.

  // What its own streams found wrong, or "". Waits for them.
  std::string FindLateWrongs();

  // Gives back everything in the exchange, checked. REQUIRES: no other Load
  // works on it.
  std::string Finish();

 private:
  std::string Allocate();
  std::string Scribble();
  std::string Free();
  std::string Share();
  std::string ShareByName();
  std::string Open();
  std::string OpenByName();
  std::string CloseOne();
  std::string Judge(const char* what, const Status& status);
  std::string GiveBack(const Exchange::Block& block);
  std::string Publish(Exchange::Block block, const std::string& name);
  std::string LookAndClose(Object object, uint64_t seed);
  size_t RandomSize();
  void Put(MemoryWork::Piece piece, uint64_t seed);

  Client& client_;
  Exchange& exchange_;
  const Options options_;
  const std::unique_ptr<MemoryWork> work_;
  std::mt19937_64 random_;
  vrampool_status last_ = VRAMPOOL_OK;
  uint64_t opened_ = 0;
  uint64_t met_ = 0;
  uint64_t shared_ = 0;
  uint64_t verified_ = 0;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_TESTING_LOAD_H_
