#include "client/cli/pickle.h"

#include <limits>

#include "base/check.h"

namespace vrampool::cli {
namespace {

constexpr char kProto[] = "\x80\x02";
constexpr char kEmptyDict = '}';
constexpr char kEmptyList = ']';
constexpr char kMark = '(';
constexpr char kSetItems = 'u';
constexpr char kAppends = 'e';
constexpr char kBinInt = 'J';
constexpr char kLong1 = '\x8a';
constexpr char kBinUnicode = 'X';
constexpr char kNewTrue = '\x88';
constexpr char kNewFalse = '\x89';
constexpr char kLongBinPut = 'r';
constexpr char kLongBinGet = 'j';
constexpr char kStop = '.';
// As Python's own: memory_viz hands a whole batch to one call.
constexpr uint32_t kBatch = 1000;
constexpr char kReplacement[] = "\xef\xbf\xbd";

void AppendLittleEndian(uint64_t value, int bytes, std::string* out) {
  for (int i = 0; i < bytes; ++i) {
    out->push_back(static_cast<char>(value >> (8 * i) & 0xff));
  }
}

// The length of the well-formed code point that `text` begins with; 0: none.
size_t CodePointLength(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = at(0);
  const size_t length = first < 0x80         ? 1
                        : first >> 5 == 0x06 ? 2
                        : first >> 4 == 0x0e ? 3
                        : first >> 3 == 0x1e ? 4
                                             : 0;
  if (length == 0 || length > text.size()) return 0;
  uint32_t value = length == 1 ? first : first & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if (at(i) >> 6 != 2) return 0;
    value = value << 6 | (at(i) & 0x3fu);
  }
  constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool is_surrogate = value >= 0xd800 && value < 0xe000;
  return value < kLeast[length] || is_surrogate || value > 0x10ffff ? 0
                                                                    : length;
}

std::string ValidUtf8(std::string_view text) {
  std::string valid;
  while (!text.empty()) {
    const size_t length = CodePointLength(text);
    if (length == 0) {
      valid += kReplacement;
      text.remove_prefix(1);
    } else {
      valid.append(text.data(), length);
      text.remove_prefix(length);
    }
  }
  return valid;
}

}  // namespace

Pickle::Pickle() : bytes_(kProto) {}

// In a list, marks the begin of a batch; in a dictionary Key() did.
void Pickle::BeforeValue() {
  if (levels_.empty() || levels_.back().kind != Open::kList) return;
  Level& level = levels_.back();
  if (level.pending == kBatch) {
    bytes_.push_back(kAppends);
    level.pending = 0;
  }
  if (level.pending++ == 0) bytes_.push_back(kMark);
}

void Pickle::BeginDict() {
  BeforeValue();
  bytes_.push_back(kEmptyDict);
  levels_.push_back({.kind = Open::kDict});
}

void Pickle::BeginList() {
  BeforeValue();
  bytes_.push_back(kEmptyList);
  levels_.push_back({.kind = Open::kList});
}

void Pickle::Close(char operation) {
  if (levels_.back().pending > 0) bytes_.push_back(operation);
  levels_.pop_back();
}

void Pickle::EndDict() {
  VRAMPOOL_CHECK(!levels_.empty() && levels_.back().kind == Open::kDict);
  Close(kSetItems);
}

void Pickle::EndList() {
  VRAMPOOL_CHECK(!levels_.empty() && levels_.back().kind == Open::kList);
  Close(kAppends);
}

Pickle& Pickle::Key(std::string_view name) {
  VRAMPOOL_CHECK(!levels_.empty() && levels_.back().kind == Open::kDict);
  if (levels_.back().pending++ == 0) bytes_.push_back(kMark);
  Text(name);
  return *this;
}

void Pickle::Number(int64_t value) {
  BeforeValue();
  const bool is_small = value >= std::numeric_limits<int32_t>::min() &&
                        value <= std::numeric_limits<int32_t>::max();
  bytes_.push_back(is_small ? kBinInt : kLong1);
  if (!is_small) bytes_.push_back(sizeof(value));
  AppendLittleEndian(static_cast<uint64_t>(value), is_small ? 4 : 8, &bytes_);
}

void Pickle::Text(std::string_view value) {
  BeforeValue();
  const std::string valid = ValidUtf8(value);
  bytes_.push_back(kBinUnicode);
  AppendLittleEndian(valid.size(), 4, &bytes_);
  bytes_ += valid;
}

void Pickle::Bool(bool value) {
  BeforeValue();
  bytes_.push_back(value ? kNewTrue : kNewFalse);
}

uint32_t Pickle::Remember() {
  bytes_.push_back(kLongBinPut);
  AppendLittleEndian(remembered_, 4, &bytes_);
  return remembered_++;
}

void Pickle::Again(uint32_t remembered) {
  BeforeValue();
  bytes_.push_back(kLongBinGet);
  AppendLittleEndian(remembered, 4, &bytes_);
}

std::string Pickle::Take() {
  VRAMPOOL_CHECK(levels_.empty());
  bytes_.push_back(kStop);
  return std::move(bytes_);
}

}  // namespace vrampool::cli
