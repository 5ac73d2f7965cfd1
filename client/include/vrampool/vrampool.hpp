// vrampool.hpp - the C++ interface: RAII over vrampool.h, header-only.
//
// Everything here is inline over the C functions, whose comments say what each
// does and which errors it gives; nothing throws except what the standard
// library throws when memory for text runs out.
//
// Streams: where none is given, the default one, as default_stream.hpp says. A
// null that is given is the legacy stream.
//
// Threads: a Client may be used from any thread; a handle (Client, Object)
// itself is moved and destroyed by one thread at a time. An Object must not
// outlive its Client.
//
//   vrampool::Result<vrampool::Client> client = vrampool::Client::Open();
//   if (!client.ok()) return Fail(client.status().message());
//   void* p = client->Allocate(1 << 20);
//   vrampool::Result<vrampool::Object> shared = client->Share({{p, 1 << 20}});

#ifndef VRAMPOOL_VRAMPOOL_HPP_
#define VRAMPOOL_VRAMPOOL_HPP_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "vrampool/allocator.hpp"
#include "vrampool/default_stream.hpp"
#include "vrampool/reserve.h"
#include "vrampool/vrampool.h"

namespace vrampool {
inline namespace VRAMPOOL_CPP_NAMESPACE {

// The outcome of a call.
class [[nodiscard]] Status {
 public:
  Status() = default;  // OK.
  explicit Status(vrampool_status code)
      : code_(code),
        message_(code == VRAMPOOL_OK ? "" : ::vrampool_last_error_message()) {}

  bool ok() const { return code_ == VRAMPOOL_OK; }
  vrampool_status code() const { return code_; }
  const char* name() const { return ::vrampool_status_name(code_); }
  const std::string& message() const { return message_; }

  // What this thread's last call left behind.
  static Status Last() { return Status(::vrampool_last_status()); }

 private:
  vrampool_status code_ = VRAMPOOL_OK;
  std::string message_;
};

// A value, or the status that says why there is none. Reading the value of a
// failed result is undefined.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Status status) : status_(std::move(status)) {}

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T&& operator*() && { return *std::move(value_); }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

// A hold on an object; destroying it ends the hold when the work on the default
// stream so far is done. If other streams use the object, Close() it on them.
class Object {
 public:
  Object() = default;  // Empty.
  explicit Object(vrampool_object* object) : object_(object) {}
  Object(Object&& other) noexcept
      : object_(std::exchange(other.object_, nullptr)) {}
  Object& operator=(Object&& other) noexcept {
    if (this != &other) {
      Drop();
      object_ = std::exchange(other.object_, nullptr);
    }
    return *this;
  }
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  ~Object() { Drop(); }

  vrampool_object* get() const { return object_; }
  explicit operator bool() const { return object_ != nullptr; }

  // When the work enqueued on `stream` so far is done. If this fails, the
  // object is still open.
  Status Close(cudaStream_t stream = DefaultStream()) {
    const Status status(::vrampool_object_close(object_, stream));
    if (status.ok()) object_ = nullptr;
    return status;
  }

  // To be read only.
  bool is_sealed() const { return ::vrampool_object_is_sealed(object_) != 0; }
  std::size_t buffer_count() const {
    return ::vrampool_object_buffer_count(object_);
  }
  void* data(std::size_t index = 0) const {
    return ::vrampool_object_data(object_, index);
  }
  std::size_t size(std::size_t index = 0) const {
    return ::vrampool_object_size(object_, index);
  }

  Result<std::string> Token() const {
    char token[VRAMPOOL_TOKEN_MAX];
    const Status status(::vrampool_object_token(object_, token, sizeof(token)));
    if (!status.ok()) return status;
    return std::string(token);
  }
  // Shape and strides stay valid until the object is closed.
  Result<vrampool_tensor> Tensor(std::size_t index = 0) const {
    vrampool_tensor tensor{};
    const Status status(::vrampool_object_tensor(object_, index, &tensor));
    if (!status.ok()) return status;
    return tensor;
  }
  Result<std::string> Metadata() const {
    const void* data = nullptr;
    std::size_t size = 0;
    const Status status(::vrampool_object_metadata(object_, &data, &size));
    if (!status.ok()) return status;
    return std::string(static_cast<const char*>(data), size);
  }
  Result<std::string> Name() const {
    const char* const name = ::vrampool_object_name(object_);
    if (name == nullptr) return Status::Last();
    return std::string(name);
  }
  // The tenant whose object it is; empty: this client's.
  Result<std::string> Owner() const {
    const char* const owner = ::vrampool_object_owner(object_);
    if (owner == nullptr) return Status::Last();
    return std::string(owner);
  }
  Status Ready() { return Status(::vrampool_ready(object_)); }
  // Whether the contents are, or can still become, what they should be.
  Status State() const { return Status(::vrampool_object_status(object_)); }

 private:
  // While the default stream cannot be used, because another is captured, this
  // fails, and the hold ends with the client: Close() on a stream before.
  void Drop() {
    (void)::vrampool_object_close(std::exchange(object_, nullptr),
                                  DefaultStream());
  }

  vrampool_object* object_ = nullptr;
};

// The tag of the blocks this thread allocates while the ScopedTag lives; the
// tag before it comes back afterwards. Must end on the thread it began on.
class ScopedTag {
 public:
  explicit ScopedTag(const char* tag) {
    if (const char* const before = ::vrampool_tag(); before != nullptr) {
      before_ = before;
    }
    (void)::vrampool_set_tag(tag);  // Labels: too long a one is cut.
  }
  ScopedTag(const ScopedTag&) = delete;
  ScopedTag& operator=(const ScopedTag&) = delete;
  ~ScopedTag() {
    (void)::vrampool_set_tag(before_ ? before_->c_str() : nullptr);
  }

 private:
  std::optional<std::string> before_;
};

// A session with one device's daemon.
class Client {
 public:
  struct ShareOptions {
    std::string name;
    std::vector<vrampool_tensor> tensors;  // None, or one for each buffer.
    std::string metadata;
    bool is_pending = false;
    // The contents are complete when what is enqueued on it so far is done.
    std::optional<cudaStream_t> stream;
    bool is_sealed = false;           // Openers elsewhere map it for reading.
    std::uint64_t expires_ms = 0;     // Then the name is taken off; 0: never.
    std::vector<std::string> grants;  // Tenants that may open it: paths.
  };
  // Either a token or a name.
  struct OpenOptions {
    std::string token;
    std::string name;
    std::string tenant;  // Whose, with a name; empty: this client's.
    std::uint64_t wait_ms = 0;
    std::optional<cudaStream_t> stream;  // Which waits for the contents.
  };

  static Result<Client> Open(const vrampool_options* options = nullptr) {
    vrampool_client* client = nullptr;
    const Status status(::vrampool_client_open(options, &client));
    if (!status.ok()) return status;
    return Client(client, Ownership::kOwned);
  }
  // The process-wide client; destroying the result does not close it.
  static Result<Client> Default() {
    vrampool_client* const client = ::vrampool_default_client();
    if (client == nullptr) return Status::Last();
    return Client(client, Ownership::kBorrowed);
  }

  Client(Client&& other) noexcept
      : client_(std::exchange(other.client_, nullptr)),
        ownership_(other.ownership_) {}
  Client& operator=(Client&& other) noexcept {
    if (this != &other) {
      Close();
      client_ = std::exchange(other.client_, nullptr);
      ownership_ = other.ownership_;
    }
    return *this;
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() { Close(); }

  vrampool_client* get() const { return client_; }
  void Close() {
    vrampool_client* const client = std::exchange(client_, nullptr);
    if (ownership_ == Ownership::kOwned) ::vrampool_client_close(client);
  }

  // Null on failure; Status::Last() then says why. These are inlined without
  // optimisation, too: reports tell the address that they return to.
  [[gnu::always_inline]] void* Allocate(std::size_t bytes,
                                        cudaStream_t stream = DefaultStream()) {
    return ::vrampool_client_allocate(client_, bytes, stream);
  }
  [[gnu::always_inline]] void* AllocateAligned(
      std::size_t bytes, std::size_t alignment,
      cudaStream_t stream = DefaultStream()) {
    return ::vrampool_client_allocate_aligned(client_, bytes, alignment,
                                              stream);
  }
  // Alone in its slab: see vrampool_client_allocate_dedicated().
  [[gnu::always_inline]] void* AllocateDedicated(
      std::size_t bytes, cudaStream_t stream = DefaultStream()) {
    return ::vrampool_client_allocate_dedicated(client_, bytes, stream);
  }
  [[gnu::always_inline]] void Deallocate(
      void* p, std::size_t bytes, cudaStream_t stream = DefaultStream()) {
    ::vrampool_client_deallocate(client_, p, bytes, stream);
  }

  // The block is also used on `stream`: see vrampool_record_stream().
  [[gnu::always_inline]] Status RecordStream(void* p, cudaStream_t stream) {
    return Status(::vrampool_record_stream(client_, p, stream));
  }

  Status Trim() { return Status(::vrampool_trim(client_)); }
  Status Quiesce() { return Status(::vrampool_quiesce(client_)); }

  Status BeginCapture(cudaStream_t stream) {
    return Status(::vrampool_capture_begin(client_, stream));
  }
  Status EndCapture(cudaStream_t stream, cudaGraph_t graph) {
    return Status(::vrampool_capture_end(client_, stream, graph));
  }

  Result<vrampool_info> Info() const {
    vrampool_info info{};
    info.struct_size = sizeof(info);
    const Status status(::vrampool_client_info(client_, &info));
    if (!status.ok()) return status;
    return info;
  }
  Result<vrampool_usage> Usage() const {
    vrampool_usage usage{};
    usage.struct_size = sizeof(usage);
    const Status status(::vrampool_client_usage(client_, &usage));
    if (!status.ok()) return status;
    return usage;
  }
  Result<vrampool_budget> Budget() const {
    vrampool_budget budget{};
    budget.struct_size = sizeof(budget);
    const Status status(::vrampool_client_budget(client_, &budget));
    if (!status.ok()) return status;
    return budget;
  }
  Result<bool> Fits(std::size_t bytes) {
    int fits = 0;
    const Status status(::vrampool_fits(client_, bytes, &fits));
    if (!status.ok()) return status;
    return fits != 0;
  }
  Result<vrampool_reservation> Reserve(std::size_t bytes,
                                       std::uint64_t hold_ms) {
    vrampool_reservation reservation{};
    const Status status(
        ::vrampool_reserve(client_, bytes, hold_ms, &reservation));
    if (!status.ok()) return status;
    return reservation;
  }
  Status Release(const vrampool_reservation& reservation) {
    return Status(::vrampool_reservation_release(client_, reservation));
  }
  Status WaitForRoom(std::size_t bytes, std::uint64_t wait_ms) {
    return Status(::vrampool_wait_for_room(client_, bytes, wait_ms));
  }

  Result<Object> Share(const std::vector<vrampool_buffer>& buffers) {
    return Share(buffers, ShareOptions());
  }
  Result<Object> Share(const std::vector<vrampool_buffer>& buffers,
                       const ShareOptions& options) {
    vrampool_share_options raw;
    ::vrampool_share_options_init(&raw);
    if (!options.tensors.empty() && options.tensors.size() != buffers.size()) {
      raw.struct_size = 0;  // Refused as INVALID_ARGUMENT, with its message.
    }
    raw.name = options.name.empty() ? nullptr : options.name.c_str();
    raw.tensors = options.tensors.empty() ? nullptr : options.tensors.data();
    raw.metadata = options.metadata.empty() ? nullptr : options.metadata.data();
    raw.metadata_size = options.metadata.size();
    raw.pending = options.is_pending ? 1 : 0;
    raw.ordered = options.stream ? 1 : 0;
    raw.sealed = options.is_sealed ? 1 : 0;
    raw.expires_ms = options.expires_ms;
    raw.stream = options.stream.value_or(nullptr);
    std::vector<const char*> grants;
    for (const std::string& grant : options.grants) {
      grants.push_back(grant.c_str());
    }
    raw.grants = grants.data();
    raw.grant_count = grants.size();
    vrampool_object* object = nullptr;
    const Status status(::vrampool_share(client_, buffers.data(),
                                         buffers.size(), &raw, &object));
    if (!status.ok()) return status;
    return Object(object);
  }
  Result<Object> OpenToken(const char* token, std::uint64_t wait_ms = 0) {
    vrampool_object* object = nullptr;
    const Status status(::vrampool_open(client_, token, wait_ms, &object));
    if (!status.ok()) return status;
    return Object(object);
  }
  Result<Object> OpenName(const char* name, std::uint64_t wait_ms = 0) {
    vrampool_object* object = nullptr;
    const Status status(::vrampool_open_name(client_, name, wait_ms, &object));
    if (!status.ok()) return status;
    return Object(object);
  }
  // For work on `stream`, which waits for the contents; no thread does.
  Result<Object> OpenTokenOn(cudaStream_t stream, const char* token,
                             std::uint64_t wait_ms = 0) {
    vrampool_object* object = nullptr;
    const Status status(
        ::vrampool_open_on(client_, token, stream, wait_ms, &object));
    if (!status.ok()) return status;
    return Object(object);
  }
  Result<Object> OpenNameOn(cudaStream_t stream, const char* name,
                            std::uint64_t wait_ms = 0) {
    vrampool_object* object = nullptr;
    const Status status(
        ::vrampool_open_name_on(client_, name, stream, wait_ms, &object));
    if (!status.ok()) return status;
    return Object(object);
  }
  Result<Object> OpenWith(const OpenOptions& options) {
    const auto text = [](const std::string& one) {
      return one.empty() ? nullptr : one.c_str();
    };
    vrampool_open_options raw;
    ::vrampool_open_options_init(&raw);
    raw.token = text(options.token);
    raw.name = text(options.name);
    raw.tenant = text(options.tenant);
    raw.wait_ms = options.wait_ms;
    raw.ordered = options.stream ? 1 : 0;
    raw.stream = options.stream.value_or(nullptr);
    vrampool_object* object = nullptr;
    const Status status(::vrampool_open_with(client_, &raw, &object));
    if (!status.ok()) return status;
    return Object(object);
  }
  Status Unlink(const char* name) {
    return Status(::vrampool_unlink(client_, name));
  }
  // How many objects that this client shared have ended, once more than `seen`
  // have.
  Result<std::uint64_t> AwaitEnds(std::uint64_t seen, std::uint64_t wait_ms) {
    std::uint64_t ends = 0;
    const Status status(::vrampool_await_ends(client_, seen, wait_ms, &ends));
    if (!status.ok()) return status;
    return ends;
  }
  // How often the daemon has asked for memory, once that is more than `seen`.
  Result<std::uint64_t> AwaitReclaim(std::uint64_t seen,
                                     std::uint64_t wait_ms) {
    std::uint64_t reclaims = 0;
    const Status status(
        ::vrampool_await_reclaim(client_, seen, wait_ms, &reclaims, nullptr));
    if (!status.ok()) return status;
    return reclaims;
  }
  Status SharedStatus(const char* token) {
    return Status(::vrampool_shared_status(client_, token));
  }

 private:
  enum class Ownership { kOwned, kBorrowed };
  Client(vrampool_client* client, Ownership ownership)
      : client_(client), ownership_(ownership) {}

  vrampool_client* client_ = nullptr;
  Ownership ownership_ = Ownership::kOwned;
};

}  // namespace VRAMPOOL_CPP_NAMESPACE
}  // namespace vrampool

#endif  // VRAMPOOL_VRAMPOOL_HPP_
