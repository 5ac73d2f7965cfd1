// attach_probe.h - how a daemon answers a client of this version and user.
//
// Greets it on the attach socket as a client library would, and hangs up: a
// session that lives for a moment. It finds out what no admin call can: whether
// the protocol versions match and whether the policy admits this user.

#ifndef VRAMPOOL_CLIENT_CLI_ATTACH_PROBE_H_
#define VRAMPOOL_CLIENT_CLI_ATTACH_PROBE_H_

#include <cstdint>
#include <string>

namespace vrampool::cli {

struct AttachAnswer {
  enum class Kind {
    kWelcome,
    kRefused,
    kSilent,    // No answer within 5 s, or the connection was closed.
    kGarbled,   // An answer that this version does not understand.
    kNoSocket,  // Not connected: `error` says why.
  };
  Kind kind = Kind::kNoSocket;
  int error = 0;
  uint32_t refused_code = 0;  // attach::RefusedCode
  uint32_t daemon_version = 0;
  std::string text = {};    // Of the refusal.
  std::string tenant = {};  // Of the welcome.
};

AttachAnswer ProbeAttach(const std::string& socket_path);

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_ATTACH_PROBE_H_
