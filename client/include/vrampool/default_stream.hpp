// default_stream.hpp - the default stream as the including program means it.
//
// A program that is built for per-thread default streams (nvcc
// --default-stream per-thread, or CUDA_API_PER_THREAD_DEFAULT_STREAM defined
// before CUDA's headers) means its thread's own stream where it gives CUDA's
// runtime none. vrampool's C interface takes null for the legacy stream
// whatever the program is built for, so the C++ interface translates.
//
// What depends on it lies in an inline namespace of its own, so that parts of
// one program that are built in both ways do not get each other's functions.

#ifndef VRAMPOOL_DEFAULT_STREAM_HPP_
#define VRAMPOOL_DEFAULT_STREAM_HPP_

#include <cstdint>

#include "vrampool/vrampool.h"

#if defined(CUDA_API_PER_THREAD_DEFAULT_STREAM)
#define VRAMPOOL_CPP_NAMESPACE cpp_per_thread
#else
#define VRAMPOOL_CPP_NAMESPACE cpp
#endif

namespace vrampool {
inline namespace VRAMPOOL_CPP_NAMESPACE {

inline cudaStream_t DefaultStream() noexcept {
#if defined(CUDA_API_PER_THREAD_DEFAULT_STREAM)
  return reinterpret_cast<cudaStream_t>(std::uintptr_t{2});
#else
  return nullptr;
#endif
}

}  // namespace VRAMPOOL_CPP_NAMESPACE
}  // namespace vrampool

#endif  // VRAMPOOL_DEFAULT_STREAM_HPP_
