// gate_book.h - the gates of one client: streams that wait on the GPU until an
// object that another process shared is no longer pending.
//
//   shut --(the table says live or broken)--> settled
//     |
//     +--(the session ends, the object is closed, the client or the process
//         ends)--> given up
//
// A gate opens in both cases, so no stream waits for ever: what it then reads
// is complete only if the object is live. Gates in one stream may open in any
// order; the stream goes on when all have.
//
// Opening never calls CUDA (see gate_words.h), so the thread that reads the
// attach socket does it. What the contents words say (contents_words.h) nobody
// sends a message about: while a gate is shut that they may open, a thread of
// the book's looks at them, without a pause for the first kEager, then at
// intervals that are a small part of the time that has passed.
//
// Threads: thread-safe. The book's lock guards all its gates; it is never held
// across a call of CUDA.

#ifndef VRAMPOOL_CLIENT_ORDER_GATE_BOOK_H_
#define VRAMPOOL_CLIENT_ORDER_GATE_BOOK_H_

#include <chrono>
#include <memory>
#include <set>
#include <thread>

#include "base/cuda/driver_api.h"
#include "base/ids.h"
#include "base/mutex.h"
#include "client/cuda/gpu_context.h"
#include "client/order/gate_words.h"
#include "client/session/session.h"
#include "client/session/status.h"

namespace vrampool::client {

class GateBook;

// What a gate waits for.
struct GateTarget {
  std::shared_ptr<Session> session;
  ObjectId object{};
  bool is_ordered = false;  // The contents words speak of it, too.
};

// One stream's wait for one object. Its end gives it up.
class Gate {
 public:
  enum class State { kShut, kSettled, kGivenUp };

  ~Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  State state() const;
  // The object was closed in the order of a stream: what that stream does until
  // then still wants the contents.
  void NoteWanted();

 private:
  friend class GateBook;
  Gate(std::shared_ptr<GateBook> book, GateTarget target);

  const std::shared_ptr<GateBook> book_;
  const GateTarget target_;
  // The following are guarded by the book's lock.
  GateWords::Word word_;
  State state_ = State::kGivenUp;  // Until it is entered.
  bool is_wanted_ = false;
};

class GateBook : public std::enable_shared_from_this<GateBook> {
 public:
  static constexpr std::chrono::milliseconds kEager{1};

  static std::shared_ptr<GateBook> Make(std::shared_ptr<const GpuContext> gpu);
  ~GateBook();

  // A gate before everything that is enqueued on `stream` from now on, shut as
  // long as the object is pending and the session lives. If that has ended by
  // now, the gate is open already.
  //   Limit            streams cannot wait for memory here, all words are
  //                    taken, or the system gives no thread: wait for the
  //                    object on the CPU
  //   InvalidArgument  the stream is being captured, or is none of this GPU
  //   DeviceLost, Unavailable, OutOfPool, Internal   as of StatusOf()
  Result<std::unique_ptr<Gate>> Shut(GateTarget target, cuda::Stream stream);

  // Opens the gates of the session whose objects are no longer pending.
  void Look(LinkSerial session);
  // The session has ended: opens all its gates.
  void EndSession(LinkSerial session);
  // Opens the gates that nobody wants, waits until `deadline` for the others,
  // then opens these. From the beginning of the call no new gate stays shut.
  void End(std::chrono::steady_clock::time_point deadline);

  bool has_shut() const;

 private:
  friend class Gate;
  explicit GateBook(std::shared_ptr<const GpuContext> gpu);
  // `entry` holds the gate, to be moved.
  void Enter(Gate& gate, GateWords::Word word, std::set<Gate*>& entry);
  void LookAt(Gate& gate) VRAMPOOL_REQUIRES(mu_);
  void Open(Gate& gate, Gate::State why) VRAMPOOL_REQUIRES(mu_);
  Status BeginWatch();
  void EndWatch();
  void Watch();
  // True: some gate is shut that the contents words may open.
  bool LookAtOrdered() VRAMPOOL_REQUIRES(mu_);
  void Leave(Gate& gate);
  void GiveUpAll(std::chrono::steady_clock::time_point deadline);

  const std::shared_ptr<const GpuContext> gpu_;

  mutable Mutex mu_;
  CondVar opened_;
  GateWords* words_ VRAMPOOL_GUARDED_BY(mu_) = nullptr;  // Once needed.
  std::set<Gate*> shut_ VRAMPOOL_GUARDED_BY(mu_);
  bool is_over_ VRAMPOOL_GUARDED_BY(mu_) = false;
  // Of the thread that looks at the contents words.
  std::thread watch_ VRAMPOOL_GUARDED_BY(mu_);
  CondVar watch_wanted_;
  bool is_watch_over_ VRAMPOOL_GUARDED_BY(mu_) = false;
  std::chrono::steady_clock::time_point shut_at_ VRAMPOOL_GUARDED_BY(mu_);
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ORDER_GATE_BOOK_H_
