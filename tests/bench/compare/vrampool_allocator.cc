#include <utility>

#include "tests/bench/compare/allocator.h"
#include "vrampool/vrampool.hpp"

namespace vrampool::bench {
namespace {

// The C interface, as frameworks call it.
class VrampoolAllocator final : public Allocator {
 public:
  explicit VrampoolAllocator(Client client) : client_(std::move(client)) {}

  void* Allocate(size_t bytes, Stream stream) override {
    return ::vrampool_client_allocate(client_.get(), bytes, stream);
  }
  void Deallocate(void* p, size_t bytes, Stream stream) override {
    ::vrampool_client_deallocate(client_.get(), p, bytes, stream);
  }
  std::optional<Usage> ReadUsage() override {
    const Result<vrampool_usage> usage = client_.Usage();
    if (!usage.ok()) return std::nullopt;
    return Usage{.held_bytes = usage->leased_bytes + usage->parked_bytes,
                 .rpcs = usage->rpcs};
  }

 private:
  Client client_;
};

}  // namespace

MadeAllocator MakeVrampoolAllocator() {
  Result<Client> client = Client::Open();
  if (!client.ok()) {
    return {.allocator = nullptr, .problem = client.status().message()};
  }
  return {std::make_unique<VrampoolAllocator>(*std::move(client)), ""};
}

}  // namespace vrampool::bench
