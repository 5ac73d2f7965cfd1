// figures.cc - what calls of the client cost on a GPU, as one JSON object:
//
//   gpu_figures lease      a cold lease of 64 MiB, an empty RPC, a raw mapping
//   gpu_figures stalls     the worst of each call, and of launches in another
//                          thread, while a kernel of 100 ms runs
//   gpu_figures cycles N   leases a slab and gives it back, N times
//
// For the daemon of VRAMPOOL_DIR and the kind of VRAMPOOL_KIND. Times are in
// microseconds.

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/cuda/gpu.h"
#include "vrampool/vrampool.hpp"

namespace vrampool::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr size_t kLarge = size_t{64} << 20;
constexpr size_t kSmall = size_t{2} << 20;

[[noreturn]] void Stop(const Status& status) {
  std::cerr << status.name() << ": " << status.message() << std::endl;
  std::_Exit(1);
}
void Check(const Status& status) {
  if (!status.ok()) Stop(status);
}
template <typename T>
T Got(Result<T> result) {
  if (!result.ok()) Stop(result.status());
  return *std::move(result);
}
void* Allocated(Client& client, size_t bytes, cuda::Stream stream) {
  void* const memory = client.Allocate(bytes, stream);
  if (memory == nullptr) Stop(Status::Last());
  return memory;
}

double MicrosecondsOf(const std::function<void()>& work) {
  const auto begin = steady_clock::now();
  work();
  return std::chrono::duration<double, std::micro>(steady_clock::now() - begin)
      .count();
}

