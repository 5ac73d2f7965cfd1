// self_test.h - what this driver really does, found out before anything rests
// on it.
//
// NVIDIA promises neither that fresh memory is zero nor what happens to an
// allocation that is given up while another process maps it; both are tried
// here, with processes that map slabs as clients would.
//
// Threads: pure function, apart from what it makes of the device.

#ifndef VRAMPOOL_DAEMON_DEVICE_CUDA_SELF_TEST_H_
#define VRAMPOOL_DAEMON_DEVICE_CUDA_SELF_TEST_H_

#include "absl/status/status.h"
#include "base/bytes.h"
#include "daemon/device/cuda/peer_process.h"
#include "daemon/device/cuda/slab_memory.h"

namespace vrampool {

struct SelfTestResult {
  // Two other processes share a slab. If not ok, nothing below means anything.
  absl::Status round_trip;
  // Memory that somebody wrote and gave up comes back as zeros.
  bool is_zeroed = false;
  // Whoever goes on mapping what was given up neither sees nor touches what was
  // made afterwards, and his own bytes stay.
  bool isolates = false;
};

// Takes a few granules, which are given back, and waits at most for the peers'
// patience. `one` and `other` are two peers on the same GPU.
SelfTestResult TestKind(SlabMemory& memory, Bytes granule, PeerProcess& one,
                        PeerProcess& other);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_DEVICE_CUDA_SELF_TEST_H_
