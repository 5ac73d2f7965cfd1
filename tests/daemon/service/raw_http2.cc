#include "tests/daemon/service/raw_http2.h"

#include <sys/socket.h>

#include "gtest/gtest.h"

namespace vrampool::testing {
namespace {

// Frame types and flags of RFC 9113.
constexpr uint8_t kData = 0;
constexpr uint8_t kHeaders = 1;
constexpr uint8_t kSettings = 4;
constexpr uint8_t kEndStream = 0x1;
constexpr uint8_t kEndHeaders = 0x4;

std::string Frame(uint8_t type, uint8_t flags, uint32_t stream,
                  const std::string& payload) {
  const auto size = static_cast<uint32_t>(payload.size());
  std::string frame;
  for (const int shift : {16, 8, 0}) {
    frame += static_cast<char>(size >> shift);
  }
  frame += static_cast<char>(type);
  frame += static_cast<char>(flags);
  for (const int shift : {24, 16, 8, 0}) {
    frame += static_cast<char>(stream >> shift);
  }
  return frame + payload;
}

// HPACK: a literal that is not indexed, its name written out.
std::string Header(const std::string& name, const std::string& value) {
  std::string header(1, '\0');
  header += static_cast<char>(name.size());
  header += name;
  header += static_cast<char>(value.size());
  return header + value;
}

}  // namespace

RawHttp2::RawHttp2(UniqueFd socket) : socket_(std::move(socket)) {
  // SETTINGS_INITIAL_WINDOW_SIZE (4) is 0.
  const std::string no_window("\x00\x04\x00\x00\x00\x00", 6);
  Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(kSettings, 0, 0, no_window));
}

void RawHttp2::Call(const std::string& path) {
  const uint32_t stream = std::exchange(next_stream_, next_stream_ + 2);
  const std::string headers =
      Header(":method", "POST") + Header(":scheme", "http") +
      Header(":path", path) + Header(":authority", "localhost") +
      Header("te", "trailers") + Header("content-type", "application/grpc");
  const std::string empty_message(5, '\0');
  Send(Frame(kHeaders, kEndHeaders, stream, headers) +
       Frame(kData, kEndStream, stream, empty_message));
}

void RawHttp2::Send(const std::string& bytes) {
  // Some hundred bytes at a time: they always fit the socket's buffer.
  EXPECT_EQ(send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes.size()));
}

}  // namespace vrampool::testing
