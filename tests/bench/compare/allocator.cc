#include "tests/bench/compare/allocator.h"

#include <dlfcn.h>

namespace vrampool::bench {
namespace {

MadeAllocator MakeOfLibrary(const char* path, const std::string& name,
                            size_t pool_bytes) {
  // Never closed: its library keeps state of its own.
  void* const library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  void* const symbol =
      library == nullptr ? nullptr : dlsym(library, kMakeSymbol);
  if (symbol == nullptr) return {.allocator = nullptr, .problem = dlerror()};
  MadeAllocator made;
  reinterpret_cast<MakeFunction*>(symbol)(name, pool_bytes, &made);
  return made;
}

}  // namespace

MadeAllocator MakeAllocator(const std::string& name, size_t pool_bytes) {
  if (name == "vrampool") return MakeVrampoolAllocator();
  if (name.starts_with("cuMem")) return MakeDriverAllocator(name);
  if (name.starts_with("rmm_")) {
    return MakeOfLibrary(kRmmLibrary, name, pool_bytes);
  }
  if (name == "torch") return MakeOfLibrary(kTorchLibrary, name, pool_bytes);
  return MakeHostAllocator(name);
}

}  // namespace vrampool::bench
