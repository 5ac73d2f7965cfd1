// The C interface: clients, memory, the default client.

#include <atomic>
#include <bit>
#include <cstring>
#include <memory>
#include <utility>

#include "base/status_macros.h"
#include "client/allocator/allocate.h"
#include "client/allocator/debug_place.h"
#include "client/allocator/default_clients.h"
#include "client/allocator/handles.h"
#include "client/allocator/last_error.h"
#include "client/allocator/thread_head.h"
#include "client/session/struct_prefix.h"
#include "vrampool/reserve.h"

namespace vrampool::client {
namespace {

// This thread's tag, if thread_head.tag_version is not 0.
struct ThreadTag {
  char text[56] = {};
};
constinit thread_local ThreadTag thread_tag;
// Of all threads: a version stands for one text of one thread.
std::atomic<uint64_t> last_tag_version{0};

Result<vrampool_client*> Checked(vrampool_client* client) {
  VRAMPOOL_RETURN_IF_ERROR(CheckHandle(client));
  return client;
}

template <size_t N>
void CopyText(const std::string& text, char (&field)[N]) {
  const size_t size = std::min(text.size(), N - 1);
  std::memcpy(field, text.data(), size);
  field[size] = '\0';
}

// The caller's struct may be of an older header, with fewer fields.
template <typename Out>
Status Deliver(const Out& value, Out* out) {
  const size_t size = out == nullptr ? 0 : out->struct_size;
  if (size < sizeof(size_t) || size > sizeof(Out)) {
    return {VRAMPOOL_INVALID_ARGUMENT,
            "struct_size is not set, or of a newer library; set it to the "
            "struct's size"};
  }
  std::memcpy(reinterpret_cast<char*>(out) + sizeof(size_t),
              reinterpret_cast<const char*>(&value) + sizeof(size_t),
              size - sizeof(size_t));
  return {};
}

}  // namespace

BlockRequest RequestOf(size_t bytes, cudaStream_t stream, const void* caller) {
  BlockRequest request;
  request.bytes = bytes;
  request.stream = stream;
  request.call_site = reinterpret_cast<uint64_t>(caller);
  return request;
}

void* AllocateFrom(const Result<vrampool_client*>& client,
                   BlockRequest request) noexcept {
  void* p = nullptr;
  Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(client.status());
    request.tag_version = thread_head.tag_version;
    request.tag = thread_tag.text;
    VRAMPOOL_ASSIGN_OR_RETURN(p, (*client)->client->AllocateSlowly(request));
    return {};
  });
  return p;
}

Result<vrampool_client*> OpenClient(const vrampool_options* options,
                                    ChannelFactory factory) {
  if (!ClaimProcess()) return ForkedStatus();
  VRAMPOOL_ASSIGN_OR_RETURN(Settings settings, ResolveSettings(options));
  auto handle = std::make_unique<vrampool_client>();
  handle->generation = ForkGeneration();
  VRAMPOOL_ASSIGN_OR_RETURN(
      handle->client, Client::Open(std::move(settings), std::move(factory)));
  return handle.release();
}

}  // namespace vrampool::client

using vrampool::client::CheckHandle;
using vrampool::client::Client;
using vrampool::client::Guarded;
using vrampool::client::QuickBlock;
using vrampool::client::QuickFree;
using vrampool::client::Status;

namespace {

uint64_t Site(const void* caller) { return reinterpret_cast<uint64_t>(caller); }

// By this thread's cache, if that can.
QuickBlock TryAllocate(vrampool_client* client, size_t bytes,
                       cudaStream_t stream, const void* caller) {
  if (!vrampool::client::IsUsable(client)) return {};
  const QuickBlock tried =
      client->client->TryAllocate(bytes, stream, Site(caller));
  if (tried.block != nullptr) vrampool::client::ReportOk();
  return tried;
}

[[gnu::noinline]] void DeallocateSlowly(
    vrampool_client* client, const vrampool::client::FreeRequest& request) {
  Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(CheckHandle(client));
    return client->client->FreeSlowly(request);
  });
}

