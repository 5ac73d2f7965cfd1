// The driver's functions that EventDriver does not model: they refuse. Weak, so
// that those it does model take their place.

#include "base/cuda/driver_api.h"

namespace vrampool::cuda {

#define VRAMPOOL_REFUSE(member, symbol, parameters)       \
  extern "C" __attribute__((weak, visibility("default"))) \
  Result symbol parameters {                              \
    return kNotSupported;                                 \
  }
VRAMPOOL_CUDA_FUNCTIONS(VRAMPOOL_REFUSE)
#undef VRAMPOOL_REFUSE

}  // namespace vrampool::cuda
