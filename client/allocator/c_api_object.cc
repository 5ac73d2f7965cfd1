// The C interface: objects.

#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string>

#include "base/status_macros.h"
#include "client/allocator/handles.h"
#include "client/allocator/last_error.h"
#include "client/session/struct_prefix.h"
#include "client/session/token.h"

namespace vrampool::client {
namespace {

Status Invalid(const char* what) { return {VRAMPOOL_INVALID_ARGUMENT, what}; }

Result<TensorLayout> CopyLayout(const vrampool_tensor& tensor) {
  if (tensor.ndim > kMaxDimensions) {
    return Invalid("a tensor has at most 16 dimensions");
  }
  if (tensor.ndim > 0 && tensor.shape == nullptr) {
    return Invalid("a tensor's shape is null");
  }
  TensorLayout copy;
  copy.dtype_code = tensor.dtype_code;
  copy.dtype_bits = tensor.dtype_bits;
  copy.dtype_lanes = tensor.dtype_lanes;
  copy.ndim = tensor.ndim;
  copy.has_strides = tensor.strides != nullptr ? 1 : 0;
  copy.byte_offset = tensor.byte_offset;
  const size_t bytes = tensor.ndim * sizeof(int64_t);
  if (bytes > 0) std::memcpy(copy.shape, tensor.shape, bytes);
  if (bytes > 0 && copy.has_strides != 0) {
    std::memcpy(copy.strides, tensor.strides, bytes);
  }
  return copy;
}

Result<Client::ShareRequest> RequestOf(const vrampool_buffer* buffers,
                                       size_t count,
                                       const vrampool_share_options* theirs) {
  if (buffers == nullptr || count == 0 || count > kMaxBuffers) {
    return Invalid("an object has 1 to 64 buffers");
  }
  Client::ShareRequest request;
  for (size_t i = 0; i < count; ++i) {
    request.buffers.emplace_back(buffers[i].data, buffers[i].size);
  }
  if (theirs == nullptr) return request;
  constexpr size_t kFirstVersion =
      offsetof(vrampool_share_options, stream) + sizeof(cudaStream_t);
  vrampool_share_options complete{};
  if (!TakePrefix(*theirs, kFirstVersion, complete)) {
    return Invalid(
        "vrampool_share_options.struct_size is not one that this library "
        "knows, or there is not one tensor for each buffer; call "
        "vrampool_share_options_init() first");
  }
  const vrampool_share_options* const options = &complete;
  if (options->name != nullptr) request.name = options->name;
  if (options->metadata_size > kMaxMetadataBytes) {
    return Invalid("metadata has at most 64 KiB; put more of it into a buffer");
  }
  if (options->metadata == nullptr && options->metadata_size > 0) {
    return Invalid("the metadata is null but has a size");
  }
  if (options->metadata_size > 0) {
    request.metadata.assign(static_cast<const char*>(options->metadata),
                            options->metadata_size);
  }
  for (size_t i = 0; options->tensors != nullptr && i < count; ++i) {
    VRAMPOOL_ASSIGN_OR_RETURN(TensorLayout copy,
                              CopyLayout(options->tensors[i]));
    request.layouts.push_back(copy);
  }
  request.is_pending = options->pending != 0;
  request.is_sealed = options->sealed != 0;
  request.expires_ms = options->expires_ms;
  if (options->ordered != 0) request.stream = options->stream;
  if (options->grants == nullptr && options->grant_count > 0) {
    return Invalid("the grants are null but have a number");
  }
  if (options->grant_count > kMaxGrants) {
    return Invalid(
        "an object is granted to at most 16 tenants; name one above several of "
        "them");
  }
  for (size_t i = 0; i < options->grant_count; ++i) {
    if (options->grants[i] == nullptr) return Invalid("a grant is null");
    request.grants.emplace_back(options->grants[i]);
  }
  return request;
}

using MaybeStream = std::optional<cudaStream_t>;

Result<Token> Parsed(const char* token) {
  if (token == nullptr) return Invalid("the token is null");
  const auto parsed = ParseToken(token);
  if (!parsed) {
    return Invalid(
        "this is no object token of this version, or it was damaged on the "
        "way; pass on exactly what vrampool_object_token() wrote");
  }
  return *parsed;
}

Result<std::unique_ptr<HeldObject>> OpenByToken(vrampool_client* client,
                                                const char* token,
                                                uint64_t wait_ms,
                                                MaybeStream stream) {
  VRAMPOOL_ASSIGN_OR_RETURN(const Token parsed, Parsed(token));
  auto opened = client->client->OpenToken(parsed, wait_ms, stream);
  const bool has_ended = opened.status().code() == VRAMPOOL_NOT_FOUND ||
                         opened.status().code() == VRAMPOOL_STALE;
  if (client->client->debug() == nullptr || !has_ended) return opened;
  return DebugHandles::ExplainOpen({parsed.epoch, parsed.object},
                                   DebugMode::CallFrom(0, 0),
                                   std::move(opened).status());
}

// In debug mode a handle that is closed, and its object's token, are
// remembered.
void Forget(std::unique_ptr<vrampool_object> object, const DebugMode* debug,
            const Token& token, const void* caller) {
  if (debug == nullptr) return;
  char id[32];
  std::snprintf(
      id, sizeof(id), "object %llu.%llu",
      static_cast<unsigned long long>(ObjectSlot(token.object)),
      static_cast<unsigned long long>(ObjectGeneration(token.object)));
  const DebugHandles::Closed closed{
      .what = id,
      .call = DebugMode::CallFrom(reinterpret_cast<uint64_t>(caller), 0),
      .after = debug->after_report()};
  DebugHandles::NoteObject({token.epoch, token.object}, closed);
  DebugHandles::Keep(std::move(object), closed);
}

Result<vrampool_object*> Wrap(Result<std::unique_ptr<HeldObject>> held) {
  if (!held.ok()) return std::move(held).status();
  return new vrampool_object{.generation = ForkGeneration(),
                             .held = *std::move(held)};
}

Result<vrampool_object*> OpenWith(vrampool_client* client,
                                  const vrampool_open_options* theirs) {
  constexpr size_t kFirstVersion = sizeof(vrampool_open_options);
  vrampool_open_options options{};
  if (theirs == nullptr || !TakePrefix(*theirs, kFirstVersion, options)) {
    return Invalid(
        "vrampool_open_options.struct_size is not one that this library knows; "
        "call vrampool_open_options_init() first");
  }
  if ((options.token == nullptr) == (options.name == nullptr)) {
    return Invalid("give either a token or a name");
  }
  MaybeStream stream;
  if (options.ordered != 0) stream = options.stream;
  if (options.name != nullptr) {
    return Wrap(client->client->OpenName(
        options.name, options.wait_ms, stream,
        options.tenant == nullptr ? "" : options.tenant));
  }
  if (options.tenant != nullptr) {
    return Invalid("a token says whose it is; name a tenant with a name only");
  }
  return Wrap(OpenByToken(client, options.token, options.wait_ms, stream));
}

// What the calls that open have in common; `open` does it.
template <typename How>
vrampool_status Open(vrampool_client* client, const char* which,
                     vrampool_object** out, How open) {
  return Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(CheckHandle(client));
    if (which == nullptr || out == nullptr) {
      return Invalid("the token or name, or `out`, is null");
    }
    *out = nullptr;
    VRAMPOOL_ASSIGN_OR_RETURN(*out, Wrap(open()));
    return {};
  });
}

