// table.h - rows of values as aligned text, sortable by column.
//
// Pure: knows no messages and no terminal. A TableOf<Row> is a list of columns,
// each of which says how a row looks and how rows are ordered by it; sorting
// works on the rows themselves, so a caller can print the same order as JSON.
//
//   const TableOf<SessionInfo> table = {{"PID", Align::kRight, [](auto& row) {
//     return Number(row.process().pid()); }}};
//   VRAMPOOL_RETURN_IF_ERROR(Sort(table, {"pid"}, reply.mutable_sessions()));
//   Print(table, reply.sessions(), Header::kShown, out);

#ifndef VRAMPOOL_CLIENT_CLI_TABLE_H_
#define VRAMPOOL_CLIENT_CLI_TABLE_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <iterator>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace vrampool::cli {

enum class Align { kLeft, kRight };
enum class Header { kShown, kHidden };

// One value: how it looks, and what it is compared by. All cells of a column
// hold the same alternative.
struct Cell {
  std::string text;
  std::variant<std::string, uint64_t, int64_t> key;
};

Cell Text(std::string_view value);  // Made printable.
Cell Number(uint64_t value);
Cell SignedNumber(int64_t value);
Cell Size(uint64_t bytes);
// How long ago; ordered by age, the youngest first, "-" (0) before all.
Cell Age(int64_t unix_ns, absl::Time now);
// How long until then; 0: never.
Cell Until(int64_t unix_ns, absl::Time now);

// Text in aligned columns, two blanks between them and none at line ends.
class TextTable {
 public:
  void AddColumn(std::string name, Align align);
  // REQUIRES: as many values as columns.
  void AddRow(std::vector<std::string> row);
  void Print(Header header, std::ostream& out) const;

 private:
  void PrintRow(const std::vector<std::string>& row,
                const std::vector<size_t>& widths, std::ostream& out) const;

  std::vector<std::string> names_;
  std::vector<Align> aligns_;
  std::vector<std::vector<std::string>> rows_;
};

template <typename Row>
struct ColumnOf {
  std::string name;
  Align align = Align::kLeft;
  std::function<Cell(const Row&)> cell;
};

template <typename Row>
using TableOf = std::vector<ColumnOf<Row>>;

struct Order {
  std::string column;  // Its name, in any case; empty: as the rows come.
  bool is_reversed = false;
};

// The index of `wanted` in `names`. InvalidArgument: none; lists the names.
absl::Status FindColumn(const std::vector<std::string>& names,
                        std::string_view wanted, size_t* index);

// Puts `rows` (a container of Row, or of pointers swapped by iterator) in
// order. InvalidArgument: no such column; the message lists those there are.
template <typename Row, typename Rows>
absl::Status Sort(const TableOf<Row>& table, const Order& order, Rows* rows) {
  if (!order.column.empty()) {
    std::vector<std::string> names;
    for (const ColumnOf<Row>& column : table) names.push_back(column.name);
    size_t at = 0;
    absl::Status found = FindColumn(names, order.column, &at);
    if (!found.ok()) return found;
    std::stable_sort(rows->begin(), rows->end(),
                     [&](const Row& a, const Row& b) {
                       return table[at].cell(a).key < table[at].cell(b).key;
                     });
  }
  if (order.is_reversed) std::reverse(rows->begin(), rows->end());
  return absl::OkStatus();
}

template <typename Row, typename Rows>
void Print(const TableOf<Row>& table, const Rows& rows, Header header,
           std::ostream& out) {
  TextTable text;
  for (const ColumnOf<Row>& column : table) {
    text.AddColumn(column.name, column.align);
  }
  for (const Row& row : rows) {
    std::vector<std::string> cells;
    for (const ColumnOf<Row>& column : table) {
      cells.push_back(column.cell(row).text);
    }
    text.AddRow(std::move(cells));
  }
  text.Print(header, out);
}

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_TABLE_H_
