#include "client/cli/json.h"

#include <string>

#include "google/protobuf/util/json_util.h"

namespace vrampool::cli {

absl::Status PrintJson(const google::protobuf::Message& message,
                       std::ostream& out) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string text;
  const auto status =
      google::protobuf::util::MessageToJsonString(message, &text, options);
  if (!status.ok()) {
    return absl::InternalError("printing the reply as JSON: " +
                               std::string(status.message()));
  }
  out << text;
  if (text.empty() || text.back() != '\n') out << '\n';
  return absl::OkStatus();
}

}  // namespace vrampool::cli
