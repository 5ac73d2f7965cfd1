// loaded_library.h - a library that is loaded in this process, and the places
// where it keeps the addresses of functions of others that it calls.
//
// The dynamic linker writes such an address into the library's global offset
// table: when it loads the library, or at the function's first call. Whoever
// writes another address there has the library call something else, and nobody
// besides. The format is that of the System V ABI (relocations of the types
// JUMP_SLOT and GLOB_DAT with addends), as x86-64 and AArch64 use it.
//
// The library must stay loaded as long as this is used.
//
// Threads: immutable after Find(); Redirect() may be called while others call
// the function: they call the one before or the new one. A thread whose first
// call the linker is binding just then undoes it, so it is to be repeated.

#ifndef VRAMPOOL_CLIENT_INTERPOSE_LOADED_LIBRARY_H_
#define VRAMPOOL_CLIENT_INTERPOSE_LOADED_LIBRARY_H_

#include <link.h>

#include <cstdint>
#include <string>
#include <vector>

#include "client/session/status.h"

namespace vrampool::client {

class LoadedLibrary {
 public:
  // The first library whose file's name begins with `name` ("libm.so").
  // NotFound if there is none.
  static Result<LoadedLibrary> Find(const std::string& name);

  // Where the library's calls of `symbol` lead now; if none was made yet, where
  // its name is found: in itself or the libraries it was linked with. Null if
  // nowhere.
  void* Current(const std::string& symbol) const;

  // From now on the library's calls of `symbol` go to `function`.
  //   NotFound  it does not call it by the dynamic linker: it has a function of
  //             its own, or was linked with one
  //   Internal  the system does not let the table be written
  Status Redirect(const std::string& symbol, void* function) const;

  const std::string& path() const { return path_; }

 private:
  struct Range {
    uint64_t begin = 0;
    uint64_t end = 0;
  };
  // DT_JMPREL or DT_RELA.
  struct Relocations {
    const ElfW(Rela) * first = nullptr;
    uint64_t bytes = 0;
  };

  explicit LoadedLibrary(const dl_phdr_info& info);
  void ReadDynamic(const ElfW(Dyn) * entries);
  uint64_t AddressOf(uint64_t value) const;
  void* Resolve(const std::string& symbol) const;
  std::vector<uint64_t> PlacesOf(const std::string& symbol) const;
  Status Store(uint64_t place, void* function) const;

  std::string path_;
  uint64_t base_ = 0;
  Range all_;        // From its first segment to its last.
  Range read_only_;  // After relocation (PT_GNU_RELRO).
  const ElfW(Sym) * symbols_ = nullptr;
  const char* names_ = nullptr;
  std::vector<Relocations> relocations_;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_INTERPOSE_LOADED_LIBRARY_H_
