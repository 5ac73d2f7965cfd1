// The driver's functions about devices, contexts and errors.

#include <cstring>

#include "tests/cuda/fake/entry_points.h"
#include "tests/cuda/fake/process.h"

namespace vrampool::cuda {
namespace {

using fake_cuda::CurrentContext;
using fake_cuda::Process;

struct ErrorWords {
  Result code;
  const char* name;
  const char* text;
};

constexpr ErrorWords kErrors[] = {
    {kSuccess, "CUDA_SUCCESS", "no error"},
    {kInvalidValue, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {kOutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {kNotInitialized, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {kDeinitialized, "CUDA_ERROR_DEINITIALIZED", "driver shutting down"},
    {kNoDevice, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {kInvalidDevice, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {kInvalidContext, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {kEccUncorrectable, "CUDA_ERROR_ECC_UNCORRECTABLE",
     "uncorrectable ECC error encountered"},
    {kInvalidHandle, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {kNotReady, "CUDA_ERROR_NOT_READY", "device not ready"},
    {kIllegalAddress, "CUDA_ERROR_ILLEGAL_ADDRESS",
     "an illegal memory access was encountered"},
    {kLaunchFailed, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {kNotPermitted, "CUDA_ERROR_NOT_PERMITTED", "operation not permitted"},
    {kNotSupported, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {kStreamCaptureUnsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {kUnknown, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

const ErrorWords* Words(Result code) {
  for (const ErrorWords& words : kErrors) {
    if (words.code == code) return &words;
  }
  return nullptr;
}

// The directory's index of the device; what the caller returns when there is
// none.
Result Look(const char* function, Device device, int* index) {
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(function));
  *index = Process::Get().DeviceAt(device);
  return *index < 0 ? kInvalidDevice : kSuccess;
}

}  // namespace

Result cuInit(unsigned) { return Process::Get().Init(); }

Result cuDriverGetVersion(int* version) {
  *version = 13000;
  return kSuccess;
}

Result cuGetErrorName(Result error, const char** name) {
  const ErrorWords* const words = Words(error);
  *name = words == nullptr ? nullptr : words->name;
  return words == nullptr ? kInvalidValue : kSuccess;
}

Result cuGetErrorString(Result error, const char** text) {
  const ErrorWords* const words = Words(error);
  *text = words == nullptr ? nullptr : words->text;
  return words == nullptr ? kInvalidValue : kSuccess;
}

Result cuDeviceGetCount(int* count) {
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__));
  *count = Process::Get().device_count();
  return kSuccess;
}

Result cuDeviceGet(Device* device, int ordinal) {
  int index = 0;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Look(__func__, ordinal, &index));
  *device = ordinal;
  return kSuccess;
}

Result cuDeviceGetName(char* name, int size, Device device) {
  int index = 0;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Look(__func__, device, &index));
  if (size <= 0) return kInvalidValue;
  std::strncpy(name, Process::Get().device(index).name,
               static_cast<size_t>(size));
  name[size - 1] = '\0';
  return kSuccess;
}

Result cuDeviceGetUuid_v2(Uuid* uuid, Device device) {
  int index = 0;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Look(__func__, device, &index));
  *uuid = Process::Get().device(index).uuid;
  return kSuccess;
}

// Parts of a GPU cannot reach each other.
Result cuDeviceCanAccessPeer(int* can_access, Device device, Device peer) {
  int index = 0;
  int other = 0;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Look(__func__, device, &index));
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Look(__func__, peer, &other));
  Process& process = Process::Get();
  const bool is_of_parts =
      process.device(index).is_mig != 0 || process.device(other).is_mig != 0;
  *can_access = index != other && !is_of_parts ? 1 : 0;
  return kSuccess;
}

Result cuDeviceTotalMem_v2(size_t* bytes, Device device) {
  int index = 0;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Look(__func__, device, &index));
  *bytes = Process::Get().device(index).total_bytes;
  return kSuccess;
}

Result cuDeviceGetAttribute(int* value, int attribute, Device device) {
  int index = 0;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Look(__func__, device, &index));
  *value = attribute == kAttributeVmm || attribute == kAttributePosixFd;
  return kSuccess;
}

Result cuDevicePrimaryCtxRetain(Context* context, Device device) {
  int index = 0;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Look(__func__, device, &index));
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().device(index).lost);
  return Process::Get().RetainContext(index, context);
}

Result cuDevicePrimaryCtxRelease_v2(Device device) {
  int index = 0;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Look(__func__, device, &index));
  return Process::Get().ReleaseContext(index);
}

Result cuCtxSetCurrent(Context context) {
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__));
  CurrentContext() = context;
  return kSuccess;
}

Result cuCtxGetCurrent(Context* context) {
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__));
  *context = CurrentContext();
  return kSuccess;
}

Result cuMemGetInfo_v2(size_t* free, size_t* total) {
  Context context = nullptr;
  VRAMPOOL_FAKE_RETURN_IF_ERROR(Process::Get().Enter(__func__, &context));
  *free = Process::Get().book().FreeBytes(context->device);
  *total = Process::Get().device(context->device).total_bytes;
  return kSuccess;
}

}  // namespace vrampool::cuda
