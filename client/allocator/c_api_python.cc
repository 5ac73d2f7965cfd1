// The C interface: the frames of Python.

#include "client/allocator/last_error.h"
#include "client/session/python_frames.h"
#include "vrampool/vrampool.h"

extern "C" {

vrampool_status vrampool_python_begin(int minor, void* thread_state,
                                      const void* code_type,
                                      const char* lines) {
  return vrampool::client::Guarded([&]() -> vrampool::client::Status {
    if (thread_state == nullptr || code_type == nullptr || lines == nullptr) {
      return {VRAMPOOL_INVALID_ARGUMENT,
              "thread_state, code_type and lines may not be null"};
    }
    return vrampool::client::BeginPythonFrames(
        {.minor = minor,
         .thread_state = reinterpret_cast<void* (*)()>(thread_state),
         .code_type = reinterpret_cast<uint64_t>(code_type)},
        lines);
  });
}

void vrampool_python_end(void) { vrampool::client::EndPythonFrames(); }

}  // extern "C"
