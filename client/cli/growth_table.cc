#include "client/cli/growth_table.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/bytes.h"
#include "client/cli/table.h"
#include "client/cli/text.h"

namespace vrampool::cli {
namespace {

struct Row {
  const v1::SessionInfo* session;
  const v1::TagGrowth* growth;
};

int64_t Longest(const v1::TagGrowth& growth) {
  return growth.windows().empty() ? 0 : growth.windows().rbegin()->bytes();
}

// "+3.0 MiB in 14m30s", one for each window, the shortest first.
std::string WindowsText(const v1::TagGrowth& growth) {
  std::string text;
  for (const v1::GrowthWindow& window : growth.windows()) {
    const bool is_less = window.bytes() < 0;
    const uint64_t bytes =
        is_less ? uint64_t{0} - static_cast<uint64_t>(window.bytes())
                : static_cast<uint64_t>(window.bytes());
    absl::StrAppend(&text, text.empty() ? "" : ", ", is_less ? "-" : "+",
                    FormatBytes(Bytes(bytes)), " in ",
                    FormatAge(absl::Milliseconds(window.window_ms())));
  }
  return text;
}

TableOf<Row> GrowthTable() {
  return {
      {"  SESSION", Align::kRight,
       [](const Row& row) { return Number(row.session->session_id()); }},
      {"PID", Align::kRight,
       [](const Row& row) { return Number(row.session->process().pid()); }},
      {"TENANT", Align::kLeft,
       [](const Row& row) { return Text(row.session->tenant()); }},
      {"TAG", Align::kLeft,
       [](const Row& row) { return Text(row.growth->tag()); }},
      {"BLOCKS", Align::kRight,
       [](const Row& row) { return Number(row.growth->blocks()); }},
      {"BYTES", Align::kRight,
       [](const Row& row) { return Size(row.growth->bytes()); }},
      {"SUSPECT", Align::kLeft,
       [](const Row& row) {
         return Text(row.growth->is_suspect() ? "yes" : "no");
       }},
      {"GROWTH", Align::kLeft,
       [](const Row& row) { return Text(WindowsText(*row.growth)); }},
  };
}

}  // namespace

void PrintGrowth(const v1::ListLeaksResponse& reply, const Context& context) {
  std::vector<Row> rows;
  for (const v1::LeakReport& report : reply.reports()) {
    for (const v1::TagGrowth& growth : report.growth()) {
      if (Longest(growth) <= 0 && !growth.is_suspect()) continue;
      rows.push_back({&report.session(), &growth});
    }
  }
  if (rows.empty()) return;
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
    if (a.growth->is_suspect() != b.growth->is_suspect()) {
      return a.growth->is_suspect();
    }
    return Longest(*a.growth) > Longest(*b.growth);
  });
  context.out << "\ntags that grew:\n";
  Print(GrowthTable(), rows, context.options.header, context.out);
}

}  // namespace vrampool::cli
