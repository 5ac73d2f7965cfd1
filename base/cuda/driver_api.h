// driver_api.h - the part of NVIDIA's driver API that we use, declared by
// ourselves.
//
// The same binaries run with and without a GPU and build where no CUDA toolkit
// is: nothing of CUDA is included or linked, and the functions below are looked
// up in the driver's library at run time (driver.h). Types, values and
// signatures are those of the driver's C interface, which are stable; where a
// toolkit is installed, a test compares them with its cuda.h
// (tests/cuda/driver_abi_test.cc).
//
// A function's member here has the name of its symbol without the version
// suffix; the table at the end pairs the two.
//
// Leaf: shared by daemon and client, links nothing.

#ifndef VRAMPOOL_BASE_CUDA_DRIVER_API_H_
#define VRAMPOOL_BASE_CUDA_DRIVER_API_H_

#include <cstddef>
#include <cstdint>

struct CUctx_st;
struct CUstream_st;
struct CUevent_st;
struct CUgraph_st;
struct CUuserObject_st;
struct CUmod_st;
struct CUfunc_st;

namespace vrampool::cuda {

// CUresult. An int and not an enum: the driver may return any number.
using Result = int;
inline constexpr Result kSuccess = 0;
inline constexpr Result kInvalidValue = 1;
inline constexpr Result kOutOfMemory = 2;
inline constexpr Result kNotInitialized = 3;
inline constexpr Result kDeinitialized = 4;  // The process is exiting.
inline constexpr Result kDeviceUnavailable = 46;
inline constexpr Result kNoDevice = 100;
inline constexpr Result kInvalidDevice = 101;
inline constexpr Result kInvalidContext = 201;
inline constexpr Result kEccUncorrectable = 214;
inline constexpr Result kInvalidPtx = 218;
inline constexpr Result kNvlinkUncorrectable = 220;
inline constexpr Result kContained = 226;
inline constexpr Result kInvalidHandle = 400;
inline constexpr Result kNotFound = 500;
inline constexpr Result kNotReady = 600;
inline constexpr Result kIllegalAddress = 700;
inline constexpr Result kLaunchTimeout = 702;
inline constexpr Result kAssert = 710;
inline constexpr Result kHardwareStackError = 714;
inline constexpr Result kIllegalInstruction = 715;
inline constexpr Result kMisalignedAddress = 716;
inline constexpr Result kInvalidAddressSpace = 717;
inline constexpr Result kInvalidPc = 718;
inline constexpr Result kLaunchFailed = 719;
inline constexpr Result kNotPermitted = 800;
inline constexpr Result kNotSupported = 801;
inline constexpr Result kStreamCaptureUnsupported = 900;
inline constexpr Result kLastCaptureError = 909;
inline constexpr Result kUnknown = 999;

// "Not while a stream is being captured."
constexpr bool IsCaptureError(Result error) {
  return error >= kStreamCaptureUnsupported && error <= kLastCaptureError;
}

using Device = int;  // CUdevice: an index in this process's order.
using DevicePtr = unsigned long long;
using MemHandle = unsigned long long;  // CUmemGenericAllocationHandle.
using Context = ::CUctx_st*;
using Stream = ::CUstream_st*;
using Event = ::CUevent_st*;
using Graph = ::CUgraph_st*;
using UserObject = ::CUuserObject_st*;
using Module = ::CUmod_st*;
using Function = ::CUfunc_st*;

// Stream handles with a meaning of their own.
inline const Stream kLegacyStream =
    reinterpret_cast<Stream>(uintptr_t{1});  // CU_STREAM_LEGACY
inline const Stream kPerThreadStream =
    reinterpret_cast<Stream>(uintptr_t{2});  // CU_STREAM_PER_THREAD

struct Uuid {
  unsigned char bytes[16];
};
struct IpcMemHandle {
  char reserved[64];
};
struct IpcEventHandle {
  char reserved[64];
};
struct MemLocation {
  int type;  // kLocationDevice
  int id;    // The device.
};
struct MemAllocationProp {
  int type;                    // kAllocationPinned
  int requested_handle_types;  // kHandlePosixFd
  MemLocation location;
  void* win32_handle_meta_data;
  struct {
    unsigned char compression_type;
    unsigned char gpu_direct_rdma_capable;
    unsigned short usage;
    unsigned char reserved[4];
  } alloc_flags;
};
struct MemAccessDesc {
  MemLocation location;
  int flags;  // kAccessRead, kAccessReadWrite
};

inline constexpr int kLocationDevice = 1;
inline constexpr int kAllocationPinned = 1;
inline constexpr int kHandlePosixFd = 1;
inline constexpr int kAccessRead = 1;
inline constexpr int kAccessReadWrite = 3;
inline constexpr int kGranularityMinimum = 0;
inline constexpr unsigned kIpcLazyPeerAccess = 1;
inline constexpr unsigned kEventDisableTiming = 2;
inline constexpr unsigned kEventBlockingSync = 1;
inline constexpr unsigned kEventInterprocess = 4;
inline constexpr unsigned kUserObjectNoDestructorSync = 1;
inline constexpr unsigned kGraphUserObjectMove = 1;
inline constexpr unsigned kStreamNonBlocking = 1;
inline constexpr unsigned kHostAllocPortable = 1;
inline constexpr unsigned kHostRegisterPortable = 1;
inline constexpr unsigned kHostRegisterDeviceMap = 2;
inline constexpr unsigned kWaitValueGeq = 0;  // Cyclic: (int)(word - value).
inline constexpr int kCaptureModeRelaxed = 2;
inline constexpr int kCaptureNone = 0;
inline constexpr int kCaptureActive = 1;
inline constexpr int kCaptureInvalidated = 2;
inline constexpr int kAttributeIntegrated = 18;
inline constexpr int kAttributeVmm = 102;      // VIRTUAL_MEMORY_MANAGEMENT
inline constexpr int kAttributePosixFd = 103;  // HANDLE_TYPE_POSIX_FD

using HostFunction = void (*)(void* user_data);

// X(member, symbol, parameter types): every function returns a Result. All of
// them are in drivers from 12.0 on (cuStreamGetId came with 12.0).
#define VRAMPOOL_CUDA_FUNCTIONS(X)                                           \
  X(Init, cuInit, (unsigned flags))                                          \
  X(DriverGetVersion, cuDriverGetVersion, (int* version))                    \
  X(GetErrorName, cuGetErrorName, (Result error, const char** name))         \
  X(GetErrorString, cuGetErrorString, (Result error, const char** text))     \
  X(DeviceGetCount, cuDeviceGetCount, (int* count))                          \
  X(DeviceGet, cuDeviceGet, (Device * device, int ordinal))                  \
  X(DeviceGetName, cuDeviceGetName, (char* name, int size, Device device))   \
  X(DeviceGetUuid, cuDeviceGetUuid_v2, (Uuid * uuid, Device device))         \
  X(DeviceCanAccessPeer, cuDeviceCanAccessPeer,                              \
    (int* can_access, Device device, Device peer))                           \
  X(DeviceTotalMem, cuDeviceTotalMem_v2, (size_t * bytes, Device device))    \
  X(DeviceGetAttribute, cuDeviceGetAttribute,                                \
    (int* value, int attribute, Device device))                              \
  X(DevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain,                        \
    (Context * context, Device device))                                      \
  X(DevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease_v2, (Device device))  \
  X(CtxSetCurrent, cuCtxSetCurrent, (Context context))                       \
  X(CtxGetCurrent, cuCtxGetCurrent, (Context * context))                     \
  X(CtxSynchronize, cuCtxSynchronize, ())                                    \
  X(MemGetInfo, cuMemGetInfo_v2, (size_t * free, size_t * total))            \
  X(MemAlloc, cuMemAlloc_v2, (DevicePtr * pointer, size_t bytes))            \
  X(MemFree, cuMemFree_v2, (DevicePtr pointer))                              \
  X(MemGetAddressRange, cuMemGetAddressRange_v2,                             \
    (DevicePtr * base, size_t * bytes, DevicePtr pointer))                   \
  X(IpcGetMemHandle, cuIpcGetMemHandle,                                      \
    (IpcMemHandle * handle, DevicePtr pointer))                              \
  X(IpcOpenMemHandle, cuIpcOpenMemHandle_v2,                                 \
    (DevicePtr * pointer, IpcMemHandle handle, unsigned flags))              \
  X(IpcCloseMemHandle, cuIpcCloseMemHandle, (DevicePtr pointer))             \
  X(IpcGetEventHandle, cuIpcGetEventHandle,                                  \
    (IpcEventHandle * handle, Event event))                                  \
  X(IpcOpenEventHandle, cuIpcOpenEventHandle,                                \
    (Event * event, IpcEventHandle handle))                                  \
  X(MemGetAllocationGranularity, cuMemGetAllocationGranularity,              \
    (size_t * granularity, const MemAllocationProp* prop, int option))       \
  X(MemCreate, cuMemCreate,                                                  \
    (MemHandle * handle, size_t bytes, const MemAllocationProp* prop,        \
     unsigned long long flags))                                              \
  X(MemRelease, cuMemRelease, (MemHandle handle))                            \
  X(MemExportToShareableHandle, cuMemExportToShareableHandle,                \
    (void* shareable, MemHandle handle, int type, unsigned long long flags)) \
  X(MemImportFromShareableHandle, cuMemImportFromShareableHandle,            \
    (MemHandle * handle, void* os_handle, int type))                         \
  X(MemAddressReserve, cuMemAddressReserve,                                  \
    (DevicePtr * pointer, size_t bytes, size_t alignment, DevicePtr address, \
     unsigned long long flags))                                              \
  X(MemAddressFree, cuMemAddressFree, (DevicePtr pointer, size_t bytes))     \
  X(MemMap, cuMemMap,                                                        \
    (DevicePtr pointer, size_t bytes, size_t offset, MemHandle handle,       \
     unsigned long long flags))                                              \
  X(MemUnmap, cuMemUnmap, (DevicePtr pointer, size_t bytes))                 \
  X(MemSetAccess, cuMemSetAccess,                                            \
    (DevicePtr pointer, size_t bytes, const MemAccessDesc* desc,             \
     size_t count))                                                          \
  X(MemsetD8, cuMemsetD8_v2,                                                 \
    (DevicePtr pointer, unsigned char value, size_t count))                  \
  X(MemsetD32, cuMemsetD32_v2,                                               \
    (DevicePtr pointer, unsigned value, size_t count))                       \
  X(MemcpyDtoH, cuMemcpyDtoH_v2, (void* to, DevicePtr from, size_t bytes))   \
  X(MemcpyDtoHAsync, cuMemcpyDtoHAsync_v2,                                   \
    (void* to, DevicePtr from, size_t bytes, Stream stream))                 \
  X(MemcpyHtoD, cuMemcpyHtoD_v2,                                             \
    (DevicePtr to, const void* from, size_t bytes))                          \
  X(MemHostAlloc, cuMemHostAlloc,                                            \
    (void** pointer, size_t bytes, unsigned flags))                          \
  X(MemFreeHost, cuMemFreeHost, (void* pointer))                             \
  X(MemHostRegister, cuMemHostRegister_v2,                                   \
    (void* pointer, size_t bytes, unsigned flags))                           \
  X(MemHostUnregister, cuMemHostUnregister, (void* pointer))                 \
  X(MemHostGetDevicePointer, cuMemHostGetDevicePointer_v2,                   \
    (DevicePtr * pointer, void* host_pointer, unsigned flags))               \
  X(StreamGetId, cuStreamGetId, (Stream stream, unsigned long long* id))     \
  X(StreamIsCapturing, cuStreamIsCapturing, (Stream stream, int* status))    \
  X(StreamWaitEvent, cuStreamWaitEvent,                                      \
    (Stream stream, Event event, unsigned flags))                            \
  X(StreamWaitValue32, cuStreamWaitValue32_v2,                               \
    (Stream stream, DevicePtr word, uint32_t value, unsigned flags))         \
  X(StreamWriteValue32, cuStreamWriteValue32_v2,                             \
    (Stream stream, DevicePtr word, uint32_t value, unsigned flags))         \
  X(StreamCreate, cuStreamCreate, (Stream * stream, unsigned flags))         \
  X(StreamDestroy, cuStreamDestroy_v2, (Stream stream))                      \
  X(StreamSynchronize, cuStreamSynchronize, (Stream stream))                 \
  X(MemsetD8Async, cuMemsetD8Async,                                          \
    (DevicePtr pointer, unsigned char value, size_t count, Stream stream))   \
  X(ThreadExchangeStreamCaptureMode, cuThreadExchangeStreamCaptureMode,      \
    (int* mode))                                                             \
  X(EventCreate, cuEventCreate, (Event * event, unsigned flags))             \
  X(EventDestroy, cuEventDestroy_v2, (Event event))                          \
  X(EventRecord, cuEventRecord, (Event event, Stream stream))                \
  X(EventQuery, cuEventQuery, (Event event))                                 \
  X(EventSynchronize, cuEventSynchronize, (Event event))                     \
  X(UserObjectCreate, cuUserObjectCreate,                                    \
    (UserObject * object, void* pointer, HostFunction destroy,               \
     unsigned initial_references, unsigned flags))                           \
  X(UserObjectRelease, cuUserObjectRelease,                                  \
    (UserObject object, unsigned count))                                     \
  X(GraphRetainUserObject, cuGraphRetainUserObject,                          \
    (Graph graph, UserObject object, unsigned count, unsigned flags))        \
  X(ModuleLoadData, cuModuleLoadData, (Module * module, const void* image))  \
  X(ModuleUnload, cuModuleUnload, (Module module))                           \
  X(ModuleGetFunction, cuModuleGetFunction,                                  \
    (Function * function, Module module, const char* name))                  \
  X(LaunchKernel, cuLaunchKernel,                                            \
    (Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z,   \
     unsigned block_x, unsigned block_y, unsigned block_z,                   \
     unsigned shared_bytes, Stream stream, void** parameters, void** extra))

// The driver's functions. Null members only before Load().
struct DriverApi {
#define VRAMPOOL_CUDA_MEMBER(member, symbol, parameters) \
  Result(*member) parameters = nullptr;
  VRAMPOOL_CUDA_FUNCTIONS(VRAMPOOL_CUDA_MEMBER)
#undef VRAMPOOL_CUDA_MEMBER
};

}  // namespace vrampool::cuda

#endif  // VRAMPOOL_BASE_CUDA_DRIVER_API_H_
