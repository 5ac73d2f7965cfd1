// fake_daemon.h - a daemon in the test's own process, for tests of the client.
//
// It serves one device in a temporary directory: a real attach socket, greeted
// by a thread, real memory files for manifest, object table and slabs, and in
// place of gRPC a ControlChannel whose calls run in the caller's thread. A test
// can make calls fail, drop replies, and look at everything.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_TESTS_CLIENT_FAKE_DAEMON_H_
#define VRAMPOOL_TESTS_CLIENT_FAKE_DAEMON_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "client/session/environment.h"
#include "client/session/session.h"
#include "proto/attach/messages.h"
#include "proto/shm/contents_words.h"
#include "proto/shm/manifest.h"
#include "proto/shm/object_table.h"

namespace vrampool::client {

// A memory file of `size` bytes, sealed as the daemon seals its own.
UniqueFd MakeSealedFile(uint64_t size);

// A temporary directory; removed with everything in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class FakeDaemon {
 public:
  static constexpr char kUuid[] = "HOST-00000000";
  // What the daemon says of its device. Slabs are memory files in any case: a
  // test of a client's use of the GPU needs no more than a GPU's name.
  struct Device {
    std::string uuid = kUuid;
    HandleKind kind = HandleKind::kHostFd;
  };
  static constexpr uint64_t kRecords = 64;
  static constexpr uint32_t kSlots = 16;
  static constexpr uint64_t kReclaimBytes = 4096;

  // Serves `directory`/kUuid from now on.
  explicit FakeDaemon(const std::string& directory, uint64_t epoch = 1)
      : FakeDaemon(directory, epoch, Device()) {}
  FakeDaemon(const std::string& directory, uint64_t epoch, Device device);
  // As if killed: the sockets close, nothing is said.
  ~FakeDaemon();

  Settings MakeSettings() const;
  ChannelFactory Channels();

  // What the calls do. Under the lock; set before or between calls.
  struct Ledger {
    uint64_t limit_bytes = uint64_t{1} << 40;
    uint64_t largest_slab = uint64_t{1}
                            << 40;        // The device's room is in pieces.
    std::map<uint64_t, uint64_t> leases;  // Lease to slab.
    std::map<uint64_t, uint64_t> slab_bytes;
    std::map<uint64_t, uint64_t> holds;  // Object to holds by call.
    std::map<uint64_t, std::vector<BufferPlace>> objects;
    std::set<uint64_t> pending;       // Objects not ready yet.
    std::set<uint64_t> foreign;       // Slabs of another tenant.
    std::vector<std::string> grants;  // Of the last object shared.
    // What Ready said, by call or by message.
    std::map<uint64_t, ReadyOutcome> ready;
    std::map<std::string, uint64_t> keys;  // Idempotency key to lease.
    std::vector<uint64_t> lease_sizes;     // Asked for, in order.
    std::vector<uint64_t> unmapped;        // Slabs reported.
    std::vector<uint64_t> mapped;          // Slabs sent, less those returned.
    // So many calls of Lease and Share are refused by a rate, each saying when
    // it would not be; and how many there were.
    uint64_t too_fast = 0;
    uint64_t retry_after_ms = 1;
    uint64_t refused_by_rate = 0;
    uint64_t refused_as_busy = 0;    // So many leases are turned away before,
    uint64_t cancelled_as_busy = 0;  // and so many more without details.
    uint64_t lost_replies = 0;  // So many leases are granted without a reply.
    uint64_t lost_readies = 0;  // So many calls of Ready are heard, likewise.
    uint64_t unheard_readies = 0;  // Before that: so many are not even heard.
    uint64_t ready_calls = 0;
    uint64_t empty_handles = 0;     // So many slabs cannot be mapped.
    bool ends_with_handle = false;  // It goes with the next slab's handle.
    uint64_t released_holds = 0;    // HoldReleased messages.
    // After each Share by call so many promises are sent; what is made of them
    // is an object, unless it is kept back.
    uint64_t promises = 0;
    uint64_t kept_back = 0;              // So many are not made yet.
    uint64_t unmakable = 0;              // So many end instead.
    std::set<uint64_t> promised;         // And not used.
    std::vector<attach::Shared> shared;  // Shared messages,
    std::vector<std::string> layouts;    // and what came with them.
    uint64_t returned_leases = 0;
    bool opens_need_all = false;   // Open is refused beside any lease.
    uint64_t refused_returns = 0;  // An object there was held.
    uint64_t sessions = 0;
  };
  Ledger ledger() const;
  void Change(const std::function<void(Ledger&)>& change);
  // Waits until `is_true` of the ledger; false after ten seconds.
  bool Await(const std::function<bool(const Ledger&)>& is_true);

