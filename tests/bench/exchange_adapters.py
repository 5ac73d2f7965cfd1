#!/usr/bin/env python3
"""An allocation and its free by a framework's own allocator, or by the adapter that
draws from the pool: what the pair takes. For exchange.py; run beside a daemon.

    exchange_adapters.py WAY FRAMEWORK [--gpu] [--quick]

On a GPU nothing waits for it: what is timed is the calls.
"""

import os
import statistics
import sys
import time

from exchange_say import say

ON_GPU, IS_QUICK = "--gpu" in sys.argv, "--quick" in sys.argv
SIZES = {"4 KiB": 4 << 10, "1 MiB": 1 << 20, "64 MiB": 64 << 20}
BATCHES, PAIRS = (2, 10) if IS_QUICK else (20, 500)


def numpy_ways():
    import numpy
    import vrampool
    import vrampool.numpy
    client = vrampool.connect()
    return {
        "own": lambda size: numpy.empty(size, numpy.uint8),
        "vrampool": lambda size: client.empty(size, "uint8").numpy(),
        "vrampool allocate": client.allocate}


def torch_ways():
    import torch
    import vrampool
    import vrampool.torch
    device = "cuda" if ON_GPU else "cpu"
    if sys.argv[1] == "vrampool enable":
        vrampool.torch.enable()
    client = vrampool.connect()

    def own(size):
        return torch.empty(size, dtype=torch.uint8, device=device)
    return {"own": own, "vrampool enable": own,
            "vrampool": lambda size: vrampool.torch.empty(client, (size,),
                                                          torch.uint8)}


def pyarrow_ways():
    import pyarrow
    import vrampool
    import vrampool.arrow
    client = vrampool.connect()

    def array_of_the_pool(size):
        tensor = client.empty(size, "uint8")
        return pyarrow.array(vrampool.arrow.array(tensor))

    def own(size):
        return pyarrow.Array.from_buffers(
            pyarrow.uint8(), size, [None, pyarrow.allocate_buffer(size)])
    return {"own": own, "vrampool": array_of_the_pool}


def mxnet_ways():
    import mxnet
    import vrampool
    import vrampool.mxnet
    client = vrampool.connect()
    return {
        "own": lambda size: mxnet.nd.empty(size, dtype="uint8"),
        "vrampool": lambda size: vrampool.mxnet.view(
            client.empty(size, "uint8"))}


def cupy_ways():
    import cupy
    import vrampool
    import vrampool.cupy
    way = sys.argv[1]
    if way != "own":
        allocator = vrampool.cupy.allocator(vrampool.connect())
        cupy.cuda.set_allocator(
            allocator if way == "vrampool"
            else cupy.cuda.MemoryPool(allocator).malloc)
    return dict.fromkeys(
        ["own", "vrampool", "vrampool under its pool"],
        lambda size: cupy.empty(size, cupy.uint8))


def numba_ways():
    if sys.argv[1] == "vrampool":
        os.environ["NUMBA_CUDA_MEMORY_MANAGER"] = "vrampool.numba"
    from numba import cuda
    return dict.fromkeys(["own", "vrampool"],
                         lambda size: cuda.device_array(size, "uint8"))


WAYS = {"numpy": numpy_ways, "torch": torch_ways, "pyarrow": pyarrow_ways,
        "mxnet": mxnet_ways, "cupy": cupy_ways, "numba": numba_ways}


def batch(make, size, pairs):
    begin = time.perf_counter_ns()
    for _ in range(pairs):
        make(size)
    return (time.perf_counter_ns() - begin) / pairs


def main():
    way, framework = sys.argv[1:3]
    make = WAYS[framework]()[way]
    for name, size in SIZES.items():
        batch(make, size, PAIRS // 5)
        say(f"{framework}, {name}", statistics.median(
            batch(make, size, PAIRS) for _ in range(BATCHES)))


if __name__ == "__main__":
    main()
