#include "client/session/python_layout.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace vrampool::client {
namespace {

constexpr size_t kNone = PythonLayout::kNone;

// From the headers of 3.10.13, 3.11.7, 3.12.1 and 3.13.0, for 64 bits.
constexpr std::array kLayouts = {
    PythonLayout{
        .minor = 10,
        .state = {.thread_id = 176, .frame = 24, .indirect = kNone},
        .frame = {.caller = 24, .code = 32, .place = 96, .owner = kNone},
        .code = {.first_line = 40,
                 .file = 104,
                 .name = 112,
                 .lines = 120,
                 .first_traceable = kNone,
                 .instructions = kNone},
        .text = {.ascii = 48, .others = 72}},
    PythonLayout{.minor = 11,
                 .state = {.thread_id = 152, .frame = 56, .indirect = 8},
                 .frame = {.caller = 48, .code = 32, .place = 56, .owner = 69},
                 .code = {.first_line = 72,
                          .file = 112,
                          .name = 120,
                          .lines = 136,
                          .first_traceable = 168,
                          .instructions = 184},
                 .text = {.ascii = 48, .others = 72}},
    PythonLayout{.minor = 12,
                 .state = {.thread_id = 136, .frame = 56, .indirect = 0},
                 .frame = {.caller = 8, .code = 0, .place = 56, .owner = 70},
                 .code = {.first_line = 68,
                          .file = 112,
                          .name = 120,
                          .lines = 136,
                          .first_traceable = 176,
                          .instructions = 192},
                 .text = {.ascii = 40, .others = 56}},
    PythonLayout{.minor = 13,
                 .state = {.thread_id = 152, .frame = 72, .indirect = kNone},
                 .frame = {.caller = 8, .code = 0, .place = 56, .owner = 70},
                 .code = {.first_line = 68,
                          .file = 112,
                          .name = 120,
                          .lines = 136,
                          .first_traceable = 184,
                          .instructions = 200},
                 .text = {.ascii = 40, .others = 56}},
};

static_assert(std::ranges::all_of(kLayouts, [](const PythonLayout& one) {
  return one.BytesOfState() <= PythonLayout::kMostOfState &&
         one.BytesOfFrame() <= PythonLayout::kMostOfFrame &&
         one.BytesOfCode() <= PythonLayout::kMostOfCode;
}));

}  // namespace

const PythonLayout* FindPythonLayout(int minor) {
  const auto* const found =
      std::find_if(kLayouts.begin(), kLayouts.end(),
                   [&](const PythonLayout& one) { return one.minor == minor; });
  return found == kLayouts.end() ? nullptr : &*found;
}

}  // namespace vrampool::client
