#include "client/cli/json.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "google/protobuf/util/json_util.h"

namespace vrampool::cli {
namespace {

absl::StatusOr<std::string> ToJson(const google::protobuf::Message& message,
                                   bool has_lines) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = has_lines;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string text;
  const auto status =
      google::protobuf::util::MessageToJsonString(message, &text, options);
  if (!status.ok()) {
    return absl::InternalError("printing the reply as JSON: " +
                               std::string(status.message()));
  }
  if (text.empty() || text.back() != '\n') text += '\n';
  return text;
}

}  // namespace

absl::StatusOr<std::string> JsonText(const google::protobuf::Message& message) {
  return ToJson(message, /*has_lines=*/true);
}

absl::StatusOr<std::string> JsonLine(const google::protobuf::Message& message) {
  return ToJson(message, /*has_lines=*/false);
}

absl::Status PrintJson(const google::protobuf::Message& message,
                       std::ostream& out) {
  VRAMPOOL_ASSIGN_OR_RETURN(const std::string text, JsonText(message));
  out << text;
  return absl::OkStatus();
}

absl::Status ParseJson(std::string_view text, std::string_view from,
                       google::protobuf::Message* message) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  const auto status = google::protobuf::util::JsonStringToMessage(
      {text.data(), text.size()}, message, options);
  if (status.ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(absl::string_view(from.data(), from.size()),
                   " is no such JSON: ", std::string(status.message())));
}

}  // namespace vrampool::cli
