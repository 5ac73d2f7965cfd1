// python_objects.h - objects of CPython, as they are read from its memory.
//
// Memory is read through the kernel (process_vm_readv of this process): where
// an address is wrong, that is an error and no crash. Pieces are read together,
// as each question costs more than a piece: an object's head is added to what
// is to be read, and when it was read, what the head tells of.
//
// What is read may be anything, and is bounded: letters of a text, bytes.
//
// Units: offsets and sizes in bytes. Threads: not thread-safe.

#ifndef VRAMPOOL_CLIENT_SESSION_PYTHON_OBJECTS_H_
#define VRAMPOOL_CLIENT_SESSION_PYTHON_OBJECTS_H_

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "client/session/python_layout.h"

namespace vrampool::client {

class MemoryReads {
 public:
  // What is read into stays where it is until Make().
  void Add(uint64_t address, void* to, size_t size);
  // False: not all of them can be read. REQUIRES: at most 1024 of them.
  bool Make();

 private:
  std::vector<iovec> here_;
  std::vector<iovec> there_;
  size_t size_ = 0;
};

bool ReadMemory(uint64_t address, void* to, size_t size);

// The first bytes of an object, as they were when they were read.
template <size_t kBytes>
class Picture {
 public:
  void AddTo(MemoryReads& reads, uint64_t address, size_t size) {
    reads.Add(address, bytes_.data(), std::min(size, kBytes));
  }
  template <typename T>
  T At(size_t offset) const {
    T value;
    std::memcpy(&value, bytes_.data() + offset, sizeof(value));
    return value;
  }

 private:
  std::array<char, kBytes> bytes_ = {};
};

// A `bytes`, of which the next piece is read when it is wanted: a small one at
// first, which is mostly enough.
class PythonBytes {
 public:
  static constexpr uint64_t kMost = uint64_t{1} << 17;  // The rest is not.

  void AddHead(MemoryReads& reads, uint64_t object);
  void AddPiece(MemoryReads& reads);
  // The one that was added and read first; empty at the end.
  std::span<const uint8_t> NextPiece();

 private:
  Picture<24> head_;
  uint64_t at_ = 0;
  uint64_t left_ = 0;
  std::vector<uint8_t> piece_;  // Empty: none was read yet.
  bool is_given_ = false;
};

// A `str`, of which some letters are read.
class PythonText {
 public:
  static constexpr size_t kMost = 128;
  enum class End { kFirst, kLast };

  void AddHead(MemoryReads& reads, uint64_t object);
  void AddLetters(MemoryReads& reads, const PythonLayout& layout, size_t most,
                  End end);
  // Of what was read, without control characters; "?" of what is no text.
  std::string InUtf8() const;

 private:
  Picture<40> head_;
  uint64_t at_ = 0;
  size_t width_ = 0;  // Of a letter; zero: it is no text.
  size_t count_ = 0;
  std::array<char, 4 * kMost> letters_;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_PYTHON_OBJECTS_H_
