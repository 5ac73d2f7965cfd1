#include "tests/client/fake_daemon.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <optional>
#include <utility>

#include "base/check.h"

namespace vrampool::client {
namespace {

constexpr uint64_t kGranule = 2 << 20;

std::byte* MapWhole(int fd, uint64_t size) {
  void* const base =
      ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  VRAMPOOL_CHECK(base != MAP_FAILED);
  return static_cast<std::byte*>(base);
}

}  // namespace

UniqueFd MakeSealedFile(uint64_t size) {
  UniqueFd fd(::memfd_create("fake", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  VRAMPOOL_CHECK(::ftruncate(fd.get(), static_cast<off_t>(size)) == 0);
  VRAMPOOL_CHECK(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) ==
                 0);
  return fd;
}

TemporaryDirectory::TemporaryDirectory() {
  char path[] = "/tmp/vrampool-test-XXXXXX";
  VRAMPOOL_CHECK(::mkdtemp(path) != nullptr);
  path_ = path;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::filesystem::remove_all(path_);
}

FakeDaemon::FakeDaemon(const std::string& directory, uint64_t epoch,
                       Device device)
    : device_(std::move(device)),
      folder_(directory + "/" + device_.uuid),
      epoch_(epoch),
      stop_(::eventfd(0, EFD_CLOEXEC)) {
  std::filesystem::create_directories(folder_);
  const std::string path = folder_ + "/" + attach::kAttachSocketName;
  std::filesystem::remove(path);
  listener_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  VRAMPOOL_CHECK(::bind(listener_.get(),
                        reinterpret_cast<const sockaddr*>(&address),
                        sizeof(address)) == 0);
  VRAMPOOL_CHECK(::listen(listener_.get(), 8) == 0);
  const shm::ManifestLayout layout = shm::LayoutFor(kRecords);
  manifest_fd_ = MakeSealedFile(layout.total_bytes);
  manifest_ = reinterpret_cast<shm::ManifestHeader*>(
      MapWhole(manifest_fd_.get(), layout.total_bytes));
  manifest_->magic = shm::kManifestMagic;
  manifest_->version = shm::kManifestVersion;
  manifest_->record_bytes = sizeof(shm::BlockRecord);
  manifest_->session_id = 1;
  manifest_->epoch = epoch_;
  manifest_->total_bytes = layout.total_bytes;
  manifest_->counters_offset = layout.counters_offset;
  manifest_->tags_offset = layout.tags_offset;
  manifest_->holds_offset = layout.holds_offset;
  manifest_->modules_offset = layout.modules_offset;
  manifest_->frames_offset = layout.frames_offset;
  manifest_->stacks_offset = layout.stacks_offset;
  manifest_->records_offset = layout.records_offset;
  manifest_->record_capacity = kRecords;
  manifest_->tag_capacity = shm::kTagCapacity;
  manifest_->hold_capacity = shm::kHoldCapacity;
  manifest_->module_capacity = shm::kModuleCapacity;
  manifest_->frame_capacity = shm::kFrameCapacity;
  manifest_->stack_capacity = shm::kStackCapacity;
  table_fd_ = MakeSealedFile(shm::TableBytes(kSlots));
  table_ = MapWhole(table_fd_.get(), shm::TableBytes(kSlots));
  auto* const header = reinterpret_cast<shm::TableHeader*>(table_);
  header->magic = shm::kTableMagic;
  header->version = shm::kTableVersion;
  header->slot_count = kSlots;
  header->epoch = epoch_;
  contents_fd_ = MakeSealedFile(shm::ContentsBytes(kSlots));
  contents_ = MapWhole(contents_fd_.get(), shm::ContentsBytes(kSlots));
  auto* const contents = reinterpret_cast<shm::ContentsHeader*>(contents_);
  contents->magic = shm::kContentsMagic;
  contents->version = shm::kContentsVersion;
  contents->slot_count = kSlots;
  contents->epoch = epoch_;
  thread_ = std::thread([this] { Run(); });
}

FakeDaemon::~FakeDaemon() {
  {
    const std::lock_guard dying(life_->mu);
    life_->is_alive = false;
  }
  (void)::eventfd_write(stop_.get(), 1);
  thread_.join();
  std::filesystem::remove(folder_ + "/" + attach::kAttachSocketName);
  ::munmap(manifest_, shm::LayoutFor(kRecords).total_bytes);
  ::munmap(table_, shm::TableBytes(kSlots));
  ::munmap(contents_, shm::ContentsBytes(kSlots));
}

void FakeDaemon::Run() {
  while (true) {
    pollfd events[3] = {{.fd = stop_.get(), .events = POLLIN, .revents = 0},
                        {.fd = listener_.get(), .events = POLLIN, .revents = 0},
                        {.fd = is_deaf_ ? -1 : connection_.get(),
                         .events = POLLIN,
                         .revents = 0}};
    (void)::poll(events, 3, -1);
    if (events[0].revents != 0) {
      eventfd_t count = 0;
      (void)::eventfd_read(stop_.get(), &count);
      const std::lock_guard living(life_->mu);
      if (!life_->is_alive) return;
    }
    if (events[1].revents != 0) {
      Greet(
          UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)));
    } else if (events[2].revents != 0) {
      ReceivePacket();
    }
  }
}

