// main.cc - three processes share memory through a vrampool daemon, and one of
// them dies.
//
//   VRAMPOOL_DIR=/run/vrampool vrampool_demo [--kind KIND]
//
// Runs against the daemon of VRAMPOOL_DIR as a user who is one of its admins,
// with memory of the kind (cuda_ipc, vmm_fd or host_fd; default: VRAMPOOL_KIND,
// or the daemon's first). Memory of a GPU is filled and read by the GPU. Every
// step is checked; the first that is not as promised ends the demo with status
// 1.

#include <cctype>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "deploy/demo/child.h"
#include "deploy/demo/roles.h"
#include "deploy/demo/tool.h"

namespace vrampool::demo {
namespace {

constexpr std::chrono::seconds kPatience(60);

// The demo's one way to fail: says why, and ends (children end with us).
[[noreturn]] void Stop(const std::string& why) {
  std::fflush(stdout);
  std::fprintf(stderr, "demo failed: %s\n", why.c_str());
  std::_Exit(1);
}

void Step(const std::string& text) {
  std::printf("\n-- %s\n", text.c_str());
  std::fflush(stdout);
}

void Tell(const std::string& text) {
  std::printf("   %s\n", text.c_str());
  std::fflush(stdout);
}

// This program's path, as the roles are to show it in reports.
const std::string& Self() {
  static const std::string path =
      std::filesystem::read_symlink("/proc/self/exe").string();
  return path;
}

Child StartRole(const Child::Options& options, const char* name) {
  std::optional<Child> child = Child::Start(options);
  if (!child.has_value()) Stop(std::string("cannot start ") + name);
  return *std::move(child);
}

// What follows `verb` in the next line that `child` says.
std::string Hear(Child& child, const std::string& verb) {
  const auto line = child.ReadLine(In(kPatience));
  if (!line.has_value()) {
    Stop("process " + std::to_string(child.pid()) + " ended or hung before \"" +
         verb + "\"");
  }
  if (line->rfind(verb + " ", 0) != 0) {
    Stop("expected \"" + verb + "\", heard: " + *line);
  }
  return line->substr(verb.size() + 1);
}

void ExpectOrderlyEnd(Child& child, const char* name) {
  const int status = child.Wait(In(kPatience));
  if (status != 0) {
    Stop(std::string(name) + " ended with status " + std::to_string(status));
  }
}

void Show(const Tool& tool, const std::string& command) {
  const Tool::Output output = tool.Run({command});
  if (output.exit_code != 0) Stop("vrampool " + command + " failed");
  std::printf("   $ vrampool %s\n", command.c_str());
  size_t at = 0;
  while (at < output.text.size()) {
    const size_t end = std::min(output.text.find('\n', at), output.text.size());
    std::printf("   %s\n", output.text.substr(at, end - at).c_str());
    at = end + 1;
  }
  std::fflush(stdout);
}

PoolView LookAtPool(const Tool& tool) {
  const Tool::Output output = tool.Run({"status", "--json"});
  const auto pool = ReadPool(output.text);
  if (output.exit_code != 0 || !pool.has_value()) {
    Stop("vrampool status failed: is a daemon running, and VRAMPOOL_DIR set?");
  }
  if (!pool->adds_up) Stop("the daemon's ledger does not add up");
  return *pool;
}

struct Plan {
  uint64_t size = 0;
  std::string kind;
  std::string device;
};

Plan MakePlan() {
  Child planner = StartRole({.command = {Self(), "--plan"}}, "the planner");
  Plan plan;
  plan.size = std::strtoull(Hear(planner, "size").c_str(), nullptr, 10);
  plan.kind = Hear(planner, "kind");
  plan.device = Hear(planner, "device");
  ExpectOrderlyEnd(planner, "the planner");
  return plan;
}

// B opens what A shares, as soon as A does; when both have read it, B writes to
// it, and A sees what B wrote.
void ShareBetween(Child& producer, Pipe& token) {
  Child consumer = StartRole(
      {.command = {Self(), "--consume"}, .extra_fd = token.read_end.get()},
      "B");
  token.read_end.reset();
  const std::string shared = Hear(producer, "shared");
  Tell("A (process " + std::to_string(producer.pid()) + ") wrote " + shared);
  Step("B opens A's memory by the token, verifies it, and writes to it");
  const std::string read = Hear(consumer, "read");
  Tell("B (process " + std::to_string(consumer.pid()) + ") reads " + read);
  if (read != shared) Stop("B does not read what A wrote");
  if (!consumer.WriteLine("write")) Stop("B has gone");
  const std::string written = Hear(consumer, "wrote");
  if (written == shared) Stop("B wrote nothing new");
  Tell("B wrote " + written);
  ExpectOrderlyEnd(consumer, "B");
  if (!producer.WriteLine("look")) Stop("A has gone");
  const std::string seen = Hear(producer, "sees");
  Tell("A sees " + seen);
  if (seen != written) Stop("A does not see what B wrote");
}

void AskForTooMuch() {
  Step("C asks for its tenant's whole limit, while A has a part of it");
  Child greedy = StartRole({.command = {Self(), "--ask-too-much"}}, "C");
  const std::string refusal = Hear(greedy, "refused");
  ExpectOrderlyEnd(greedy, "C");
  if (refusal.find_first_of("0123456789") == std::string::npos) {
    Stop("C's refusal has no numbers: " + refusal);
  }
  Tell("C is refused: " + refusal);
}

void KillAndAccount(const Tool& tool, Child& producer) {
  Step("A dies by SIGKILL; the daemon says what it left behind");
  producer.Kill();
  if (producer.Wait(In(kPatience)) != 128 + SIGKILL) {
    Stop("A did not die by SIGKILL");
  }
  const Deadline deadline = In(kPatience);
  while (!NamesDead(tool.Run({"leaks", "--json"}).text, producer.pid(),
                    kProducerTag)) {
    if (std::chrono::steady_clock::now() > deadline) {
      Stop(
          "no leak report names A (the caller must be an admin of the daemon)");
    }
  }
  Show(tool, "leaks");
}

// The next questions are asked as soon as the last is answered.
void AwaitWhole(const Tool& tool, uint64_t available_before) {
  Step("The pool is whole again");
  const Deadline deadline = In(kPatience);
  PoolView pool = LookAtPool(tool);
  while (pool.available_bytes() != available_before) {
    if (std::chrono::steady_clock::now() > deadline) {
      Stop("the pool is not whole: " + FormatBytes(Bytes(pool.free_bytes)) +
           " free and " + FormatBytes(Bytes(pool.clean_bytes)) + " clean of " +
           FormatBytes(Bytes(pool.capacity_bytes)));
    }
    pool = LookAtPool(tool);
  }
  Tell(FormatBytes(Bytes(pool.available_bytes())) + " of " +
       FormatBytes(Bytes(pool.capacity_bytes)) +
       " can be had, as before the demo");
}

int RunDemo() {
  const Tool tool = Tool::Find();
  Step("The pool before");
  const PoolView before = LookAtPool(tool);
  Show(tool, "tenants");
  const Plan plan = MakePlan();
  Step("A allocates " + FormatBytes(Bytes(plan.size)) + " of kind " +
       plan.kind + ", fills and shares it");
  Tell("on " + plan.device +
       (plan.kind == "HOST_FD" ? ", by the CPU" : ", by kernels on the GPU"));
  Pipe token = MakePipe();
  if (!token.write_end.is_valid()) Stop("no pipe to be had");
  Child producer =
      StartRole({.command = {Self(), "--produce", std::to_string(plan.size)},
                 .extra_fd = token.write_end.get()},
                "A");
  token.write_end.reset();
  ShareBetween(producer, token);
  Show(tool, "sessions");
  AskForTooMuch();
  KillAndAccount(tool, producer);
  AwaitWhole(tool, before.available_bytes());
  Show(tool, "tenants");
  std::printf("\ndemo passed with memory of kind %s\n", plan.kind.c_str());
  return 0;
}

int Usage(const char* program) {
  std::fprintf(
      stderr, "usage: [VRAMPOOL_DIR=DIR] %s [--kind cuda_ipc|vmm_fd|host_fd]\n",
      program);
  return 2;
}

// The roles find it in their environment. An unknown one they refuse.
void ChooseKind(std::string kind) {
  for (char& letter : kind) {
    letter =
        static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
  }
  setenv("VRAMPOOL_KIND", kind.c_str(), 1);
}

int Main(int argc, char** argv) {
  const std::string role = argc > 1 ? argv[1] : "";
  if (role == "--produce" && argc == 3) {
    return RunProducer(std::strtoull(argv[2], nullptr, 10), 3);
  }
  if (role == "--consume") return RunConsumer(3);
  if (role == "--ask-too-much") return RunGreedy();
  if (role == "--plan") return RunPlanner();
  if (role == "--kind" && argc == 3) {
    ChooseKind(argv[2]);
  } else if (argc > 1) {
    return Usage(argv[0]);
  }
  std::signal(SIGPIPE, SIG_IGN);  // A child that died is found by its status.
  return RunDemo();
}

}  // namespace
}  // namespace vrampool::demo

int main(int argc, char** argv) { return vrampool::demo::Main(argc, argv); }
