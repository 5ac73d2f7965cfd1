// Lines of Python, read from a memory laid out as that of Python 3.12. The real
// ones are met in tests/python/frames_test.py.

#include "client/session/python_frames.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <deque>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "client/session/python_layout.h"
#include "client/session/python_line_table.h"
#include "client/session/python_reader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vrampool::client {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr uint64_t kCodeType = 0x1234560;
constexpr uint64_t kNowhere = 0x10;  // The first page is never mapped.

// What an interpreter has of the thread that made it.
class FakePython {
 public:
  FakePython() { Put(state_, layout_.state.thread_id, ::pthread_self()); }

  uint64_t state() { return At(state_); }
  const PythonLayout& layout() const { return layout_; }

  template <typename Letter>
  uint64_t Text(const std::basic_string<Letter>& letters, bool is_ascii) {
    const size_t begin = is_ascii ? layout_.text.ascii : layout_.text.others;
    std::string& text = New(begin + letters.size() * sizeof(Letter));
    Put(text, 16, letters.size());
    constexpr uint32_t kCompact = 0x20, kAscii = 0x40;
    Put(text, 32,
        kCompact | (is_ascii ? kAscii : 0) |
            static_cast<uint32_t>(sizeof(Letter)) << 2);
    std::memcpy(text.data() + begin, letters.data(),
                letters.size() * sizeof(Letter));
    return At(text);
  }
  // The table of one unit, without a new line, if nothing is said.
  uint64_t Code(uint64_t file, uint64_t name,
                const std::string& table = {'\x80', '\0'}) {
    std::string& lines = New(32);
    Put(lines, 16, uint64_t{table.size()});
    lines += table;
    std::string& code = New(layout_.code.instructions + 2);
    Put(code, 8, kCodeType);
    Put(code, layout_.code.first_line, int32_t{7});
    Put(code, layout_.code.file, file);
    Put(code, layout_.code.name, name);
    Put(code, layout_.code.lines, At(lines));
    return At(code);
  }
  uint64_t Code(const std::string& name) {
    return Code(Text<char>("a.py", true), Text<char>(name, true));
  }
  // Called by the innermost one so far, at that unit of its instructions.
  void Enter(uint64_t code, char owner = 0, uint64_t unit = 0) {
    std::string& frame = New(layout_.frame.owner + 1);
    Put(frame, layout_.frame.caller, innermost_);
    Put(frame, layout_.frame.code, code);
    Put(frame, layout_.frame.place,
        code + layout_.code.instructions + 2 * unit);
    Put(frame, layout_.frame.owner, owner);
    SetInnermost(At(frame));
  }
  void SetInnermost(uint64_t frame) {
    innermost_ = frame;
    Put(state_, layout_.state.frame, reinterpret_cast<uint64_t>(&innermost_));
  }
  uint64_t innermost() const { return innermost_; }

  std::vector<std::string> Lines(size_t most = 30) {
    return ReadPythonLines(layout_, kCodeType, state(), most);
  }

  template <typename T>
  static void Put(std::string& object, size_t offset, T value) {
    std::memcpy(object.data() + offset, &value, sizeof(value));
  }
  static uint64_t At(std::string& object) {
    return reinterpret_cast<uint64_t>(object.data());
  }
  std::string& New(size_t size) { return memory_.emplace_back(size, '\0'); }

 private:
  const PythonLayout& layout_ = *FindPythonLayout(12);
  std::deque<std::string> memory_;
  std::string& state_ = New(layout_.state.thread_id + 8);
  uint64_t innermost_ = 0;
};

std::optional<int64_t> LineIn(
    std::optional<int64_t> (*line_of)(const PieceSource&, int64_t, int64_t),
    std::string_view table, int64_t index) {
  uint8_t byte = 0;  // A piece has no more.
  const auto pieces = [&]() -> std::span<const uint8_t> {
    if (table.empty()) return {};
    byte = static_cast<uint8_t>(table.front());
    table.remove_prefix(1);
    return {&byte, 1};
  };
  return line_of(pieces, 10, index);
}

