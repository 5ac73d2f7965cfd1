#include "daemon/device/host/host_device.h"

#include <cctype>
#include <cstdint>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace vrampool {
namespace {

constexpr Bytes kGranule = MiB(2);  // As on a GPU, so that pools look alike.
constexpr size_t kMaxNameLength = 48;

absl::Status CheckName(std::string_view name) {
  bool is_good = !name.empty() && name.size() <= kMaxNameLength;
  for (const char c : name) {
    is_good = is_good && (std::isalnum(static_cast<unsigned char>(c)) != 0 ||
                          c == '.' || c == '_' || c == '-');
  }
  if (is_good) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the host device's name \"", absl::string_view(name.data(), name.size()),
      "\" must have 1 to ", kMaxNameLength,
      " of the characters A-Z a-z 0-9 . _ -"));
}

absl::StatusOr<Bytes> MachineMemory() {
  std::ifstream meminfo("/proc/meminfo");
  std::string key;
  uint64_t kibibytes = 0;
  std::string unit;
  while (meminfo >> key >> kibibytes >> unit) {
    if (key == "MemTotal:" && unit == "kB") return KiB(kibibytes);
  }
  return absl::InternalError("/proc/meminfo has no MemTotal");
}

}  // namespace

absl::StatusOr<std::string> HostDevice::NameFromConfig(
    std::string_view device) {
  constexpr std::string_view kPrefix = "host:";
  if (device == "host") return "0";
  if (device.substr(0, kPrefix.size()) != kPrefix) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the device \"", absl::string_view(device.data(), device.size()),
        "\" is neither \"host\" nor \"host:NAME\""));
  }
  const std::string_view name = device.substr(kPrefix.size());
  VRAMPOOL_RETURN_IF_ERROR(CheckName(name));
  return std::string(name);
}

absl::StatusOr<std::unique_ptr<HostDevice>> HostDevice::Open(
    const Options& options) {
  VRAMPOOL_RETURN_IF_ERROR(CheckName(options.name));
  VRAMPOOL_ASSIGN_OR_RETURN(const Bytes total, MachineMemory());
  DeviceInfo info;
  info.uuid = absl::StrCat("host-", options.name);
  info.name = "host memory";
  info.granule = kGranule;
  info.total = total;
  info.kinds = {HandleKind::kHostFd};
  std::string note;
  if (!SlabFile::CanFindHolders()) {
    note =
        "the kernel does not tell who still maps a destroyed slab (leases on "
        "memory files are refused): its bytes count as released at once";
    info.notes.push_back({.text = note, .is_warning = true});
  }
  // The constructor is private, so make_unique cannot reach it.
  return std::unique_ptr<HostDevice>(
      new HostDevice(std::move(info), options.backing, std::move(note)));
}

HostDevice::HostDevice(DeviceInfo info, SlabFile::Backing backing,
                       std::string note)
    : info_(std::move(info)), backing_(backing), note_(std::move(note)) {}

absl::Status HostDevice::Create(SlabId id, Bytes size, HandleKind kind) {
  VRAMPOOL_CHECK(kind == HandleKind::kHostFd);
  VRAMPOOL_CHECK(!size.is_zero() && size.count() % info_.granule.count() == 0);
  VRAMPOOL_ASSIGN_OR_RETURN(SlabFile file, SlabFile::Make(size, backing_));
  MutexLock lock(mu_);
  const bool is_new = slabs_.emplace(id, std::move(file)).second;
  VRAMPOOL_CHECK(is_new);
  slab_bytes_ += size;
  return absl::OkStatus();
}

absl::Status HostDevice::Destroy(SlabId id) {
  std::vector<SlabFile> released;  // Closed after the lock is given up.
  {
    MutexLock lock(mu_);
    const auto slab = slabs_.find(id);
    if (slab == slabs_.end()) return absl::NotFoundError("no such slab");
    slab_bytes_ -= slab->second.size();
    const bool is_held =
        note_.empty() && slab->second.FindHolders() != SlabFile::Holders::kNone;
    (is_held ? lingering_ : released).push_back(std::move(slab->second));
    slabs_.erase(slab);
  }
  // Not without tracking: an unseen holder keeps his bytes.
  if (note_.empty()) {
    for (SlabFile& file : released) file.Discard();
  }
  return absl::OkStatus();
}

absl::StatusOr<ExportedHandle> HostDevice::Export(SlabId id) {
  // Opening under the lock: a Destroy in between would find nobody, and the
  // handle would lead to discarded pages.
  MutexLock lock(mu_);
  const auto slab = slabs_.find(id);
  if (slab == slabs_.end()) return absl::NotFoundError("no such slab");
  ExportedHandle handle;
  handle.kind = HandleKind::kHostFd;
  VRAMPOOL_ASSIGN_OR_RETURN(handle.fd, slab->second.Reopen());
  return handle;
}

absl::StatusOr<Bytes> HostDevice::Unreleased() {
  std::vector<SlabFile> released;
  Bytes sum;
  {
    MutexLock lock(mu_);
    std::vector<SlabFile> held;
    for (SlabFile& file : lingering_) {
      const bool is_held = file.FindHolders() != SlabFile::Holders::kNone;
      if (is_held) sum += file.size();
      (is_held ? held : released).push_back(std::move(file));
    }
    lingering_ = std::move(held);
  }
  for (SlabFile& file : released) file.Discard();
  return sum;
}

absl::StatusOr<DeviceUse> HostDevice::Use() {
  VRAMPOOL_ASSIGN_OR_RETURN(const Bytes unreleased, Unreleased());
  MutexLock lock(mu_);
  DeviceUse use;
  use.total = info_.total;
  use.slabs = slab_bytes_;
  use.free = SaturatingSub(info_.total, unreleased + slab_bytes_);
  return use;
}

}  // namespace vrampool
