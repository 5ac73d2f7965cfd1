#include "client/session/manifest_section.h"

// The empty asm keeps the compiler from dropping the call, and its memory
// clobber from moving writes to the manifest out of the section.
extern "C" {

__attribute__((noinline, visibility("hidden"))) void
vrampool_manifest_enter() noexcept {
  __asm__ volatile("" ::: "memory");
}

__attribute__((noinline, visibility("hidden"))) void
vrampool_manifest_leave() noexcept {
  __asm__ volatile("" ::: "memory");
}

}  // extern "C"