void FakeDaemon::ReceivePacket() {
  union {
    attach::MessageHeader header;
    attach::Packet<attach::HoldReleased> released;
    attach::Packet<attach::Ready> ready;
    attach::Packet<attach::Shared> shared;
    std::array<char, attach::kMaxPacketBytes> bytes;
  } packet{};
  const ssize_t size = ::recv(connection_.get(), &packet, sizeof(packet), 0);
  MutexLock lock(mu_);
  if (size == sizeof(packet.released) &&
      packet.header.type ==
          static_cast<uint16_t>(attach::MessageType::kHoldReleased)) {
    ++ledger_.released_holds;
  }
  if (size == sizeof(packet.ready) &&
      packet.header.type ==
          static_cast<uint16_t>(attach::MessageType::kReady)) {
    const auto code = static_cast<attach::ReadyCode>(packet.ready.body.code);
    HearReady(ObjectId{packet.ready.body.object_id},
              code == attach::ReadyCode::kComplete ? ReadyOutcome::kComplete
                                                   : ReadyOutcome::kFailed);
  }
  if (size == sizeof(packet.released) &&
      packet.header.type ==
          static_cast<uint16_t>(attach::MessageType::kClosed)) {
    --ledger_.holds[packet.released.body.object_id];
  }
  if (size >= ssize_t{sizeof(packet.shared)} &&
      packet.header.type ==
          static_cast<uint16_t>(attach::MessageType::kShared)) {
    const std::string_view all(packet.bytes.data(), static_cast<size_t>(size));
    NoteShared(packet.shared.body, all.substr(sizeof(packet.shared)));
  }
  if (size <= 0) connection_.reset();
  changed_.NotifyAll();
}

void FakeDaemon::HearReady(ObjectId object, ReadyOutcome outcome) {
  const uint64_t id = static_cast<uint64_t>(object);
  ledger_.ready.emplace(id, outcome);
  if (ledger_.pending.count(id) > 0) SettleLocked(object, outcome);
}

void FakeDaemon::StopReading(bool is_stopped) {
  is_deaf_ = is_stopped;
  (void)::eventfd_write(stop_.get(), 1);
}

void FakeDaemon::Greet(UniqueFd connection) {
  attach::Packet<attach::Hello> hello{};
  if (::recv(connection.get(), &hello, sizeof(hello), 0) != sizeof(hello)) {
    return;
  }
  attach::Welcome welcome{};
  welcome.epoch = epoch_;
  welcome.session_id = 1;
  std::strcpy(welcome.device_uuid, device_.uuid.c_str());
  std::strcpy(welcome.tenant, "root/team-a");
  welcome.granule_bytes = kGranule;
  welcome.manifest_bytes = shm::LayoutFor(kRecords).total_bytes;
  welcome.table_bytes = shm::TableBytes(kSlots);
  welcome.kinds[0] = static_cast<uint32_t>(device_.kind);
  std::vector<int> fds = {manifest_fd_.get(), table_fd_.get()};
  if (device_.kind != HandleKind::kHostFd) {
    welcome.contents_bytes = shm::ContentsBytes(kSlots);
    fds.push_back(contents_fd_.get());
  }
  MutexLock lock(mu_);
  connection_ = std::move(connection);
  ++ledger_.sessions;
  SendPacket(attach::MessageType::kWelcome, &welcome, sizeof(welcome), fds);
}

void FakeDaemon::OnOpened(std::function<void()> hook) {
  MutexLock lock(mu_);
  on_opened_ = std::move(hook);
}

void FakeDaemon::OnLease(std::function<void()> hook) {
  MutexLock lock(mu_);
  on_lease_ = std::move(hook);
}

std::atomic<uint32_t>& FakeDaemon::ContentsWord(ObjectId object) {
  return reinterpret_cast<std::atomic<uint32_t>*>(
      contents_ + sizeof(shm::ContentsHeader))[ObjectSlot(object)];
}

void FakeDaemon::SetSlot(ObjectId object, shm::ObjectState state) {
  auto* const words = reinterpret_cast<std::atomic<uint64_t>*>(
      table_ + sizeof(shm::TableHeader));
  words[ObjectSlot(object)].store(
      shm::MakeSlotWord(ObjectGeneration(object), state));
}

std::vector<shm::BlockState> FakeDaemon::RecordStates() const {
  std::vector<shm::BlockState> states;
  const auto* const records =
      InManifest<shm::BlockRecord>(shm::LayoutFor(kRecords).records_offset);
  for (uint64_t i = 0; i < manifest_->record_high_water.load(); ++i) {
    states.push_back(static_cast<shm::BlockState>(records[i].state.load()));
  }
  return states;
}

std::vector<uint64_t> FakeDaemon::Holds() const {
  std::vector<uint64_t> holds;
  const auto* const words =
      InManifest<std::atomic<uint64_t>>(shm::LayoutFor(kRecords).holds_offset);
  for (uint32_t i = 0; i < manifest_->hold_high_water.load(); ++i) {
    holds.push_back(words[i].load());
  }
  return holds;
}

Settings FakeDaemon::MakeSettings() const {
  Settings settings;
  settings.directory = folder_.substr(0, folder_.rfind('/'));
  settings.name = "test";
  settings.slab = MiB(4);
  settings.leases_ahead = false;
  settings.idle_ms = 3600 * 1000;  // Only when a test says so.
  // Nothing leaves the fast path by chance.
  settings.stacks.mode = StackSettings::Mode::kOff;
  return settings;
}

FakeDaemon::Ledger FakeDaemon::ledger() const {
  MutexLock lock(mu_);
  return ledger_;
}

void FakeDaemon::Change(const std::function<void(Ledger&)>& change) {
  MutexLock lock(mu_);
  change(ledger_);
}

bool FakeDaemon::Await(const std::function<bool(const Ledger&)>& is_true) {
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::seconds(10);
  MutexLock lock(mu_);
  while (!is_true(ledger_)) {
    if (!changed_.WaitUntil(lock, deadline)) return is_true(ledger_);
  }
  return true;
}

}  // namespace vrampool::client
