// status.h - how the client library's own code says that something failed.
//
// The codes are those of the public C interface, so a failure deep inside
// reaches the caller unchanged. No Abseil: libvrampool must not bring one.
//
// Threads: values.

#ifndef VRAMPOOL_CLIENT_SESSION_STATUS_H_
#define VRAMPOOL_CLIENT_SESSION_STATUS_H_

#include <optional>
#include <string>
#include <utility>

#include "vrampool/vrampool.h"

namespace vrampool::client {

class [[nodiscard]] Status {
 public:
  Status() = default;  // OK.
  // `message` is for the person who reads it and says what to do.
  Status(vrampool_status code, std::string message)
      : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == VRAMPOOL_OK; }
  vrampool_status code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  vrampool_status code_ = VRAMPOOL_OK;
  std::string message_;
};

// A value, or the status that says why there is none.
// REQUIRES, for reading the value: ok().
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Status status) : status_(std::move(status)) {}

  bool ok() const { return value_.has_value(); }
  const Status& status() const& { return status_; }
  Status status() && { return std::move(status_); }
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T&& operator*() && { return *std::move(value_); }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

// There is no room, for us or for anybody.
inline bool IsForWantOfRoom(vrampool_status code) {
  return code == VRAMPOOL_OVER_QUOTA || code == VRAMPOOL_OUT_OF_POOL;
}
inline bool IsForWantOfRoom(const Status& status) {
  return IsForWantOfRoom(status.code());
}

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_STATUS_H_
