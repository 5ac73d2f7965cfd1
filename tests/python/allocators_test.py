#!/usr/bin/env python3
"""The pool as the allocator of CuPy, Numba and PyTorch, on a GPU.

    VRAMPOOL_TEST_DEVICE=cuda:0 allocators_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL
"""

import gc
import json
import sys

import case
from cupy_case import CupyCase

import cupy
import numpy
import vrampool
import vrampool.cupy


def pipeline():
    """Some work of many allocations, also of CuPy's own libraries; its
    results, on the host."""
    x = cupy.arange(1 << 16, dtype=cupy.float32)
    y = cupy.sin(x) * 1000
    chosen = cupy.sort(y[y > 0])
    table = y.reshape(256, 256)
    results = (cupy.cumsum(chosen.astype(cupy.float64)), table.T.copy(),
               table.sum(axis=1), cupy.unique(y.astype(cupy.int32)),
               cupy.concatenate([chosen, x[::3]]))
    return [cupy.asnumpy(one) for one in results]


class CupyTest(CupyCase):
    def setUp(self):
        super().setUp()
        self.expected = pipeline()  # Of CuPy's own allocator.

    def check_pipeline(self):
        """On the default stream and on one that does not wait for it."""
        streams = [cupy.cuda.Stream.null, cupy.cuda.Stream(non_blocking=True)]
        for stream in streams:
            with stream:
                for got, wanted in zip(pipeline(), self.expected):
                    self.assertEqual(got.dtype, wanted.dtype)
                    self.assertTrue(numpy.array_equal(got, wanted))

    def nothing_is_left(self):
        self.assertEqual(self.blocks(), 0)

    def test_without_a_pool_of_cupys(self):
        cupy.cuda.set_allocator(self.allocator)
        before = self.client.usage().live_bytes
        array = cupy.zeros(1 << 20, cupy.uint8)
        self.assertGreaterEqual(self.client.usage().live_bytes - before,
                                1 << 20)
        self.assertEqual(vrampool.view_of(array).address, array.data.ptr)
        empty = cupy.empty((0, 3))
        self.assertEqual(cupy.asnumpy(empty).shape, (0, 3))
        self.check_pipeline()
        part = array[1000:]
        del array
        part += 5
        self.assertEqual(int(part.astype(cupy.int64).sum()),
                         5 * ((1 << 20) - 1000))
        del part, empty
        self.nothing_is_left()

    def test_as_the_source_of_cupys_pool(self):
        pool = cupy.cuda.MemoryPool(self.allocator)
        cupy.cuda.set_allocator(pool.malloc)
        self.check_pipeline()
        self.assertGreater(pool.total_bytes(), 0)
        self.assertEqual(pool.used_bytes(), 0)
        self.assertGreaterEqual(self.client.usage().live_bytes,
                                pool.total_bytes())
        pool.free_all_blocks()
        self.nothing_is_left()

    def test_beyond_the_limit(self):
        for allocator in (self.allocator,
                          cupy.cuda.MemoryPool(self.allocator).malloc):
            cupy.cuda.set_allocator(allocator)
            with self.assertRaises(cupy.cuda.memory.OutOfMemoryError) as said:
                cupy.empty(512 << 20, cupy.uint8)
            self.assertIsInstance(said.exception, MemoryError)
            del said
            self.check_pipeline()
        cupy.cuda.set_allocator(self.allocator)
        with self.assertRaises(cupy.cuda.runtime.CUDARuntimeError) as said:
            cupy.empty(512 << 20, cupy.uint8)
        self.assertEqual(said.exception.status,
                         vrampool.cupy.MEMORY_ALLOCATION)
        self.assertIsInstance(said.exception.__cause__, vrampool.OverQuota)

    def test_a_pool_gives_up_what_it_keeps_and_tries_again(self):
        """Its free chunks are of one stream each."""
        pool = cupy.cuda.MemoryPool(self.allocator)
        cupy.cuda.set_allocator(pool.malloc)
        with cupy.cuda.Stream(non_blocking=True):
            chunks = [cupy.zeros(48 << 20, cupy.uint8) for _ in range(5)]
            del chunks
        self.assertEqual(pool.free_bytes(), 5 * 48 << 20)
        with cupy.cuda.Stream(non_blocking=True):
            array = cupy.full(40 << 20, 3, cupy.uint8)
            self.assertEqual(int(array.min()), 3)
        del array
        pool.free_all_blocks()
        self.nothing_is_left()

    def test_another_process_has_an_array(self):
        cupy.cuda.set_allocator(self.allocator)
        stream = cupy.cuda.Stream(non_blocking=True)
        with stream:
            array = cupy.arange(1000, dtype=cupy.float64)
            shared = self.client.share(array[::2], stream=stream)
        out = self.run_python(
            "import sys, cupy, vrampool, vrampool.cupy\n"
            "client = vrampool.connect()\n"
            "with cupy.cuda.Stream(non_blocking=True) as stream:\n"
            "    opened = client.open(sys.argv[1], wait=30, stream=stream)\n"
            "    view = vrampool.cupy.view(opened[0])\n"
            "    print(float(view.sum()))\n"
            "    view *= 2\n"
            "    stream.synchronize()\n", shared.token)
        self.assertEqual(float(out), sum(range(0, 1000, 2)))
        wanted = numpy.arange(1000.0)
        wanted[::2] *= 2
        self.assertTrue(numpy.array_equal(cupy.asnumpy(array), wanted))
        del array, shared
        gc.collect()
        self.eventually(lambda: self.client.usage().live_blocks == 0,
                        "a block lives on")


