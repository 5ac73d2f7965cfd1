#include "deploy/demo/tool.h"

#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <filesystem>

namespace vrampool::demo {
namespace {

constexpr std::chrono::seconds kPatience(20);

// The text after `"key": `, or an empty one.
std::string_view ValueOf(std::string_view json, std::string_view key) {
  const std::string quoted = "\"" + std::string(key) + "\": ";
  const size_t at = json.find(quoted);
  if (at == std::string_view::npos) return {};
  return json.substr(at + quoted.size());
}

}  // namespace

std::optional<uint64_t> FindNumber(std::string_view json,
                                   std::string_view key) {
  std::string_view value = ValueOf(json, key);
  // 64-bit numbers are strings in protobuf's JSON, 32-bit ones are not.
  if (!value.empty() && value.front() == '"') value.remove_prefix(1);
  uint64_t number = 0;
  const auto [end, error] =
      std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc()) return std::nullopt;
  return number;
}

std::optional<PoolView> ReadPool(std::string_view status_json) {
  const auto capacity = FindNumber(status_json, "capacity_bytes");
  const auto free = FindNumber(status_json, "free_bytes");
  const auto clean = FindNumber(status_json, "clean_bytes");
  if (!capacity || !free || !clean) return std::nullopt;
  return PoolView{
      .capacity_bytes = *capacity,
      .free_bytes = *free,
      .clean_bytes = *clean,
      .adds_up =
          ValueOf(status_json, "conservation_holds").substr(0, 4) == "true"};
}

bool NamesDead(std::string_view leaks_json, pid_t pid, std::string_view tag) {
  // Each report begins with its session, whose process begins with its pid.
  const std::string begin = "\"session\": {";
  for (size_t at = leaks_json.find(begin); at != std::string_view::npos;) {
    const size_t next = leaks_json.find(begin, at + begin.size());
    const std::string_view report = leaks_json.substr(
        at,
        next == std::string_view::npos ? std::string_view::npos : next - at);
    at = next;
    const std::string quoted_tag = "\"" + std::string(tag) + "\"";
    if (FindNumber(report, "pid") == static_cast<uint64_t>(pid) &&
        ValueOf(report, "tag").substr(0, quoted_tag.size()) == quoted_tag &&
        ValueOf(report, "session_live").substr(0, 5) == "false") {
      return true;
    }
  }
  return false;
}

Tool Tool::Find() {
  if (const char* const path = std::getenv("VRAMPOOL_CLI")) return Tool(path);
  std::error_code error;
  const std::filesystem::path own =
      std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  for (const char* const place : {"../../client/cli/vrampool", "vrampool"}) {
    const std::string path = (own / place).string();
    if (!error && access(path.c_str(), X_OK) == 0) return Tool(path);
  }
  return Tool("vrampool");
}

Tool::Output Tool::Run(const std::vector<std::string>& arguments) const {
  std::vector<std::string> command = {path_};
  command.insert(command.end(), arguments.begin(), arguments.end());
  std::optional<Child> tool = Child::Start({.command = command});
  if (!tool.has_value()) return {};
  const Deadline deadline = In(kPatience);
  Output output;
  output.text = tool->ReadAll(deadline);
  output.exit_code = tool->Wait(deadline);
  return output;
}

}  // namespace vrampool::demo
