// test_driver.h - driver functions that only tests call, as driver_api.h
// declares those that the product calls.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_TESTS_CUDA_TEST_DRIVER_H_
#define VRAMPOOL_TESTS_CUDA_TEST_DRIVER_H_

#include <cstddef>
#include <cstdint>

#include "base/cuda/driver_api.h"

struct CUgraphExec_st;
struct CUgraphNode_st;

namespace vrampool::cuda {

using GraphExec = ::CUgraphExec_st*;
using GraphNode = ::CUgraphNode_st*;

inline constexpr unsigned kStreamDefault = 0;
inline constexpr unsigned kTestStreamNonBlocking = 1;
inline constexpr int kModeGlobal = 0;
inline constexpr int kModeThreadLocal = 1;
inline constexpr int kModeRelaxed = 2;
inline constexpr unsigned kTestWaitValueGeq = 0;
inline constexpr Result kTestHostMemoryAlreadyRegistered = 712;
inline constexpr Result kTestHostMemoryNotRegistered = 713;
inline constexpr Result kCaptureInvalidatedError = 901;
inline constexpr Result kCaptureIsolation = 905;
inline constexpr Result kCaptureImplicit = 906;
inline constexpr Result kCapturedEvent = 907;
inline constexpr Result kCaptureWrongThread = 908;

// X(member, symbol, parameter types), as in driver_api.h.
#define VRAMPOOL_CUDA_TEST_FUNCTIONS(X)                                     \
  X(LaunchHostFunc, cuLaunchHostFunc,                                       \
    (Stream stream, HostFunction function, void* user_data))                \
  X(StreamCreate, cuStreamCreate, (Stream * stream, unsigned flags))        \
  X(StreamDestroy, cuStreamDestroy_v2, (Stream stream))                     \
  X(StreamQuery, cuStreamQuery, (Stream stream))                            \
  X(StreamSynchronize, cuStreamSynchronize, (Stream stream))                \
  X(StreamWaitValue32, cuStreamWaitValue32_v2,                              \
    (Stream stream, DevicePtr word, uint32_t value, unsigned flags))        \
  X(StreamWriteValue32, cuStreamWriteValue32_v2,                            \
    (Stream stream, DevicePtr word, uint32_t value, unsigned flags))        \
  X(CtxRecordEvent, cuCtxRecordEvent, (Context context, Event event))       \
  X(StreamBeginCapture, cuStreamBeginCapture_v2, (Stream stream, int mode)) \
  X(StreamEndCapture, cuStreamEndCapture, (Stream stream, Graph * graph))   \
  X(StreamGetCaptureInfo, cuStreamGetCaptureInfo_v2,                        \
    (Stream stream, int* status, uint64_t* id, Graph* graph,                \
     const GraphNode** dependencies, size_t* count))                        \
  X(ThreadExchangeStreamCaptureMode, cuThreadExchangeStreamCaptureMode,     \
    (int* mode))                                                            \
  X(GraphCreate, cuGraphCreate, (Graph * graph, unsigned flags))            \
  X(GraphInstantiate, cuGraphInstantiateWithFlags,                          \
    (GraphExec * exec, Graph graph, unsigned long long flags))              \
  X(GraphLaunch, cuGraphLaunch, (GraphExec exec, Stream stream))            \
  X(GraphDestroy, cuGraphDestroy, (Graph graph))                            \
  X(GraphExecDestroy, cuGraphExecDestroy, (GraphExec exec))                 \
  X(MemGetAccess, cuMemGetAccess,                                           \
    (unsigned long long* flags, const MemLocation* location,                \
     DevicePtr pointer))                                                    \
  X(MemsetD8Async, cuMemsetD8Async,                                         \
    (DevicePtr pointer, unsigned char value, size_t count, Stream stream))  \
  X(MemsetD32Async, cuMemsetD32Async,                                       \
    (DevicePtr pointer, unsigned value, size_t count, Stream stream))

// Members are null where the loaded driver lacks the function.
struct TestDriverApi {
#define VRAMPOOL_CUDA_TEST_MEMBER(member, symbol, parameters) \
  Result(*member) parameters = nullptr;
  VRAMPOOL_CUDA_TEST_FUNCTIONS(VRAMPOOL_CUDA_TEST_MEMBER)
#undef VRAMPOOL_CUDA_TEST_MEMBER
};

// The functions of the driver that LoadDriver() opened.
const TestDriverApi& TestDriver();

}  // namespace vrampool::cuda

#endif  // VRAMPOOL_TESTS_CUDA_TEST_DRIVER_H_