# Numba takes its memory manager for good, so each has a process of its own.
PREAMBLE = """
import gc, sys, numpy
if not hasattr(numpy, "row_stack"):  # numba-cuda 0.30 wants it to compile.
    numpy.row_stack = numpy.vstack
import vrampool, vrampool.numba
from numba import cuda

@cuda.jit
def scale(array, factor):
    i = cuda.grid(1)
    if i < array.size:
        array[i] *= factor

client = vrampool.default_client()

def live_blocks():
    gc.collect()
    return client.usage().live_blocks
"""

WORKS = PREAMBLE + """
host = numpy.arange(1000, dtype="float32")
array = cuda.to_device(host)
found = vrampool.view_of(array)
assert (found.shape, found.dtype.name) == ((1000,), "float32"), found
del found
assert live_blocks() == 1, live_blocks()
scale[8, 128](array, 3)
assert (array.copy_to_host() == host * 3).all()

part = array[100:200]
del array
assert live_blocks() == 1, live_blocks()
scale[1, 128](part, 2)
assert (part.copy_to_host() == host[100:200] * 6).all()
del part
assert live_blocks() == 0, live_blocks()

stream = cuda.stream()
arrays = [cuda.device_array(1 << i, "int32", stream=stream)
          for i in range(12)]
for i, array in enumerate(arrays):
    array.copy_to_device(numpy.full(1 << i, i, "int32"), stream=stream)
    scale[32, 128, stream](array, 2)
stream.synchronize()
for i, array in enumerate(arrays):
    assert (array.copy_to_host() == 2 * i).all(), i
pinned = cuda.pinned_array(100)  # Numba's own.
assert live_blocks() == 12, live_blocks()
del arrays, array
assert live_blocks() == 0, live_blocks()

free, total = cuda.current_context().get_memory_info()
budget = client.budget()
assert (free, total) == (budget.free, budget.total), (free, total, budget)
try:
    cuda.device_array(1 << 30, "uint8")
    raise AssertionError("was not refused")
except MemoryError as error:
    assert isinstance(error, vrampool.OverQuota), error
print("works")
"""

SENDS = PREAMBLE + """
array = cuda.to_device(numpy.arange(1000, dtype="float64"))
stream = cuda.default_stream()
shared = client.share(array[10:20], stream=stream)
print(shared.token, flush=True)
sys.stdin.readline()
wanted = numpy.arange(1000, dtype="float64")
wanted[10:20] *= 5
assert (array.copy_to_host() == wanted).all()
shared.close()
del array, shared
print("seen")
"""

RECEIVES = PREAMBLE + """
stream = cuda.stream()
opened = client.open(sys.argv[1], wait=30, stream=stream)
array = vrampool.numba.view(opened[0])
opened.close()
assert (array.copy_to_host() == numpy.arange(10.0, 20.0)).all()
scale[1, 32, stream](array, 5)
stream.synchronize()
del array
assert live_blocks() == 0
print(cuda.current_context().memory_manager.__class__.__module__)
"""


class NumbaTest(case.Case):
    config = {"pool_size": "1GiB", "default_limit": "256MiB"}

    def setUp(self):
        super().setUp()
        self.environment.update(NUMBA_CUDA_MEMORY_MANAGER="vrampool.numba",
                                PYTHONWARNINGS="ignore")

    def test_arrays_are_the_pools(self):
        self.assertEqual(self.run_python(WORKS), "works\n")

    def test_another_process_has_an_array(self):
        sender = self.start_python(SENDS)
        token = sender.stdout.readline().strip()
        out = self.run_python(RECEIVES, token)
        self.assertEqual(out, "vrampool.numba\n")
        out, _ = sender.communicate("\n", timeout=case.PATIENCE_SECONDS)
        self.assertEqual((out, sender.returncode), ("seen\n", 0))
        self.eventually(lambda: self.operator("objects")["objects"] == [],
                        "the object lives on")


# A training that is PyTorch's own to the last bit, wherever its memory is; says
# its losses, and how much of the memory is not the pool's.
TRAINS = """
import json, sys
sys.path.insert(0, sys.argv[1])
import train, torch
mode = sys.argv[2]
if mode != "plain":
    import vrampool, vrampool.torch
    vrampool.torch.enable(whole_process=mode == "process")
model, losses = train.train(20)
report = {"losses": losses, "inside": 0, "outside": 0}
if mode == "pool":
    client = vrampool.default_client()
    for segment in torch.cuda.memory_snapshot():
        try:
            client.describe(segment["address"])
            report["inside"] += segment["total_size"]
        except vrampool.NotFound:
            report["outside"] += segment["total_size"]
elif mode == "process":
    client = vrampool.default_client()
    for parameter in model.parameters():
        client.describe(parameter.data_ptr())
        client.describe(parameter.grad.data_ptr())
    report["inside"] = client.usage().live_bytes
print(json.dumps(report))
"""

