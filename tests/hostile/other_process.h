// other_process.h - a hostile_client process and the orders given to it.

#ifndef VRAMPOOL_TESTS_HOSTILE_OTHER_PROCESS_H_
#define VRAMPOOL_TESTS_HOSTILE_OTHER_PROCESS_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/testing/child_process.h"

namespace vrampool::testing {

class OtherProcess {
 public:
  // `id`: the user and group that it becomes; 0: those of the test.
  static OtherProcess Start(const std::string& directory, unsigned id,
                            std::vector<std::string> environment = {}) {
    auto started = ChildProcess::Start(
        {.words = {HOSTILE_CLIENT_PATH, directory, std::to_string(id)},
         .environment = std::move(environment),
         .has_pipes = true});
    return OtherProcess(started.ok() ? *std::move(started) : nullptr);
  }

  // Its answer, or what went wrong.
  std::string Order(const std::string& order) {
    if (process_ == nullptr) return "it did not start";
    if (!process_->WriteLine(order).ok()) return "it takes no orders";
    const absl::StatusOr<std::string> line = process_->ReadLine();
    return line.ok() ? *line : std::string(line.status().message());
  }
  // What follows "ok ", or "".
  std::string Get(const std::string& order) {
    const std::string answer = Order(order);
    return answer.rfind("ok ", 0) == 0 ? answer.substr(3) : "";
  }
  void Kill() { process_->Kill(); }

 private:
  explicit OtherProcess(std::unique_ptr<ChildProcess> process)
      : process_(std::move(process)) {}

  std::unique_ptr<ChildProcess> process_;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_HOSTILE_OTHER_PROCESS_H_
