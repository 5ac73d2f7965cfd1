// hello.cc - allocates a tensor, shares it by name, and opens it again.
//
// Needs a running daemon (VRAMPOOL_DIR says where, if not in /run/vrampool):
//
//   g++ -std=c++20 hello.cc $(pkg-config --cflags --libs vrampool) -o hello

#include <cstdio>
#include <cstring>
#include <vrampool/vrampool.hpp>

int main() {
  vrampool::Result<vrampool::Client> client = vrampool::Client::Open();
  if (!client.ok()) {
    std::fprintf(stderr, "%s\n", client.status().message().c_str());
    return 1;
  }
  constexpr std::size_t kBytes = 1 << 20;
  void* const weights = client->Allocate(kBytes);  // A block of a leased slab.
  if (weights == nullptr) {
    std::fprintf(stderr, "%s\n", vrampool::Status::Last().message().c_str());
    return 1;
  }
  std::memset(weights, 7, kBytes);
  vrampool::Client::ShareOptions options;
  options.name = "weights";
  {
    auto shared = client->Share({{weights, kBytes}}, options);
    // Any process of the same tenant can do this; no byte is copied.
    auto opened = client->OpenName("weights");
    if (!shared.ok() || !opened.ok()) return 1;
    const auto* const bytes = static_cast<unsigned char*>(opened->data());
    std::printf("%zu bytes, the first is %d\n", opened->size(), bytes[0]);
    (void)client->Unlink("weights");  // Else the named object would live on.
  }
  client->Deallocate(weights, kBytes);
  return 0;
}
