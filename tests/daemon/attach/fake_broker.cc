#include "tests/daemon/attach/fake_broker.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace vrampool::testing {
namespace {

constexpr auto kPatience = std::chrono::seconds(20);

UniqueFd MemoryFile(uint64_t size_bytes) {
  UniqueFd fd(::memfd_create("test", MFD_CLOEXEC));
  VRAMPOOL_CHECK(fd.is_valid());
  VRAMPOOL_CHECK(::ftruncate(fd.get(), static_cast<off_t>(size_bytes)) == 0);
  return fd;
}

std::string Event(std::string_view what, SessionId session) {
  return absl::StrCat(absl::string_view(what.data(), what.size()), " ",
                      static_cast<uint64_t>(session));
}

}  // namespace

FakeBroker::FakeBroker() {
  info_.uuid = "host-test";
  info_.granule = MiB(2);
  info_.total = GiB(1);
  info_.kinds = {HandleKind::kHostFd, HandleKind::kCudaIpc};
}

void FakeBroker::RefuseAttach(absl::Status error) {
  MutexLock lock(mu_);
  refusal_ = std::move(error);
}

void FakeBroker::OnAttach(std::function<void(SessionLink&)> action) {
  MutexLock lock(mu_);
  on_attach_ = std::move(action);
}

std::vector<std::string> FakeBroker::events() const {
  MutexLock lock(mu_);
  return events_;
}

bool FakeBroker::Await(std::string_view event) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  MutexLock lock(mu_);
  while (std::find(events_.begin(), events_.end(), event) == events_.end()) {
    if (!changed_.WaitUntil(lock, deadline)) return false;
  }
  return true;
}

FakeBroker::AttachRecord FakeBroker::AwaitAttach(size_t nth) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  MutexLock lock(mu_);
  while (attached_.size() < nth) {
    VRAMPOOL_CHECK(changed_.WaitUntil(lock, deadline));
  }
  return attached_[nth - 1];
}

std::string FakeBroker::condemned_for() const {
  MutexLock lock(mu_);
  return condemned_for_;
}

void FakeBroker::Note(std::string event) {
  MutexLock lock(mu_);
  events_.push_back(std::move(event));
  changed_.NotifyAll();
}

absl::StatusOr<Admission> FakeBroker::Attach(
    const PeerIdentity& peer, const Labels& labels, std::string_view tenant,
    std::shared_ptr<SessionLink> link) {
  MutexLock lock(mu_);
  if (!refusal_.ok()) return refusal_;
  if (on_attach_) on_attach_(*link);
  Admission admission;
  admission.session = SessionId{attached_.size() + 1};
  admission.epoch = Epoch{42};
  admission.tenant = std::string(tenant);
  admission.manifest = MemoryFile(kManifestBytes);
  admission.manifest_bytes = kManifestBytes;
  admission.table = MemoryFile(kTableBytes);
  admission.table_bytes = kTableBytes;
  attached_.push_back(
      {admission.session, peer, labels, std::string(tenant), std::move(link)});
  changed_.NotifyAll();
  return admission;
}

void FakeBroker::Condemn(SessionId session, std::string_view why) {
  std::shared_ptr<SessionLink> link;
  {
    MutexLock lock(mu_);
    condemned_for_ = std::string(why);
    link = attached_[static_cast<uint64_t>(session) - 1].link;
  }
  link->SendFarewell(true, why);
  Note(Event("condemned", session));
}

bool FakeBroker::SocketClosed(SessionId session) {
  Note(Event("closed", session));
  return true;
}

void FakeBroker::ProcessGone(SessionId session) {
  Note(Event("gone", session));
}

absl::Status FakeBroker::Ready(SessionId session, ObjectId object,
                               ReadyOutcome outcome) {
  std::function<void()> action;
  {
    MutexLock lock(mu_);
    action.swap(on_ready_);
  }
  if (action) action();
  Note(absl::StrCat(
      Event(outcome == ReadyOutcome::kComplete ? "complete" : "failed",
            session),
      " ", static_cast<uint64_t>(object)));
  return absl::OkStatus();
}

absl::Status FakeBroker::Close(SessionId session, ObjectId object) {
  Note(
      absl::StrCat(Event("left", session), " ", static_cast<uint64_t>(object)));
  return absl::OkStatus();
}

void FakeBroker::OnReady(std::function<void()> action) {
  MutexLock lock(mu_);
  on_ready_ = std::move(action);
}

void FakeBroker::HoldReleased(SessionId session, ObjectId object) {
  Note(absl::StrCat(Event("released", session), " ",
                    static_cast<uint64_t>(object)));
}

Fulfilment FakeBroker::Fulfil(SessionId session, const PromisedShare& share) {
  const uint64_t object = static_cast<uint64_t>(share.object);
  if (object % 2 != 0) return {.was_promised = false};
  Note(absl::StrCat(Event("shared", session), " ", object));
  return {};
}

}  // namespace vrampool::testing
