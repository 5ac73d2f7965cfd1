#include "client/order/gate_book.h"

#include <sys/prctl.h>

#include <algorithm>
#include <new>
#include <utility>

#include "base/status_macros.h"
#include "client/session/quiet_thread.h"

namespace vrampool::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// How much later than it could a gate opens, at most: a part of the time that
// it was shut, and this.
constexpr int kPart = 32;
constexpr milliseconds kLongestPause(1);

}  // namespace

Gate::Gate(std::shared_ptr<GateBook> book, GateTarget target)
    : book_(std::move(book)), target_(std::move(target)) {}

Gate::~Gate() { book_->Leave(*this); }

Gate::State Gate::state() const {
  MutexLock lock(book_->mu_);
  return state_;
}

void Gate::NoteWanted() {
  MutexLock lock(book_->mu_);
  is_wanted_ = true;
}

std::shared_ptr<GateBook> GateBook::Make(
    std::shared_ptr<const GpuContext> gpu) {
  return std::shared_ptr<GateBook>(new GateBook(std::move(gpu)));
}

GateBook::GateBook(std::shared_ptr<const GpuContext> gpu)
    : gpu_(std::move(gpu)) {}

GateBook::~GateBook() { EndWatch(); }

Result<std::unique_ptr<Gate>> GateBook::Shut(GateTarget target,
                                             cuda::Stream stream) {
  VRAMPOOL_ASSIGN_OR_RETURN(GateWords * words, GateWords::Of(gpu_));
  if (target.is_ordered) VRAMPOOL_RETURN_IF_ERROR(BeginWatch());
  {
    MutexLock lock(mu_);
    words_ = words;
  }
  // Once the stream waits nothing may fail any more, not even for want of
  // memory: nobody would open the gate.
  std::unique_ptr<Gate> gate(new Gate(shared_from_this(), std::move(target)));
  std::set<Gate*> entry = {gate.get()};
  VRAMPOOL_ASSIGN_OR_RETURN(const GateWords::Word word, words->Take());
  Status waiting;
  try {
    waiting = words->MakeWait(stream, word);
  } catch (const std::bad_alloc&) {  // For a message of the driver's.
    words->Open(word);
    throw;
  }
  if (!waiting.ok()) {
    words->Open(word);
    return waiting;
  }
  Enter(*gate, word, entry);
  return gate;
}

// What has happened before the gate was entered was told to nobody, so it is
// looked for after that.
void GateBook::Enter(Gate& gate, GateWords::Word word, std::set<Gate*>& entry) {
  MutexLock lock(mu_);
  gate.word_ = word;
  gate.state_ = Gate::State::kShut;
  shut_.merge(entry);
  LookAt(gate);
  if (gate.state_ != Gate::State::kShut) return;
  if (is_over_ || !gate.target_.session->is_live()) {
    Open(gate, Gate::State::kGivenUp);
  } else if (gate.target_.is_ordered) {
    shut_at_ = steady_clock::now();
    watch_wanted_.NotifyAll();
  }
}

void GateBook::LookAt(Gate& gate) {
  const GateTarget& target = gate.target_;
  if (target.session->IsPending(target.object)) return;
  Open(gate, Gate::State::kSettled);
}

void GateBook::Open(Gate& gate, Gate::State why) {
  gate.state_ = why;
  shut_.erase(&gate);
  words_->Open(gate.word_);
  opened_.NotifyAll();
}

void GateBook::Leave(Gate& gate) {
  MutexLock lock(mu_);
  if (gate.state_ == Gate::State::kShut) Open(gate, Gate::State::kGivenUp);
}

void GateBook::Look(LinkSerial session) {
  MutexLock lock(mu_);
  for (auto next = shut_.begin(); next != shut_.end();) {
    Gate* const gate = *next++;  // It may leave.
    if (gate->target_.session->serial() == session) LookAt(*gate);
  }
}

void GateBook::EndSession(LinkSerial session) {
  Look(session);
  MutexLock lock(mu_);
  for (auto next = shut_.begin(); next != shut_.end();) {
    Gate* const gate = *next++;
    if (gate->target_.session->serial() == session) {
      Open(*gate, Gate::State::kGivenUp);
    }
  }
}

void GateBook::End(steady_clock::time_point deadline) {
  GiveUpAll(deadline);
  EndWatch();
}

void GateBook::GiveUpAll(steady_clock::time_point deadline) {
  MutexLock lock(mu_);
  is_over_ = true;
  for (auto next = shut_.begin(); next != shut_.end();) {
    Gate* const gate = *next++;
    if (!gate->is_wanted_) Open(*gate, Gate::State::kGivenUp);
  }
  while (!shut_.empty()) {
    if (!opened_.WaitUntil(lock, deadline)) break;
  }
  while (!shut_.empty()) Open(**shut_.begin(), Gate::State::kGivenUp);
}

Status GateBook::BeginWatch() {
  MutexLock lock(mu_);
  if (watch_.joinable() || is_over_) return {};  // Nothing stays shut then.
  Result<std::thread> started = StartQuietThread([this] { Watch(); });
  if (!started.ok()) return {VRAMPOOL_LIMIT, started.status().message()};
  watch_ = *std::move(started);
  return {};
}

void GateBook::EndWatch() {
  std::thread watch;
  {
    MutexLock lock(mu_);
    is_watch_over_ = true;
    watch_wanted_.NotifyAll();
    watch.swap(watch_);
  }
  if (watch.joinable()) watch.join();
}

bool GateBook::LookAtOrdered() {
  bool has_any = false;
  for (auto next = shut_.begin(); next != shut_.end();) {
    Gate* const gate = *next++;
    if (!gate->target_.is_ordered) continue;
    LookAt(*gate);
    has_any = has_any || gate->state_ == Gate::State::kShut;
  }
  return has_any;
}

void GateBook::Watch() {
  // Pauses are shorter than what the system makes of them unasked.
  (void)::prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);
  for (bool is_eager = false;;) {
    if (is_eager) std::this_thread::yield();
    MutexLock lock(mu_);
    if (is_watch_over_) return;
    if (!LookAtOrdered()) {
      is_eager = false;
      watch_wanted_.Wait(lock);
      continue;
    }
    const auto passed = steady_clock::now() - shut_at_;
    is_eager = passed < kEager;
    if (is_eager) continue;
    const auto pause =
        std::min<steady_clock::duration>(passed / kPart, kLongestPause);
    (void)watch_wanted_.WaitUntil(lock, steady_clock::now() + pause);
  }
}

bool GateBook::has_shut() const {
  MutexLock lock(mu_);
  return !shut_.empty();
}

}  // namespace vrampool::client
