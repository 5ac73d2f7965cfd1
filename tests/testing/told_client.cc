// told_client.cc - a client process that does what its stdin says.
//
// Attaches as the environment says and answers "OK SESSION". Then one command a
// line, one answer a line: the name of a status, and a value or a message. A
// NAME stands for a piece of memory here: a block or an opened object.
//
//   allocate NAME BYTES [TAG]      free NAME           fill NAME SEED
//   check NAME SEED (CHANGED if its bytes are not those of fill)
//   share NAME OBJECT [PUBLIC]     share_pending NAME OBJECT [PUBLIC]
//   share_sealed NAME OBJECT       share_for MS NAME OBJECT PUBLIC
//   access NAME (what this process may do there, and may be meant to)
//   ready OBJECT                   open OBJECT TOKEN WAIT_MS
//   open_name OBJECT PUBLIC WAIT_MS                    close OBJECT
//   unlink PUBLIC                  trim                quiesce
//   end (waits until one more of the objects that it shared has ended)
//   usage (live blocks, slabs, rpcs, attachments)      room BYTES WAIT_MS
//   reserve BYTES HOLD_MS (tells its number)          unreserve NUMBER
//   fits BYTES
//   budget                         fork (what a forked child's allocation says)
//   leave_child (the process of a forked child that stays)
//   events (how many of the fake driver's this process has)
//
// On a GPU everything is in the order of one stream. The commands above wait
// for the work on it, but for close; these do not, and on memory of the host
// they are what they are called:
//
//   hold (work on the stream goes on until: ) release
//   fill_later NAME SEED           free_later NAME
//   share_ordered NAME OBJECT [PUBLIC]    open_on OBJECT TOKEN
//
// Exits with 0 at the end of its input, having closed its client.

#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>

#include "base/cuda/driver.h"
#include "tests/cuda/fake/fake_cuda.h"
#include "tests/testing/memory_work.h"
#include "vrampool/vrampool.hpp"

namespace vrampool::testing {
namespace {

struct Memory {
  void* data = nullptr;
  size_t size = 0;
  Object object;  // Empty for a block.
};

class ToldClient {
 public:
  explicit ToldClient(Client client)
      : client_(std::move(client)),
        gpu_(GpuOf(client_)),
        work_(MemoryWork::Start(gpu_.get())) {}

  // The answer to one command.
  std::string Do(const std::string& command);

 private:
  using Words = std::istringstream;

  std::string Allocate(Words& words);
  std::string Free(Words& words);
  std::string FreeAs(Words& words);
  std::string Poke(Words& words);
  std::string FillLater(Words& words);
  std::string Check(Words& words);
  enum Contents { kComplete, kPending, kOrdered, kSealed };
  std::string Share(Words& words, Contents contents);
  std::string ShareFor(Words& words);
  std::string AccessTo(Words& words);
  std::string Ready(Words& words);
  std::string Open(Words& words);
  std::string OpenOn(Words& words);
  std::string OpenName(Words& words);
  std::string Close(Words& words);
  std::string Unlink(Words& words);
  std::string Room(Words& words);
  std::string Usage(Words&);
  std::string Budget(Words&);
  std::string Reserve(Words& words);
  std::string Unreserve(Words& words);
  std::string Fits(Words& words);
  std::string Fork(Words&);
  static std::string LeaveChild();
  std::string End();
  static std::string Events();

  static std::string Told(const Status& status, const std::string& value = "") {
    if (status.ok()) return "OK " + value;
    return std::string(status.name()) + " " + status.message();
  }
  std::string Keep(const std::string& name, Result<Object> opened);

  static MemoryWork::Piece PieceOf(const Memory& memory) {
    return {.data = memory.data, .size = memory.size};
  }
  // The same when the work so far is done.
  std::string Waiting(std::string answer) {
    work_->Synchronize();
    return answer;
  }

