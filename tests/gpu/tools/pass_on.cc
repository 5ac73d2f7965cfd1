// pass_on.cc - how long a tensor takes to another process and back, by an
// object of the pool and by a bare interprocess event:
//
//   gpu_pass_on BYTES ROUNDS
//
// A round: the driver's kernel sets the memory, the other process is told, a
// kernel there sums it up, its stream is waited for, and it says so; then the
// sum is looked at. "Object": the memory is shared in the order of the stream,
// its token sent through a socket, opened for a stream, and both close it.
// "Bare": both mapped the memory before, an event is recorded, and the other
// stream waits for it. Rounds of both alternate. Prints {"object_us": M,
// "bare_us": M, "ratio": R, "share_us": M, "open_us": M}, medians; fails if a
// word was wrong.

#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "tests/cuda/gpu.h"
#include "vrampool/vrampool.hpp"

extern char** environ;

namespace vrampool::testing {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kSocket = 3;  // Of the consumer.
constexpr unsigned kInterprocess = 4;

[[noreturn]] void Fail(const std::string& what) {
  std::cerr << what << std::endl;
  std::_Exit(1);
}

void Check(const Status& status) {
  if (!status.ok()) Fail(status.message());
}

template <typename T>
T Checked(Result<T> result) {
  if (!result.ok()) Fail(result.status().message());
  return *std::move(result);
}

double MicrosSince(Clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(Clock::now() - begin)
      .count();
}

double Median(std::vector<double>& times) {
  const auto middle = times.begin() + static_cast<int64_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

enum class What : uint32_t { kBase, kObject, kBare, kEnd };

struct Message {
  What what = What::kEnd;
  uint32_t value = 0;  // What all words are.
  double open_us = 0;
  char token[VRAMPOOL_TOKEN_MAX] = {};
  cuda::IpcEventHandle event{};
};

void Send(int socket, const Message& message) {
  if (::send(socket, &message, sizeof(message), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(sizeof(message))) {
    Fail("the other process has ended");
  }
}

Message Receive(int socket) {
  Message message;
  if (::recv(socket, &message, sizeof(message), 0) !=
      static_cast<ssize_t>(sizeof(message))) {
    Fail("the other process has ended");
  }
  return message;
}

// A kernel's first launch may wait for the whole GPU while it is loaded.
void LoadKernels(const Gpu& gpu, cuda::Stream stream) {
  const DeviceBuffer buffer(gpu, 4096);
  gpu.Set(stream, buffer.words(), 1);
  (void)gpu.Checksum(stream, buffer.words());
}

class Consumer {
 public:
  Consumer(Client& client, const Gpu& gpu, size_t bytes)
      : client_(client),
        gpu_(gpu),
        bytes_(bytes),
        stream_(gpu),
        sum_(gpu, sizeof(uint64_t)) {
    gpu_.Set(stream_.get(), sum_.words(), 0);
    LoadKernels(gpu_, stream_.get());
  }

  void Run() {
    for (;;) {
      const Message told = Receive(kSocket);
      if (told.what == What::kEnd) return;
      Answer(told);
    }
  }

 private:
  void Answer(const Message& told) {
    Message answer;
    if (told.what == What::kBase) {
      base_ = Checked(client_.OpenTokenOn(stream_.get(), told.token));
      gpu_.Expect(gpu_.api().IpcOpenEventHandle(&event_, told.event),
                  "opening an event");
      Send(kSocket, answer);
    } else if (told.what == What::kBare) {
      gpu_.Expect(gpu_.api().StreamWaitEvent(stream_.get(), event_, 0),
                  "waiting for an event");
      SumUp(base_.data(0));
      Send(kSocket, answer);
      CheckSum(told.value);
    } else {
      const Clock::time_point begin = Clock::now();
      Object object = Checked(client_.OpenTokenOn(stream_.get(), told.token));
      answer.open_us = MicrosSince(begin);
      SumUp(object.data(0));
      Send(kSocket, answer);
      CheckSum(told.value);
      Check(object.Close(stream_.get()));
    }
  }
  void SumUp(const void* memory) {
    gpu_.AddChecksum(stream_.get(), WordsAt(memory, bytes_), sum_.at());
    gpu_.Synchronize(stream_.get());
  }
  // Sums are added up over all rounds.
  void CheckSum(uint32_t value) {
    const uint64_t words = bytes_ / sizeof(uint32_t);
    expected_ += value * (words * (words + 1) / 2);
    uint64_t sum = 0;
    gpu_.Expect(gpu_.api().MemcpyDtoH(&sum, sum_.at(), sizeof(sum)),
                "reading the sum");
    if (sum != expected_) Fail("the contents were wrong");
  }

  Client& client_;
  const Gpu& gpu_;
  const size_t bytes_;
  const TestStream stream_;
  const DeviceBuffer sum_;
  uint64_t expected_ = 0;
  Object base_;
  cuda::Event event_ = nullptr;
};

class Producer {
 public:
  Producer(Client& client, const Gpu& gpu, size_t bytes, int socket)
      : client_(client),
        gpu_(gpu),
        bytes_(bytes),
        socket_(socket),
        stream_(gpu),
        event_(gpu, kInterprocess | cuda::kEventDisableTiming) {
    LoadKernels(gpu_, stream_.get());
    base_ = Allocate();
    memory_ = Allocate();
    held_ = Checked(client_.Share({{base_, bytes_}}));
    Message message = MessageOf(What::kBase, held_);
    gpu_.Expect(gpu_.api().IpcGetEventHandle(&message.event, event_.get()),
                "exporting an event");
    (void)Ask(message);
  }

  double Object(uint32_t value, double& share_us, double& open_us) {
    const Clock::time_point begin = Clock::now();
    gpu_.Set(stream_.get(), WordsAt(memory_, bytes_), value);
    Client::ShareOptions options;
    options.stream = stream_.get();
    const Clock::time_point shared = Clock::now();
    class Object object = Checked(client_.Share({{memory_, bytes_}}, options));
    share_us = MicrosSince(shared);
    Message message = MessageOf(What::kObject, object);
    message.value = value;
    open_us = Ask(message).open_us;
    const double took = MicrosSince(begin);
    Check(object.Close(stream_.get()));
    return took;
  }

  double Bare(uint32_t value) {
    const Clock::time_point begin = Clock::now();
    gpu_.Set(stream_.get(), WordsAt(base_, bytes_), value);
    gpu_.Expect(gpu_.api().EventRecord(event_.get(), stream_.get()),
                "recording an event");
    Message message;
    message.what = What::kBare;
    message.value = value;
    (void)Ask(message);
    return MicrosSince(begin);
  }

  void End() {
    Send(socket_, {});
    Check(held_.Close(stream_.get()));
    client_.Deallocate(memory_, bytes_, stream_.get());
    client_.Deallocate(base_, bytes_, stream_.get());
  }

 private:
  void* Allocate() {
    void* const p = client_.Allocate(bytes_, stream_.get());
    if (p == nullptr) Fail(Status::Last().message());
    return p;
  }
  static Message MessageOf(What what, const class Object& object) {
    Message message;
    message.what = what;
    const std::string token = Checked(object.Token());
    if (token.size() >= sizeof(message.token)) Fail("the token is too long");
    std::memcpy(message.token, token.c_str(), token.size() + 1);
    return message;
  }
  Message Ask(const Message& message) {
    Send(socket_, message);
    return Receive(socket_);
  }

  Client& client_;
  const Gpu& gpu_;
  const size_t bytes_;
  const int socket_;
  const TestStream stream_;
  const TestEvent event_;
  void* base_ = nullptr;
  void* memory_ = nullptr;
  class Object held_;
};

struct Child {
  pid_t pid = 0;
  int socket = -1;
};

Child StartConsumer(const char* bytes) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    Fail("no sockets");
  }
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, pair[1], kSocket);
  std::string program = "gpu_pass_on";
  std::string role = "consume";
  std::string size = bytes;
  char* const words[] = {program.data(), size.data(), role.data(), nullptr};
  Child child{.pid = 0, .socket = pair[0]};
  if (::posix_spawn(&child.pid, "/proc/self/exe", &actions, nullptr, words,
                    environ) != 0) {
    Fail("no process");
  }
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(pair[1]);
  return child;
}

