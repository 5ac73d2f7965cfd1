// The helper process of helper_process.h.

#include <chrono>
#include <cstring>
#include <memory>

#include "base/unique_fd.h"
#include "tests/cuda/gpu.h"
#include "tests/cuda/helper_orders.h"

namespace vrampool::testing {
namespace {

class Helper {
 public:
  AnswerPacket Obey(const OrderPacket& order, int fd) {
    answer_ = {};
    answer_.result = Run(order, fd);
    return answer_;
  }
  int TakeDescriptor() { return to_send_.release(); }

 private:
  cuda::Result Run(const OrderPacket& order, int fd);
  cuda::Result RunMemory(const OrderPacket& order);
  cuda::Result RunWork(const OrderPacket& order);
  cuda::Result CaptureFill(Words words, uint32_t value);
  cuda::Result RunVmm(const OrderPacket& order, int fd);
  cuda::Result RunEvent(const OrderPacket& order);
  cuda::Result WriteWord(const OrderPacket& order, int fd);

  Gpu gpu_;
  TestStream stream_{gpu_};
  HostFlag stop_{gpu_};
  std::unique_ptr<VmmBuffer> vmm_;
  std::unique_ptr<SharedWords> words_;
  cuda::Event event_ = nullptr;
  cuda::GraphExec exec_ = nullptr;
  UniqueFd to_send_;
  AnswerPacket answer_;
};

cuda::Result Helper::Run(const OrderPacket& order, int fd) {
  if (order.order <= Order::kRange) return RunMemory(order);
  if (order.order <= Order::kStop) return RunWork(order);
  if (order.order <= Order::kFreeVmm) return RunVmm(order, fd);
  if (order.order <= Order::kAwaitEvent) return RunEvent(order);
  if (order.order == Order::kAwaitWord) {
    gpu_.Expect(gpu_.api().StreamWaitValue32(stream_.get(), stop_.at(), 1,
                                             cuda::kWaitValueGeq),
                "waiting for a word");
    return gpu_.test().StreamQuery(stream_.get());
  }
  if (order.order == Order::kWriteWord) return WriteWord(order, fd);
  if (order.order == Order::kFailAndWrite) {
    gpu_.Fill(stream_.get(), {.at = order.address, .count = 1}, 1);
    const cuda::Result written = WriteWord(order, fd);
    const cuda::Result done = gpu_.test().StreamSynchronize(stream_.get());
    return written == cuda::kSuccess ? done : written;
  }
  answer_.value = gpu_.FreeBytes();
  return cuda::kSuccess;
}

cuda::Result Helper::WriteWord(const OrderPacket& order, int fd) {
  if (words_ == nullptr) words_ = std::make_unique<SharedWords>(gpu_, fd);
  return gpu_.api().StreamWriteValue32(stream_.get(), words_->at(),
                                       static_cast<uint32_t>(order.b), 0);
}

cuda::Result Helper::RunMemory(const OrderPacket& order) {
  const cuda::DriverApi& api = gpu_.api();
  cuda::IpcMemHandle handle{};
  cuda::DevicePtr pointer = order.address;
  cuda::Result result = cuda::kSuccess;
  switch (order.order) {
    case Order::kAllocate:
      gpu_.Expect(api.MemAlloc(&pointer, order.a), "allocating");
      gpu_.Expect(api.IpcGetMemHandle(&handle, pointer), "exporting");
      std::memcpy(answer_.handle, &handle, sizeof(handle));
      answer_.value = pointer;
      return cuda::kSuccess;
    case Order::kFree:
      return api.MemFree(pointer);
    case Order::kOpen:
      std::memcpy(&handle, order.handle, sizeof(handle));
      result = api.IpcOpenMemHandle(&pointer, handle, cuda::kIpcLazyPeerAccess);
      answer_.value = pointer;
      return result;
    case Order::kClose:
      return api.IpcCloseMemHandle(pointer);
    case Order::kExportOpened:
      return api.IpcGetMemHandle(&handle, pointer);
    default: {
      size_t bytes = 0;
      result = api.MemGetAddressRange(&pointer, &bytes, order.address);
      answer_.value = pointer;
      answer_.second = bytes;
      return result;
    }
  }
}

cuda::Result Helper::RunWork(const OrderPacket& order) {
  const Words words{.at = order.address, .count = order.a};
  const auto value = static_cast<uint32_t>(order.b);
  switch (order.order) {
    case Order::kFill:
      gpu_.Fill(stream_.get(), words, value);
      return gpu_.test().StreamSynchronize(stream_.get());
    case Order::kMismatches:
      answer_.value = gpu_.CountMismatches(stream_.get(), words, value);
      return cuda::kSuccess;
    case Order::kFillForever:
      gpu_.FillUntil(stream_.get(), words, value, stop_.at());
      return cuda::kSuccess;
    case Order::kFillLate:
      gpu_.Spin(stream_.get(), std::chrono::milliseconds(100));
      gpu_.Fill(stream_.get(), words, value);
      return cuda::kSuccess;
    case Order::kFillByGraph:
      return CaptureFill(words, value);
    case Order::kRunGraph:
      gpu_.Expect(gpu_.test().GraphLaunch(exec_, stream_.get()), "launching");
      return gpu_.test().StreamSynchronize(stream_.get());
    default:
      stop_.Set();
      return gpu_.test().StreamSynchronize(stream_.get());
  }
}

cuda::Result Helper::CaptureFill(Words words, uint32_t value) {
  cuda::Graph graph = nullptr;
  gpu_.Expect(gpu_.test().StreamBeginCapture(stream_.get(), cuda::kModeGlobal),
              "capturing");
  gpu_.Fill(stream_.get(), words, value);
  gpu_.Expect(gpu_.test().StreamEndCapture(stream_.get(), &graph),
              "ending the capture");
  gpu_.Expect(gpu_.test().GraphInstantiate(&exec_, graph, 0),
              "making it executable");
  return gpu_.test().GraphDestroy(graph);
}

cuda::Result Helper::RunVmm(const OrderPacket& order, int fd) {
  int again = -1;
  switch (order.order) {
    case Order::kCreateVmm:
      vmm_ = std::make_unique<VmmBuffer>(gpu_, order.a);
      to_send_.reset(vmm_->Export());
      answer_.value = vmm_->at();
      return cuda::kSuccess;
    case Order::kImportVmm:
      vmm_ = std::make_unique<VmmBuffer>(gpu_, order.a, fd,
                                         static_cast<int>(order.b));
      answer_.value = vmm_->at();
      return cuda::kSuccess;
    case Order::kExportVmm:
      return gpu_.api().MemExportToShareableHandle(&again, vmm_->memory(),
                                                   cuda::kHandlePosixFd, 0);
    default:
      vmm_.reset();
      return cuda::kSuccess;
  }
}

cuda::Result Helper::RunEvent(const OrderPacket& order) {
  const cuda::DriverApi& api = gpu_.api();
  cuda::IpcEventHandle handle{};
  switch (order.order) {
    case Order::kCreateEvent:
      gpu_.Expect(api.EventCreate(&event_, cuda::kEventInterprocess |
                                               cuda::kEventDisableTiming),
                  "making an event");
      gpu_.Expect(api.IpcGetEventHandle(&handle, event_), "exporting");
      std::memcpy(answer_.handle, &handle, sizeof(handle));
      return cuda::kSuccess;
    case Order::kOpenEvent:
      std::memcpy(&handle, order.handle, sizeof(handle));
      return api.IpcOpenEventHandle(&event_, handle);
    case Order::kRecordEvent:
      return api.EventRecord(event_, stream_.get());
    default:
      gpu_.Expect(api.StreamWaitEvent(stream_.get(), event_, 0), "waiting");
      return gpu_.test().StreamSynchronize(stream_.get());
  }
}

void Serve() {
  Helper helper;
  OrderPacket order;
  int fd = -1;
  while (ReceivePacket(kHelperSocket, &order, sizeof(order), &fd)) {
    const UniqueFd received(fd);
    const AnswerPacket answer = helper.Obey(order, received.get());
    const UniqueFd to_send(helper.TakeDescriptor());
    if (!SendPacket(kHelperSocket, &answer, sizeof(answer), to_send.get())) {
      return;
    }
  }
}

}  // namespace
}  // namespace vrampool::testing

int main() { vrampool::testing::Serve(); }
