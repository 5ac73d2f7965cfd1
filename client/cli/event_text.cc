#include "client/cli/event_text.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "client/cli/text.h"

namespace vrampool::cli {
namespace {

constexpr std::string_view kPrefix = "KIND_";

void Append(std::string_view name, std::string_view value, std::string* text) {
  absl::StrAppend(text, " ", absl::string_view(name.data(), name.size()), "=",
                  absl::string_view(value.data(), value.size()));
}

void AppendNumber(std::string_view name, uint64_t value, std::string* text) {
  if (value != 0) Append(name, std::to_string(value), text);
}

}  // namespace

std::string EventKindName(v1::Event::Kind kind) {
  std::string name = absl::AsciiStrToLower(v1::Event::Kind_Name(kind));
  if (name.empty()) return absl::StrCat("kind-", static_cast<int>(kind));
  name.erase(0, kPrefix.size());
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

std::optional<v1::Event::Kind> ParseEventKind(std::string_view name) {
  std::string value = absl::StrCat(
      absl::string_view(kPrefix.data(), kPrefix.size()),
      absl::AsciiStrToUpper(absl::string_view(name.data(), name.size())));
  std::replace(value.begin(), value.end(), '-', '_');
  v1::Event::Kind kind;
  if (!v1::Event::Kind_Parse(value, &kind)) return std::nullopt;
  if (kind == v1::Event::KIND_UNSPECIFIED || kind == v1::Event::KIND_WATCHING) {
    return std::nullopt;
  }
  return kind;
}

std::vector<std::string> EventKindNames() {
  std::vector<std::string> names;
  for (int value = v1::Event::Kind_MIN; value <= v1::Event::Kind_MAX; ++value) {
    if (!v1::Event::Kind_IsValid(value)) continue;
    std::string name = EventKindName(static_cast<v1::Event::Kind>(value));
    if (ParseEventKind(name).has_value()) names.push_back(std::move(name));
  }
  return names;
}

std::string EventText(const v1::Event& event) {
  std::string text;
  if (event.dropped() > 0) {
    text = absl::StrCat("(", event.dropped(), " events were missed)\n");
  }
  absl::StrAppend(&text,
                  absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ",
                                   absl::FromUnixNanos(event.time_unix_ns()),
                                   absl::UTCTimeZone()),
                  " ", EventKindName(event.kind()));
  if (!event.tenant().empty()) {
    Append("tenant", Printable(event.tenant()), &text);
  }
  if (!event.alert().empty()) {
    Append("alert", Printable(event.alert()), &text);
  }
  AppendNumber("session", event.session_id(), &text);
  AppendNumber("pid", event.pid(), &text);
  AppendNumber("lease", event.lease_id(), &text);
  AppendNumber("slab", event.slab_id(), &text);
  if (event.object_id() != 0) {
    Append("object", FormatObjectId(event.object_id()), &text);
  }
  if (event.bytes() != 0) {
    Append("size", FormatBytes(Bytes(event.bytes())), &text);
  }
  if (!event.reason().empty()) {
    Append("reason", Printable(event.reason()), &text);
  }
  if (!event.text().empty()) {
    absl::StrAppend(&text, " \"", Printable(event.text()), "\"");
  }
  return text;
}

}  // namespace vrampool::cli
