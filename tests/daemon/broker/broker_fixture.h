// broker_fixture.h - the broker over a device that obeys and clients that only
// take notes.
//
// Threads: a test may start calls on threads of its own (InBackground); the
// fixture waits for all of them.

#ifndef VRAMPOOL_TESTS_DAEMON_BROKER_BROKER_FIXTURE_H_
#define VRAMPOOL_TESTS_DAEMON_BROKER_BROKER_FIXTURE_H_

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "daemon/broker/broker.h"
#include "daemon/core/refusal.h"
#include "daemon/device/fake/fake_device.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/shm/manifest.h"
#include "proto/shm/object_table.h"
#include "tests/testing/fake_clock.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {

// A client that notes what is sent to it.
class RecordingLink final : public SessionLink {
 public:
  struct Notes {
    std::vector<SlabId> handles;  // Sent, not refused.
    std::vector<Bytes> reclaims;
    std::vector<ObjectId> ended;
    std::vector<ObjectId> known;  // Pending objects that are so no more.
    std::vector<PromisedObject> promises;
    std::vector<std::string> farewells;
    bool is_condemned = false;
    size_t farewells_before_kill = 0;
  };

  // The next sends of a handle are refused as a full socket does.
  void RefuseHandles(int count);
  // Likewise of promises, from now on.
  void RefusePromises();
  void ForbidKill();
  // The next handle waits in its send, then is refused.
  void HoldNextHandle();
  void AwaitHeldHandle();
  void RefuseHeldHandle();

  Notes notes() const;

  absl::Status SendHandle(SlabId slab, Bytes size,
                          ExportedHandle handle) override;
  void SendReclaim(Bytes bytes) override;
  void SendObjectEnded(ObjectId object) override;
  void SendObjectSettled(ObjectId object) override;
  bool SendPromises(const std::vector<PromisedObject>& promises) override;
  void SendFarewell(bool is_condemned, std::string_view text) override;
  bool Kill() override;

 private:
  enum class Hold { kNone, kNext, kHeld, kRefused };

  mutable Mutex mu_;
  CondVar changed_;
  Notes notes_ VRAMPOOL_GUARDED_BY(mu_);
  int refusals_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  bool refuses_promises_ VRAMPOOL_GUARDED_BY(mu_) = false;
  bool is_kill_forbidden_ VRAMPOOL_GUARDED_BY(mu_) = false;
  Hold hold_ VRAMPOOL_GUARDED_BY(mu_) = Hold::kNone;
};

// Shared memory as a client maps it.
class ClientMapping {
 public:
  ClientMapping(const UniqueFd& fd, size_t bytes, bool is_writable);
  ~ClientMapping();
  ClientMapping(const ClientMapping&) = delete;
  ClientMapping& operator=(const ClientMapping&) = delete;

  template <typename T>
  T* at(size_t offset) const {
    return reinterpret_cast<T*>(data_ + offset);
  }

 private:
  std::byte* data_;
  size_t bytes_;
};

struct TestClient {
  SessionId id{};
  std::shared_ptr<RecordingLink> link;
  std::unique_ptr<ClientMapping> manifest;
  std::unique_ptr<ClientMapping> table;

  shm::ManifestHeader* header() const {
    return manifest->at<shm::ManifestHeader>(0);
  }
  // Writes hold number `place`, as the library does: O1.
  void WriteHold(uint32_t place, ObjectId object) const;
  // The word of the object's slot.
  uint64_t SlotOf(ObjectId object) const;
  // Writes a live block of `bytes` as record number `place`.
  void WriteBlock(uint64_t place, uint64_t slab, uint64_t bytes) const;
};

class BrokerTest : public ::testing::Test {
 protected:
  static constexpr Bytes kPool = MiB(16);
  static constexpr Epoch kEpoch{7};

  // The device has room besides the pool, so that only the ledger says no.
  BrokerTest() : device_({.capacity = kPool + kPool}) {}
  void SetUp() override { Start({}); }
  // The broker of this test, anew.
  void Start(const Bounds& bounds, Observer* observer = nullptr);

  TestClient Attach(const std::string& tenant = "root/a");
  // The process is gone and its socket with it.
  void End(const TestClient& client);

  LeaseRequest Request(Bytes size);  // With a key of its own.
  absl::StatusOr<LeaseGrant> Lease(const TestClient& client, Bytes size);
  absl::Time Soon() const { return clock_.Now() + absl::Milliseconds(5); }
  absl::Time Late() const { return clock_.Now() + absl::Hours(1); }
  // A ready object in `grant`'s slab.
  ShareGrant Share(const TestClient& client, const LeaseGrant& grant,
                   const std::string& name = "");
  absl::StatusOr<OpenGrant> Open(const TestClient& client,
                                 const ShareGrant& object);

  template <typename Call>
  auto InBackground(Call call) {
    return std::async(std::launch::async, std::move(call));
  }
  void AwaitWaiting(uint64_t tickets);
  static void Await(const std::function<bool()>& is_true);
  // Free or clean, to the last byte, and consistent.
  bool IsWhole();

  FakeDevice device_;
  FakeClock clock_;
  std::unique_ptr<Broker> broker_;

 private:
  std::atomic<uint8_t> keys_{0};
  pid_t last_pid_ = 1000;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_DAEMON_BROKER_BROKER_FIXTURE_H_
