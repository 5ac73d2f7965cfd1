#include "client/session/python_objects.h"

#include <unistd.h>

#include <utility>

namespace vrampool::client {
namespace {

// In every Python that has a layout.
constexpr size_t kSize = 16;       // Of what has several sizes.
constexpr size_t kTextState = 32;  // Bits that say how a text is kept.
constexpr size_t kBytesData = 32;
constexpr size_t kFirstPiece = 256;
constexpr size_t kPiece = size_t{8} << 10;

void AppendLetter(uint32_t letter, std::string& text) {
  const auto tail = [&](unsigned shift) {
    text += static_cast<char>(0x80 | ((letter >> shift) & 0x3f));
  };
  if (letter < 0x20 || (letter >= 0x7f && letter < 0xa0)) {
    text += ' ';
  } else if (letter < 0x80) {
    text += static_cast<char>(letter);
  } else if (letter < 0x800) {
    text += static_cast<char>(0xc0 | (letter >> 6));
    tail(0);
  } else if ((letter >= 0xd800 && letter < 0xe000) || letter > 0x10ffff) {
    text += '?';
  } else if (letter < 0x10000) {
    text += static_cast<char>(0xe0 | (letter >> 12));
    tail(6);
    tail(0);
  } else {
    text += static_cast<char>(0xf0 | (letter >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

}  // namespace

void MemoryReads::Add(uint64_t address, void* to, size_t size) {
  if (size == 0) return;
  here_.push_back({.iov_base = to, .iov_len = size});
  there_.push_back(
      {.iov_base = reinterpret_cast<void*>(address), .iov_len = size});
  size_ += size;
}

// By this thread's own number: that of the process is nobody's once the main
// thread has ended, which others may outlive.
bool MemoryReads::Make() {
  const ssize_t read =
      size_ == 0 ? 0
                 : ::process_vm_readv(::gettid(), here_.data(), here_.size(),
                                      there_.data(), there_.size(), 0);
  here_.clear();
  there_.clear();
  return read == static_cast<ssize_t>(std::exchange(size_, 0));
}

bool ReadMemory(uint64_t address, void* to, size_t size) {
  MemoryReads reads;
  reads.Add(address, to, size);
  return reads.Make();
}

void PythonBytes::AddHead(MemoryReads& reads, uint64_t object) {
  at_ = object + kBytesData;
  head_.AddTo(reads, object, WordsAt({kSize}));
}

void PythonBytes::AddPiece(MemoryReads& reads) {
  const bool is_first = piece_.empty();
  if (is_first) left_ = std::min(head_.At<uint64_t>(kSize), kMost);
  piece_.resize(std::min<uint64_t>(left_, is_first ? kFirstPiece : kPiece));
  reads.Add(at_, piece_.data(), piece_.size());
  at_ += piece_.size();
  left_ -= piece_.size();
}

std::span<const uint8_t> PythonBytes::NextPiece() {
  if (!std::exchange(is_given_, true)) return piece_;
  if (left_ == 0) return {};
  MemoryReads reads;
  AddPiece(reads);
  if (reads.Make()) return piece_;
  left_ = 0;
  return {};
}

void PythonText::AddHead(MemoryReads& reads, uint64_t object) {
  at_ = object;
  head_.AddTo(reads, object, WordsAt({kTextState}));
}

void PythonText::AddLetters(MemoryReads& reads, const PythonLayout& layout,
                            size_t most, End end) {
  const auto length = head_.At<uint64_t>(kSize);
  const auto state = head_.At<uint32_t>(kTextState);
  const bool is_compact = (state & 0x20) != 0;
  const bool is_ascii = (state & 0x40) != 0;
  const size_t width = (state >> 2) & 7;
  if (!is_compact || (width != 1 && width != 2 && width != 4)) return;
  width_ = width;
  count_ = std::min<uint64_t>({length, most, kMost});
  const uint64_t skipped = end == End::kLast ? length - count_ : 0;
  at_ += (is_ascii ? layout.text.ascii : layout.text.others) + skipped * width;
  reads.Add(at_, letters_.data(), count_ * width);
}

std::string PythonText::InUtf8() const {
  if (width_ == 0) return "?";
  std::string text;
  for (size_t i = 0; i < count_; ++i) {
    uint32_t letter = 0;  // The machine's lowest byte comes first.
    std::memcpy(&letter, letters_.data() + i * width_, width_);
    AppendLetter(letter, text);
  }
  return text;
}

}  // namespace vrampool::client