int Measure(const char* size, int rounds) {
  const Child child = StartConsumer(size);
  const Gpu gpu;
  Client client = Checked(Client::Open());
  Producer producer(client, gpu, std::strtoull(size, nullptr, 10),
                    child.socket);
  std::vector<double> objects, bares, shares, opens;
  for (int i = -20; i < rounds; ++i) {
    double share_us = 0;
    double open_us = 0;
    const auto value = static_cast<uint32_t>(i + 1000);
    const double object = producer.Object(value, share_us, open_us);
    const double bare = producer.Bare(value);
    if (i < 0) continue;  // Until all is warm.
    objects.push_back(object);
    bares.push_back(bare);
    shares.push_back(share_us);
    opens.push_back(open_us);
  }
  producer.End();
  int status = 0;
  if (::waitpid(child.pid, &status, 0) != child.pid || status != 0) {
    Fail("the consumer has failed");
  }
  const double object = Median(objects);
  const double bare = Median(bares);
  std::printf(
      "{\"object_us\": %.1f, \"bare_us\": %.1f, \"ratio\": %.3f, "
      "\"share_us\": %.1f, \"open_us\": %.2f}\n",
      object, bare, object / bare, Median(shares), Median(opens));
  return 0;
}

int Consume(const char* size) {
  const Gpu gpu;
  Client client = Checked(Client::Open());
  Consumer(client, gpu, std::strtoull(size, nullptr, 10)).Run();
  return 0;
}

}  // namespace
}  // namespace vrampool::testing

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: gpu_pass_on BYTES ROUNDS\n";
    return 2;
  }
  if (std::string_view(argv[2]) == "consume") {
    return vrampool::testing::Consume(argv[1]);
  }
  const int rounds = std::atoi(argv[2]);
  if (rounds <= 0) {
    std::cerr << "ROUNDS has to be a number\n";
    return 2;
  }
  return vrampool::testing::Measure(argv[1], rounds);
}
