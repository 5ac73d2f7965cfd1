// Our declarations of the driver (base/cuda/driver_api.h, test_driver.h)
// against the toolkit's cuda.h.

#include <cuda.h>

#include <cstddef>
#include <type_traits>

#include "base/cuda/driver_api.h"
#include "gtest/gtest.h"
#include "tests/cuda/test_driver.h"

namespace vrampool::cuda {
namespace {

// Whether two parameters are passed alike: the same size, class and kind.
template <typename Ours, typename Theirs>
constexpr bool kAlike =
    sizeof(Ours) == sizeof(Theirs) && alignof(Ours) == alignof(Theirs) &&
    std::is_class_v<Ours> == std::is_class_v<Theirs> &&
    (std::is_pointer_v<Ours> || std::is_class_v<Ours>
         ? std::is_pointer_v<Ours> == std::is_pointer_v<Theirs>
         : std::is_integral_v<Theirs> || std::is_enum_v<Theirs> ||
               std::is_pointer_v<Theirs>);

template <typename Ours, typename Theirs>
struct SameSignature : std::false_type {};
template <typename... Ours, typename... Theirs>
struct SameSignature<Result(Ours...), CUresult(Theirs...)> {
  static constexpr bool value = [] {
    if constexpr (sizeof...(Ours) != sizeof...(Theirs)) {
      return false;
    } else {
      return (kAlike<Ours, Theirs> && ...);
    }
  }();
};

// cuda.h replaces names by their versions, so a name here is expanded to what
// the header declares; a function of another version has another signature.
#define VRAMPOOL_SAME_SIGNATURE(member, symbol, parameters)             \
  static_assert(                                                        \
      SameSignature<Result parameters,                                  \
                    std::remove_pointer_t<decltype(&::symbol)>>::value, \
      #symbol);
VRAMPOOL_CUDA_FUNCTIONS(VRAMPOOL_SAME_SIGNATURE)
#undef VRAMPOOL_SAME_SIGNATURE

#define VRAMPOOL_SAME_VALUE(ours, theirs) \
  static_assert(static_cast<long long>(ours) == static_cast<long long>(theirs))
VRAMPOOL_SAME_VALUE(kSuccess, CUDA_SUCCESS);
VRAMPOOL_SAME_VALUE(kInvalidValue, CUDA_ERROR_INVALID_VALUE);
VRAMPOOL_SAME_VALUE(kOutOfMemory, CUDA_ERROR_OUT_OF_MEMORY);
VRAMPOOL_SAME_VALUE(kNotInitialized, CUDA_ERROR_NOT_INITIALIZED);
VRAMPOOL_SAME_VALUE(kDeinitialized, CUDA_ERROR_DEINITIALIZED);
VRAMPOOL_SAME_VALUE(kDeviceUnavailable, CUDA_ERROR_DEVICE_UNAVAILABLE);
VRAMPOOL_SAME_VALUE(kNoDevice, CUDA_ERROR_NO_DEVICE);
VRAMPOOL_SAME_VALUE(kInvalidDevice, CUDA_ERROR_INVALID_DEVICE);
VRAMPOOL_SAME_VALUE(kInvalidContext, CUDA_ERROR_INVALID_CONTEXT);
VRAMPOOL_SAME_VALUE(kEccUncorrectable, CUDA_ERROR_ECC_UNCORRECTABLE);
VRAMPOOL_SAME_VALUE(kInvalidPtx, CUDA_ERROR_INVALID_PTX);
VRAMPOOL_SAME_VALUE(kNvlinkUncorrectable, CUDA_ERROR_NVLINK_UNCORRECTABLE);
VRAMPOOL_SAME_VALUE(kContained, CUDA_ERROR_CONTAINED);
VRAMPOOL_SAME_VALUE(kInvalidHandle, CUDA_ERROR_INVALID_HANDLE);
VRAMPOOL_SAME_VALUE(kNotReady, CUDA_ERROR_NOT_READY);
VRAMPOOL_SAME_VALUE(kIllegalAddress, CUDA_ERROR_ILLEGAL_ADDRESS);
VRAMPOOL_SAME_VALUE(kLaunchTimeout, CUDA_ERROR_LAUNCH_TIMEOUT);
VRAMPOOL_SAME_VALUE(kAssert, CUDA_ERROR_ASSERT);
VRAMPOOL_SAME_VALUE(kHardwareStackError, CUDA_ERROR_HARDWARE_STACK_ERROR);
VRAMPOOL_SAME_VALUE(kIllegalInstruction, CUDA_ERROR_ILLEGAL_INSTRUCTION);
VRAMPOOL_SAME_VALUE(kMisalignedAddress, CUDA_ERROR_MISALIGNED_ADDRESS);
VRAMPOOL_SAME_VALUE(kInvalidAddressSpace, CUDA_ERROR_INVALID_ADDRESS_SPACE);
VRAMPOOL_SAME_VALUE(kInvalidPc, CUDA_ERROR_INVALID_PC);
VRAMPOOL_SAME_VALUE(kLaunchFailed, CUDA_ERROR_LAUNCH_FAILED);
VRAMPOOL_SAME_VALUE(kNotPermitted, CUDA_ERROR_NOT_PERMITTED);
VRAMPOOL_SAME_VALUE(kNotSupported, CUDA_ERROR_NOT_SUPPORTED);
VRAMPOOL_SAME_VALUE(kStreamCaptureUnsupported,
                    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
VRAMPOOL_SAME_VALUE(kUnknown, CUDA_ERROR_UNKNOWN);
VRAMPOOL_SAME_VALUE(kNotFound, CUDA_ERROR_NOT_FOUND);
VRAMPOOL_SAME_VALUE(kCaptureInvalidatedError,
                    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
VRAMPOOL_SAME_VALUE(kCaptureIsolation, CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
VRAMPOOL_SAME_VALUE(kCaptureImplicit, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
VRAMPOOL_SAME_VALUE(kCapturedEvent, CUDA_ERROR_CAPTURED_EVENT);
VRAMPOOL_SAME_VALUE(kCaptureWrongThread,
                    CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
VRAMPOOL_SAME_VALUE(kLocationDevice, CU_MEM_LOCATION_TYPE_DEVICE);
VRAMPOOL_SAME_VALUE(kAllocationPinned, CU_MEM_ALLOCATION_TYPE_PINNED);
VRAMPOOL_SAME_VALUE(kHandlePosixFd, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
VRAMPOOL_SAME_VALUE(kAccessRead, CU_MEM_ACCESS_FLAGS_PROT_READ);
VRAMPOOL_SAME_VALUE(kAccessReadWrite, CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
VRAMPOOL_SAME_VALUE(kGranularityMinimum, CU_MEM_ALLOC_GRANULARITY_MINIMUM);
VRAMPOOL_SAME_VALUE(kIpcLazyPeerAccess, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS);
VRAMPOOL_SAME_VALUE(kEventBlockingSync, CU_EVENT_BLOCKING_SYNC);
VRAMPOOL_SAME_VALUE(kEventDisableTiming, CU_EVENT_DISABLE_TIMING);
VRAMPOOL_SAME_VALUE(kEventInterprocess, CU_EVENT_INTERPROCESS);
VRAMPOOL_SAME_VALUE(kUserObjectNoDestructorSync,
                    CU_USER_OBJECT_NO_DESTRUCTOR_SYNC);
VRAMPOOL_SAME_VALUE(kGraphUserObjectMove, CU_GRAPH_USER_OBJECT_MOVE);
VRAMPOOL_SAME_VALUE(kCaptureNone, CU_STREAM_CAPTURE_STATUS_NONE);
VRAMPOOL_SAME_VALUE(kCaptureActive, CU_STREAM_CAPTURE_STATUS_ACTIVE);
VRAMPOOL_SAME_VALUE(kCaptureInvalidated, CU_STREAM_CAPTURE_STATUS_INVALIDATED);
VRAMPOOL_SAME_VALUE(kModeGlobal, CU_STREAM_CAPTURE_MODE_GLOBAL);
VRAMPOOL_SAME_VALUE(kModeThreadLocal, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
VRAMPOOL_SAME_VALUE(kModeRelaxed, CU_STREAM_CAPTURE_MODE_RELAXED);
VRAMPOOL_SAME_VALUE(kTestStreamNonBlocking, CU_STREAM_NON_BLOCKING);
VRAMPOOL_SAME_VALUE(kTestWaitValueGeq, CU_STREAM_WAIT_VALUE_GEQ);
VRAMPOOL_SAME_VALUE(kTestHostMemoryAlreadyRegistered,
                    CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
VRAMPOOL_SAME_VALUE(kTestHostMemoryNotRegistered,
                    CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
VRAMPOOL_SAME_VALUE(kHostRegisterPortable, CU_MEMHOSTREGISTER_PORTABLE);
VRAMPOOL_SAME_VALUE(kHostRegisterDeviceMap, CU_MEMHOSTREGISTER_DEVICEMAP);
VRAMPOOL_SAME_VALUE(kAttributeIntegrated, CU_DEVICE_ATTRIBUTE_INTEGRATED);
VRAMPOOL_SAME_VALUE(kAttributeVmm,
                    CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED);
VRAMPOOL_SAME_VALUE(
    kAttributePosixFd,
    CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED);
#undef VRAMPOOL_SAME_VALUE

TEST(DriverAbiTest, StructuresHaveTheHeadersSizes) {
  EXPECT_EQ(sizeof(Uuid), sizeof(CUuuid));
  EXPECT_EQ(sizeof(IpcMemHandle), sizeof(CUipcMemHandle));
  EXPECT_EQ(sizeof(IpcEventHandle), sizeof(CUipcEventHandle));
  EXPECT_EQ(sizeof(MemLocation), sizeof(CUmemLocation));
  EXPECT_EQ(sizeof(MemAllocationProp), sizeof(CUmemAllocationProp));
  EXPECT_EQ(sizeof(MemAccessDesc), sizeof(CUmemAccessDesc));
  EXPECT_EQ(sizeof(DevicePtr), sizeof(CUdeviceptr));
  EXPECT_EQ(sizeof(MemHandle), sizeof(CUmemGenericAllocationHandle));
}

TEST(DriverAbiTest, FieldsLieWhereTheHeaderHasThem) {
  EXPECT_EQ(offsetof(MemAllocationProp, type),
            offsetof(CUmemAllocationProp, type));
  EXPECT_EQ(offsetof(MemAllocationProp, requested_handle_types),
            offsetof(CUmemAllocationProp, requestedHandleTypes));
  EXPECT_EQ(offsetof(MemAllocationProp, location),
            offsetof(CUmemAllocationProp, location));
  EXPECT_EQ(offsetof(MemAllocationProp, win32_handle_meta_data),
            offsetof(CUmemAllocationProp, win32HandleMetaData));
  EXPECT_EQ(offsetof(MemAllocationProp, alloc_flags),
            offsetof(CUmemAllocationProp, allocFlags));
  EXPECT_EQ(offsetof(MemLocation, id), offsetof(CUmemLocation, id));
  EXPECT_EQ(offsetof(MemAccessDesc, location),
            offsetof(CUmemAccessDesc, location));
  EXPECT_EQ(offsetof(MemAccessDesc, flags), offsetof(CUmemAccessDesc, flags));
}

}  // namespace
}  // namespace vrampool::cuda
