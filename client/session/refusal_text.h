// refusal_text.h - turns the outcome of a call into a status whose message says
// what happened, with the numbers, and what to do.
//
// Threads: a function of its arguments.

#ifndef VRAMPOOL_CLIENT_SESSION_REFUSAL_TEXT_H_
#define VRAMPOOL_CLIENT_SESSION_REFUSAL_TEXT_H_

#include "client/session/control_channel.h"
#include "client/session/status.h"

namespace vrampool::client {

// `tenant` is named in refusals that do not name theirs.
Status StatusOf(const CallOutcome& outcome, const std::string& tenant);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_REFUSAL_TEXT_H_
