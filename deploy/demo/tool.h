// tool.h - the demo's view of the pool: the command-line tool, run as a person
// would run it.

#ifndef VRAMPOOL_DEPLOY_DEMO_TOOL_H_
#define VRAMPOOL_DEPLOY_DEMO_TOOL_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "deploy/demo/child.h"

namespace vrampool::demo {

// The number that a key has in the tool's JSON ("free_bytes": "4096"), or
// nothing. Finds the first key of that name: good for names that occur once.
std::optional<uint64_t> FindNumber(std::string_view json, std::string_view key);

struct PoolView {
  uint64_t capacity_bytes = 0;
  uint64_t free_bytes = 0;
  uint64_t clean_bytes = 0;
  bool adds_up = false;

  uint64_t available_bytes() const { return free_bytes + clean_bytes; }
};
std::optional<PoolView> ReadPool(std::string_view status_json);

// Whether a leak report (JSON) names an ended process of this pid and tag.
bool NamesDead(std::string_view leaks_json, pid_t pid, std::string_view tag);

class Tool {
 public:
  // $VRAMPOOL_CLI; else the one of this build or installation; else by $PATH.
  static Tool Find();

  explicit Tool(std::string path) : path_(std::move(path)) {}

  struct Output {
    int exit_code = -1;
    std::string text;
  };
  // Its errors go to our standard error.
  Output Run(const std::vector<std::string>& arguments) const;

 private:
  std::string path_;
};

}  // namespace vrampool::demo

#endif  // VRAMPOOL_DEPLOY_DEMO_TOOL_H_
