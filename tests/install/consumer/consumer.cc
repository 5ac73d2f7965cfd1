// The same through the C++ interface, with a client of its own.

#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory_resource>
#include <vector>
#include <vrampool/memory_resource.hpp>
#include <vrampool/vrampool.hpp>

int main() {
  auto client = vrampool::Client::Open();
  if (!client.ok()) {
    std::fprintf(stderr, "%s: %s\n", client.status().name(),
                 client.status().message().c_str());
    return static_cast<int>(client.status().code());
  }
  constexpr std::size_t kBytes = std::size_t{1} << 20;
  void* const block = client->Allocate(kBytes);
  if (block == nullptr) return static_cast<int>(vrampool_last_status());
  std::memset(block, 0x5a, kBytes);
  client->Deallocate(block, kBytes);

  auto resource = vrampool::HostResource::Make(client->get());
  if (!resource.has_value()) return VRAMPOOL_INTERNAL;
  std::pmr::vector<int> numbers(1000, 7, &*resource);
  return numbers.back() == 7 ? 0 : VRAMPOOL_INTERNAL;
}
