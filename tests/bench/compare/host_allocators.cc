// The host's memory, and nothing at all.

#include <dlfcn.h>

#include <cstdlib>

#include "tests/bench/compare/allocator.h"

namespace vrampool::bench {
namespace {

class EmptyAllocator final : public Allocator {
 public:
  void* Allocate(size_t /*bytes*/, Stream /*stream*/) override { return this; }
  void Deallocate(void*, size_t, Stream) override {}
};

class MallocAllocator final : public Allocator {
 public:
  void* Allocate(size_t bytes, Stream /*stream*/) override {
    return std::malloc(bytes);
  }
  void Deallocate(void* p, size_t, Stream) override { std::free(p); }
};

// Looked up at run time, so that it takes nobody else's malloc away.
class Mimalloc final : public Allocator {
 public:
  using Malloc = void*(size_t bytes);
  using Free = void(void* p);
  Mimalloc(Malloc* take, Free* give) : malloc_(take), free_(give) {}

  void* Allocate(size_t bytes, Stream /*stream*/) override {
    return malloc_(bytes);
  }
  void Deallocate(void* p, size_t, Stream) override { free_(p); }

 private:
  Malloc* const malloc_;
  Free* const free_;
};

MadeAllocator MakeMimalloc() {
  void* const library =
      dlopen("libmimalloc.so.2", RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
  if (library == nullptr) return {.allocator = nullptr, .problem = dlerror()};
  auto* const take =
      reinterpret_cast<Mimalloc::Malloc*>(dlsym(library, "mi_malloc"));
  auto* const give =
      reinterpret_cast<Mimalloc::Free*>(dlsym(library, "mi_free"));
  if (take == nullptr || give == nullptr) {
    return {.allocator = nullptr, .problem = "not mimalloc's library"};
  }
  return {.allocator = std::make_unique<Mimalloc>(take, give), .problem = ""};
}

}  // namespace

MadeAllocator MakeHostAllocator(const std::string& name) {
  if (name == "empty") return {std::make_unique<EmptyAllocator>(), ""};
  if (name == "malloc") return {std::make_unique<MallocAllocator>(), ""};
  if (name == "mimalloc") return MakeMimalloc();
  return {.allocator = nullptr, .problem = "no allocator '" + name + "'"};
}

}  // namespace vrampool::bench