double Median(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

void Print(const std::map<std::string, double>& figures) {
  const char* before = "{";
  for (const auto& [name, value] : figures) {
    std::printf("%s\"%s\": %.2f", before, name.c_str(), value);
    before = ", ";
  }
  std::printf("}\n");
}

// Mapping memory of another allocation of this size, with nothing around it.
// Of legacy memory only another process can open the handle, so it is measured
// by one, through the client's own mapping: see torch and driver checks.
double RawVmmMapping(const Gpu& gpu) {
  const cuda::DriverApi& api = gpu.api();
  cuda::MemAllocationProp prop{};
  prop.type = cuda::kAllocationPinned;
  prop.requested_handle_types = cuda::kHandlePosixFd;
  prop.location = {.type = cuda::kLocationDevice, .id = gpu.device()};
  cuda::MemHandle handle = 0;
  gpu.Expect(api.MemCreate(&handle, kLarge, &prop, 0), "creating");
  int fd = -1;
  gpu.Expect(
      api.MemExportToShareableHandle(&fd, handle, cuda::kHandlePosixFd, 0),
      "exporting");
  std::vector<double> times;
  for (int i = 0; i < 50; ++i) {
    cuda::MemHandle imported = 0;
    cuda::DevicePtr at = 0;
    const cuda::MemAccessDesc access = {.location = prop.location,
                                        .flags = cuda::kAccessReadWrite};
    times.push_back(MicrosecondsOf([&] {
      void* const shareable =
          reinterpret_cast<void*>(static_cast<intptr_t>(fd));
      gpu.Expect(api.MemImportFromShareableHandle(&imported, shareable,
                                                  cuda::kHandlePosixFd),
                 "importing");
      gpu.Expect(api.MemAddressReserve(&at, kLarge, kSmall, 0, 0), "reserving");
      gpu.Expect(api.MemMap(at, kLarge, 0, imported, 0), "mapping");
      gpu.Expect(api.MemSetAccess(at, kLarge, &access, 1), "giving access");
    }));
    gpu.Expect(api.MemUnmap(at, kLarge), "unmapping");
    gpu.Expect(api.MemAddressFree(at, kLarge), "freeing the range");
    gpu.Expect(api.MemRelease(imported), "releasing");
  }
  gpu.Expect(api.MemRelease(handle), "releasing");
  close(fd);
  return Median(times);
}

void MeasureLease(const Gpu& gpu) {
  vrampool_options options;
  vrampool_options_init(&options);
  options.slab_bytes = kLarge;
  Client client = Got(Client::Open(&options));
  const TestStream stream(gpu);
  std::vector<double> rpcs;
  std::vector<double> leases;
  std::vector<double> first_words;
  for (int i = 0; i < 50; ++i) {
    rpcs.push_back(MicrosecondsOf([&] { (void)Got(client.Budget()); }));
    void* memory = nullptr;
    leases.push_back(MicrosecondsOf(
        [&] { memory = Allocated(client, kLarge, stream.get()); }));
    client.Deallocate(memory, kLarge, stream.get());
    gpu.Synchronize(stream.get());
    Check(client.Quiesce());
    if (Got(client.Usage()).slabs != 0) {
      Stop(Status(VRAMPOOL_INTERNAL));  // Then it would be no cold lease.
    }
  }
  Print({{"empty_rpc_us", Median(rpcs)},
         {"cold_lease_us", Median(leases)},
         {"raw_vmm_mapping_us", RawVmmMapping(gpu)}});
}

// Launches tiny kernels without a pause; the longest that a launch took.
class Launcher {
 public:
  explicit Launcher(const Gpu& gpu)
      : thread_([this, &gpu] {
          gpu.MakeCurrent();
          const TestStream stream(gpu);
          int launches = 0;
          while (!is_over_) {
            const double time = MicrosecondsOf(
                [&] { gpu.Spin(stream.get(), std::chrono::nanoseconds(1)); });
            worst_ = std::max(worst_.load(), time);
            // Not more than the queue holds.
            if (++launches % 64 == 0) gpu.Synchronize(stream.get());
          }
          gpu.Synchronize(stream.get());
        }) {}
  double Finish() {
    is_over_ = true;
    thread_.join();
    return worst_;
  }

 private:
  std::atomic<bool> is_over_ = false;
  std::atomic<double> worst_ = 0;
  std::thread thread_;
};

class StallCheck {
 public:
  StallCheck(const Gpu& gpu, Client& client, Client& other)
      : gpu_(gpu), client_(client), other_(other), busy_(gpu), stream_(gpu) {}

  std::map<std::string, double> Run(int rounds) {
    Round();  // Not counted: first uses of everything.
    worst_.clear();
    Launcher launcher(gpu_);
    for (int i = 0; i < rounds; ++i) {
      gpu_.Spin(busy_.get(), milliseconds(100));
      Round();
      const bool is_busy =
          gpu_.test().StreamQuery(busy_.get()) == cuda::kNotReady;
      if (is_busy) ++valid_;
      gpu_.Synchronize(busy_.get());
    }
    const double launch = launcher.Finish();
    worst_["launch_in_another_thread_us"] = launch;
    worst_["rounds_within_the_kernel"] = valid_;
    // For comparison: what this process's own cuMemFree does.
    gpu_.Spin(busy_.get(), milliseconds(100));
    cuda::DevicePtr own = 0;
    gpu_.Expect(gpu_.api().MemAlloc(&own, kSmall), "allocating");
    worst_["driver_free_us"] = MicrosecondsOf(
        [&] { gpu_.Expect(gpu_.api().MemFree(own), "freeing"); });
    return worst_;
  }

 private:
  void Time(const char* name, const std::function<void()>& work) {
    double& worst = worst_[name];
    worst = std::max(worst, MicrosecondsOf(work));
  }

  void Round() {
    const cuda::Stream stream = stream_.get();
    void* warm = nullptr;
    void* large = nullptr;
    Time("grow_us", [&] { large = Allocated(client_, kLarge, stream); });
    Time("allocate_us", [&] { warm = Allocated(client_, 4096, stream); });
    std::string token;
    {
      Object shared;
      Time("share_us", [&] { shared = Got(client_.Share({{large, kLarge}})); });
      token = Got(shared.Token());
      Object opened;
      Time("open_us", [&] { opened = Got(other_.OpenToken(token.c_str())); });
      Time("close_us", [&] { (void)opened.Close(stream); });
      Time("close_own_us", [&] { (void)shared.Close(stream); });
    }
    Time("deallocate_us", [&] { client_.Deallocate(warm, 4096, stream); });
    Time("deallocate_large_us",
         [&] { client_.Deallocate(large, kLarge, stream); });
    Time("trim_us", [&] { Check(client_.Trim()); });
  }

  const Gpu& gpu_;
  Client& client_;
  Client& other_;
  const TestStream busy_;
  const TestStream stream_;
  std::map<std::string, double> worst_;
  int valid_ = 0;
};

void MeasureStalls(const Gpu& gpu) {
  Client client = Got(Client::Open());
  Client other = Got(Client::Open());
  Print(StallCheck(gpu, client, other).Run(20));
}

void MeasureCycles(const Gpu& gpu, int cycles) {
  vrampool_options options;
  vrampool_options_init(&options);
  options.slab_bytes = kSmall;
  Client client = Got(Client::Open(&options));
  const TestStream stream(gpu);
  size_t free_before = 0;
  size_t free_after = 0;
  size_t total = 0;
  const double time = MicrosecondsOf([&] {
    for (int i = 0; i < cycles; ++i) {
      if (i == cycles / 10) {  // Past first uses.
        gpu.Expect(gpu.api().MemGetInfo(&free_before, &total), "asking");
      }
      void* const memory = Allocated(client, kSmall, stream.get());
      client.Deallocate(memory, kSmall, stream.get());
      Check(client.Quiesce());
    }
  });
  gpu.Expect(gpu.api().MemGetInfo(&free_after, &total), "asking");
  Print({{"cycles", cycles},
         {"us_per_cycle", time / cycles},
         {"free_bytes_drift",
          static_cast<double>(free_before) - static_cast<double>(free_after)}});
}

}  // namespace

int Main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  if (what != "lease" && what != "stalls" && (what != "cycles" || argc != 3)) {
    std::cerr << "usage: gpu_figures lease|stalls|cycles N\n";
    return 2;
  }
  const Gpu gpu;
  if (what == "lease") MeasureLease(gpu);
  if (what == "stalls") MeasureStalls(gpu);
  if (what == "cycles") MeasureCycles(gpu, std::atoi(argv[2]));
  return 0;
}

}  // namespace vrampool::testing

int main(int argc, char** argv) { return vrampool::testing::Main(argc, argv); }