  void SendReclaim();
  void SendObjectEnded(ObjectId object);
  void SendObjectSettled(ObjectId object);
  // Nothing is read from the attach socket any more, or it is again.
  void StopReading(bool is_stopped);
  // What becomes of an object that another process made; the client is told.
  void Settle(ObjectId object, ReadyOutcome outcome);
  // Runs at the end of each call of Open that takes a hold, before its reply.
  void OnOpened(std::function<void()> hook);
  // Runs at the beginning of each call of Lease.
  void OnLease(std::function<void()> hook);
  void SendFarewell(attach::FarewellCode code, const std::string& text);
  // What the daemon publishes.
  void SetSlot(ObjectId object, shm::ObjectState state);
  // What the clients of the tenant tell one another.
  std::atomic<uint32_t>& ContentsWord(ObjectId object);
  // The manifest as the daemon reads it: states of all records, holds.
  std::vector<shm::BlockState> RecordStates() const;
  std::vector<uint64_t> Holds() const;
  shm::ManifestHeader* manifest() const { return manifest_; }
  template <typename T>
  T* InManifest(uint64_t offset) const {
    return reinterpret_cast<T*>(reinterpret_cast<std::byte*>(manifest_) +
                                offset);
  }

 private:
  friend class FakeChannel;
  // Channels outlive the daemon, as real ones do: their calls then fail.
  struct Life {
    std::mutex mu;
    bool is_alive = true;
  };
  void Run();
  void Greet(UniqueFd connection);
  void SendPacket(attach::MessageType type, const void* body, size_t size,
                  const std::vector<int>& fds);
  void SendSlab(uint64_t slab, uint64_t size) VRAMPOOL_REQUIRES(mu_);
  void ReceivePacket();
  void HearReady(ObjectId object, ReadyOutcome outcome) VRAMPOOL_REQUIRES(mu_);
  void SettleLocked(ObjectId object, ReadyOutcome outcome)
      VRAMPOOL_REQUIRES(mu_);
  void SendSettledLocked(ObjectId object) VRAMPOOL_REQUIRES(mu_);
  void SendPromises(uint64_t count) VRAMPOOL_REQUIRES(mu_);
  void NoteShared(const attach::Shared& shared, std::string_view layout)
      VRAMPOOL_REQUIRES(mu_);

  const std::shared_ptr<Life> life_ = std::make_shared<Life>();
  const Device device_;
  const std::string folder_;
  const uint64_t epoch_;
  UniqueFd listener_;
  UniqueFd stop_;
  UniqueFd connection_;
  UniqueFd manifest_fd_;
  UniqueFd table_fd_;
  UniqueFd contents_fd_;
  shm::ManifestHeader* manifest_ = nullptr;
  std::byte* table_ = nullptr;
  std::byte* contents_ = nullptr;
  std::thread thread_;

  mutable Mutex mu_;
  CondVar changed_;
  Ledger ledger_ VRAMPOOL_GUARDED_BY(mu_);
  std::map<uint64_t, UniqueFd> files_ VRAMPOOL_GUARDED_BY(mu_);
  uint64_t next_id_ VRAMPOOL_GUARDED_BY(mu_) = 1;
  std::atomic<bool> is_deaf_{false};
  std::function<void()> on_opened_ VRAMPOOL_GUARDED_BY(mu_);
  std::function<void()> on_lease_ VRAMPOOL_GUARDED_BY(mu_);
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_TESTS_CLIENT_FAKE_DAEMON_H_
