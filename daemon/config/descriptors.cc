#include "daemon/config/descriptors.h"

#include <algorithm>

namespace vrampool {
namespace {

constexpr uint64_t kPerSession = 8;
constexpr uint64_t kOwn = 256;  // Files, the driver's, greetings, operators.

}  // namespace

uint64_t DescriptorsFor(uint64_t sessions) {
  return kOwn + sessions * kPerSession;
}

bool FitToDescriptors(uint64_t descriptors, Bounds& bounds) {
  if (DescriptorsFor(bounds.sessions) <= descriptors) return false;
  const uint64_t left = descriptors - std::min(kOwn, descriptors / 2);
  const uint64_t sessions = std::max<uint64_t>(left / kPerSession, 2);
  bounds.sessions =
      static_cast<uint32_t>(std::min<uint64_t>(bounds.sessions, sessions));
  const uint32_t share = bounds.sessions / 2;
  bounds.sessions_per_uid = std::min(bounds.sessions_per_uid, share);
  bounds.connections_per_uid = std::min(bounds.connections_per_uid, share);
  return true;
}

}  // namespace vrampool
