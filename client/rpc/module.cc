// The module's one exported function; see client/session/control_channel.h.

#include "client/rpc/grpc_channel.h"
#include "client/session/control_channel.h"

namespace {

vrampool::client::ControlChannel* OpenChannel(const char* socket_path,
                                              const uint8_t* token) {
  return vrampool::client::OpenGrpcChannel(socket_path, token).release();
}

constexpr vrampool::client::RpcModule kModule = {
    .abi = vrampool::client::kRpcModuleAbi,
    .version = VRAMPOOL_VERSION,
    .open_channel = OpenChannel,
};

}  // namespace

extern "C" __attribute__((visibility("default")))
const vrampool::client::RpcModule*
vrampool_rpc_module() {
  return &kModule;
}