LEADS = """
import gc, torch, vrampool, vrampool.torch
client = vrampool.default_client()

def is_in_the_pool(tensor):
    try:
        client.describe(tensor.data_ptr())
        return True
    except vrampool.NotFound:
        return False

# A segment of its own: nothing else fits in.
before = torch.ones(4 << 20, device="cuda")
assert not is_in_the_pool(before)
with vrampool.torch.enable():
    x = torch.ones(1 << 20, device="cuda", requires_grad=True)
    (x * 3).sum().backward()
    assert is_in_the_pool(x)
    assert is_in_the_pool(x.grad), "of the backward pass's thread"
    assert float(x.grad.sum()) == 3 << 20
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        y = torch.ones(1 << 20, device="cuda") * 2
    stream.synchronize()
    assert is_in_the_pool(y)
    try:
        torch.empty(3 << 30, dtype=torch.uint8, device="cuda")
        raise AssertionError("was not refused")
    except torch.OutOfMemoryError as error:
        del error
    graph = torch.cuda.CUDAGraph()
    source = torch.ones(1000, device="cuda")
    with torch.cuda.graph(graph):
        result = source * 3
    source.fill_(2)
    graph.replay()
    assert float(result.sum()) == 6000
    kept = torch.full((1000,), 5.0, device="cuda")
after = torch.ones(16 << 20, device="cuda")
assert not is_in_the_pool(after)
assert float(kept.sum()) == 5000
assert client.usage().live_blocks > 0
del x, y, source, result, kept, graph
gc.collect()
torch.cuda.synchronize()
torch.cuda.empty_cache()
assert client.usage().live_blocks == 0, client.usage()
with vrampool.torch.enable():
    assert is_in_the_pool(torch.ones(1 << 20, device="cuda"))
assert client.usage().live_blocks == 0, client.usage()
vrampool.torch.enable()
left = torch.ones(1 << 20, device="cuda")  # To the process's end.
print("works")
"""

TAKES = """
import torch, vrampool, vrampool.torch
vrampool.torch.enable(whole_process=True)
client = vrampool.default_client()
tensor = torch.ones(1 << 20, device="cuda")
address = tensor.data_ptr()
assert client.describe(address).address == address
# The first launch of a kernel loads it, and waits for all work on the GPU.
tensor += 1
torch.zeros(1 << 20, device="cuda")
torch.cuda._sleep(1)
torch.cuda.synchronize()
stream = torch.cuda.Stream()
with torch.cuda.stream(stream):
    torch.cuda._sleep(1 << 30)
    tensor += 1
tensor.record_stream(stream)
del tensor
other = torch.zeros(1 << 20, device="cuda")
assert not stream.query(), "the stream is not at work any more"
assert other.data_ptr() != address, "while the stream works on it"
torch.cuda.synchronize()
assert float(other.sum()) == 0
try:
    torch.empty(3 << 30, dtype=torch.uint8, device="cuda")
    raise AssertionError("was not refused")
except (RuntimeError, MemoryError) as error:
    pass
assert float(torch.ones(10, device="cuda").sum()) == 10
try:
    vrampool.torch.disable()
    raise AssertionError("was not refused")
except RuntimeError as error:
    assert "stays" in str(error), error
print("works")
"""


class TorchTest(case.Case):
    config = {"pool_size": "4GiB", "default_limit": "2GiB"}

    def setUp(self):
        super().setUp()
        self.environment["PYTHONWARNINGS"] = "ignore"
        # Segments are of 2 MiB and more.
        self.environment["VRAMPOOL_SLAB_SIZE"] = "32MiB"

    def test_training_is_pytorchs_own(self):
        reports = {}
        for mode in ("plain", "pool", "process"):
            out = self.run_python(TRAINS, case.PACKAGE.parents[1] / "tests" /
                                  "gpu", mode)
            reports[mode] = json.loads(out)
        plain = reports.pop("plain")
        for mode, report in reports.items():
            self.assertEqual(report["losses"], plain["losses"], mode)
            self.assertGreater(report["inside"], 0, mode)
            self.assertEqual(report["outside"], 0, mode)

    def test_all_threads_and_streams_are_led_to_the_pool(self):
        self.assertEqual(self.run_python(LEADS), "works\n")

    def test_the_whole_process(self):
        self.assertEqual(self.run_python(TAKES), "works\n")


if __name__ == "__main__":
    if not (case.Case.device or "").startswith("cuda"):
        sys.exit("this test is of a GPU's memory: set VRAMPOOL_TEST_DEVICE")
    case.main()