TEST(PythonLineTableTest, EveryKindOfEntryIsUnderstood) {
  using namespace std::string_view_literals;
  // Two units on the line; one a line later; 70 lines later; 5 lines back, with
  // columns; none; one that ends in the middle.
  constexpr auto kTable =
      "\x81\x00"
      "\xd8\x01\x02"
      "\xe8\x4c\x02"
      "\xf0\x0b\x41\x01\x02\x03"
      "\xf8"
      "\xe8\x4c"sv;
  std::vector<std::optional<int64_t>> lines;
  for (int64_t i = -1; i < 8; ++i) {
    lines.push_back(LineIn(LineOfLocations, kTable, i));
  }
  EXPECT_THAT(lines, ElementsAre(10, 10, 10, 11, 81, 76, std::nullopt,
                                 std::nullopt, std::nullopt));
}

TEST(PythonLineTableTest, RangesOfPython310AreUnderstood) {
  using namespace std::string_view_literals;
  constexpr auto kTable = "\x04\x00\x02\x05\x02\x80\x02\xfe\x02"sv;
  std::vector<std::optional<int64_t>> lines;
  for (int64_t i = -1; i < 6; ++i) {
    lines.push_back(LineIn(LineOfRanges, kTable, i));
  }
  EXPECT_THAT(lines,
              ElementsAre(10, 10, 10, 15, std::nullopt, 13, std::nullopt));
}

TEST(PythonReaderTest, FramesAreToldWithoutThoseOfC) {
  FakePython python;
  python.Enter(python.Code("outer"));
  python.Enter(kNowhere, 3);
  python.Enter(python.Code("inner"));
  python.Enter(python.Text<char>("no code", true));
  EXPECT_THAT(python.Lines(), ElementsAre("a.py:7 (inner)", "a.py:7 (outer)"));
}

TEST(PythonReaderTest, FramesThatHaveNotBegunAreNotTold) {
  FakePython python;
  constexpr int32_t kFirst = 3;
  constexpr char kGenerator = 1;
  const auto code = [&](const std::string& name) {
    const uint64_t made = python.Code(python.Text<char>("a.py", true),
                                      python.Text<char>(name, true), "\x87");
    std::memcpy(
        reinterpret_cast<char*>(made) + python.layout().code.first_traceable,
        &kFirst, sizeof(kFirst));
    return made;
  };
  python.Enter(code("begun"), 0, kFirst);
  python.Enter(code("made"), 0, kFirst - 1);
  python.Enter(code("generator"), kGenerator, kFirst - 1);
  python.Enter(python.Code("inner"));
  EXPECT_THAT(
      python.Lines(),
      ElementsAre("a.py:7 (inner)", "a.py:7 (generator)", "a.py:7 (begun)"));
  // They take nobody's room.
  EXPECT_THAT(python.Lines(3), SizeIs(3));
}

TEST(PythonReaderTest, OfALongTableOfLinesTheBeginningIsRead) {
  FakePython python;
  const uint64_t text = python.Text<char>("f", true);
  const auto lines_at = [&](uint64_t unit) {
    // Each unit has three bytes and a line of its own.
    std::string table;
    for (uint64_t i = 0; i <= unit; ++i) table += "\xd8\x01\x02";
    python.SetInnermost(0);
    python.Enter(python.Code(text, text, table), 0, unit);
    return python.Lines();
  };
  EXPECT_THAT(lines_at(84), ElementsAre("f:92 (f)"));
  EXPECT_THAT(lines_at(90), ElementsAre("f:98 (f)"));
  EXPECT_THAT(lines_at(43000), ElementsAre("f:43008 (f)"));
  EXPECT_THAT(lines_at(44000), ElementsAre("f:? (f)"));
}

