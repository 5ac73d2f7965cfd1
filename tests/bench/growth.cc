#include "tests/bench/growth.h"

#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "proto/shm/manifest.h"

namespace vrampool::bench {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

uint64_t RssBytes(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    uint64_t kib = 0;
    if (std::sscanf(line.c_str(), "VmRSS: %" SCNu64, &kib) == 1) {
      return kib * 1024;
    }
  }
  return 0;
}

// The client's own mapping of its manifest, found as a debugger would.
const shm::ManifestHeader* FindManifest() {
  std::ifstream file("/proc/self/maps");
  for (std::string line; std::getline(file, line);) {
    if (line.find("vrampool-manifest") == std::string::npos) continue;
    const auto* const header = reinterpret_cast<const shm::ManifestHeader*>(
        std::strtoull(line.c_str(), nullptr, 16));
    if (header->magic == shm::kManifestMagic) return header;
  }
  return nullptr;
}

void Compare(const char* what, uint64_t before, uint64_t after, uint64_t slack,
             std::string& grown) {
  if (after <= before + before / 10 + slack) return;
  grown += std::string(grown.empty() ? "" : ", ") + what + " from " +
           std::to_string(before) + " to " + std::to_string(after);
}

}  // namespace

std::optional<Mark> TakeMark(Client& client, pid_t daemon) {
  const Status trimmed = client.Trim();
  const Result<vrampool_usage> usage = client.Usage();
  const shm::ManifestHeader* const manifest = FindManifest();
  if (!trimmed.ok() || !usage.ok() || manifest == nullptr) {
    std::fprintf(stderr, "no figures to be had: %s\n",
                 vrampool_last_error_message());
    return std::nullopt;
  }
  return Mark{
      .rss_bytes = RssBytes(getpid()),
      .daemon_rss_bytes = daemon == 0 ? 0 : RssBytes(daemon),
      .records = manifest->record_high_water.load(std::memory_order_relaxed),
      .live_bytes = usage->live_bytes,
      .live_blocks = usage->live_blocks,
      .waste_bytes =
          usage->leased_bytes + usage->parked_bytes - usage->live_bytes};
}

std::string Growth(const Mark& before, const Mark& after) {
  std::string grown;
  Compare("resident bytes", before.rss_bytes, after.rss_bytes, 2 * kMiB, grown);
  Compare("the daemon's resident bytes", before.daemon_rss_bytes,
          after.daemon_rss_bytes, 2 * kMiB, grown);
  Compare("records", before.records, after.records, 64, grown);
  Compare("waste", before.waste_bytes, after.waste_bytes, 64 * kMiB, grown);
  return grown;
}

}  // namespace vrampool::bench
