// token.h - an object's token as text.
//
//   "vp1" then, in hexadecimal, all numbers little-endian:
//     flags 1 | epoch 8 | object 8 | secret 16 | slab 8, offset 8, size 8
//     | checksum 4
//
// Flags: 1 has a place, 2 has details, 4 is sealed, 16 is promised.
//
// The place (slab, offset, size) is there for objects of one buffer: an opener
// that maps the slab already needs no RPC. The checksum catches what mail and
// terminals do to long words; it is no proof of anything. The secret is what
// the daemon checks.
//
// Threads: functions of their arguments.

#ifndef VRAMPOOL_CLIENT_SESSION_TOKEN_H_
#define VRAMPOOL_CLIENT_SESSION_TOKEN_H_

#include <optional>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "client/session/control_channel.h"

namespace vrampool::client {

struct Token {
  Epoch epoch{};
  ObjectId object{};
  ObjectSecret secret = {};
  std::optional<BufferPlace> place;  // Of the only buffer.
  bool has_details = false;  // A layout, metadata or a name: known by RPC.
  bool is_sealed = false;
  // Shared in the order of a stream: the contents words say when its contents
  // are complete.
  bool is_ordered = false;
  // Shared without a call: whoever is fast asks before the daemon has heard.
  bool is_promised = false;
};

std::string FormatToken(const Token& token);

// Nothing when `text` is no token of this version. Blanks around it are fine.
std::optional<Token> ParseToken(std::string_view text);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_TOKEN_H_
