#include "base/check.h"
#include "base/cuda/driver.h"
#include "tests/client/order/event_driver.h"

namespace vrampool::testing {

EventDriver& TheEventDriver() {
  (void)cuda::LoadDriver();
  const auto find =
      reinterpret_cast<void* (*)()>(cuda::FindDriverSymbol(kEventDriverSymbol));
  VRAMPOOL_CHECK(find != nullptr);
  return *static_cast<EventDriver*>(find());
}

}  // namespace vrampool::testing
