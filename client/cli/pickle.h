// pickle.h - writes values as Python's pickle, protocol 2.
//
// Only what a snapshot for PyTorch's memory_viz page needs: dictionaries,
// lists, texts, integers and booleans, each list as often as wanted. Both
// Python and that page (which reads a part of pickle's operations by itself)
// read what this writes.
//
//   Pickle pickle;
//   pickle.BeginDict();
//   pickle.Key("size").Number(7);
//   pickle.EndDict();
//   std::string bytes = pickle.Take();
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_CLIENT_CLI_PICKLE_H_
#define VRAMPOOL_CLIENT_CLI_PICKLE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vrampool::cli {

class Pickle {
 public:
  Pickle();

  void BeginDict();
  void EndDict();
  // REQUIRES: within a dictionary; one value follows.
  Pickle& Key(std::string_view name);

  void BeginList();
  void EndList();

  // A value, within a list or after a key. A text is UTF-8; bytes that are none
  // are replaced.
  void Number(int64_t value);
  void Text(std::string_view value);
  void Bool(bool value);

  // The list or dictionary that has just ended can be had again.
  uint32_t Remember();
  // As a value: the same object.
  void Again(uint32_t remembered);

  // REQUIRES: one value was written and every Begin has its End.
  std::string Take();

 private:
  enum class Open { kDict, kList };
  struct Level {
    Open kind;
    uint32_t pending = 0;  // Values since the last mark.
  };
  void BeforeValue();
  void Close(char operation);

  std::string bytes_;
  std::vector<Level> levels_;
  uint32_t remembered_ = 0;
};

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_PICKLE_H_
