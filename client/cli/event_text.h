// event_text.h - events as lines, and the names of their kinds.
//
// A kind is called as in admin.proto, in small letters with dashes:
// "lease-granted".

#ifndef VRAMPOOL_CLIENT_CLI_EVENT_TEXT_H_
#define VRAMPOOL_CLIENT_CLI_EVENT_TEXT_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vrampool/v1/admin.pb.h"

namespace vrampool::cli {

std::string EventKindName(v1::Event::Kind kind);
std::optional<v1::Event::Kind> ParseEventKind(std::string_view name);
// All that can be asked for.
std::vector<std::string> EventKindNames();

// One line without its end: time (UTC), kind, and what the event has.
std::string EventText(const v1::Event& event);

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_EVENT_TEXT_H_
