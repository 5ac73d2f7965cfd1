// roles.h - the three clients of the demo, each a process of its own. The
// memory's kind is that of VRAMPOOL_KIND, or the daemon's default.
//
// A role is a small program that uses vrampool as any other program would. It
// reads what it is told from standard input, one line at a time, and says what
// it did on standard output: one line of words that the driver checks. Anything
// that goes wrong is said on standard error, and the role exits with 1.

#ifndef VRAMPOOL_DEPLOY_DEMO_ROLES_H_
#define VRAMPOOL_DEPLOY_DEMO_ROLES_H_

#include <cstddef>

namespace vrampool::demo {

// The tag of A's session, by which the leak report is to name it.
inline constexpr char kProducerTag[] = "demo-a";

// A: allocates `size` bytes, fills them and shares them in the order of its
// stream, writes the token to the descriptor `token_fd`. Says "shared
// CHECKSUM". At "look", says "sees CHECKSUM" of what is in its memory now. Then
// it only waits, for its end.
int RunProducer(size_t size, int token_fd);

// B: reads the token from the descriptor `token_fd` and opens the object, which
// waits for its contents. Says "read CHECKSUM". At "write", writes to it and
// says "wrote CHECKSUM".
int RunConsumer(int token_fd);

// C: asks for as much as its tenant's whole limit; expects to be refused. Says
// "refused MESSAGE".
int RunGreedy();

// How much A should take: 256 MiB, or half of the tenant's limit if that is
// less. Says "size BYTES", "kind KIND" and "device UUID" of the memory that it
// would get.
int RunPlanner();

}  // namespace vrampool::demo

#endif  // VRAMPOOL_DEPLOY_DEMO_ROLES_H_
