#include "daemon/config/descriptors.h"

#include <algorithm>

#include "base/ids.h"

namespace vrampool {
namespace {

constexpr uint64_t kPerSession = 8;
constexpr uint64_t kOwn = 256;  // Files, the driver's, greetings, operators.

uint64_t ForSlabs(const CoreSettings& settings) {
  const bool costs =
      std::any_of(settings.kinds.begin(), settings.kinds.end(),
                  [](HandleKind kind) { return kind != HandleKind::kCudaIpc; });
  return costs ? settings.capacity.count() / settings.granule.count() : 0;
}

}  // namespace

Bytes GranuleFor(uint64_t descriptors, Bytes capacity, Bytes granule) {
  while (capacity.count() / granule.count() > descriptors / 2 &&
         granule < capacity) {
    granule = granule + granule;
  }
  return granule;
}

uint64_t DescriptorsFor(const CoreSettings& settings) {
  return kOwn + ForSlabs(settings) +
         uint64_t{settings.bounds.sessions} * kPerSession;
}

bool FitToDescriptors(uint64_t descriptors, CoreSettings& settings) {
  if (DescriptorsFor(settings) <= descriptors) return false;
  const uint64_t beside =
      descriptors - std::min(ForSlabs(settings), descriptors);
  const uint64_t left = beside - std::min(kOwn, beside / 2);
  const uint64_t sessions = std::max<uint64_t>(left / kPerSession, 2);
  Bounds& bounds = settings.bounds;
  bounds.sessions =
      static_cast<uint32_t>(std::min<uint64_t>(bounds.sessions, sessions));
  const uint32_t share = bounds.sessions / 2;
  bounds.sessions_per_uid = std::min(bounds.sessions_per_uid, share);
  bounds.connections_per_uid = std::min(bounds.connections_per_uid, share);
  return true;
}

}  // namespace vrampool
