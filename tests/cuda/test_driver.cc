#include "tests/cuda/test_driver.h"

#include "base/cuda/driver.h"

namespace vrampool::cuda {

const TestDriverApi& TestDriver() {
  static const TestDriverApi api = [] {
    LoadDriver();
    TestDriverApi found;
#define VRAMPOOL_CUDA_TEST_FIND(member, symbol, parameters) \
  found.member =                                            \
      reinterpret_cast<decltype(found.member)>(FindDriverSymbol(#symbol));
    VRAMPOOL_CUDA_TEST_FUNCTIONS(VRAMPOOL_CUDA_TEST_FIND)
#undef VRAMPOOL_CUDA_TEST_FIND
    return found;
  }();
  return api;
}

}  // namespace vrampool::cuda
