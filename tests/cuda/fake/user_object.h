// user_object.h - what lives as long as the graphs that use it.
//
// Threads: thread-safe (the count is atomic); UserObjectReferences is not.

#ifndef VRAMPOOL_TESTS_CUDA_FAKE_USER_OBJECT_H_
#define VRAMPOOL_TESTS_CUDA_FAKE_USER_OBJECT_H_

#include <atomic>
#include <utility>
#include <vector>

#include "base/cuda/driver_api.h"

struct CUuserObject_st {
  std::atomic<int64_t> references{0};
  void* pointer = nullptr;
  vrampool::cuda::HostFunction destroy = nullptr;

  // The last one calls `destroy` and ends the object.
  void Drop(int64_t count) {
    if (references.fetch_sub(count) > count) return;
    destroy(pointer);
    delete this;
  }
};

namespace vrampool::fake_cuda {

// References that a graph owns; a copy has references of its own.
class UserObjectReferences {
 public:
  UserObjectReferences() = default;
  UserObjectReferences(const UserObjectReferences& other) : held_(other.held_) {
    for (const auto& [object, count] : held_) object->references += count;
  }
  UserObjectReferences& operator=(const UserObjectReferences&) = delete;
  ~UserObjectReferences() {
    for (const auto& [object, count] : held_) object->Drop(count);
  }

  // Takes over references that the caller has counted.
  void Take(CUuserObject_st* object, int64_t count) {
    held_.emplace_back(object, count);
  }

 private:
  std::vector<std::pair<CUuserObject_st*, int64_t>> held_;
};

}  // namespace vrampool::fake_cuda

#endif  // VRAMPOOL_TESTS_CUDA_FAKE_USER_OBJECT_H_
