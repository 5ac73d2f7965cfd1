// session_resource.hpp - the resource of vrampool/rmm.hpp together with the
// session that it draws from, for RMM's Python.
//
// In C++ a resource does not own its client. In Python nobody knows when the
// last of RMM's copies has gone, so here each copy keeps the session open.
//
// Threads: thread-safe, as vrampool/rmm.hpp; the last copy may end on any
// thread.

#ifndef VRAMPOOL_RMM_SESSION_RESOURCE_HPP_
#define VRAMPOOL_RMM_SESSION_RESOURCE_HPP_

#include <vrampool/ref.h>
#include <vrampool/vrampool.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vrampool/rmm.hpp>

namespace vrampool_rmm {

// Python hands pointers on as numbers.
inline vrampool_client* ClientAt(std::uintptr_t address) {
  return reinterpret_cast<vrampool_client*>(address);
}

using SessionRef = std::shared_ptr<vrampool_ref>;

// One reference more to the session at this address.
inline SessionRef Keep(std::uintptr_t address) {
  auto* const ref = reinterpret_cast<vrampool_ref*>(address);
  ::vrampool_ref_retain(ref);
  return SessionRef(ref, &::vrampool_ref_release);
}

inline vrampool::RmmResource ResourceOf(std::uintptr_t client) {
  auto made = vrampool::RmmResource::Make(ClientAt(client));
  if (!made.has_value()) throw std::invalid_argument("no client");
  return *std::move(made);
}

#if VRAMPOOL_RMM_HAS_BASE_CLASS

// RMM keeps a pointer, and wants the resource to outlive what came from it.
inline std::shared_ptr<rmm::mr::device_memory_resource> MakeResource(
    std::uintptr_t client, std::uintptr_t session) {
  struct Held {
    SessionRef session;
    vrampool::RmmResource resource;
  };
  auto held = std::make_shared<Held>(Held{Keep(session), ResourceOf(client)});
  auto* const resource = &held->resource;
  return {std::move(held), resource};
}

#else

// RMM copies it into each buffer.
class SessionResource final {
 public:
  SessionResource(vrampool::RmmResource resource, SessionRef session)
      : resource_(resource), session_(std::move(session)) {}

  void* allocate(cuda::stream_ref stream, std::size_t bytes,
                 std::size_t alignment) {
    return resource_.allocate(stream, bytes, alignment);
  }
  void deallocate(cuda::stream_ref stream, void* p, std::size_t bytes,
                  std::size_t alignment) noexcept {
    resource_.deallocate(stream, p, bytes, alignment);
  }
  void* allocate_sync(std::size_t bytes, std::size_t alignment) {
    return resource_.allocate_sync(bytes, alignment);
  }
  void deallocate_sync(void* p, std::size_t bytes,
                       std::size_t alignment) noexcept {
    resource_.deallocate_sync(p, bytes, alignment);
  }
  bool operator==(const SessionResource& other) const noexcept {
    return resource_ == other.resource_;
  }
  friend void get_property(const SessionResource&,
                           cuda::mr::device_accessible) noexcept {}

 private:
  vrampool::RmmResource resource_;
  SessionRef session_;
};

inline std::unique_ptr<SessionResource> MakeResource(std::uintptr_t client,
                                                     std::uintptr_t session) {
  return std::make_unique<SessionResource>(ResourceOf(client), Keep(session));
}

#endif

}  // namespace vrampool_rmm

#endif  // VRAMPOOL_RMM_SESSION_RESOURCE_HPP_
