#include "tests/bench/compare/bench.h"

#include <algorithm>
#include <cstdio>

namespace vrampool::bench {
namespace {

std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return quoted + '"';
}

}  // namespace

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle =
      values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void Report::Say(const std::string& name, const Figures& figures) const {
  std::string line = "{\"allocator\": " + Quoted(allocator_) +
                     ", \"workload\": " + Quoted(workload_) +
                     ", \"case\": " + Quoted(name);
  for (const auto& [key, value] : figures) {
    char number[32];
    std::snprintf(number, sizeof(number), "%.6g", value);
    line += ", " + Quoted(key) + ": " + number;
  }
  std::printf("%s}\n", line.c_str());
  std::fflush(stdout);
}

void Report::Miss(const std::string& name, const std::string& why) const {
  std::printf(
      "{\"allocator\": %s, \"workload\": %s, \"case\": %s, \"missing\": %s}\n",
      Quoted(allocator_).c_str(), Quoted(workload_).c_str(),
      Quoted(name).c_str(), Quoted(why).c_str());
  std::fflush(stdout);
}

std::string Bytes(size_t bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB"};
  size_t unit = 0;
  for (; bytes >= 1024 && unit < 3; ++unit) bytes /= 1024;
  return std::to_string(bytes) + " " + units[unit];
}

std::string Count(size_t count) {
  return count % 1000 == 0 ? std::to_string(count / 1000) + "k"
                           : std::to_string(count);
}

}  // namespace vrampool::bench
