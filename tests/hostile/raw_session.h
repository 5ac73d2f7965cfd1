// raw_session.h - a client without the client library: it says on both sockets
// whatever a test wants said, polite or not.
//
// Threads: not thread-safe, but for Call(), which may run in several.

#ifndef VRAMPOOL_TESTS_HOSTILE_RAW_SESSION_H_
#define VRAMPOOL_TESTS_HOSTILE_RAW_SESSION_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "tests/daemon/attach/attach_client.h"
#include "tests/hostile/raw_slab.h"
#include "vrampool/v1/broker.pb.h"

namespace vrampool::testing {

struct Answer {
  int code = 0;  // Of gRPC; 0 is OK.
  std::string reason;
  std::string message;

  bool ok() const { return code == 0; }
};

// "OK", or the code and the reason.
std::string Describe(const Answer& answer);

// A connection to the broker's socket.
class RawChannel {
 public:
  explicit RawChannel(const std::string& socket_path);
  ~RawChannel();

  // Sent as token with each call; empty: none.
  void set_token(std::string token) { token_ = std::move(token); }
  const std::string& token() const { return token_; }

  // Calls /vrampool.v1.Broker/METHOD.
  Answer Call(const std::string& method,
              const google::protobuf::Message& request,
              google::protobuf::Message& response);
  Answer Call(const std::string& method,
              const google::protobuf::Message& request);
  // The same with a body of any bytes.
  Answer CallBytes(const std::string& path, const std::string& body);
  // Starts a call and cancels it at once.
  void CallAndCancel(const std::string& method,
                     const google::protobuf::Message& request);

 private:
  struct Rpc;  // Keeps gRPC's headers out of this one.

  Answer Run(const std::string& path, const std::string& body,
             std::string& reply);

  const std::unique_ptr<Rpc> rpc_;
  std::string token_;
};

// A session: an attach connection that has its Welcome, and a channel.
class RawSession {
 public:
  // `directory` is that of the daemon's only device.
  static absl::StatusOr<std::unique_ptr<RawSession>> Attach(
      const std::string& directory);

  AttachClient& attach() { return attach_; }
  RawChannel& channel() { return channel_; }
  const attach::Welcome& welcome() const { return welcome_; }
  uint64_t epoch() const { return welcome_.epoch; }
  const UniqueFd& manifest() const { return manifest_; }
  const UniqueFd& table() const { return table_; }

  Answer Lease(uint64_t bytes, v1::LeaseResponse& response,
               uint64_t wait_ms = 0);
  Answer Return(uint64_t lease, v1::ReturnRequest::Mapping mapping);
  // The slab whose handle is next in the attach socket; null if there is none.
  std::unique_ptr<RawSlab> MapNextSlab() {
    return RawSlab::Map(attach_.Receive());
  }
  // Random words into all of the manifest.
  bool FillManifestWithGarbage(uint64_t seed);

 private:
  RawSession(UniqueFd socket, const std::string& broker_path)
      : attach_(std::move(socket)), channel_(broker_path) {}

  AttachClient attach_;
  RawChannel channel_;
  attach::Welcome welcome_ = {};
  UniqueFd manifest_;
  UniqueFd table_;
  uint64_t keys_ = 0;
};

// Of the only device below DaemonProcess::directory().
std::string AttachPathIn(const std::string& directory);
std::string BrokerPathIn(const std::string& directory);

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_HOSTILE_RAW_SESSION_H_
