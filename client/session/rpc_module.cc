#include "client/session/rpc_module.h"

#include <dlfcn.h>
#include <sys/auxv.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "base/mutex.h"
#include "base/status_macros.h"

namespace vrampool::client {
namespace {

constexpr char kModuleName[] = "libvrampool-rpc.so";

#if defined(VRAMPOOL_SANITIZED)
constexpr int kOpenFlags = RTLD_NOW | RTLD_LOCAL;
#else
constexpr int kOpenFlags = RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND;
#endif

// The folder of the file that this code was loaded from, with a slash.
std::string OwnFolder() {
  static const char anchor = 0;
  Dl_info info{};
  if (::dladdr(&anchor, &info) == 0 || info.dli_fname == nullptr) return "";
  const std::string path = info.dli_fname;
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash + 1);
}

std::string ModulePath() {
  const char* const chosen = std::getenv("VRAMPOOL_RPC_MODULE");
  if (chosen != nullptr && *chosen != '\0' && ::getauxval(AT_SECURE) == 0) {
    return chosen;
  }
  return OwnFolder() + kModuleName;
}

Result<const RpcModule*> Open() {
  const std::string path = ModulePath();
  void* const handle = ::dlopen(path.c_str(), kOpenFlags);
  if (handle == nullptr) {
    const char* const why = ::dlerror();
    return Status(VRAMPOOL_UNAVAILABLE,
                  std::string("the RPC module cannot be loaded: ") +
                      (why != nullptr ? why : path.c_str()) +
                      "; install it beside libvrampool.so with the gRPC "
                      "library it needs, or set VRAMPOOL_RPC_MODULE");
  }
  const auto entry =
      reinterpret_cast<RpcModuleFunction>(::dlsym(handle, kRpcModuleSymbol));
  const RpcModule* const module = entry != nullptr ? entry() : nullptr;
  VRAMPOOL_RETURN_IF_ERROR(CheckRpcModule(module, path.c_str()));
  return module;
}

}  // namespace

Status CheckRpcModule(const RpcModule* module, const char* path) {
  if (module == nullptr) {
    return {VRAMPOOL_VERSION_MISMATCH,
            std::string(path) +
                " is no RPC module of vrampool; set VRAMPOOL_RPC_MODULE right"};
  }
  if (module->abi != kRpcModuleAbi ||
      std::strcmp(module->version, VRAMPOOL_VERSION) != 0) {
    return {VRAMPOOL_VERSION_MISMATCH,
            std::string(path) + " is of version " + module->version +
                " (interface " + std::to_string(module->abi) +
                "), libvrampool of " VRAMPOOL_VERSION " (interface " +
                std::to_string(kRpcModuleAbi) +
                "); install both from one package"};
  }
  return {};
}

Result<const RpcModule*> LoadRpcModule() {
  // Leaked on purpose: may be needed while the process exits.
  static Mutex& mu = *new Mutex();
  static const RpcModule* loaded = nullptr;
  MutexLock lock(mu);
  if (loaded == nullptr) {
    VRAMPOOL_ASSIGN_OR_RETURN(loaded, Open());
  }
  return loaded;
}

}  // namespace vrampool::client
