#include "daemon/config/fixed_keys.h"

#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/bytes.h"
#include "base/ids.h"

namespace vrampool {
namespace {

using Key = ConfigSource::Key;

std::string TextOf(Bytes bytes) { return FormatBytes(bytes); }
std::string TextOf(const std::string& text) {
  return absl::StrCat("\"", text, "\"");
}
std::string NameOf(const DeviceChoice& device) {
  return device.name.empty() ? device.backend
                             : absl::StrCat(device.backend, ":", device.name);
}
std::string TextOf(const std::vector<HandleKind>& kinds) {
  return absl::StrJoin(kinds, ", ", [](std::string* text, HandleKind kind) {
    text->append(HandleKindName(kind));
  });
}
template <typename T>
std::string TextOf(T number) {
  return absl::StrCat(number);
}

class Comparison {
 public:
  Comparison(const ConfigSource& source, const Config& now, const Config& next)
      : source_(source), now_(now), next_(next) {}

  absl::Status Run() {
    Compare({.name = "device"}, NameOf(now_.device), NameOf(next_.device));
    Compare({.name = "directory"}, now_.directory, next_.directory);
    Compare({.name = "pool_size"}, now_.core.capacity, next_.core.capacity);
    Compare({.name = "kinds"}, now_.core.kinds, next_.core.kinds);
    const bool was_preallocated = !now_.preallocate_slab.is_zero();
    const bool is_preallocated = !next_.preallocate_slab.is_zero();
    Compare({.name = "preallocate"}, was_preallocated, is_preallocated);
    if (was_preallocated && is_preallocated) {
      Compare({.name = "preallocate_slab"}, now_.preallocate_slab,
              next_.preallocate_slab);
    }
    Compare({.name = "socket_mode"}, now_.socket_mode, next_.socket_mode);
    Compare({.name = "metrics_address"}, now_.metrics_address,
            next_.metrics_address);
    CompareBounds();
    if (problems_.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrJoin(problems_, "\n"));
  }

 private:
  template <typename T>
  void Compare(const Key& key, const T& now, const T& next) {
    if (now == next) return;
    problems_.push_back(absl::StrCat(
        source_.Where(key), ": ", TextOf(next), " differs from ", TextOf(now),
        ", which the daemon runs with and cannot change; restart it, or write "
        "that again"));
  }

  template <typename T>
  void CompareBound(std::string_view name, T Bounds::*bound) {
    Compare({.name = "bounds", .inner = name}, now_.core.bounds.*bound,
            next_.core.bounds.*bound);
  }

  void CompareBounds() {
    CompareBound("sessions", &Bounds::sessions);
    CompareBound("sessions_per_uid", &Bounds::sessions_per_uid);
    CompareBound("leases_per_session", &Bounds::leases_per_session);
    CompareBound("objects", &Bounds::objects);
    CompareBound("objects_per_session", &Bounds::objects_per_session);
    CompareBound("holds_per_session", &Bounds::holds_per_session);
    CompareBound("metadata_bytes_per_tenant", &Bounds::metadata_per_tenant);
    CompareBound("waiting", &Bounds::waiting);
    CompareBound("waiting_per_session", &Bounds::waiting_per_session);
    CompareBound("manifest_blocks", &Bounds::manifest_blocks);
    CompareBound("leak_reports", &Bounds::leak_reports);
    CompareBound("leak_report_hours", &Bounds::leak_report_hours);
    CompareBound("connections_per_uid", &Bounds::connections_per_uid);
    CompareBound("open_rpcs", &Bounds::open_rpcs);
  }

  const ConfigSource& source_;
  const Config& now_;
  const Config& next_;
  std::vector<std::string> problems_;
};

}  // namespace

absl::Status CheckFixedKeys(const ConfigSource& source, const Config& now,
                            const Config& next) {
  return Comparison(source, now, next).Run();
}

}  // namespace vrampool
