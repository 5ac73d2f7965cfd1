#include "daemon/device/fake/fake_device.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace vrampool {
namespace {

size_t Index(FakeDevice::Call call) { return static_cast<size_t>(call); }

DeviceInfo InfoFrom(FakeDevice::Options options) {
  VRAMPOOL_CHECK(!options.kinds.empty());
  DeviceInfo info;
  info.uuid = std::move(options.uuid);
  info.name = "fake device";
  info.granule = options.granule;
  info.total = options.capacity;
  info.kinds = std::move(options.kinds);
  info.not_isolating = std::move(options.not_isolating);
  return info;
}

}  // namespace

FakeDevice::FakeDevice() : FakeDevice(Options{}) {}

FakeDevice::FakeDevice(Options options) : info_(InfoFrom(std::move(options))) {}

void FakeDevice::FailNext(Call call, absl::Status error) {
  VRAMPOOL_CHECK(!error.ok());
  MutexLock lock(mu_);
  failures_[Index(call)].push_back(std::move(error));
}

void FakeDevice::Lose(std::string_view why) {
  VRAMPOOL_CHECK(!why.empty());
  MutexLock lock(mu_);
  loss_ = std::string(why);
}

void FakeDevice::CloseGate(Call call) {
  MutexLock lock(mu_);
  gates_[Index(call)].is_closed = true;
}

void FakeDevice::OpenGate(Call call) {
  MutexLock lock(mu_);
  Gate& gate = gates_[Index(call)];
  gate.is_closed = false;
  gate.admissions = 0;
  ++gate.times_opened;
  gate_moved_.NotifyAll();
}

void FakeDevice::AdmitOne(Call call) {
  MutexLock lock(mu_);
  ++gates_[Index(call)].admissions;
  gate_moved_.NotifyAll();
}

bool FakeDevice::AwaitHeld(Call call, size_t count, absl::Duration patience) {
  const auto deadline =
      std::chrono::steady_clock::now() + absl::ToChronoMilliseconds(patience);
  MutexLock lock(mu_);
  while (gates_[Index(call)].held < count) {
    if (!gate_moved_.WaitUntil(lock, deadline)) {
      return gates_[Index(call)].held >= count;
    }
  }
  return true;
}

void FakeDevice::Hold(SlabId id) {
  MutexLock lock(mu_);
  holds_.insert(id);
}

void FakeDevice::LetGo(SlabId id) {
  MutexLock lock(mu_);
  holds_.erase(id);
}

void FakeDevice::TakeOutside(Bytes bytes,
                             std::vector<OutsideProcess> processes) {
  MutexLock lock(mu_);
  outside_ = bytes;
  processes_ = std::move(processes);
}

std::vector<FakeDevice::Record> FakeDevice::records() const {
  MutexLock lock(mu_);
  return records_;
}

size_t FakeDevice::slabs() const {
  MutexLock lock(mu_);
  return slabs_.size();
}

Bytes FakeDevice::slab_bytes() const {
  MutexLock lock(mu_);
  Bytes sum;
  for (const auto& [id, slab] : slabs_) sum += slab.size;
  return sum;
}

absl::Status FakeDevice::Enter(Call call, MutexLock& lock) {
  Gate& gate = gates_[Index(call)];
  if (gate.is_closed) {
    const uint64_t opened = gate.times_opened;
    ++gate.held;
    gate_moved_.NotifyAll();
    while (gate.times_opened == opened && gate.admissions == 0) {
      gate_moved_.Wait(lock);
    }
    --gate.held;
    if (gate.times_opened == opened) --gate.admissions;
  }
  if (!loss_.empty()) return absl::UnavailableError(loss_);
  std::deque<absl::Status>& failures = failures_[Index(call)];
  if (failures.empty()) return absl::OkStatus();
  absl::Status failure = std::move(failures.front());
  failures.pop_front();
  return failure;
}

absl::Status FakeDevice::Note(Record record, absl::Status result) {
  record.result = result.code();
  records_.push_back(record);
  return result;
}

absl::Status FakeDevice::Create(SlabId id, Bytes size, HandleKind kind) {
  VRAMPOOL_CHECK(!size.is_zero() && size.count() % info_.granule.count() == 0);
  VRAMPOOL_CHECK(std::find(info_.kinds.begin(), info_.kinds.end(), kind) !=
                 info_.kinds.end());
  MutexLock lock(mu_);
  absl::Status result = Enter(Call::kCreate, lock);
  if (result.ok()) result = DoCreate(id, size, kind);
  return Note({.call = Call::kCreate, .slab = id, .size = size},
              std::move(result));
}

