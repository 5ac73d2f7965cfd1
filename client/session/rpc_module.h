// rpc_module.h - opens libvrampool-rpc.so, the module that speaks gRPC.
//
// The library itself links no gRPC, because the program or another library may
// bring its own. The module is opened with RTLD_LOCAL and RTLD_DEEPBIND, so
// that its gRPC is found before the program's and seen by nobody else (not
// under sanitizers, which refuse RTLD_DEEPBIND), and is never closed.
//
// Where it is: beside libvrampool.so itself, or where VRAMPOOL_RPC_MODULE says.
// Trust: whoever sets that variable chooses code that runs in this process,
// exactly as with LD_PRELOAD; so it is ignored, as LD_PRELOAD is, in a program
// that runs with raised privileges (AT_SECURE).
//
// Threads: thread-safe.

#ifndef VRAMPOOL_CLIENT_SESSION_RPC_MODULE_H_
#define VRAMPOOL_CLIENT_SESSION_RPC_MODULE_H_

#include "client/session/control_channel.h"
#include "client/session/status.h"

namespace vrampool::client {

// The module; opened by the first call that succeeds.
//   Unavailable      it is not there or cannot be loaded
//   VersionMismatch  it belongs to another build of the library
Result<const RpcModule*> LoadRpcModule();

// What LoadRpcModule() does with what it opened.
Status CheckRpcModule(const RpcModule* module, const char* path);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_RPC_MODULE_H_
