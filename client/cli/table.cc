#include "client/cli/table.h"

#include <strings.h>

#include "base/bytes.h"
#include "base/check.h"
#include "client/cli/text.h"

namespace vrampool::cli {

Cell Text(std::string_view value) {
  return {.text = Printable(value), .key = std::string(value)};
}

Cell Number(uint64_t value) {
  return {.text = std::to_string(value), .key = value};
}

Cell SignedNumber(int64_t value) {
  return {.text = std::to_string(value), .key = value};
}

Cell Size(uint64_t bytes) {
  return {.text = FormatBytes(Bytes(bytes)), .key = bytes};
}

Cell Age(int64_t unix_ns, absl::Time now) {
  const int64_t age =
      unix_ns == 0
          ? INT64_MIN
          : absl::ToInt64Nanoseconds(now - absl::FromUnixNanos(unix_ns));
  return {.text = FormatSince(unix_ns, now), .key = age};
}

Cell Until(int64_t unix_ns, absl::Time now) {
  if (unix_ns == 0) return {.text = "-", .key = INT64_MAX};
  const absl::Duration left = absl::FromUnixNanos(unix_ns) - now;
  return {.text = FormatAge(left), .key = absl::ToInt64Nanoseconds(left)};
}

void TextTable::AddColumn(std::string name, Align align) {
  names_.push_back(std::move(name));
  aligns_.push_back(align);
}

void TextTable::AddRow(std::vector<std::string> row) {
  VRAMPOOL_CHECK(row.size() == names_.size());
  rows_.push_back(std::move(row));
}

void TextTable::Print(Header header, std::ostream& out) const {
  std::vector<size_t> widths(names_.size(), 0);
  const auto widen = [&widths](const std::vector<std::string>& row) {
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], DisplayWidth(row[i]));
    }
  };
  if (header == Header::kShown) widen(names_);
  for (const std::vector<std::string>& row : rows_) widen(row);
  if (header == Header::kShown) PrintRow(names_, widths, out);
  for (const std::vector<std::string>& row : rows_) {
    PrintRow(row, widths, out);
  }
}

void TextTable::PrintRow(const std::vector<std::string>& row,
                         const std::vector<size_t>& widths,
                         std::ostream& out) const {
  std::string line;
  for (size_t i = 0; i < row.size(); ++i) {
    if (i > 0) line += "  ";
    const std::string gap(widths[i] - DisplayWidth(row[i]), ' ');
    line += aligns_[i] == Align::kRight ? gap + row[i] : row[i] + gap;
  }
  line.erase(line.find_last_not_of(' ') + 1);
  out << line << '\n';
}

absl::Status FindColumn(const std::vector<std::string>& names,
                        std::string_view wanted, size_t* index) {
  const std::string name(wanted);
  std::string choices;
  for (size_t i = 0; i < names.size(); ++i) {
    if (strcasecmp(names[i].c_str(), name.c_str()) == 0) {
      *index = i;
      return absl::OkStatus();
    }
    if (i > 0) choices += ", ";
    choices += names[i];
  }
  return absl::InvalidArgumentError("no column \"" + Printable(wanted) +
                                    "\" to sort by; there are " + choices);
}

}  // namespace vrampool::cli