// The buffer, or null.
const HeldObject::Buffer* BufferOf(const vrampool_object* object,
                                   size_t index) {
  if (Report(CheckHandle(object)) != VRAMPOOL_OK) return nullptr;
  const auto& buffers = object->held->buffers;
  if (index < buffers.size()) return &buffers[index];
  Report(Invalid("the object has no buffer of this index"));
  return nullptr;
}

Result<const ObjectDetails*> DetailsOf(vrampool_object* object) {
  VRAMPOOL_RETURN_IF_ERROR(CheckHandle(object));
  return object->held->client->Details(*object->held);
}

}  // namespace
}  // namespace vrampool::client

using vrampool::client::Guarded;
using vrampool::client::Status;

extern "C" {

void vrampool_share_options_init_sized(vrampool_share_options* options,
                                       size_t size) {
  vrampool::client::InitPrefix(options, size, vrampool_share_options{});
}

vrampool_status vrampool_share(vrampool_client* client,
                               const vrampool_buffer* buffers, size_t count,
                               const vrampool_share_options* options,
                               vrampool_object** out) {
  const void* const caller = __builtin_return_address(0);
  return Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckHandle(client));
    if (out == nullptr) return vrampool::client::Invalid("`out` is null");
    *out = nullptr;
    VRAMPOOL_ASSIGN_OR_RETURN(
        auto request, vrampool::client::RequestOf(buffers, count, options));
    request.call_site = reinterpret_cast<uint64_t>(caller);
    VRAMPOOL_ASSIGN_OR_RETURN(
        *out,
        vrampool::client::Wrap(client->client->Share(std::move(request))));
    return {};
  });
}

