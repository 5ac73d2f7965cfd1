// rmm.hpp - a memory resource for RMM (RAPIDS) and what is built on it, over
// memory of a GPU.
//
// Include it where RMM's headers are found. It is what the version found there
// wants: from RMM 26.06 on a type that models cuda::mr::resource with the
// property cuda::mr::device_accessible, before that a subclass of
// rmm::mr::device_memory_resource. The same program builds with either.
//
// Errors: as RMM has them. OVER_QUOTA and OUT_OF_POOL throw rmm::out_of_memory,
// everything else rmm::bad_alloc; what() is the message that says what to do.
// Freeing never throws: vrampool_last_status() shows a failure. Zero bytes are
// a null pointer.
//
// Streams: as vrampool.h says of blocks, which is what RMM asks of a resource.
// Null is the thread's own stream in a program that is built for per-thread
// default streams.
//
// Threads: thread-safe. The resource does not own its client, which must
// outlive it, its copies and all memory that came from it. Copies are equal to
// each other, as are all resources of one client.
//
//   auto resource = vrampool::RmmResource::Make();
//   rmm::mr::set_current_device_resource(*resource);   // From 26.06 on.
//   rmm::mr::set_current_device_resource(&*resource);  // Before.

#ifndef VRAMPOOL_RMM_HPP_
#define VRAMPOOL_RMM_HPP_

#include <cstddef>
#include <optional>
#include <string>

#if __has_include(<rmm/error.hpp>)
#include <rmm/error.hpp>
#else
#include <rmm/detail/error.hpp>
#endif

#if __has_include(<rmm/mr/device_memory_resource.hpp>)
#define VRAMPOOL_RMM_HAS_BASE_CLASS 1
#include <rmm/mr/device_memory_resource.hpp>
#elif __has_include(<rmm/mr/device/device_memory_resource.hpp>)
#define VRAMPOOL_RMM_HAS_BASE_CLASS 1
#include <rmm/mr/device/device_memory_resource.hpp>
#else
#define VRAMPOOL_RMM_HAS_BASE_CLASS 0
#include <cuda/memory_resource>
#include <cuda/stream_ref>
#endif

#include "vrampool/default_stream.hpp"
#include "vrampool/vrampool.h"

namespace vrampool {
inline namespace VRAMPOOL_CPP_NAMESPACE {
namespace rmm_detail {

inline constexpr std::size_t kAlignment = 256;

// What CUDA's runtime takes null for. RMM's own library may be built otherwise
// and take it for the legacy stream, which waits for the thread's and is waited
// for by it: the order is kept all the same.
inline cudaStream_t StreamOf(cudaStream_t stream) noexcept {
  return stream == nullptr ? DefaultStream() : stream;
}

// The block, or RMM's exception for this thread's last error.
inline void* Allocate(vrampool_client* client, std::size_t bytes,
                      std::size_t alignment, cudaStream_t stream) {
  void* const p =
      alignment <= kAlignment
          ? ::vrampool_client_allocate(client, bytes, StreamOf(stream))
          : ::vrampool_client_allocate_aligned(client, bytes, alignment,
                                               StreamOf(stream));
  if (p != nullptr) return p;
  const vrampool_status status = ::vrampool_last_status();
  if (status == VRAMPOOL_OK) return nullptr;
  const std::string text = std::string(::vrampool_status_name(status)) + ": " +
                           ::vrampool_last_error_message();
  if (status == VRAMPOOL_OVER_QUOTA || status == VRAMPOOL_OUT_OF_POOL) {
    throw rmm::out_of_memory(text);
  }
  throw rmm::bad_alloc(text);
}

inline void Deallocate(vrampool_client* client, void* p, std::size_t bytes,
                       cudaStream_t stream) noexcept {
  ::vrampool_client_deallocate(client, p, bytes, StreamOf(stream));
}

// True for memory of the host, which has no streams.
inline bool IsHost(vrampool_client* client) {
  vrampool_info info{};
  info.struct_size = sizeof(info);
  return ::vrampool_client_info(client, &info) == VRAMPOOL_OK &&
         info.kind == VRAMPOOL_KIND_HOST_FD;
}

}  // namespace rmm_detail

#if VRAMPOOL_RMM_HAS_BASE_CLASS

class RmmResource final : public rmm::mr::device_memory_resource {
 public:
  // Of the process-wide client. Nothing when that cannot be opened.
  static std::optional<RmmResource> Make() {
    return Make(::vrampool_default_client());
  }
  // Nothing when `client` is null.
  static std::optional<RmmResource> Make(vrampool_client* client) {
    if (client == nullptr) return std::nullopt;
    return RmmResource(client);
  }

  vrampool_client* client() const { return client_; }

 private:
  explicit RmmResource(vrampool_client* client) : client_(client) {}

  void* do_allocate(std::size_t bytes, rmm::cuda_stream_view stream) override {
    return rmm_detail::Allocate(client_, bytes, rmm_detail::kAlignment,
                                stream.value());
  }

  void do_deallocate(void* p, std::size_t bytes,
                     rmm::cuda_stream_view stream) noexcept override {
    rmm_detail::Deallocate(client_, p, bytes, stream.value());
  }

  bool do_is_equal(
      const rmm::mr::device_memory_resource& other) const noexcept override {
    const auto* const resource = dynamic_cast<const RmmResource*>(&other);
    return resource != nullptr && resource->client_ == client_;
  }

  vrampool_client* client_;
};

#else

class RmmResource final {
 public:
  // Of the process-wide client. Nothing when that cannot be opened.
  static std::optional<RmmResource> Make() {
    return Make(::vrampool_default_client());
  }
  // Nothing when `client` is null.
  static std::optional<RmmResource> Make(vrampool_client* client) {
    if (client == nullptr) return std::nullopt;
    return RmmResource(client);
  }

  vrampool_client* client() const { return client_; }

  void* allocate(cuda::stream_ref stream, std::size_t bytes,
                 std::size_t alignment = rmm_detail::kAlignment) {
    return rmm_detail::Allocate(client_, bytes, alignment, stream.get());
  }

  void deallocate(cuda::stream_ref stream, void* p, std::size_t bytes,
                  std::size_t /*alignment*/ = rmm_detail::kAlignment) noexcept {
    rmm_detail::Deallocate(client_, p, bytes, stream.get());
  }

  // May be used on any stream at once: waits for the default stream.
  void* allocate_sync(std::size_t bytes,
                      std::size_t alignment = rmm_detail::kAlignment) {
    void* const p =
        rmm_detail::Allocate(client_, bytes, alignment, DefaultStream());
    if (p != nullptr && !is_host_) cuda::stream_ref(DefaultStream()).sync();
    return p;
  }

  // All work that uses the memory must be done.
  void deallocate_sync(
      void* p, std::size_t bytes,
      std::size_t /*alignment*/ = rmm_detail::kAlignment) noexcept {
    rmm_detail::Deallocate(client_, p, bytes, DefaultStream());
  }

  bool operator==(const RmmResource& other) const noexcept {
    return client_ == other.client_;
  }

  friend void get_property(const RmmResource&,
                           cuda::mr::device_accessible) noexcept {}

 private:
  explicit RmmResource(vrampool_client* client)
      : client_(client), is_host_(rmm_detail::IsHost(client)) {}

  vrampool_client* client_;
  bool is_host_;
};

static_assert(
    cuda::mr::resource_with<RmmResource, cuda::mr::device_accessible>);

#endif

}  // namespace VRAMPOOL_CPP_NAMESPACE
}  // namespace vrampool

#endif  // VRAMPOOL_RMM_HPP_