// Inlined, so that the caller's address is only read where it is needed.
[[gnu::always_inline]] inline void Deallocate(vrampool_client* client, void* p,
                                              size_t bytes,
                                              cudaStream_t stream) {
  QuickFree tried;
  if (vrampool::client::IsUsable(client)) {
    tried = client->client->TryFree(p, bytes, stream);
  }
  if (tried.is_done) {
    vrampool::client::ReportOk();
    return;
  }
  DeallocateSlowly(client, {.p = p,
                            .bytes = bytes,
                            .stream = stream,
                            .call_site = Site(__builtin_return_address(0)),
                            .asked_key = tried.asked});
}

}  // namespace

extern "C" {

void vrampool_options_init_sized(vrampool_options* options, size_t size) {
  vrampool_options defaults{};
  defaults.wait_ms = -1;
  defaults.idle_ms = -1;
  defaults.detect_captures = -1;
  defaults.lease_ahead = -1;
  vrampool::client::InitPrefix(options, size, defaults);
}

vrampool_status vrampool_client_open(const vrampool_options* options,
                                     vrampool_client** out) {
  return Guarded([&]() -> Status {
    if (out == nullptr) return {VRAMPOOL_INVALID_ARGUMENT, "`out` is null"};
    *out = nullptr;
    VRAMPOOL_ASSIGN_OR_RETURN(
        *out, vrampool::client::OpenClient(
                  options, vrampool::client::RpcChannelFactory()));
    return {};
  });
}

void vrampool_client_close(vrampool_client* client) {
  if (client == nullptr) return;
  const void* const caller = __builtin_return_address(0);
  Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckHandle(client));
    if (vrampool::client::IsProcessWide(client)) {
      return {
          VRAMPOOL_INVALID_ARGUMENT,
          "a process-wide client is closed by the end of the process; trim it "
          "to give back what is not in use"};
    }
    std::unique_ptr<vrampool_client> handle(client);
    const vrampool::client::DebugMode* const debug = client->client->debug();
    const bool is_debug = debug != nullptr;
    const auto after =
        is_debug ? debug->after_report() : vrampool::client::AfterReport::kGoOn;
    client->client.reset();
    if (is_debug) {
      using vrampool::client::DebugHandles;
      DebugHandles::Keep(
          std::move(handle),
          {.what = "client",
           .call = vrampool::client::DebugMode::CallFrom(Site(caller), 0),
           .after = after});
    }
    return {};
  });
}

vrampool_client* vrampool_default_client(void) {
  vrampool_client* found = nullptr;
  Guarded([&]() -> Status {
    VRAMPOOL_ASSIGN_OR_RETURN(found, vrampool::client::DefaultClient());
    return {};
  });
  return found;
}

vrampool_status vrampool_client_info(vrampool_client* client,
                                     vrampool_info* out) {
  return Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckHandle(client));
    const auto session = client->client->session();
    vrampool_info info{};
    vrampool::client::CopyText(session->device_uuid(), info.device_uuid);
    vrampool::client::CopyText(session->tenant(), info.tenant);
    info.epoch = static_cast<uint64_t>(session->epoch());
    info.session_id = static_cast<uint64_t>(session->id());
    info.granule_bytes = session->granule_bytes();
    info.kind = static_cast<vrampool_kind>(session->kind());
    return vrampool::client::Deliver(info, out);
  });
}

void* vrampool_allocate(size_t bytes, cudaStream_t stream) {
  const void* const caller = __builtin_return_address(0);
  vrampool_client* const opened = vrampool::client::OpenedDefaultClient();
  const QuickBlock tried = TryAllocate(opened, bytes, stream, caller);
  if (tried.block != nullptr) return tried.block;
  if (bytes == 0) {  // Needs no client, so none is opened.
    vrampool::client::ReportOk();
    return nullptr;
  }
  vrampool::client::BlockRequest request =
      vrampool::client::RequestOf(bytes, stream, caller);
  request.asked_key = tried.asked;
  return vrampool::client::AllocateFrom(vrampool::client::DefaultClient(),
                                        request);
}

void vrampool_deallocate(void* p, size_t bytes, cudaStream_t stream) {
  if (p == nullptr) return;
  vrampool_client* client = vrampool::client::OpenedDefaultClient();
  if (client == nullptr) client = vrampool_default_client();
  if (client != nullptr) Deallocate(client, p, bytes, stream);
}

void* vrampool_client_allocate(vrampool_client* client, size_t bytes,
                               cudaStream_t stream) {
  const void* const caller = __builtin_return_address(0);
  const QuickBlock tried = TryAllocate(client, bytes, stream, caller);
  if (tried.block != nullptr) return tried.block;
  vrampool::client::BlockRequest request =
      vrampool::client::RequestOf(bytes, stream, caller);
  request.asked_key = tried.asked;
  return vrampool::client::AllocateFrom(vrampool::client::Checked(client),
                                        request);
}

