#include "client/order/gate_book.h"

#include <new>
#include <utility>

#include "base/status_macros.h"

namespace vrampool::client {

Gate::Gate(std::shared_ptr<GateBook> book, std::shared_ptr<Session> session,
           ObjectId object)
    : book_(std::move(book)), session_(std::move(session)), object_(object) {}

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

Result<std::unique_ptr<Gate>> GateBook::Shut(std::shared_ptr<Session> session,
                                             ObjectId object,
                                             cuda::Stream stream) {
  VRAMPOOL_ASSIGN_OR_RETURN(GateWords * words, GateWords::Of(gpu_));
  {
    MutexLock lock(mu_);
    words_ = words;
  }
  // Once the stream waits nothing may fail any more, not even for want of
  // memory: nobody would open the gate.
  std::unique_ptr<Gate> gate(
      new Gate(shared_from_this(), std::move(session), object));
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
  if (gate.state_ == Gate::State::kShut &&
      (is_over_ || !gate.session_->is_live())) {
    Open(gate, Gate::State::kGivenUp);
  }
}

void GateBook::LookAt(Gate& gate) {
  if (gate.session_->table().MayBePending(gate.object_)) return;
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
    if (gate->session_->serial() == session) LookAt(*gate);
  }
}

void GateBook::EndSession(LinkSerial session) {
  Look(session);
  MutexLock lock(mu_);
  for (auto next = shut_.begin(); next != shut_.end();) {
    Gate* const gate = *next++;
    if (gate->session_->serial() == session) {
      Open(*gate, Gate::State::kGivenUp);
    }
  }
}

void GateBook::End(std::chrono::steady_clock::time_point deadline) {
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

bool GateBook::has_shut() const {
  MutexLock lock(mu_);
  return !shut_.empty();
}

}  // namespace vrampool::client
