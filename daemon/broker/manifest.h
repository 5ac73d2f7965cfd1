// manifest.h - the daemon's side of one session's manifest (see
// proto/shm/manifest.h): makes it, and reads it as the hostile input that it
// is.
//
// Threads: thread-safe after Create (reads only).

#ifndef VRAMPOOL_DAEMON_BROKER_MANIFEST_H_
#define VRAMPOOL_DAEMON_BROKER_MANIFEST_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "base/unique_fd.h"
#include "daemon/broker/broker.h"
#include "daemon/broker/leak_book.h"
#include "daemon/broker/shared_memory.h"
#include "daemon/broker/stack_groups.h"
#include "proto/shm/manifest.h"

namespace vrampool {

class Manifest {
 public:
  static absl::StatusOr<std::unique_ptr<Manifest>> Create(
      SessionId session, Epoch epoch, uint64_t record_capacity);

  absl::StatusOr<UniqueFd> Duplicate() const { return memory_.Duplicate(); }
  uint64_t bytes() const { return layout_.total_bytes; }

  // Is `object` among the holds? Looks at kHoldCapacity words at most; does not
  // block.
  bool Holds(ObjectId object) const;

  // The client ended the session itself; or says so.
  bool IsClosedInOrder() const;

  // By the counters; never negative, whatever they say.
  LiveUse ReadLiveUse() const;

  // Which files the client's code addresses lie in, by its word; cleaned.
  std::vector<ModuleView> ReadModules() const;

  // The frames of a stack, by the client's word; cleaned. Empty if there is no
  // such stack. `stack` as in BlockRecordView.
  std::vector<FrameView> ReadStack(uint32_t stack) const;

  // Calls `visit` for every record that is live and makes sense.
  //   DataLoss  what does not make sense, once everything else was visited; a
  //             client wrote nonsense.
  absl::Status ForEachBlock(
      const std::function<void(const BlockRecordView&)>& visit) const;

 private:
  Manifest(SharedMemory memory, uint64_t record_capacity);
  const shm::ManifestHeader& header() const;
  std::string TagText(uint32_t tag) const;
  std::string FrameText(uint64_t index) const;
  // What `site` of a record says of a view. A stack is looked at once.
  void FillSite(uint64_t site,
                absl::flat_hash_map<uint32_t, uint64_t>& first_addresses,
                BlockRecordView& view) const;

  SharedMemory memory_;  // Mapped up to the records.
  const uint64_t record_capacity_;
  const shm::ManifestLayout layout_;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_BROKER_MANIFEST_H_
