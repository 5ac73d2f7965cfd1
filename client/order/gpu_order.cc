#include "client/order/gpu_order.h"

#include <utility>

#include "base/status_macros.h"

namespace vrampool::client {

Result<std::unique_ptr<GpuOrder>> GpuOrder::Start(
    std::shared_ptr<const GpuContext> gpu) {
  auto pool = std::make_shared<EventPool>(gpu);
  VRAMPOOL_ASSIGN_OR_RETURN(std::unique_ptr<EventThread> thread,
                            EventThread::Start(std::move(gpu), pool));
  return std::unique_ptr<GpuOrder>(
      new GpuOrder(std::move(pool), std::move(thread)));
}

GpuOrder::GpuOrder(std::shared_ptr<EventPool> pool,
                   std::unique_ptr<EventThread> thread)
    : pool_(std::move(pool)), thread_(std::move(thread)) {}

}  // namespace vrampool::client
