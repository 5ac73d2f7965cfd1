"""Beside a daemon for each of two GPUs: a pool of PyTorch's on either GPU has
its segments from that GPU's daemon, whatever CUDA_VISIBLE_DEVICES says.

Started by run.sh, with VRAMPOOL_DIR naming the directory of both daemons.
"""

import json
import os
import subprocess
import sys

import torch

import gpu_broker
import library

SIZE = 8 << 20


def leased_bytes(device):
    """As the daemon of that GPU says, asked by the name PyTorch has for it."""
    uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    said = subprocess.run(
        [gpu_broker.program("vrampool"), "status", "--device", uuid, "--json"],
        capture_output=True, text=True, check=True).stdout
    return int(json.loads(said)["pool"].get("leased_bytes", 0))


def expect(is_true, words):
    if not is_true:
        raise SystemExit(words)


def fill(device):
    """A tensor of broker memory of this GPU."""
    allocator = torch.cuda.memory.CUDAPluggableAllocator(
        str(gpu_broker.LIBRARY), "vrampool_torch_malloc",
        "vrampool_torch_free")
    with torch.cuda.device(device):  # It is made on the current one.
        pool = torch.cuda.MemPool(allocator.allocator())
    with torch.cuda.device(device), torch.cuda.use_mem_pool(pool, device):
        tensor = torch.full((SIZE,), device + 1, dtype=torch.int32,
                            device=device)
    return pool, tensor


def enabled():
    """PyTorch's own allocator on both GPUs' daemons, and copies between them: one by the
    driver, and one by a kernel that reads the other GPU's memory itself."""
    os.environ["VRAMPOOL_LIBRARY"] = str(gpu_broker.LIBRARY)
    sys.path.insert(0, str(gpu_broker.ROOT / "client" / "python"))
    import vrampool.torch
    with vrampool.torch.enable(0), vrampool.torch.enable(1):
        for device in (0, 1):
            other = 1 - device
            tensor = torch.arange(SIZE, dtype=torch.int32,
                                  device=device).reshape(1024, -1)
            expect(library.describe(library.device_client(device),
                                    tensor.data_ptr()) is not None,
                   f"GPU {device}'s tensor by enable() is not its daemon's")
            for part in (tensor, tensor.t()[::2]):
                there = part.to(other)
                expect(there.device.index == other and
                       bool((there.cpu() == part.cpu()).all()),
                       f"a copy from GPU {device} to {other} is wrong")
        print("copies between GPUs are right")


def main():
    expect(torch.cuda.device_count() == 2, "two GPUs are needed")
    kept = []
    for device in (1, 0):
        expect(leased_bytes(device) == 0, f"GPU {device} is used already")
        kept.append((device, *fill(device)))
        expect(leased_bytes(device) >= 4 * SIZE,
               f"GPU {device}'s daemon has lent nothing")
    for device, _, tensor in kept:
        own = library.device_client(device)
        other = library.device_client(1 - device)
        expect(library.describe(own, tensor.data_ptr()) is not None,
               f"GPU {device}'s tensor is not its daemon's memory")
        expect(library.describe(other, tensor.data_ptr()) is None,
               f"GPU {device}'s tensor is the other daemon's memory")
        expect(int(tensor.sum(dtype=torch.int64)) == SIZE * (device + 1),
               f"GPU {device}'s tensor has other contents")
    print("each GPU's memory is its own daemon's")
    enabled()


if __name__ == "__main__":
    main()
