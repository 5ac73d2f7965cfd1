#include "daemon/device/cuda/self_test.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace vrampool {
namespace {

// More than a few pages, so that a new slab gets used ones.
constexpr uint64_t kGranulesInSlab = 8;
constexpr int kNewSlabs = 3;  // Made while the old one is still mapped.

// A slab of the test: given up with it.
class TestSlab {
 public:
  static absl::StatusOr<TestSlab> Make(SlabMemory& memory, Bytes size) {
    VRAMPOOL_ASSIGN_OR_RETURN(const MemoryId id, memory.Make(size));
    return TestSlab(memory, id, size);
  }
  TestSlab(TestSlab&& other) noexcept
      : memory_(other.memory_),
        id_(std::exchange(other.id_, std::nullopt)),
        size_(other.size_) {}
  TestSlab& operator=(TestSlab&&) = delete;
  // The test has failed already if this one is still here and cannot go.
  ~TestSlab() { (void)GiveUp(); }

  absl::Status MapIn(PeerProcess& peer, uint64_t place) {
    VRAMPOOL_ASSIGN_OR_RETURN(ExportedHandle handle, memory_->Export(*id_));
    return peer.Map(place, std::move(handle), size_);
  }
  absl::Status GiveUp() {
    if (!id_.has_value()) return absl::OkStatus();
    return memory_->GiveUp(*std::exchange(id_, std::nullopt));
  }

 private:
  TestSlab(SlabMemory& memory, MemoryId id, Bytes size)
      : memory_(&memory), id_(id), size_(size) {}

  SlabMemory* memory_;
  std::optional<MemoryId> id_;
  Bytes size_;
};

absl::Status Expect(const absl::StatusOr<bool>& outcome,
                    absl::string_view what) {
  VRAMPOOL_RETURN_IF_ERROR(outcome.status());
  return *outcome ? absl::OkStatus() : absl::DataLossError(what);
}

absl::Status ShareBytes(SlabMemory& memory, Bytes size, PeerProcess& one,
                        PeerProcess& other) {
  VRAMPOOL_ASSIGN_OR_RETURN(TestSlab slab, TestSlab::Make(memory, size));
  VRAMPOOL_RETURN_IF_ERROR(slab.MapIn(one, 0));
  VRAMPOOL_RETURN_IF_ERROR(slab.MapIn(other, 0));
  VRAMPOOL_RETURN_IF_ERROR(one.Fill(0, 0x5a));
  VRAMPOOL_RETURN_IF_ERROR(
      Expect(other.IsFilledWith(0, 0x5a),
             "what one process writes another does not read"));
  VRAMPOOL_RETURN_IF_ERROR(one.Unmap(0));
  VRAMPOOL_RETURN_IF_ERROR(other.Unmap(0));
  return slab.GiveUp();
}

// Follows ShareBytes, which left a pattern in memory that is free again.
absl::StatusOr<bool> IsZeroed(SlabMemory& memory, Bytes size,
                              PeerProcess& peer) {
  VRAMPOOL_ASSIGN_OR_RETURN(TestSlab slab, TestSlab::Make(memory, size));
  VRAMPOOL_RETURN_IF_ERROR(slab.MapIn(peer, 0));
  VRAMPOOL_ASSIGN_OR_RETURN(const bool is_zeroed, peer.IsFilledWith(0, 0));
  VRAMPOOL_RETURN_IF_ERROR(peer.Unmap(0));
  VRAMPOOL_RETURN_IF_ERROR(slab.GiveUp());
  return is_zeroed;
}

// `holder` keeps a slab mapped that is given up; `user` gets the next ones.
absl::Status Isolate(SlabMemory& memory, Bytes size, PeerProcess& holder,
                     PeerProcess& user) {
  VRAMPOOL_ASSIGN_OR_RETURN(TestSlab old, TestSlab::Make(memory, size));
  VRAMPOOL_RETURN_IF_ERROR(old.MapIn(holder, 0));
  VRAMPOOL_RETURN_IF_ERROR(holder.Fill(0, 0xaa));
  VRAMPOOL_RETURN_IF_ERROR(old.GiveUp());
  std::vector<TestSlab> fresh;
  for (int i = 0; i < kNewSlabs; ++i) {
    const auto place = static_cast<uint64_t>(i);
    VRAMPOOL_ASSIGN_OR_RETURN(TestSlab slab, TestSlab::Make(memory, size));
    fresh.push_back(std::move(slab));
    VRAMPOOL_RETURN_IF_ERROR(fresh.back().MapIn(user, place));
    VRAMPOOL_RETURN_IF_ERROR(user.Fill(place, 0xbb));
  }
  VRAMPOOL_RETURN_IF_ERROR(Expect(holder.IsFilledWith(0, 0xaa),
                                  "new memory changes what was given up"));
  VRAMPOOL_RETURN_IF_ERROR(holder.Fill(0, 0xcc));
  for (int i = 0; i < kNewSlabs; ++i) {
    const auto place = static_cast<uint64_t>(i);
    VRAMPOOL_RETURN_IF_ERROR(Expect(user.IsFilledWith(place, 0xbb),
                                    "what was given up changes new memory"));
    VRAMPOOL_RETURN_IF_ERROR(user.Unmap(place));
  }
  return holder.Unmap(0);
}

}  // namespace

SelfTestResult TestKind(SlabMemory& memory, Bytes granule, PeerProcess& one,
                        PeerProcess& other) {
  SelfTestResult result;
  const Bytes size = Bytes(granule.count() * kGranulesInSlab);
  result.round_trip = ShareBytes(memory, size, one, other);
  if (!result.round_trip.ok()) return result;
  const absl::StatusOr<bool> is_zeroed = IsZeroed(memory, size, one);
  result.round_trip = is_zeroed.status();
  if (!is_zeroed.ok()) return result;
  result.is_zeroed = *is_zeroed;
  // Whatever goes wrong here counts as not isolating: an error in either
  // process is no isolation.
  result.isolates = Isolate(memory, size, one, other).ok();
  return result;
}

}  // namespace vrampool
