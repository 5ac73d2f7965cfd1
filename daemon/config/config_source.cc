#include "daemon/config/config_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "base/unique_fd.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/io/tokenizer.h"

namespace vrampool {
namespace {

using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::TextFormat;

constexpr size_t kMaxFileBytes = 1 << 20;
// The messages are two deep; a bound keeps hostile nesting off the stack.
constexpr int kMaxNesting = 8;

absl::string_view View(std::string_view text) {
  return absl::string_view(text.data(), text.size());
}

// Collects the parser's complaints as "FILE:LINE:COLUMN: what".
class Complaints final : public google::protobuf::io::ErrorCollector {
 public:
  explicit Complaints(std::string_view file) : file_(file) {}

  // Lines and columns count from 0 here, from -1 for the file as a whole.
  void AddError(int line, int column, const std::string& message) override {
    lines_.push_back(
        absl::StrCat(file_, ":", line + 1, ":", column + 1, ": ", message));
  }

  std::string Text() const { return absl::StrJoin(lines_, "\n"); }

 private:
  const std::string file_;
  std::vector<std::string> lines_;
};

const FieldDescriptor* FieldOf(const google::protobuf::Descriptor* message,
                               std::string_view name) {
  return message->FindFieldByName(std::string(name));
}

}  // namespace

absl::Status ConfigSource::ReadText(std::string_view text,
                                    std::string_view file) {
  file_ = std::string(file);
  flags_.clear();
  places_ = std::make_unique<TextFormat::ParseInfoTree>();
  Complaints complaints(file);
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&complaints);
  parser.WriteLocationsTo(places_.get());
  parser.SetRecursionLimit(kMaxNesting);
  if (!parser.ParseFromString(std::string(text), &proto_)) {
    proto_.Clear();
    return absl::InvalidArgumentError(complaints.Text());
  }
  return absl::OkStatus();
}

absl::Status ConfigSource::ReadFile(const std::string& path) {
  // Not blocking: a FIFO in the file's place must not hang the daemon.
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.is_valid()) {
    const std::string text =
        absl::StrCat(path, ": ", std::strerror(errno),
                     "; --config needs a configuration file that exists and "
                     "is readable");
    return errno == ENOENT ? absl::NotFoundError(text)
                           : absl::FailedPreconditionError(text);
  }
  struct stat info = {};
  if (fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": not a regular file"));
  }
  std::string text;
  std::vector<char> chunk(64 * 1024);
  for (;;) {
    const ssize_t got = read(fd.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return absl::FailedPreconditionError(
          absl::StrCat(path, ": ", std::strerror(errno)));
    }
    if (got == 0) break;
    text.append(chunk.data(), static_cast<size_t>(got));
    if (text.size() > kMaxFileBytes) {
      return absl::FailedPreconditionError(
          absl::StrCat(path, ": larger than 1 MiB; this is no configuration"));
    }
  }
  return ReadText(text, path);
}

v1::Config& ConfigSource::Override(std::string_view key,
                                   std::string_view flag) {
  flags_.insert_or_assign(std::string(key), std::string(flag));
  return proto_;
}

int ConfigSource::LineOf(const Key& key) const {
  const FieldDescriptor* const outer =
      FieldOf(v1::Config::descriptor(), key.name);
  // The tree aborts debug builds over a repeated field without an index.
  if (outer == nullptr || (outer->is_repeated() && key.index < 0)) return 0;
  const int outer_line = places_->GetLocation(outer, key.index).line + 1;
  if (key.inner.empty() || outer->message_type() == nullptr) return outer_line;
  const TextFormat::ParseInfoTree* const nested =
      places_->GetTreeForNested(outer, key.index);
  const FieldDescriptor* const inner =
      FieldOf(outer->message_type(), key.inner);
  if (nested == nullptr || inner == nullptr || inner->is_repeated()) {
    return outer_line;
  }
  // A key that is missing has no place of its own: point at its message.
  const int line = nested->GetLocation(inner, -1).line + 1;
  return line > 0 ? line : outer_line;
}

std::string ConfigSource::Where(const Key& key) const {
  const auto flag = flags_.find(key.name);
  if (flag != flags_.end()) return flag->second;
  std::string name(key.name);
  if (!key.inner.empty()) absl::StrAppend(&name, ".", View(key.inner));
  const int line = LineOf(key);
  return line > 0 ? absl::StrCat(file_, ":", line, ": ", name) : name;
}

}  // namespace vrampool
