// json.h - a message as JSON, by protobuf's own printer.
//
// Field names as in the .proto file, fields with default values included, so a
// script sees the same keys in every reply. 64-bit numbers are strings, as
// protobuf's JSON mapping has them (JSON's own numbers lose bits beyond 2^53).

#ifndef VRAMPOOL_CLIENT_CLI_JSON_H_
#define VRAMPOOL_CLIENT_CLI_JSON_H_

#include <ostream>

#include "absl/status/status.h"
#include "google/protobuf/message.h"

namespace vrampool::cli {

absl::Status PrintJson(const google::protobuf::Message& message,
                       std::ostream& out);

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_JSON_H_
