#include "client/cli/flame_graph.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/bytes.h"
#include "client/cli/call_sites.h"
#include "client/cli/session_text.h"
#include "client/cli/text.h"

namespace vrampool::cli {
namespace {

constexpr double kWidth = 1200;
constexpr double kNarrowest = 1.0 / 3;
constexpr int kRow = 18;
constexpr int kTop = 34;
constexpr double kLetter = 7.2;  // Of the font, at the most.

struct Node {
  std::string title;  // What the mouse shows; empty: the name.
  uint64_t blocks = 0;
  Bytes bytes;
  std::map<std::string, std::unique_ptr<Node>> children;  // By name.

  Node& Child(const std::string& name) {
    std::unique_ptr<Node>& child = children[name];
    if (child == nullptr) child = std::make_unique<Node>();
    return *child;
  }
  void Count(uint64_t more_blocks, Bytes more_bytes) {
    blocks += more_blocks;
    bytes = SaturatingAdd(bytes, more_bytes);
  }
};

std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : Printable(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

// The first `most` code points of `text`, or "" if that says too little.
std::string Cut(const std::string& text, size_t most) {
  if (DisplayWidth(text) <= most) return text;
  if (most < 4) return "";
  std::string out;
  size_t width = 0;
  for (const char c : text) {
    const bool begins = (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    if (begins && ++width > most - 2) break;
    out += c;
  }
  return out + "..";
}

// Warm, and always the same for the same name.
std::string Colour(std::string_view name) {
  uint32_t hash = 2166136261u;
  for (const char c : name) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  }
  return absl::StrCat("hsl(", 10 + hash % 45, ",", 60 + hash / 64 % 30, "%,",
                      62 + hash / 4096 % 14, "%)");
}

std::string Fixed(double value) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.2f", value);
  return text.data();
}

class Drawing {
 public:
  explicit Drawing(Bytes all) : all_(static_cast<double>(all.count())) {}

  // Draws `node` at `x`, and what is below it.
  void Draw(const std::string& name, const Node& node, double x, int depth) {
    const double width =
        all_ > 0 ? kWidth * static_cast<double>(node.bytes.count()) / all_ : 0;
    if (width < kNarrowest) return;
    deepest_ = std::max(deepest_, depth);
    const int y = kTop + depth * kRow;
    const std::string& title = node.title.empty() ? name : node.title;
    absl::StrAppend(&body_, "<g><title>", Escaped(title), ": ",
                    FormatBytes(node.bytes), " in ", node.blocks,
                    " blocks</title><rect x=\"", Fixed(x), "\" y=\"", y,
                    "\" width=\"", Fixed(width), "\" height=\"", kRow - 1,
                    "\" fill=\"", Colour(name), "\"/>");
    const std::string shown =
        Cut(Printable(name), static_cast<size_t>(width / kLetter));
    if (!shown.empty()) {
      absl::StrAppend(&body_, "<text x=\"", Fixed(x + 3), "\" y=\"", y + 13,
                      "\">", Escaped(shown), "</text>");
    }
    absl::StrAppend(&body_, "</g>\n");
    std::vector<const std::pair<const std::string, std::unique_ptr<Node>>*>
        below;
    for (const auto& child : node.children) below.push_back(&child);
    std::stable_sort(below.begin(), below.end(), [](auto* a, auto* b) {
      return a->second->bytes > b->second->bytes;
    });
    for (const auto* child : below) {
      Draw(child->first, *child->second, x, depth + 1);
      x += kWidth * static_cast<double>(child->second->bytes.count()) / all_;
    }
  }

  std::string Take(std::string_view heading) const {
    const int height = kTop + (deepest_ + 1) * kRow + 10;
    return absl::StrCat(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"",
        static_cast<int>(kWidth), "\" height=\"", height, "\" viewBox=\"0 0 ",
        static_cast<int>(kWidth), " ", height,
        "\" font-family=\"monospace\" font-size=\"12\">\n"
        "<rect width=\"100%\" height=\"100%\" fill=\"#fffdf7\"/>\n"
        "<text x=\"3\" y=\"20\" font-size=\"14\">",
        Escaped(heading), "</text>\n", body_, "</svg>\n");
  }

