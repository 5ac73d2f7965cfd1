#include "client/allocator/debug_place.h"

#include <cstring>

namespace vrampool::client {
namespace {

constinit thread_local char thread_place[160] = {};

}  // namespace

void SetDebugPlace(const char* place) {
  const size_t size =
      place == nullptr ? 0 : ::strnlen(place, sizeof(thread_place) - 1);
  if (size > 0) std::memmove(thread_place, place, size);
  thread_place[size] = '\0';
}

std::string DebugPlace() { return thread_place; }

}  // namespace vrampool::client
