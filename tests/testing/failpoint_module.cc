// failpoint_module.cc - an RPC module that kills its process at a chosen call.
//
// Stands in for libvrampool-rpc.so (VRAMPOOL_RPC_MODULE) and passes every call
// on to the one that VRAMPOOL_FAILPOINT_MODULE names. VRAMPOOL_FAILPOINT is
// CALL:WHEN:COUNT, for example "Lease:after:2": at the second Lease, by
// SIGKILL, before the daemon hears of it or after its reply has come, which
// then nobody has seen. Unset: no death.

#include <dlfcn.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "client/session/control_channel.h"

namespace vrampool::testing {
namespace {

using client::CallOutcome;
using client::ControlChannel;

#if defined(VRAMPOOL_SANITIZED)
constexpr int kOpenFlags = RTLD_NOW | RTLD_LOCAL;
#else
constexpr int kOpenFlags = RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND;
#endif

std::string Variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// How often the armed point was passed, over all channels.
std::atomic<int> passed{0};

void Pass(const char* call, const char* when) {
  static const std::string armed = Variable("VRAMPOOL_FAILPOINT");
  const std::string here = std::string(call) + ":" + when + ":";
  if (armed.compare(0, here.size(), here) != 0) return;
  if (++passed == std::atoi(armed.c_str() + here.size())) {
    (void)raise(SIGKILL);
  }
}

class FailpointChannel final : public ControlChannel {
 public:
  explicit FailpointChannel(ControlChannel* channel) : channel_(channel) {}

  CallOutcome Lease(const client::LeaseCall& call,
                    client::LeaseReply& reply) override {
    return At("Lease", [&] { return channel_->Lease(call, reply); });
  }
  CallOutcome Return(const client::ReturnCall& call) override {
    return At("Return", [&] { return channel_->Return(call); });
  }
  CallOutcome ReportUnmapped(Epoch epoch, const SlabId* slabs, size_t count,
                             uint32_t& kept) override {
    return At("ReportUnmapped", [&] {
      return channel_->ReportUnmapped(epoch, slabs, count, kept);
    });
  }
  CallOutcome Share(const client::ShareCall& call,
                    client::ShareReply& reply) override {
    return At("Share", [&] { return channel_->Share(call, reply); });
  }
  CallOutcome Ready(const client::ObjectCall& call,
                    client::ReadyOutcome outcome) override {
    return At("Ready", [&] { return channel_->Ready(call, outcome); });
  }
  CallOutcome Open(const client::OpenCall& call,
                   client::OpenReply& reply) override {
    return At("Open", [&] { return channel_->Open(call, reply); });
  }
  CallOutcome Close(const client::ObjectCall& call) override {
    return At("Close", [&] { return channel_->Close(call); });
  }
  CallOutcome Unlink(const client::Text& name) override {
    return At("Unlink", [&] { return channel_->Unlink(name); });
  }
  CallOutcome Wait(const client::WaitCall& call) override {
    return At("Wait", [&] { return channel_->Wait(call); });
  }
  CallOutcome Budget(client::BudgetReply& reply) override {
    return At("Budget", [&] { return channel_->Budget(reply); });
  }
  CallOutcome Reserve(const client::ReserveCall& call,
                      client::ReserveReply& reply) override {
    return At("Reserve", [&] { return channel_->Reserve(call, reply); });
  }
  CallOutcome ReleaseReservation(
      const client::ReserveReply& reservation) override {
    return At("ReleaseReservation",
              [&] { return channel_->ReleaseReservation(reservation); });
  }

 private:
  template <typename Call>
  CallOutcome At(const char* name, const Call& call) {
    Pass(name, "before");
    const CallOutcome outcome = call();
    Pass(name, "after");
    return outcome;
  }

  const std::unique_ptr<ControlChannel> channel_;
};

const client::RpcModule& Real() {
  static const client::RpcModule* const module = [] {
    void* const handle =
        ::dlopen(Variable("VRAMPOOL_FAILPOINT_MODULE").c_str(), kOpenFlags);
    if (handle == nullptr) {
      std::fprintf(stderr, "failpoint_module: %s\n", ::dlerror());
      std::abort();
    }
    const auto entry = reinterpret_cast<client::RpcModuleFunction>(
        ::dlsym(handle, client::kRpcModuleSymbol));
    return entry();
  }();
  return *module;
}

ControlChannel* OpenChannel(const char* socket_path, const uint8_t* token) {
  return new FailpointChannel(Real().open_channel(socket_path, token));
}

}  // namespace
}  // namespace vrampool::testing

extern "C" __attribute__((visibility("default")))
const vrampool::client::RpcModule*
vrampool_rpc_module() {
  using vrampool::testing::Real;
  static const vrampool::client::RpcModule module = {
      .abi = Real().abi,
      .version = Real().version,
      .open_channel = vrampool::testing::OpenChannel};
  return &module;
}
