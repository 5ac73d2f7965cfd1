#include "tests/cuda/fake/ipc_event.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <ctime>

#include "base/unique_fd.h"
#include "tests/cuda/fake/fake_cuda.h"
#include "tests/cuda/fake/process.h"

namespace vrampool::fake_cuda {
namespace {

// How often a waiter asks whether the recorder still lives: nothing tells it.
constexpr timespec kLifeCheck = {.tv_sec = 0, .tv_nsec = 5'000'000};

void FutexWait(std::atomic<uint32_t>& word, uint32_t seen) {
  ::syscall(SYS_futex, &word, FUTEX_WAIT, seen, &kLifeCheck, nullptr, 0);
}

bool Reached(uint32_t completed, uint32_t record) {
  return static_cast<int32_t>(completed - record) >= 0;
}

}  // namespace

std::shared_ptr<IpcEvent> IpcEvent::Map(uint64_t id, int fd) {
  void* const address = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE,
                               MAP_SHARED, fd, 0);
  if (address == MAP_FAILED) return nullptr;
  return std::shared_ptr<IpcEvent>(
      new IpcEvent(id, static_cast<Shared*>(address)));
}

std::shared_ptr<IpcEvent> IpcEvent::Create() {
  Directory& directory = Process::Get().directory();
  uint64_t id = 0;
  {
    const Directory::Lock lock(directory);
    id = ++directory.state()->last_id;
  }
  const UniqueFd file(::open(directory.Path("event", id).c_str(),
                             O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666));
  if (!file.is_valid() || ::ftruncate(file.get(), sizeof(Shared)) != 0) {
    return nullptr;
  }
  (void)::fchmod(file.get(), 0666);
  std::shared_ptr<IpcEvent> event = Map(id, file.get());
  if (event == nullptr) return nullptr;
  event->is_maker_ = true;
  (void)::getrandom(&event->shared_->secret, sizeof(uint64_t), 0);
  return event;
}

std::shared_ptr<IpcEvent> IpcEvent::Open(uint64_t id, uint64_t secret) {
  const std::string path = Process::Get().directory().Path("event", id);
  const UniqueFd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  struct stat facts {};
  if (!file.is_valid() || ::fstat(file.get(), &facts) != 0 ||
      facts.st_size < static_cast<off_t>(sizeof(Shared))) {
    return nullptr;
  }
  std::shared_ptr<IpcEvent> event = Map(id, file.get());
  if (event == nullptr || event->secret() != secret) return nullptr;
  return event;
}

IpcEvent::~IpcEvent() {
  if (is_maker_) {
    ::unlink(Process::Get().directory().Path("event", id_).c_str());
  }
  ::munmap(shared_, sizeof(Shared));
}

uint32_t IpcEvent::Begin() {
  shared_->recorder = Process::Get().entry().serial.load();
  return ++shared_->recorded;
}

void IpcEvent::Complete(uint32_t record) {
  uint32_t seen = shared_->completed;
  while (!Reached(seen, record) &&
         !shared_->completed.compare_exchange_weak(seen, record)) {
  }
  ::syscall(SYS_futex, &shared_->completed, FUTEX_WAKE, INT_MAX, nullptr,
            nullptr, 0);
}

// True if the record will not be completed by anybody and counts as complete.
bool IpcEvent::SettleOrphan(uint32_t record) {
  Process& process = Process::Get();
  if (process.book().ProcessIsAlive(shared_->recorder)) return false;
  if (Reached(shared_->completed, record)) return true;
  const int policy =
      process.state()->settings[static_cast<int>(Setting::kOrphans)];
  if (policy == 1) return false;
  if (policy == 2) process.Break(cuda::kLaunchFailed);
  Complete(record);
  return true;
}

bool IpcEvent::IsComplete(uint32_t record) {
  return Reached(shared_->completed, record) || SettleOrphan(record);
}

void IpcEvent::Await(uint32_t record) {
  while (!IsComplete(record)) {
    const uint32_t seen = shared_->completed;
    if (!Reached(seen, record)) FutexWait(shared_->completed, seen);
  }
}

}  // namespace vrampool::fake_cuda
