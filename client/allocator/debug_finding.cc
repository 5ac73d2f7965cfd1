#include "client/allocator/debug_finding.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string_view>
#include <vector>

#include "client/session/call_site.h"

namespace vrampool::client {
namespace {

using Kind = DebugFinding::Kind;

// Names of templates may be pages long, and an error's text holds 1023 bytes.
constexpr size_t kMaxSite = 160;

std::string Hex(uint64_t value) {
  char text[20];
  std::snprintf(text, sizeof(text), "0x%llx",
                static_cast<unsigned long long>(value));
  return text;
}

std::string TextOf(const DebugCall& call) {
  std::string site =
      call.place.empty() ? CallSiteText(call.call_site) : call.place;
  if (site.size() > kMaxSite) site = site.substr(0, kMaxSite - 3) + "...";
  return site + ", thread " + std::to_string(call.thread) + ", stream " +
         Hex(call.stream);
}

std::string TextOf(const DebugRecord& block) {
  return "the block of " + std::to_string(block.bytes) + " bytes at " +
         Hex(block.address) + " (tag " +
         (block.tag.empty() ? "-" : block.tag.substr(0, 55)) + ")";
}

std::string AboutBlock(const DebugFinding& f) {
  return f.block ? TextOf(*f.block) : "a block that is not known";
}

// "100 bytes into the block of ..."
std::string Within(const DebugFinding& f) {
  return std::to_string(f.pointer - f.block->address) + " bytes into " +
         TextOf(*f.block) + (f.block->freed ? ", which was freed" : "");
}

std::string Damage(const DebugFinding& f) {
  return std::to_string(f.bad_bytes) + (f.bad_bytes == 1 ? " byte" : " bytes") +
         " changed, the first at " + Hex(f.block->address + f.first_bad) +
         ", " + std::to_string(f.first_bad) + " bytes from its beginning";
}

// What happened, in one clause.
std::string HeadOf(const DebugFinding& f) {
  const std::string pointer = Hex(f.pointer);
  switch (f.kind) {
    case Kind::kDoubleFree:
      return "double free of " + AboutBlock(f);
    case Kind::kWrongSize:
      return "free with a wrong size: " + std::to_string(f.given_bytes) +
             " bytes for " + AboutBlock(f);
    case Kind::kInterior:
      return "free of a pointer that is no beginning of a block: " + pointer +
             " lies " + Within(f);
    case Kind::kForeign:
      return "free of a foreign pointer: " + pointer +
             " was never given out by this client, or long ago";
    case Kind::kOtherClient:
      return "free through the wrong client: " + pointer + " lies " +
             Within(f) + " of another client of this process";
    case Kind::kUseAfterFree:
      return f.doing + " of freed memory: " + pointer + " lies " + Within(f);
    case Kind::kNoBlock:
      return f.doing + " of a foreign pointer: " + pointer +
             " lies in no block of this client" +
             (f.block ? ", but " + Within(f) : "");
    case Kind::kWrittenBehind:
      return "write past the end of " + AboutBlock(f) + ": " + Damage(f);
    case Kind::kWrittenAfter:
      return "write after the free of " + AboutBlock(f) + ": " + Damage(f);
    case Kind::kClosedHandle:
      return "use of a closed " + f.what + " at " + pointer;
    case Kind::kEndedObject:
      return "open of an object that has ended, by its token: " + f.what +
             " was closed by this process";
    case Kind::kAsked:
      return f.block ? pointer + " lies " + Within(f)
                     : pointer + " lies in no block that is known";
  }
  return "a finding of an unknown kind";
}

struct Line {
  std::string_view what;
  std::string text;
};

std::vector<Line> LinesOf(const DebugFinding& f) {
  std::vector<Line> lines;
  if (f.call) lines.push_back({"this call", TextOf(*f.call)});
  if (f.closed) lines.push_back({"closed at", TextOf(*f.closed)});
  if (!f.block) return lines;
  if (f.block->freed) {
    const bool is_second = f.kind == Kind::kDoubleFree;
    lines.push_back(
        {is_second ? "freed first" : "freed at", TextOf(*f.block->freed)});
  }
  lines.push_back({"allocated at", f.block->allocated
                                       ? TextOf(*f.block->allocated)
                                       : "a place that was not kept"});
  return lines;
}

void Write(std::string_view text) {
  (void)!::write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace

std::string SentenceOf(const DebugFinding& finding) {
  std::string text = HeadOf(finding);
  for (const Line& line : LinesOf(finding)) {
    text.append("; ").append(line.what).append(": ").append(line.text);
  }
  return text;
}

std::string ReportOf(const DebugFinding& finding) {
  std::string text = "vrampool: " + HeadOf(finding) + "\n";
  for (const Line& line : LinesOf(finding)) {
    std::string what(line.what);
    what.resize(12, ' ');
    text.append("  ").append(what).append("  ").append(line.text).append("\n");
  }
  return text;
}

void Tell(const DebugFinding& finding, AfterReport after) noexcept {
  try {
    Write(ReportOf(finding));
  } catch (const std::exception&) {
    Write("vrampool: memory was misused, and there is none to say how\n");
  }
  if (after == AfterReport::kAbort) std::abort();
}

void TellUnwatched(const std::string& why) {
  Write(
      "vrampool: writes past the end and after the free are not looked for: " +
      why + "\n");
}

}  // namespace vrampool::client
