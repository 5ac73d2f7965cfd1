#include "tests/daemon/broker/broker_fixture.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "base/check.h"

namespace vrampool::testing {

void RecordingLink::RefuseHandles(int count) {
  MutexLock lock(mu_);
  refusals_ = count;
}

void RecordingLink::HoldNextHandle() {
  MutexLock lock(mu_);
  hold_ = Hold::kNext;
}

void RecordingLink::AwaitHeldHandle() {
  MutexLock lock(mu_);
  while (hold_ != Hold::kHeld) changed_.Wait(lock);
}

void RecordingLink::RefuseHeldHandle() {
  MutexLock lock(mu_);
  hold_ = Hold::kRefused;
  changed_.NotifyAll();
}

RecordingLink::Notes RecordingLink::notes() const {
  MutexLock lock(mu_);
  return notes_;
}

absl::Status RecordingLink::SendHandle(SlabId slab, Bytes, ExportedHandle) {
  const auto full = [] {
    return Refuse(Reason::kDescriptorBacklog, "the client does not read");
  };
  MutexLock lock(mu_);
  if (hold_ == Hold::kNext) {
    hold_ = Hold::kHeld;
    changed_.NotifyAll();
    while (hold_ == Hold::kHeld) changed_.Wait(lock);
    hold_ = Hold::kNone;
    return full();
  }
  if (refusals_ > 0) {
    --refusals_;
    return full();
  }
  notes_.handles.push_back(slab);
  return absl::OkStatus();
}

void RecordingLink::SendReclaim(Bytes bytes) {
  MutexLock lock(mu_);
  notes_.reclaims.push_back(bytes);
}

void RecordingLink::SendObjectEnded(ObjectId object) {
  MutexLock lock(mu_);
  notes_.ended.push_back(object);
}

void RecordingLink::SendObjectSettled(ObjectId object) {
  MutexLock lock(mu_);
  notes_.known.push_back(object);
}

void RecordingLink::RefusePromises() {
  MutexLock lock(mu_);
  refuses_promises_ = true;
}

bool RecordingLink::SendPromises(const std::vector<PromisedObject>& promises) {
  MutexLock lock(mu_);
  if (refuses_promises_) return false;
  notes_.promises.insert(notes_.promises.end(), promises.begin(),
                         promises.end());
  return true;
}

void RecordingLink::SendFarewell(bool is_condemned, std::string_view text) {
  MutexLock lock(mu_);
  notes_.farewells.emplace_back(text);
  notes_.is_condemned |= is_condemned;
}

void RecordingLink::ForbidKill() {
  MutexLock lock(mu_);
  is_kill_forbidden_ = true;
}

bool RecordingLink::Kill() {
  MutexLock lock(mu_);
  notes_.farewells_before_kill = notes_.farewells.size();
  return !is_kill_forbidden_;
}

ClientMapping::ClientMapping(const UniqueFd& fd, size_t bytes, bool is_writable)
    : data_(static_cast<std::byte*>(::mmap(
          nullptr, bytes, is_writable ? PROT_READ | PROT_WRITE : PROT_READ,
          MAP_SHARED, fd.get(), 0))),
      bytes_(bytes) {
  VRAMPOOL_CHECK(data_ != MAP_FAILED);
}

ClientMapping::~ClientMapping() { ::munmap(data_, bytes_); }

void TestClient::WriteHold(uint32_t place, ObjectId object) const {
  auto* const holds =
      manifest->at<std::atomic<uint64_t>>(header()->holds_offset);
  if (header()->hold_high_water.load() <= place) {
    header()->hold_high_water.store(place + 1);
  }
  holds[place].store(static_cast<uint64_t>(object));
}

uint64_t TestClient::SlotOf(ObjectId object) const {
  return table->at<std::atomic<uint64_t>>(
      sizeof(shm::TableHeader))[ObjectSlot(object)];
}

void TestClient::WriteBlock(uint64_t place, uint64_t slab,
                            uint64_t bytes) const {
  auto& record =
      manifest->at<shm::BlockRecord>(header()->records_offset)[place];
  if (header()->record_high_water.load() <= place) {
    header()->record_high_water.store(place + 1);
  }
  record.slab_id = slab;
  record.size_bytes = bytes;
  record.state.store(static_cast<uint64_t>(shm::BlockState::kLive));
}

void BrokerTest::Start(const Bounds& bounds, Observer* observer) {
  Broker::Options options;
  options.observer = observer;
  options.settings.epoch = kEpoch;
  options.settings.capacity = kPool;
  options.settings.granule = MiB(2);
  options.settings.kinds = {HandleKind::kHostFd};
  options.settings.tenants = {
      {.path = "root/small", .quota = {.limit = MiB(4)}},
      {.path = "root/owner", .quota = {.guarantee = MiB(8), .lends = true}},
      {.path = "root/burst", .quota = {.evict = true}}};
  options.settings.default_limit = kPool;
  options.settings.bounds = bounds;
  broker_.reset();
  auto broker = Broker::Start(std::move(options), device_, clock_);
  ASSERT_THAT(broker, IsOk());
  broker_ = *std::move(broker);
}

TestClient BrokerTest::Attach(const std::string& tenant) {
  TestClient client;
  client.link = std::make_shared<RecordingLink>();
  PeerIdentity peer;
  peer.pid = ++last_pid_;
  auto admission = broker_->Attach(
      peer, {.name = "", .tag = "", .framework = ""}, tenant, client.link);
  VRAMPOOL_CHECK(admission.ok());
  client.id = admission->session;
  client.manifest = std::make_unique<ClientMapping>(
      admission->manifest, admission->manifest_bytes, /*is_writable=*/true);
  client.table = std::make_unique<ClientMapping>(
      admission->table, admission->table_bytes, /*is_writable=*/false);
  return client;
}

void BrokerTest::End(const TestClient& client) {
  broker_->SocketClosed(client.id);
  broker_->ProcessGone(client.id);
}

LeaseRequest BrokerTest::Request(Bytes size) {
  LeaseRequest request;
  request.size = size;
  request.key[0] = ++keys_;
  return request;
}

absl::StatusOr<LeaseGrant> BrokerTest::Lease(const TestClient& client,
                                             Bytes size) {
  return broker_->Lease(client.id, Request(size), absl::InfinitePast());
}

ShareGrant BrokerTest::Share(const TestClient& client, const LeaseGrant& grant,
                             const std::string& name) {
  ShareRequest request;
  request.buffers = {{.slab = grant.slab.id, .offset = 0, .size = KiB(4)}};
  request.name = name;
  auto shared = broker_->Share(client.id, std::move(request));
  VRAMPOOL_CHECK(shared.ok());
  return *shared;
}

absl::StatusOr<OpenGrant> BrokerTest::Open(const TestClient& client,
                                           const ShareGrant& object) {
  OpenRequest request;
  request.token = ObjectToken{
      .epoch = kEpoch, .object = object.object, .secret = object.secret};
  return broker_->Open(client.id, request, absl::InfinitePast());
}

void BrokerTest::AwaitWaiting(uint64_t tickets) {
  Await([&] { return broker_->TakeSnapshot().waiting == tickets; });
}

void BrokerTest::Await(const std::function<bool()>& is_true) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!is_true()) {
    ASSERT_LT(std::chrono::steady_clock::now(), limit) << "it never came";
    std::this_thread::yield();
  }
}

bool BrokerTest::IsWhole() {
  const Snapshot now = broker_->TakeSnapshot();
  const Bytes rest = now.pool.free + now.pool.of(SlabState::kClean);
  const bool is_charged =
      std::any_of(now.tenants.begin(), now.tenants.end(),
                  [](const TenantView& t) { return !t.used.is_zero(); });
  return now.conservation_holds && now.counters.conservation_breaches == 0 &&
         rest == kPool && !is_charged;
}

}  // namespace vrampool::testing
