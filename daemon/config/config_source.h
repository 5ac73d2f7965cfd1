// config_source.h - the configuration as written: the file, then the flags that
// override it, each key remembering where it came from.
//
// Nothing is validated here beyond the syntax; see config.h.
//
//   ConfigSource source;
//   VRAMPOOL_RETURN_IF_ERROR(source.ReadFile("/etc/vrampool.conf"));
//   source.Override("pool_size", "--pool-size").set_pool_size("4GiB");
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_DAEMON_CONFIG_CONFIG_SOURCE_H_
#define VRAMPOOL_DAEMON_CONFIG_CONFIG_SOURCE_H_

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "google/protobuf/text_format.h"
#include "vrampool/v1/config.pb.h"

namespace vrampool {

class ConfigSource {
 public:
  ConfigSource() = default;
  ConfigSource(const ConfigSource&) = delete;
  ConfigSource& operator=(const ConfigSource&) = delete;

  // Takes a configuration in protobuf text format, in place of what there was.
  // `file` names it in errors.
  //   InvalidArgument  the text is no configuration: each error with file, line
  //                    and key. The source is empty then.
  absl::Status ReadText(std::string_view text, std::string_view file);

  // Likewise, from a file of at most 1 MiB. NotFound or FailedPrecondition if
  // it cannot be read.
  absl::Status ReadFile(const std::string& path);

  const v1::Config& proto() const { return proto_; }

  // The message, to set the top-level field `key` by a flag.
  v1::Config& Override(std::string_view key, std::string_view flag);

  // Where a key's value was written: "FILE:LINE: KEY", or the flag's name, or
  // the key alone for a default. `index` picks one of a repeated field; `inner`
  // is a key within a message.
  struct Key {
    std::string_view name;
    int index = -1;
    std::string_view inner = {};
  };
  std::string Where(const Key& key) const;

 private:
  int LineOf(const Key& key) const;  // From 1; 0 when not in the file.

  v1::Config proto_;
  std::string file_;
  // Of the last text that was read; never null. A tree only ever grows, so each
  // text needs one of its own.
  std::unique_ptr<google::protobuf::TextFormat::ParseInfoTree> places_ =
      std::make_unique<google::protobuf::TextFormat::ParseInfoTree>();
  std::map<std::string, std::string, std::less<>> flags_;  // By key.
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CONFIG_CONFIG_SOURCE_H_
