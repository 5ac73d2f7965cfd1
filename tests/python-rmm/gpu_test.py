#!/usr/bin/env python3
"""RMM that draws from the pool, on a GPU: contents, streams, the resource of the
current device, RMM's pools on top, and frameworks that take their memory by RMM.

    gpu_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL PLACES

PLACES is the PYTHONPATH by which RMM and vrampool_rmm are found. Needs CuPy and
PyTorch, and VRAMPOOL_TEST_DEVICE ("cuda:0").
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "python"))
import case  # noqa: E402

# Each in a process of its own, by the compiled resource and by Python's.
PREAMBLE = """
import gc, sys, time
import rmm, vrampool, vrampool.rmm
from rmm.pylibrmm.stream import Stream

client = vrampool.connect()
mr = getattr(vrampool.rmm, sys.argv[1])(client)
rmm.mr.set_current_device_resource(mr)

def await_no_blocks():
    gc.collect()
    deadline = time.monotonic() + 60
    while client.usage().live_blocks:
        assert time.monotonic() < deadline, client.usage()
        time.sleep(0.001)
"""

HOLDS = PREAMBLE + """
data = bytes(i % 251 for i in range(100000))
buffer = rmm.DeviceBuffer.to_device(data)
assert client.describe(buffer.ptr).address == buffer.ptr
assert buffer.tobytes() == data
copy = buffer.copy()
assert client.describe(copy.ptr).address == copy.ptr != buffer.ptr
copy.resize(200000)
assert copy.tobytes()[:100000] == data
del buffer, copy
await_no_blocks()

pool = rmm.mr.PoolMemoryResource(mr, initial_pool_size=8 << 20,
                                 maximum_pool_size=64 << 20)
part = rmm.DeviceBuffer(size=1000, mr=pool)
assert client.describe(part.ptr).size_bytes >= 8 << 20
part.copy_from_host(data[:1000])
assert part.tobytes() == data[:1000]
del part, pool
await_no_blocks()

try:
    rmm.DeviceBuffer(size=3 << 30)
    raise AssertionError("was not refused")
except MemoryError as error:
    assert "limit" in str(error) or "tenant" in str(error), error
print("works")
"""

# Whoever gets a buffer's memory next, on whatever stream, writes over it after
# the work on it that was enqueued before it was dropped.
CHURNS = PREAMBLE + """
streams = [Stream() for _ in range(4)]
kept = []
for i in range(2000):
    stream = streams[i * 7 % 4]
    content = bytes([i % 251]) * (1 + i * 7919 % 300000)
    buffer = rmm.DeviceBuffer(size=len(content), stream=stream)
    buffer.copy_from_host(content, stream=stream)
    kept.append((buffer, stream, content))
    if len(kept) > 16:
        buffer, stream, content = kept.pop(i * 5 % 16)
        seen = buffer.tobytes(stream=stream)
        stream.synchronize()
        assert seen == content, i
del buffer, kept
for stream in streams:
    stream.synchronize()
await_no_blocks()
print("works")
"""

LENDS = PREAMBLE + """
import cupy, torch
from rmm.allocators.cupy import rmm_cupy_allocator
from rmm.allocators.torch import rmm_torch_allocator

cupy.cuda.set_allocator(rmm_cupy_allocator)
array = cupy.arange(1000.0)
assert client.describe(array.data.ptr).address == array.data.ptr
shared = client.share(array, stream=cupy.cuda.get_current_stream())
del array
opened = client.open(shared.token, wait=60)
assert float(cupy.from_dlpack(opened[0]).sum()) == 499500
del opened, shared

torch.cuda.memory.change_current_allocator(rmm_torch_allocator)
tensor = torch.ones(1000, device="cuda")
assert client.describe(tensor.data_ptr()).address == tensor.data_ptr()
assert float(tensor.sum()) == 1000
view = cupy.asarray(tensor)  # PyTorch's own may be cut out of something.
shared = client.share(view, stream=torch.cuda.current_stream())
del tensor, view
copy = rmm.DeviceBuffer(size=4000)
copy.copy_from_device(client.open(shared.token, wait=60)[0])
ones = torch.ones(1000).numpy().tobytes()
assert copy.tobytes() == ones
print("works")
"""


class RmmTest(case.Case):
    config = {"pool_size": "4GiB", "default_limit": "2GiB"}

    def setUp(self):
        super().setUp()
        self.environment["PYTHONPATH"] += f":{PLACES}"
        self.environment["PYTHONWARNINGS"] = "ignore"

    def works(self, program):
        for ask in ("resource", "callback_resource"):
            with self.subTest(ask):
                self.assertEqual(self.run_python(program, ask), "works\n")

    def test_buffers_hold_what_is_written(self):
        self.works(HOLDS)

    def test_streams_do_not_meet_in_memory_that_changes_hands(self):
        self.works(CHURNS)

    def test_frameworks_take_it_by_rmm(self):
        self.works(LENDS)


if __name__ == "__main__":
    if not (case.Case.device or "").startswith("cuda"):
        sys.exit("this test is of a GPU's memory: set VRAMPOOL_TEST_DEVICE")
    PLACES = sys.argv.pop(4)
    case.main()
