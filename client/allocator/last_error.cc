#include "client/allocator/last_error.h"

#include <algorithm>
#include <cstring>

#include "vrampool/vrampool.h"

namespace vrampool::client {
namespace {

// Of the last call that failed; what it says counts only if thread_head says
// so.
constinit thread_local char last_message[1024] = {};

}  // namespace

LastErrorKeeper::LastErrorKeeper() : status_(thread_head.last_status) {
  static_assert(sizeof(message_) == sizeof(last_message));
  std::memcpy(message_, last_message, sizeof(message_));
}

LastErrorKeeper::~LastErrorKeeper() {
  thread_head.last_status = status_;
  std::memcpy(last_message, message_, sizeof(message_));
}

vrampool_status Report(const Status& status) {
  if (status.ok()) return ReportOk();
  thread_head.last_status = status.code();
  const size_t size =
      std::min(status.message().size(), sizeof(last_message) - 1);
  std::memcpy(last_message, status.message().data(), size);
  last_message[size] = '\0';
  return status.code();
}

}  // namespace vrampool::client

extern "C" {

vrampool_status vrampool_last_status(void) {
  return vrampool::client::thread_head.last_status;
}

const char* vrampool_last_error_message(void) {
  return vrampool::client::thread_head.last_status == VRAMPOOL_OK
             ? ""
             : vrampool::client::last_message;
}

const char* vrampool_version(void) { return VRAMPOOL_VERSION; }

const char* vrampool_status_name(vrampool_status status) {
  switch (status) {
    case VRAMPOOL_OK:
      return "OK";
    case VRAMPOOL_INVALID_ARGUMENT:
      return "INVALID_ARGUMENT";
    case VRAMPOOL_OVER_QUOTA:
      return "OVER_QUOTA";
    case VRAMPOOL_OUT_OF_POOL:
      return "OUT_OF_POOL";
    case VRAMPOOL_LIMIT:
      return "LIMIT";
    case VRAMPOOL_UNAVAILABLE:
      return "UNAVAILABLE";
    case VRAMPOOL_PERMISSION:
      return "PERMISSION";
    case VRAMPOOL_NOT_FOUND:
      return "NOT_FOUND";
    case VRAMPOOL_EXISTS:
      return "EXISTS";
    case VRAMPOOL_BROKEN:
      return "BROKEN";
    case VRAMPOOL_STALE:
      return "STALE";
    case VRAMPOOL_NOT_SHAREABLE:
      return "NOT_SHAREABLE";
    case VRAMPOOL_TIMEOUT:
      return "TIMEOUT";
    case VRAMPOOL_FORKED:
      return "FORKED";
    case VRAMPOOL_VERSION_MISMATCH:
      return "VERSION_MISMATCH";
    case VRAMPOOL_DEVICE_LOST:
      return "DEVICE_LOST";
    case VRAMPOOL_ENDED:
      return "ENDED";
    case VRAMPOOL_INTERNAL:
      return "INTERNAL";
    case VRAMPOOL_RATE_LIMITED:
      return "RATE_LIMITED";
  }
  return "UNKNOWN";
}

}  // extern "C"
