#include "client/cli/stack_list.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/bytes.h"
#include "client/cli/session_text.h"
#include "client/cli/text.h"

namespace vrampool::cli {
namespace {

std::string Heading(const v1::StackGroup& stack) {
  std::string text = "  ";
  const bool is_estimate = stack.estimated_blocks() != stack.sampled_blocks();
  if (is_estimate) text += "about ";
  absl::StrAppend(&text, FormatBytes(Bytes(stack.estimated_bytes())), " in ",
                  stack.estimated_blocks(), " blocks");
  if (is_estimate) {
    absl::StrAppend(&text, " (", stack.sampled_blocks(), " of them seen)");
  }
  if (!stack.tag().empty()) {
    absl::StrAppend(&text, ", tag ", Printable(stack.tag()));
  }
  return text;
}

}  // namespace

void PrintStacks(const v1::LeakReport& leak, const Sites& sites,
                 const Context& context) {
  const int shown = std::min(leak.stacks_size(),
                             static_cast<int>(context.options.max_stacks));
  if (shown == 0) return;
  context.out << "\n"
              << SessionText(leak.session())
              << ", where its blocks were allocated:\n";
  for (int i = 0; i < shown; ++i) {
    context.out << Heading(leak.stacks(i)) << '\n';
    for (const std::string& line : sites.Lines(leak.stacks(i))) {
      context.out << "    " << Printable(line) << '\n';
    }
  }
  const auto more = static_cast<uint64_t>(leak.stacks_size() - shown) +
                    leak.stacks_left_out();
  if (more > 0) {
    context.out << "  and from " << more << " more stacks (--stacks)\n";
  }
}

}  // namespace vrampool::cli
