#include "daemon/core/snapshot.h"

namespace vrampool {

const char* SlabStateName(SlabState state) {
  switch (state) {
    case SlabState::kCreating:
      return "creating";
    case SlabState::kClean:
      return "clean";
    case SlabState::kLeased:
      return "leased";
    case SlabState::kParked:
      return "parked";
    case SlabState::kKept:
      return "kept";
    case SlabState::kDestroying:
      return "destroying";
    case SlabState::kLingering:
      return "lingering";
  }
  return "unknown";
}

const char* SessionStateName(SessionState state) {
  switch (state) {
    case SessionState::kLive:
      return "live";
    case SessionState::kCondemned:
      return "condemned";
    case SessionState::kEnded:
      return "ended";
  }
  return "unknown";
}

const char* ObjectPhaseName(ObjectPhase phase) {
  switch (phase) {
    case ObjectPhase::kPending:
      return "pending";
    case ObjectPhase::kLive:
      return "live";
    case ObjectPhase::kBroken:
      return "broken";
  }
  return "unknown";
}

}  // namespace vrampool
