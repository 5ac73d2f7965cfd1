// token.h - an object's token as text.
//
//   "vp1" then, in hexadecimal, all numbers little-endian:
//     flags 1 | epoch 8 | object 8 | secret 16 | slab 8, offset 8, size 8
//     | layout | checksum 4
//
// Flags: 1 has a place, 2 has details, 4 is sealed, 8 is ordered, 16 is
// promised, 32 has a layout (base/tensor_layout.h).
//
// The place (slab, offset, size) is there for objects of one buffer, and the
// layout where there is nothing else to tell of that buffer: an opener that
// maps the slab already needs no RPC. The checksum catches what mail and
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
#include "base/tensor_layout.h"
#include "client/session/control_channel.h"

namespace vrampool::client {

struct Token {
  Epoch epoch{};
  ObjectId object{};
  ObjectSecret secret = {};
  std::optional<BufferPlace> place;  // Of the only buffer.
  // That of the buffer, if this is all that there is to tell: no name, no
  // metadata, at most kMaxTokenDimensions. Checked by whoever uses it.
  std::optional<TensorLayout> layout;
  bool has_details = false;  // More than that, which is known by RPC.
  bool is_sealed = false;
  // Shared in the order of a stream: the contents words say when its contents
  // are complete.
  bool is_ordered = false;
  // Shared without a call: whoever is fast asks before the daemon has heard.
  bool is_promised = false;
};

// Of a layout in a token, so that it stays below VRAMPOOL_TOKEN_MAX.
inline constexpr size_t kMaxTokenDimensions = 8;

// Puts what there is to tell of an object into its token, which has its place
// by now: the layouts of its buffers, none or one for each, and whether it has
// a name or metadata.
void SetDetails(const TensorLayout* layouts, size_t count, bool has_more,
                Token& token);

// REQUIRES: a layout only with a place.
std::string FormatToken(const Token& token);

// Nothing when `text` is no token of this version. Blanks around it are fine.
std::optional<Token> ParseToken(std::string_view text);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_TOKEN_H_