vrampool_status vrampool_ready(vrampool_object* object) {
  return Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckHandle(object));
    return object->held->client->Ready(*object->held);
  });
}

vrampool_status vrampool_object_token(vrampool_object* object, char* token,
                                      size_t size) {
  return Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckHandle(object));
    const std::string text = vrampool::client::FormatToken(object->held->token);
    if (token == nullptr || size <= text.size()) {
      return vrampool::client::Invalid(
          "the room for the token is too small; give VRAMPOOL_TOKEN_MAX bytes");
    }
    std::memcpy(token, text.c_str(), text.size() + 1);
    return {};
  });
}

vrampool_status vrampool_open(vrampool_client* client, const char* token,
                              uint64_t wait_ms, vrampool_object** out) {
  return vrampool::client::Open(client, token, out, [&] {
    return vrampool::client::OpenByToken(client, token, wait_ms, std::nullopt);
  });
}

vrampool_status vrampool_open_on(vrampool_client* client, const char* token,
                                 cudaStream_t stream, uint64_t wait_ms,
                                 vrampool_object** out) {
  return vrampool::client::Open(client, token, out, [&] {
    return vrampool::client::OpenByToken(client, token, wait_ms, stream);
  });
}

vrampool_status vrampool_open_name(vrampool_client* client, const char* name,
                                   uint64_t wait_ms, vrampool_object** out) {
  return vrampool::client::Open(client, name, out, [&] {
    return client->client->OpenName(name, wait_ms);
  });
}

vrampool_status vrampool_open_name_on(vrampool_client* client, const char* name,
                                      cudaStream_t stream, uint64_t wait_ms,
                                      vrampool_object** out) {
  return vrampool::client::Open(client, name, out, [&] {
    return client->client->OpenName(name, wait_ms, stream);
  });
}

void vrampool_open_options_init_sized(vrampool_open_options* options,
                                      size_t size) {
  vrampool::client::InitPrefix(options, size, vrampool_open_options{});
}

vrampool_status vrampool_open_with(vrampool_client* client,
                                   const vrampool_open_options* options,
                                   vrampool_object** out) {
  return Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckHandle(client));
    if (out == nullptr) return vrampool::client::Invalid("`out` is null");
    *out = nullptr;
    VRAMPOOL_ASSIGN_OR_RETURN(*out,
                              vrampool::client::OpenWith(client, options));
    return {};
  });
}

vrampool_status vrampool_object_status(vrampool_object* object) {
  return Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckHandle(object));
    return vrampool::client::Client::StateOf(*object->held);
  });
}

int vrampool_object_is_sealed(vrampool_object* object) {
  const auto status = vrampool::client::CheckHandle(object);
  if (vrampool::client::Report(status) != VRAMPOOL_OK) return 0;
  return object->held->token.is_sealed ? 1 : 0;
}

size_t vrampool_object_buffer_count(vrampool_object* object) {
  const auto status = vrampool::client::CheckHandle(object);
  if (vrampool::client::Report(status) != VRAMPOOL_OK) return 0;
  return object->held->buffers.size();
}

