// call_site.h - an address of code in words.
//
// Threads: thread-safe. It takes the loader's lock and memory: not for handlers
// of signals.

#ifndef VRAMPOOL_CLIENT_SESSION_CALL_SITE_H_
#define VRAMPOOL_CLIENT_SESSION_CALL_SITE_H_

#include <cstdint>
#include <string>

namespace vrampool::client {

// "libtrain.so+0x1234 (Train(int))" of the address that a call returns to, as
// far as the loader knows; "an unknown place" for zero.
std::string CallSiteText(uint64_t address);

// `address`, or, where that lies in this library itself, the return address of
// the first function on this thread's stack that does not. Unchanged where the
// library is a part of the program. For `address` zero always walks the stack.
uint64_t OutsideCaller(uint64_t address);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_CALL_SITE_H_