 private:
  const double all_;
  int deepest_ = 0;
  std::string body_;
};

// A part of the blocks of a group.
struct Share {
  uint64_t blocks = 0;
  Bytes bytes;
  std::vector<std::string> path;  // Below the tag.
};

uint64_t PartOf(uint64_t whole, double part) {
  const double product = static_cast<double>(whole) * part;
  return product < static_cast<double>(whole) ? static_cast<uint64_t>(product)
                                              : whole;
}

// The group's blocks by the stacks that were recorded of some of them.
std::vector<Share> SharesOf(const v1::BlockGroup& group,
                            const v1::LeakReport& report, const Sites& sites) {
  std::vector<const v1::StackGroup*> stacks;
  double estimated = 0;
  for (const v1::StackGroup& stack : report.stacks()) {
    if (stack.tag() != group.tag() || stack.frames().empty() ||
        stack.frames(0).address() != group.call_site()) {
      continue;
    }
    stacks.push_back(&stack);
    estimated += static_cast<double>(stack.estimated_bytes());
  }
  std::vector<Share> shares;
  uint64_t blocks = group.blocks();
  uint64_t bytes = group.bytes();
  for (const v1::StackGroup* const stack : stacks) {
    std::vector<std::string> lines = sites.Lines(*stack);
    std::reverse(lines.begin(), lines.end());
    shares.push_back(
        {.blocks = blocks, .bytes = Bytes(bytes), .path = std::move(lines)});
    if (stack == stacks.back()) break;  // Has what is left.
    const double part = static_cast<double>(stack->estimated_bytes()) /
                        std::max(estimated, 1.0);
    shares.back().blocks = std::min(blocks, PartOf(group.blocks(), part));
    shares.back().bytes = Bytes(std::min(bytes, PartOf(group.bytes(), part)));
    blocks -= shares.back().blocks;
    bytes -= shares.back().bytes.count();
  }
  if (shares.empty()) {
    shares.push_back({.blocks = blocks, .bytes = Bytes(bytes), .path = {}});
    if (group.call_site() != 0) {
      shares.back().path.push_back(sites.Text(group.call_site()));
    }
  }
  return shares;
}

void AddReport(const v1::LeakReport& report, const Sites& sites, Node& root) {
  const v1::SessionInfo& session = report.session();
  const auto add = [&](uint64_t blocks, Bytes bytes,
                       const std::vector<std::string>& path) {
    Node* at = &root;
    at->Count(blocks, bytes);
    for (size_t i = 0; i < path.size(); ++i) {
      at = &at->Child(path[i]);
      at->Count(blocks, bytes);
      if (i == 1) at->title = SessionText(session);
    }
  };
  const std::string owner = absl::StrCat(
      "session ", session.session_id(),
      session.name().empty() ? "" : absl::StrCat(" ", session.name()),
      report.session_live() ? "" : absl::StrCat(", ", report.end_cause()));
  for (const v1::BlockGroup& group : report.groups()) {
    for (const Share& share : SharesOf(group, report, sites)) {
      std::vector<std::string> path = {
          session.tenant(), owner,
          group.tag().empty() ? "(no tag)" : group.tag()};
      path.insert(path.end(), share.path.begin(), share.path.end());
      add(share.blocks, share.bytes, path);
    }
  }
  if (report.has_ungrouped()) {
    add(report.ungrouped().blocks(), Bytes(report.ungrouped().bytes()),
        {session.tenant(), owner, "(other)"});
  }
}

}  // namespace

std::string FlameGraph(const v1::ListLeaksResponse& leaks,
                       const Options& options) {
  Node root;
  for (const v1::LeakReport& report : leaks.reports()) {
    AddReport(report, SitesOf(report, options), root);
  }
  Drawing drawing(root.bytes);
  drawing.Draw("all", root, 0, 0);
  return drawing.Take(absl::StrCat(FormatBytes(root.bytes), " in ", root.blocks,
                                   " blocks, by tenant, session, tag and call "
                                   "site"));
}

}  // namespace vrampool::cli
