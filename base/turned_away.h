// turned_away.h - the words by which a call is refused that has not begun,
// because there are too many. Such a refusal has no details; a client that
// reads these words can make the call again.

#ifndef VRAMPOOL_BASE_TURNED_AWAY_H_
#define VRAMPOOL_BASE_TURNED_AWAY_H_

namespace vrampool {

// By the daemon, to a user who goes on.
inline constexpr char kTurnedAway[] =
    "too many calls in progress; wait for their answers";
// By gRPC, when it has no thread left to ask the daemon.
inline constexpr char kNoThreadLeft[] = "Server Threadpool Exhausted";

}  // namespace vrampool

#endif  // VRAMPOOL_BASE_TURNED_AWAY_H_
