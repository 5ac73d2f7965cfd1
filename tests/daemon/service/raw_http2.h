// raw_http2.h - a client that speaks just enough HTTP/2 to misbehave: it makes
// calls and takes no byte of their answers.
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_TESTS_DAEMON_SERVICE_RAW_HTTP2_H_
#define VRAMPOOL_TESTS_DAEMON_SERVICE_RAW_HTTP2_H_

#include <cstdint>
#include <string>
#include <utility>

#include "base/unique_fd.h"

namespace vrampool::testing {

class RawHttp2 {
 public:
  // Greets on `socket` and says that answers may have 0 bytes of body.
  explicit RawHttp2(UniqueFd socket);

  // A unary call with an empty request message; the answer never comes.
  void Call(const std::string& path);

 private:
  void Send(const std::string& bytes);

  UniqueFd socket_;
  uint32_t next_stream_ = 1;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_DAEMON_SERVICE_RAW_HTTP2_H_