TEST(PythonReaderTest, NamesAreUtf8BoundedAndHarmless) {
  FakePython python;
  python.Enter(
      python.Code(python.Text<char>("\xe9\x9b[2J\n", false),
                  python.Text(std::u16string(u"\u0436\xd800"), false)));
  python.Enter(
      python.Code(python.Text(std::u32string(1 << 20, U'\U0001f40d'), false),
                  python.Text<char>(std::string(1 << 20, 'x'), true)));
  const std::vector<std::string> lines = python.Lines();
  EXPECT_EQ(lines.at(1), "\u00e9 [2J :7 (\u0436?)");
  EXPECT_EQ(lines.at(0).size(), 110 * 4 + 128 + std::strlen(":7 ()"));
}

TEST(PythonReaderTest, WhatCannotBeReadGivesNothing) {
  FakePython python;
  EXPECT_THAT(python.Lines(), IsEmpty());  // In no frame.
  EXPECT_THAT(ReadPythonLines(python.layout(), kCodeType, 0, 30), IsEmpty());
  EXPECT_THAT(ReadPythonLines(python.layout(), kCodeType, kNowhere, 30),
              IsEmpty());
  const uint64_t name = python.Text<char>("name", true);
  for (const uint64_t code : {kNowhere, python.Code(kNowhere, name),
                              python.Code(name, ~uint64_t{0} - 8)}) {
    python.SetInnermost(0);
    python.Enter(code);
    EXPECT_THAT(python.Lines(), IsEmpty());
  }
  python.SetInnermost(kNowhere);
  EXPECT_THAT(python.Lines(), IsEmpty());
  python.SetInnermost(0);
  std::string& endless = python.New(48);
  FakePython::Put(endless, 16, ~uint64_t{0} >> 2);
  FakePython::Put(endless, 32, uint32_t{0x64});
  python.Enter(python.Code(FakePython::At(endless), name));
  EXPECT_THAT(python.Lines(), IsEmpty());
}

TEST(PythonReaderTest, FramesInACircleEnd) {
  FakePython python;
  python.Enter(python.Code("f"));
  auto* const frame = reinterpret_cast<char*>(python.innermost());
  const uint64_t self = python.innermost();
  std::memcpy(frame + python.layout().frame.caller, &self, sizeof(self));
  EXPECT_THAT(python.Lines(), SizeIs(30));
  frame[python.layout().frame.owner] = 3;
  EXPECT_THAT(python.Lines(), IsEmpty());
}

TEST(PythonReaderTest, TheStateOfAnotherThreadIsNotRead) {
  FakePython python;
  python.Enter(python.Code("f"));
  std::vector<std::string> lines = python.Lines();
  EXPECT_THAT(lines, SizeIs(1));
  std::thread([&] { lines = python.Lines(); }).join();
  EXPECT_THAT(lines, IsEmpty());
}

TEST(PythonReaderTest, MemoryIsReadAfterTheMainThreadHasEnded) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::thread([] {
      const std::string path = "/proc/self/task/" + std::to_string(::getpid());
      for (std::string state; state != "Z" && ::getppid() != 1;) {
        std::ifstream(path + "/stat").ignore(1000, ')') >> state;
      }
      ::_exit(CanReadMemory() ? 0 : 1);
    }).detach();
    ::syscall(SYS_exit, 0);  // Of this thread alone.
  }
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// The process-wide one, whose "interpreter" is this program.
class PythonFramesTest : public ::testing::Test {
 protected:
  ~PythonFramesTest() override { EndPythonFrames(); }

  static void* State() { return state_; }
  static Status Begin(std::string_view lines, int minor = 12) {
    return BeginPythonFrames(
        {.minor = minor, .thread_state = &State, .code_type = kCodeType},
        lines);
  }
  static void Be(FakePython* python) {
    state_ =
        python == nullptr ? nullptr : reinterpret_cast<void*>(python->state());
  }
  static std::vector<CallStack::Frame> FramesOf(size_t of_libraries) {
    CallStack stack;
    for (uint64_t i = 1; i <= of_libraries; ++i) {
      stack.frames.push_back({.address = i});
    }
    stack.frames.push_back({.address = reinterpret_cast<uint64_t>(&State)});
    stack.frames.push_back({.address = 99});
    AddPythonFrames(stack);
    return stack.frames;
  }

 private:
  static thread_local void* state_;
};