void* vrampool_client_allocate_aligned(vrampool_client* client, size_t bytes,
                                       size_t alignment, cudaStream_t stream) {
  vrampool::client::BlockRequest request =
      vrampool::client::RequestOf(bytes, stream, __builtin_return_address(0));
  request.alignment = alignment;
  return vrampool::client::AllocateFrom(vrampool::client::Checked(client),
                                        request);
}

void* vrampool_client_allocate_dedicated(vrampool_client* client, size_t bytes,
                                         cudaStream_t stream) {
  vrampool::client::BlockRequest request =
      vrampool::client::RequestOf(bytes, stream, __builtin_return_address(0));
  request.is_dedicated = true;
  return vrampool::client::AllocateFrom(vrampool::client::Checked(client),
                                        request);
}

void* vrampool_client_allocate_from(vrampool_client* client, size_t bytes,
                                    size_t alignment, int dedicated,
                                    cudaStream_t stream, const char* frames) {
  const void* const caller = __builtin_return_address(0);
  vrampool::client::BlockRequest request =
      vrampool::client::RequestOf(bytes, stream, caller);
  constexpr size_t kQuantum = vrampool::client::BlockAllocator::kQuantum;
  const bool has_words = frames != nullptr && *frames != '\0';
  if (dedicated == 0 && !has_words && std::has_single_bit(alignment) &&
      alignment <= kQuantum) {
    const QuickBlock tried = TryAllocate(client, bytes, stream, caller);
    if (tried.block != nullptr) return tried.block;
    request.asked_key = tried.asked;
  }
  if (dedicated == 0) request.alignment = alignment;
  request.is_dedicated = dedicated != 0;
  request.frames = frames;
  return vrampool::client::AllocateFrom(vrampool::client::Checked(client),
                                        request);
}

void vrampool_client_deallocate(vrampool_client* client, void* p, size_t bytes,
                                cudaStream_t stream) {
  if (p == nullptr) return;
  Deallocate(client, p, bytes, stream);
}

vrampool_status vrampool_record_stream(vrampool_client* client, void* p,
                                       cudaStream_t stream) {
  const void* const caller = __builtin_return_address(0);
  return Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(CheckHandle(client));
    return client->client->RecordStream(p, stream, false, Site(caller));
  });
}

vrampool_status vrampool_set_tag(const char* tag) {
  auto& mine = vrampool::client::thread_tag;
  uint64_t& version = vrampool::client::thread_head.tag_version;
  if (tag == nullptr) version = 0;
  if (tag != nullptr) {
    version = ++vrampool::client::last_tag_version;
    const size_t size = ::strnlen(tag, sizeof(mine.text) - 1);
    // A caller may pass what vrampool_tag() gave.
    std::memmove(mine.text, tag, size);
    mine.text[size] = '\0';
  }
  return vrampool::client::ReportOk();
}

const char* vrampool_tag(void) {
  return vrampool::client::thread_head.tag_version != 0
             ? vrampool::client::thread_tag.text
             : nullptr;
}

void vrampool_debug_place(const char* place) {
  vrampool::client::SetDebugPlace(place);
}

void vrampool_debug_describe(const void* p) {
  Guarded([&]() -> Status {
    if (!vrampool::client::ClaimProcess()) {
      return vrampool::client::ForkedStatus();
    }
    vrampool::client::DebugFinding known;
    known.kind = vrampool::client::DebugFinding::Kind::kAsked;
    known.pointer = reinterpret_cast<uint64_t>(p);
    known.block = vrampool::client::DebugBook::FindAnywhere(known.pointer);
    vrampool::client::Tell(known, vrampool::client::AfterReport::kGoOn);
    return {};
  });
}

vrampool_status vrampool_trim(vrampool_client* client) {
  return Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckHandle(client));
    return client->client->Trim();
  });
}

vrampool_status vrampool_quiesce(vrampool_client* client) {
  return Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckHandle(client));
    return client->client->Quiesce();
  });
}