void* vrampool_object_data(vrampool_object* object, size_t index) {
  const auto* const buffer = vrampool::client::BufferOf(object, index);
  return buffer == nullptr ? nullptr : buffer->data;
}

size_t vrampool_object_size(vrampool_object* object, size_t index) {
  const auto* const buffer = vrampool::client::BufferOf(object, index);
  return buffer == nullptr ? 0 : buffer->size;
}

vrampool_status vrampool_object_tensor(vrampool_object* object, size_t index,
                                       vrampool_tensor* out) {
  return Guarded([&]() -> Status {
    VRAMPOOL_ASSIGN_OR_RETURN(const auto* details,
                              vrampool::client::DetailsOf(object));
    if (out == nullptr || index >= object->held->buffers.size()) {
      return vrampool::client::Invalid(
          "`out` is null, or the object has no buffer of this index");
    }
    if (details->layouts.empty()) {
      return {VRAMPOOL_NOT_FOUND,
              "the producer gave no layout; agree on one, or give it"};
    }
    const auto& layout = details->layouts[index];
    out->dtype_code = layout.dtype_code;
    out->dtype_bits = layout.dtype_bits;
    out->dtype_lanes = layout.dtype_lanes;
    out->ndim = layout.ndim;
    out->shape = layout.shape;
    out->strides = layout.has_strides != 0 ? layout.strides : nullptr;
    out->byte_offset = layout.byte_offset;
    return {};
  });
}

vrampool_status vrampool_object_metadata(vrampool_object* object,
                                         const void** data, size_t* size) {
  return Guarded([&]() -> Status {
    if (data == nullptr || size == nullptr) {
      return vrampool::client::Invalid("`data` or `size` is null");
    }
    *data = nullptr;
    *size = 0;
    VRAMPOOL_ASSIGN_OR_RETURN(const auto* details,
                              vrampool::client::DetailsOf(object));
    if (details->metadata.empty()) return {};
    *data = details->metadata.data();
    *size = details->metadata.size();
    return {};
  });
}

const char* vrampool_object_name(vrampool_object* object) {
  const char* name = nullptr;
  Guarded([&]() -> Status {
    VRAMPOOL_ASSIGN_OR_RETURN(const auto* details,
                              vrampool::client::DetailsOf(object));
    name = details->name.c_str();
    return {};
  });
  return name;
}

const char* vrampool_object_owner(vrampool_object* object) {
  const char* name = nullptr;
  Guarded([&]() -> Status {
    VRAMPOOL_ASSIGN_OR_RETURN(const auto* details,
                              vrampool::client::DetailsOf(object));
    name = details->owner.c_str();
    return {};
  });
  return name;
}

vrampool_status vrampool_object_close(vrampool_object* object,
                                      cudaStream_t stream) {
  const void* const caller = __builtin_return_address(0);
  return Guarded([&]() -> Status {
    if (object == nullptr) return {};
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckHandle(object));
    vrampool::client::Client& client = *object->held->client;
    const vrampool::client::Token token = object->held->token;
    VRAMPOOL_RETURN_IF_ERROR(client.CloseOn(object->held, stream));
    vrampool::client::Forget(std::unique_ptr<vrampool_object>(object),
                             client.debug(), token, caller);
    return {};
  });
}

vrampool_status vrampool_unlink(vrampool_client* client, const char* name) {
  return Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckHandle(client));
    if (name == nullptr) return vrampool::client::Invalid("`name` is null");
    return client->client->Unlink(name);
  });
}

vrampool_status vrampool_await_ends(vrampool_client* client, uint64_t seen,
                                    uint64_t wait_ms, uint64_t* ends) {
  return Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckHandle(client));
    if (ends == nullptr) return vrampool::client::Invalid("`ends` is null");
    return client->client->AwaitEnds(seen, wait_ms, *ends);
  });
}

vrampool_status vrampool_shared_status(vrampool_client* client,
                                       const char* token) {
  return Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckHandle(client));
    VRAMPOOL_ASSIGN_OR_RETURN(const auto parsed,
                              vrampool::client::Parsed(token));
    return client->client->SharedStatus(parsed);
  });
}

}  // extern "C"
