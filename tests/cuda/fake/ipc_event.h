// ipc_event.h - an interprocess event: a small file that both processes map.
//
// Records are numbered; the event is complete when the last number recorded is
// complete. A recorder that dies before that leaves an orphan: the Setting
// kOrphans says what its waiters see.
//
// Threads and processes: safe for any number of both.

#ifndef VRAMPOOL_TESTS_CUDA_FAKE_IPC_EVENT_H_
#define VRAMPOOL_TESTS_CUDA_FAKE_IPC_EVENT_H_

#include <atomic>
#include <cstdint>
#include <memory>

namespace vrampool::fake_cuda {

class IpcEvent {
 public:
  static std::shared_ptr<IpcEvent> Create();
  // Null: there is no such event.
  static std::shared_ptr<IpcEvent> Open(uint64_t id, uint64_t secret);
  ~IpcEvent();
  IpcEvent(const IpcEvent&) = delete;
  IpcEvent& operator=(const IpcEvent&) = delete;

  uint64_t id() const { return id_; }
  uint64_t secret() const { return shared_->secret; }

  uint32_t Begin();  // A new record, by this process.
  void Complete(uint32_t record);
  uint32_t LastRecord() const { return shared_->recorded; }
  bool IsComplete(uint32_t record);
  void Await(uint32_t record);

 private:
  struct Shared {
    uint64_t secret;
    std::atomic<uint64_t> recorder;  // A process's serial.
    std::atomic<uint32_t> recorded;
    std::atomic<uint32_t> completed;  // Waiters sleep on it.
  };
  IpcEvent(uint64_t id, Shared* shared) : id_(id), shared_(shared) {}
  static std::shared_ptr<IpcEvent> Map(uint64_t id, int fd);
  bool SettleOrphan(uint32_t record);

  const uint64_t id_;
  Shared* const shared_;
  bool is_maker_ = false;
};

}  // namespace vrampool::fake_cuda

#endif  // VRAMPOOL_TESTS_CUDA_FAKE_IPC_EVENT_H_