vrampool_status vrampool_await_reclaim(vrampool_client* client, uint64_t seen,
                                       uint64_t wait_ms, uint64_t* reclaims,
                                       uint64_t* bytes) {
  return Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckHandle(client));
    if (reclaims == nullptr) {
      return {VRAMPOOL_INVALID_ARGUMENT, "reclaims is null: where to put it?"};
    }
    vrampool::client::Reclaims now;
    Status status = client->client->AwaitReclaim(seen, wait_ms, now);
    *reclaims = now.count;
    if (bytes != nullptr) *bytes = now.bytes;
    return status;
  });
}

vrampool_status vrampool_client_usage(vrampool_client* client,
                                      vrampool_usage* out) {
  return Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckHandle(client));
    const Client::Usage now = client->client->ReadUsage();
    vrampool_usage usage{};
    usage.leased_bytes = now.totals.leased_bytes;
    usage.slabs = now.totals.leased_slabs;
    usage.live_bytes = now.totals.live_bytes;
    usage.live_blocks = now.totals.live_blocks;
    usage.opened_bytes = now.totals.opened_bytes;
    usage.rpcs = now.calls;
    usage.attachments = now.attachments;
    usage.parked_bytes = now.totals.parked_bytes;
    usage.cached_bytes = now.cached_bytes;
    usage.pending_bytes = now.pending_bytes;
    return vrampool::client::Deliver(usage, out);
  });
}

vrampool_status vrampool_describe(vrampool_client* client, const void* p,
                                  vrampool_block_info* out) {
  return Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckHandle(client));
    VRAMPOOL_ASSIGN_OR_RETURN(const Client::BlockPlace place,
                              client->client->Describe(p));
    vrampool_block_info info{};
    info.address = place.address;
    info.size_bytes = place.size_bytes;
    info.slab_id = static_cast<uint64_t>(place.slab);
    info.slab_bytes = place.slab_bytes;
    info.kind = static_cast<vrampool_kind>(place.kind);
    return vrampool::client::Deliver(info, out);
  });
}

vrampool_status vrampool_client_budget(vrampool_client* client,
                                       vrampool_budget* out) {
  return Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckHandle(client));
    VRAMPOOL_ASSIGN_OR_RETURN(const vrampool::client::BudgetReply reply,
                              client->client->ReadBudget());
    vrampool_budget budget{};
    budget.used_bytes = reply.used_bytes;
    budget.limit_bytes = reply.limit_bytes;
    budget.available_bytes = reply.available_bytes;
    budget.guarantee_bytes = reply.guarantee_bytes;
    budget.guaranteed_bytes = reply.guaranteed_bytes;
    budget.total_bytes = reply.total_bytes;
    return vrampool::client::Deliver(budget, out);
  });
}

vrampool_status vrampool_fits(vrampool_client* client, size_t bytes, int* out) {
  return Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckHandle(client));
    if (out == nullptr) {
      return {VRAMPOOL_INVALID_ARGUMENT, "out is null: where to put it?"};
    }
    VRAMPOOL_ASSIGN_OR_RETURN(const bool fits, client->client->Fits(bytes));
    *out = fits ? 1 : 0;
    return {};
  });
}

vrampool_status vrampool_reserve(vrampool_client* client, size_t bytes,
                                 uint64_t hold_ms, vrampool_reservation* out) {
  return Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckHandle(client));
    if (out == nullptr) {
      return {VRAMPOOL_INVALID_ARGUMENT, "out is null: where to put it?"};
    }
    VRAMPOOL_ASSIGN_OR_RETURN(const vrampool::client::ReserveReply reply,
                              client->client->Reserve(bytes, hold_ms));
    out->epoch = static_cast<uint64_t>(reply.epoch);
    out->id = reply.reservation;
    return {};
  });
}

vrampool_status vrampool_reservation_release(vrampool_client* client,
                                             vrampool_reservation reservation) {
  return Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckHandle(client));
    vrampool::client::ReserveReply held;
    held.epoch = vrampool::Epoch{reservation.epoch};
    held.reservation = reservation.id;
    return client->client->ReleaseReservation(held);
  });
}

vrampool_status vrampool_wait_for_room(vrampool_client* client, size_t bytes,
                                       uint64_t wait_ms) {
  return Guarded([&]() -> Status {
    VRAMPOOL_RETURN_IF_ERROR(vrampool::client::CheckHandle(client));
    return client->client->WaitForRoom(bytes, wait_ms);
  });
}

}  // extern "C"
