// The other side of peer_process.h: what a peer does.

#include <algorithm>
#include <cstring>
#include <map>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/cuda/driver.h"
#include "base/status_macros.h"
#include "daemon/device/cuda/driver_fault.h"
#include "daemon/device/cuda/gpu.h"
#include "daemon/device/cuda/imported_slab.h"
#include "daemon/device/cuda/peer_process.h"
#include "daemon/device/cuda/slab_memory.h"

namespace vrampool {
namespace {

class Peer {
 public:
  explicit Peer(const cuda::DriverApi& api) : api_(api), fault_(api) {}

  // Makes the context that everything needs.
  absl::Status Prepare(std::string_view uuid) {
    VRAMPOOL_RETURN_IF_ERROR(fault_.Check(api_.Init(0), "cuInit"));
    VRAMPOOL_ASSIGN_OR_RETURN(const Gpu gpu, ChooseGpu(api_, uuid));
    device_ = gpu.device;
    VRAMPOOL_ASSIGN_OR_RETURN(context_,
                              PrimaryContext::Retain(api_, fault_, device_));
    return context_->Enter();
  }

  absl::StatusOr<bool> Obey(const peer::Order& order, UniqueFd fd) {
    if (order.verb == peer::Verb::kMap) {
      ExportedHandle handle;
      handle.kind = order.kind;
      handle.fd = std::move(fd);
      handle.bytes = order.handle;
      VRAMPOOL_ASSIGN_OR_RETURN(
          slabs_[order.place],
          ImportedSlab::Map(api_, device_, std::move(handle),
                            Bytes(order.size_bytes)));
      return true;
    }
    const auto slab = slabs_.find(order.place);
    if (slab == slabs_.end() || slab->second == nullptr) {
      return absl::InternalError("nothing is mapped there");
    }
    if (order.verb == peer::Verb::kIsFilledWith) {
      return slab->second->IsFilledWith(order.value);
    }
    if (order.verb == peer::Verb::kFill) {
      VRAMPOOL_RETURN_IF_ERROR(slab->second->Fill(order.value));
      return true;
    }
    slabs_.erase(slab);
    return true;
  }

 private:
  const cuda::DriverApi& api_;
  DriverFault fault_;
  cuda::Device device_ = 0;
  std::unique_ptr<PrimaryContext> context_;
  std::map<uint64_t, std::unique_ptr<ImportedSlab>> slabs_;
};

peer::Answer AnswerOf(const absl::StatusOr<bool>& outcome) {
  peer::Answer answer = {};
  answer.is_ok = outcome.ok();
  answer.is_true = outcome.ok() && *outcome;
  const absl::string_view text = outcome.status().message();
  std::copy_n(text.begin(), std::min(text.size(), answer.text.size() - 1),
              answer.text.begin());
  return answer;
}

int Serve(std::string_view uuid) {
  const cuda::LoadedDriver& driver = cuda::LoadDriver();
  if (driver.api == nullptr) {
    (void)peer::Send(peer::kSocket,
                     AnswerOf(absl::InternalError(driver.problem)));
    return 1;
  }
  Peer peer(*driver.api);
  const absl::Status ready = peer.Prepare(uuid);
  if (!peer::Send(peer::kSocket,
                  AnswerOf(ready.ok() ? absl::StatusOr<bool>(true)
                                      : absl::StatusOr<bool>(ready))) ||
      !ready.ok()) {
    return 1;
  }
  peer::Order order;
  UniqueFd fd;
  while (peer::Receive(peer::kSocket, order, fd)) {
    if (!peer::Send(peer::kSocket, AnswerOf(peer.Obey(order, std::move(fd))))) {
      return 1;
    }
  }
  return 0;  // Whoever started it has gone.
}

}  // namespace

std::optional<int> PeerProcess::RunIfAsked(int argc, const char* const* argv) {
  if (argc != 3 || std::strcmp(argv[1], peer::kFlag) != 0) return std::nullopt;
  return Serve(argv[2]);
}

}  // namespace vrampool