absl::Status FakeDevice::DoCreate(SlabId id, Bytes size, HandleKind kind) {
  VRAMPOOL_CHECK(!slabs_.contains(id) && !lingering_.contains(id));
  const Bytes free = Measure().free;
  if (size > free) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the fake device has ", FormatBytes(free), " of ",
                     FormatBytes(info_.total), " left"));
  }
  Slab slab{.size = size, .kind = kind, .file = std::nullopt};
  if (kind != HandleKind::kCudaIpc) {
    VRAMPOOL_ASSIGN_OR_RETURN(slab.file,
                              SlabFile::Make(size, SlabFile::Backing::kLazy));
  }
  slabs_.emplace(id, std::move(slab));
  return absl::OkStatus();
}

absl::Status FakeDevice::Destroy(SlabId id) {
  MutexLock lock(mu_);
  absl::Status result = Enter(Call::kDestroy, lock);
  if (result.ok()) result = DoDestroy(id);
  return Note({.call = Call::kDestroy, .slab = id, .size = Bytes()},
              std::move(result));
}

absl::Status FakeDevice::DoDestroy(SlabId id) {
  const auto slab = slabs_.find(id);
  if (slab == slabs_.end()) return absl::NotFoundError("no such slab");
  if (IsHeld(id, slab->second)) {
    lingering_.emplace(id, std::move(slab->second));
  }
  slabs_.erase(slab);
  return absl::OkStatus();
}

absl::StatusOr<ExportedHandle> FakeDevice::Export(SlabId id) {
  MutexLock lock(mu_);
  absl::Status entry = Enter(Call::kExport, lock);
  absl::StatusOr<ExportedHandle> handle =
      entry.ok() ? DoExport(id) : absl::StatusOr<ExportedHandle>(entry);
  // The record wants the code alone; the answer itself is the handle.
  (void)Note({.call = Call::kExport, .slab = id, .size = Bytes()},
             handle.status());
  return handle;
}

absl::StatusOr<ExportedHandle> FakeDevice::DoExport(SlabId id) {
  const auto slab = slabs_.find(id);
  if (slab == slabs_.end()) return absl::NotFoundError("no such slab");
  ExportedHandle handle;
  handle.kind = slab->second.kind;
  if (slab->second.file.has_value()) {
    VRAMPOOL_ASSIGN_OR_RETURN(handle.fd, slab->second.file->Reopen());
    return handle;
  }
  const uint64_t words[] = {0x6b6166, static_cast<uint64_t>(id), ++exports_};
  static_assert(sizeof(words) <= sizeof(handle.bytes));
  std::memcpy(handle.bytes.data(), words, sizeof(words));
  return handle;
}

bool FakeDevice::IsHeld(SlabId id, const Slab& slab) const {
  return holds_.contains(id) ||
         (slab.file.has_value() &&
          slab.file->FindHolders() == SlabFile::Holders::kSome);
}

Bytes FakeDevice::SweepLingering() {
  Bytes sum;
  for (auto it = lingering_.begin(); it != lingering_.end();) {
    if (IsHeld(it->first, it->second)) {
      sum += it->second.size;
      ++it;
    } else {
      lingering_.erase(it++);
    }
  }
  return sum;
}

absl::StatusOr<Bytes> FakeDevice::Unreleased() {
  MutexLock lock(mu_);
  if (!loss_.empty()) return absl::UnavailableError(loss_);
  return SweepLingering();
}

DeviceUse FakeDevice::Measure() {
  DeviceUse use;
  use.total = info_.total;
  for (const auto& [id, slab] : slabs_) use.slabs += slab.size;
  use.free =
      SaturatingSub(info_.total, use.slabs + SweepLingering() + outside_);
  use.processes = processes_;
  return use;
}

absl::StatusOr<DeviceUse> FakeDevice::Use() {
  MutexLock lock(mu_);
  if (!loss_.empty()) return absl::UnavailableError(loss_);
  return Measure();
}

absl::Status FakeDevice::Health() {
  MutexLock lock(mu_);
  if (!loss_.empty()) return absl::UnavailableError(loss_);
  return absl::OkStatus();
}

}  // namespace vrampool