thread_local void* PythonFramesTest::state_ = nullptr;

TEST_F(PythonFramesTest, OnlyALayoutThatTellsTheSameIsUsed) {
  FakePython python;
  python.Enter(python.Code("f"));
  Be(&python);
  EXPECT_EQ(Begin("a.py:7 (f)", 9).code(), VRAMPOOL_VERSION_MISMATCH);
  EXPECT_EQ(Begin("a.py:8 (f)").code(), VRAMPOOL_VERSION_MISMATCH);
  EXPECT_EQ(Begin("a.py:7 (f)", 13).code(), VRAMPOOL_VERSION_MISMATCH);
  EXPECT_EQ(Begin("").code(), VRAMPOOL_VERSION_MISMATCH);
  EXPECT_EQ(Begin("a.py:7 (f)\nb.py:1 (g)").code(), VRAMPOOL_VERSION_MISMATCH);
  EXPECT_THAT(Begin("a.py:8 (f)\nb.py:1 (g)").message(),
              EndsWith("'a.py:7 (f)' was read, and it is 'a.py:8 (f)'"));
  EXPECT_THAT(FramesOf(2), SizeIs(4));
  EXPECT_TRUE(Begin("a.py:7 (f)").ok());
  EXPECT_THAT(FramesOf(2), SizeIs(3));
}

TEST_F(PythonFramesTest, WhatIsAroundTheProofMakesNoDifference) {
  FakePython python;
  python.Enter(python.Code("around"));
  python.Enter(python.Code("f"));
  Be(&python);
  EXPECT_EQ(Begin("a.py:7 (f)\na.py:7 (aroun").code(),
            VRAMPOOL_VERSION_MISMATCH);
  EXPECT_TRUE(Begin("a.py:7 (f)").ok());
  EXPECT_TRUE(Begin("a.py:7 (f)\na.py:7 (around)").ok());
}

TEST_F(PythonFramesTest, LinesTakeThePlaceOfTheInterpreterAndItsCallers) {
  FakePython python;
  python.Enter(python.Code("f"));
  Be(&python);
  ASSERT_TRUE(Begin("a.py:7 (f)").ok());
  using Frame = CallStack::Frame;
  EXPECT_THAT(FramesOf(2),
              ElementsAre(Frame{1, ""}, Frame{2, ""}, Frame{0, "a.py:7 (f)"}));
  for (int i = 0; i < 50; ++i) python.Enter(python.Code("f"));
  const auto frames = FramesOf(30);
  EXPECT_THAT(frames, SizeIs(31));
  EXPECT_EQ(frames.at(15), (Frame{16, ""}));
  EXPECT_EQ(frames.at(16), (Frame{0, "a.py:7 (f)"}));
  // A thread that Python does not know keeps what it has.
  Be(nullptr);
  EXPECT_THAT(FramesOf(2), SizeIs(4));
  Be(&python);
  EndPythonFrames();
  EXPECT_THAT(FramesOf(2), SizeIs(4));
}

TEST_F(PythonFramesTest, ThreadsReadWhileItBeginsAndEnds) {
  std::atomic<bool> is_over{false};
  std::atomic<int> read{0};  // Stacks with lines.
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      FakePython python;
      const std::string name = "thread" + std::to_string(i);
      for (int j = 0; j < 3; ++j) python.Enter(python.Code(name));
      Be(&python);
      while (!is_over) {
        std::vector<std::string> lines;
        for (const auto& frame : FramesOf(1)) {
          if (!frame.text.empty()) lines.push_back(frame.text);
        }
        EXPECT_THAT(lines, Each(EndsWith("(" + name + ")")));
        if (!lines.empty()) ++read;
      }
    });
  }
  FakePython python;
  python.Enter(python.Code("f"));
  Be(&python);
  for (int i = 0; i < 2000 || (read == 0 && i < 1000000); ++i) {
    EXPECT_TRUE(Begin("a.py:7 (f)").ok());
    EndPythonFrames();
  }
  is_over = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(read, 0);
}

}  // namespace
}  // namespace vrampool::client