  Client client_;
  uint64_t ends_ = 0;  // As it was told last.
  const std::unique_ptr<Gpu> gpu_;
  const std::unique_ptr<MemoryWork> work_;
  std::map<std::string, Memory> memory_;
  std::map<std::uint64_t, vrampool_reservation> reservations_;
};

std::string ToldClient::Do(const std::string& command) {
  using Method = std::function<std::string(Words&)>;
  const std::map<std::string, Method> methods = {
      {"allocate", [&](Words& words) { return Allocate(words); }},
      {"free", [&](Words& words) { return Waiting(Free(words)); }},
      {"free_later", [&](Words& words) { return Free(words); }},
      {"free_as", [&](Words& words) { return Waiting(FreeAs(words)); }},
      {"poke", [&](Words& words) { return Poke(words); }},
      {"fill", [&](Words& words) { return Waiting(FillLater(words)); }},
      {"fill_later", [&](Words& words) { return FillLater(words); }},
      {"check", [&](Words& words) { return Check(words); }},
      {"share", [&](Words& words) { return Share(words, kComplete); }},
      {"share_pending", [&](Words& words) { return Share(words, kPending); }},
      {"share_ordered", [&](Words& words) { return Share(words, kOrdered); }},
      {"share_sealed", [&](Words& words) { return Share(words, kSealed); }},
      {"share_for", [&](Words& words) { return ShareFor(words); }},
      {"access", [&](Words& words) { return AccessTo(words); }},
      {"ready", [&](Words& words) { return Ready(words); }},
      {"open", [&](Words& words) { return Open(words); }},
      {"open_on", [&](Words& words) { return OpenOn(words); }},
      {"open_name", [&](Words& words) { return OpenName(words); }},
      {"close", [&](Words& words) { return Close(words); }},
      {"unlink", [&](Words& words) { return Unlink(words); }},
      {"end", [&](Words&) { return End(); }},
      {"room", [&](Words& words) { return Room(words); }},
      {"trim", [&](Words&) { return Told(client_.Trim()); }},
      {"quiesce", [&](Words&) { return Told(client_.Quiesce()); }},
      {"hold", [&](Words&) { return work_->Hold(), "OK"; }},
      {"release", [&](Words&) { return work_->Release(), "OK"; }},
      {"usage", [&](Words& words) { return Usage(words); }},
      {"budget", [&](Words& words) { return Budget(words); }},
      {"reserve", [&](Words& words) { return Reserve(words); }},
      {"unreserve", [&](Words& words) { return Unreserve(words); }},
      {"fits", [&](Words& words) { return Fits(words); }},
      {"fork", [&](Words& words) { return Fork(words); }},
      {"leave_child", [&](Words&) { return LeaveChild(); }},
      {"events", [&](Words&) { return Events(); }},
  };
  Words words(command);
  std::string verb;
  words >> verb;
  const auto method = methods.find(verb);
  if (method == methods.end()) return "UNKNOWN_COMMAND " + command;
  return method->second(words);
}

std::string ToldClient::Allocate(Words& words) {
  std::string name;
  std::string tag;
  Memory memory;
  words >> name >> memory.size >> tag;
  const ScopedTag scoped(tag.empty() ? nullptr : tag.c_str());
  memory.data = client_.Allocate(memory.size, work_->stream());
  if (memory.data == nullptr) return Told(Status::Last());
  memory_[name] = std::move(memory);
  return "OK";
}

std::string ToldClient::Free(Words& words) {
  std::string name;
  words >> name;
  client_.Deallocate(memory_[name].data, memory_[name].size, work_->stream());
  memory_.erase(name);
  return Told(Status::Last());
}

// A free that may be wrong: so many bytes into the memory, of such a size. The
// name goes on.
std::string ToldClient::FreeAs(Words& words) {
  std::string name;
  std::size_t offset = 0;
  std::size_t size = 0;
  words >> name >> offset >> size;
  client_.Deallocate(static_cast<char*>(memory_[name].data) + offset, size,
                     work_->stream());
  return Told(Status::Last());
}

// Writes a byte, perhaps where it should not; memory of the host only.
std::string ToldClient::Poke(Words& words) {
  std::string name;
  std::size_t offset = 0;
  words >> name >> offset;
  static_cast<volatile char*>(memory_[name].data)[offset] = 1;
  return "OK";
}

std::string ToldClient::FillLater(Words& words) {
  std::string name;
  uint64_t seed = 0;
  words >> name >> seed;
  work_->Fill(PieceOf(memory_[name]), seed);
  return "OK";
}

std::string ToldClient::Check(Words& words) {
  std::string name;
  uint64_t seed = 0;
  words >> name >> seed;
  return work_->HasPattern(PieceOf(memory_[name]), seed) ? "OK"
                                                         : "CHANGED " + name;
}

std::string ToldClient::Keep(const std::string& name, Result<Object> opened) {
  if (!opened.ok()) return Told(opened.status());
  const Result<std::string> token = opened->Token();
  memory_[name] = {.data = opened->data(),
                   .size = opened->size(),
                   .object = *std::move(opened)};
  return token.ok() ? Told(Status(), *token) : Told(token.status());
}

std::string ToldClient::Share(Words& words, Contents contents) {
  std::string name;
  std::string object;
  Client::ShareOptions options;
  options.is_pending = contents == kPending;
  options.is_sealed = contents == kSealed;
  if (contents == kOrdered) options.stream = work_->stream();
  words >> name >> object >> options.name;
  const Memory& memory = memory_[name];
  return Keep(object, client_.Share({{memory.data, memory.size}}, options));
}

std::string ToldClient::ShareFor(Words& words) {
  std::string name;
  std::string object;
  Client::ShareOptions options;
  words >> options.expires_ms >> name >> object >> options.name;
  const Memory& memory = memory_[name];
  return Keep(object, client_.Share({{memory.data, memory.size}}, options));
}

std::string ToldClient::AccessTo(Words& words) {
  std::string name;
  words >> name;
  const Memory& memory = memory_[name];
  return std::string(work_->MayWrite(PieceOf(memory)) ? "OK read-write"
                                                      : "OK read-only") +
         (memory.object && memory.object.is_sealed() ? " sealed" : "");
}

std::string ToldClient::Ready(Words& words) {
  std::string object;
  words >> object;
  return Told(memory_[object].object.Ready());
}

std::string ToldClient::Open(Words& words) {
  std::string object;
  std::string token;
  uint64_t wait_ms = 0;
  words >> object >> token >> wait_ms;
  return Keep(object, client_.OpenToken(token.c_str(), wait_ms));
}

std::string ToldClient::OpenOn(Words& words) {
  std::string object;
  std::string token;
  words >> object >> token;
  return Keep(object, client_.OpenTokenOn(work_->stream(), token.c_str()));
}

std::string ToldClient::OpenName(Words& words) {
  std::string object;
  std::string name;
  uint64_t wait_ms = 0;
  words >> object >> name >> wait_ms;
  return Keep(object, client_.OpenName(name.c_str(), wait_ms));
}

std::string ToldClient::Close(Words& words) {
  std::string object;
  words >> object;
  const Status closed = memory_[object].object.Close(work_->stream());
  memory_.erase(object);
  return Told(closed);
}

std::string ToldClient::Unlink(Words& words) {
  std::string name;
  words >> name;
  return Told(client_.Unlink(name.c_str()));
}

std::string ToldClient::End() {
  constexpr uint64_t kMinute = 60000;
  const Result<uint64_t> ends = client_.AwaitEnds(ends_, kMinute);
  if (ends.ok()) ends_ = *ends;
  return Told(ends.ok() ? Status() : ends.status());
}

std::string ToldClient::Room(Words& words) {
  size_t bytes = 0;
  uint64_t wait_ms = 0;
  words >> bytes >> wait_ms;
  return Told(client_.WaitForRoom(bytes, wait_ms));
}

std::string ToldClient::Usage(Words&) {
  const Result<vrampool_usage> usage = client_.Usage();
  if (!usage.ok()) return Told(usage.status());
  std::ostringstream text;
  text << usage->live_blocks << ' ' << usage->slabs << ' ' << usage->rpcs << ' '
       << usage->attachments;
  return Told(Status(), text.str());
}

std::string ToldClient::Budget(Words&) {
  const Result<vrampool_budget> budget = client_.Budget();
  if (!budget.ok()) return Told(budget.status());
  std::ostringstream text;
  text << budget->used_bytes << ' ' << budget->limit_bytes << ' '
       << budget->available_bytes;
  return Told(Status(), text.str());
}

// The child ends without cleaning up what is its parent's.
std::string ToldClient::Reserve(Words& words) {
  std::size_t bytes = 0;
  std::uint64_t hold_ms = 0;
  words >> bytes >> hold_ms;
  const auto reservation = client_.Reserve(bytes, hold_ms);
  if (!reservation.ok()) return Told(reservation.status());
  reservations_[reservation->id] = *reservation;
  return "OK " + std::to_string(reservation->id);
}

std::string ToldClient::Unreserve(Words& words) {
  std::uint64_t id = 0;
  words >> id;
  return Told(client_.Release(reservations_[id]));
}

std::string ToldClient::Fits(Words& words) {
  std::size_t bytes = 0;
  words >> bytes;
  const auto fits = client_.Fits(bytes);
  return fits.ok() ? (*fits ? "OK yes" : "OK no") : Told(fits.status());
}

std::string ToldClient::Fork(Words&) {
  const pid_t child = fork();
  if (child < 0) return "INTERNAL fork";
  if (child == 0) {
    const void* const p = client_.Allocate(256);
    _exit(p == nullptr ? vrampool_last_status() : VRAMPOOL_OK);
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) {
    return "INTERNAL the child crashed";
  }
  const auto code = static_cast<vrampool_status>(WEXITSTATUS(status));
  return std::string("OK ") + vrampool_status_name(code);
}

// If nobody ends it, it ends after a while.
std::string ToldClient::LeaveChild() {
  constexpr unsigned kSeconds = 120;
  const pid_t child = fork();
  if (child < 0) return "INTERNAL fork";
  if (child == 0) {
    alarm(kSeconds);
    while (true) pause();
  }
  return "OK " + std::to_string(child);
}

std::string ToldClient::Events() {
  const auto functions = fake_cuda::FindFunctions(cuda::FindDriverSymbol);
  if (functions.count_events == nullptr) return "OK 0";
  return "OK " + std::to_string(functions.count_events());
}

int Main() {
  Result<Client> client = Client::Open();
  if (!client.ok()) {
    std::cout << client.status().name() << ' ' << client.status().message()
              << std::endl;
    return 1;
  }
  const Result<vrampool_info> info = client->Info();
  std::cout << "OK " << (info.ok() ? info->session_id : 0) << std::endl;
  ToldClient told(*std::move(client));
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << told.Do(line) << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace vrampool::testing

int main() { return vrampool::testing::Main(); }
