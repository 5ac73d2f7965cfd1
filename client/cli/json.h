// json.h - a message as JSON, by protobuf's own printer.
//
// Field names as in the .proto file, fields with default values included, so a
// script sees the same keys in every reply. 64-bit numbers are strings, as
// protobuf's JSON mapping has them (JSON's own numbers lose bits beyond 2^53).

#ifndef VRAMPOOL_CLIENT_CLI_JSON_H_
#define VRAMPOOL_CLIENT_CLI_JSON_H_

#include <ostream>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/message.h"

namespace vrampool::cli {

// Ends with a line's end.
absl::StatusOr<std::string> JsonText(const google::protobuf::Message& message);
// Without any other line's end: one message of a stream.
absl::StatusOr<std::string> JsonLine(const google::protobuf::Message& message);
absl::Status PrintJson(const google::protobuf::Message& message,
                       std::ostream& out);

// Reads what JsonText() wrote, also by a later version: keys that are not known
// here are passed over. InvalidArgument names `from` and what is wrong.
absl::Status ParseJson(std::string_view text, std::string_view from,
                       google::protobuf::Message* message);

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_JSON_H_
