#!/usr/bin/env python3
"""Numba's own handles of arrays in the pool, between processes, on a GPU.

    VRAMPOOL_TEST_DEVICE=cuda:0 numba_ipc_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL
"""

import sys

import case

# Numba takes its memory manager for good, so each has a process of its own.
PREAMBLE = """
import gc, pickle, sys, numpy
if not hasattr(numpy, "row_stack"):  # numba-cuda 0.30 wants it to compile.
    numpy.row_stack = numpy.vstack
import vrampool
from numba import cuda

class Foreign:
    # An array that Numba knows by its interface alone.
    def __init__(self, array):
        self.array = array
        self.__cuda_array_interface__ = array.__cuda_array_interface__

def refused(error, text, call):
    try:
        call()
    except error as said:
        assert text in str(said), said
    else:
        raise AssertionError("was not refused")

def say(*what):
    print(pickle.dumps(what).hex(), flush=True)
"""

LENDS = PREAMBLE + """
array = cuda.to_device(numpy.arange(1000.0))
table = cuda.to_device(numpy.arange(12, dtype="int32").reshape(3, 4))
parts = [array, array[10:20], array[990:], table, table[1:], table[1],
         cuda.as_cuda_array(Foreign(array))[3:8], array.view("int64")[:5]]
say([(part.get_ipc_handle(), part.copy_to_host()) for part in parts])
sys.stdin.readline()  # Without a handle here, only arrays.
array.copy_to_device(numpy.zeros(1000))
context = cuda.current_context()
say([context.get_ipc_handle(part.gpu_data) for part in parts[:2]])
sys.stdin.readline()
host = array.copy_to_host()
assert (host[10:20] == 7).all() and host.sum() == 70, host
del array, table, parts
gc.collect()
client = vrampool.default_client()
print("seen", flush=True)
sys.stdin.readline()
"""

OPENS = PREAMBLE + """
[pairs] = pickle.loads(bytes.fromhex(sys.stdin.readline()))
for handle, expected in pairs:
    for _ in range(2):
        with handle as view:
            host = view.copy_to_host()
            assert (host.dtype, host.shape) == (expected.dtype, expected.shape)
            assert (host == expected).all(), (host, expected)
            refused(ValueError, "already opened", handle.open)
        refused(ValueError, "not opened", handle.close)
        view.copy_to_device(expected)  # As good as before.
        del view
print("opened", flush=True)
[handles] = pickle.loads(bytes.fromhex(sys.stdin.readline()))
context = cuda.current_context()
for count, handle in zip((1000, 10), handles):
    assert (handle.base, handle.size) == (None, 8 * count), handle.size
    again = pickle.loads(pickle.dumps(handle))
    array = again.open_array(context, count, numpy.dtype("float64"))
    assert (array.copy_to_host() == 0).all()
    again.close()
    host = numpy.ones(count)
    pointer = handle.open_staged(context)
    cuda.driver.device_to_host(host, pointer, 8 * count)
    assert (host == 0).all()
    handle.close()
array.copy_to_device(numpy.full(10, 7.0))
print("written", flush=True)
sys.stdin.readline()
assert (array.copy_to_host() == 7).all()
print(cuda.current_context().memory_manager.__class__.__name__)
del array, pointer
gc.collect()
"""

HERE = PREAMBLE + """
client = vrampool.default_client()
array = cuda.to_device(numpy.arange(100.0))
handle = array[10:20].get_ipc_handle()
with handle as view:
    assert (view.copy_to_host() == numpy.arange(10.0, 20)).all()
    view.copy_to_device(numpy.zeros(10))
    del view
assert array.copy_to_host()[9:21].tolist() == [9] + 10 * [0] + [20]
refused(AttributeError, "pickled", lambda: handle._ipc_handle.handle)
copy = pickle.loads(pickle.dumps(handle))
del array, handle
for _ in range(1000):
    gc.collect()
    if client.usage().live_blocks == 0:
        break
assert client.usage().live_blocks == 0
refused(vrampool.NotFound, "has to keep", copy.open)
for array in cuda.mapped_array(10), cuda.device_array(0):
    memory = getattr(array, "gpu_data")
    refused(vrampool.InvalidArgument, "copy it", lambda: (
        cuda.current_context().get_ipc_handle(memory)))
print("works")
"""

# What a kernel on a stream is still writing when the handle is made.
FILLS = PREAMBLE + """
@cuda.jit
def fill(array, rounds):
    start = cuda.grid(1)
    for round in range(rounds):
        for i in range(start, array.size, cuda.gridsize(1)):
            array[i] = round

array = cuda.to_device(numpy.zeros(1 << 24, "int32"))
stream = cuda.stream()
fill[64, 256, stream](array, 1)  # Compiles.
stream.synchronize()
fill[64, 256, stream](array, 10000)
filled = cuda.event()
filled.record(stream)
assert not filled.query(), "too short to tell"
handle = array.get_ipc_handle()
assert filled.query()
say(handle)
sys.stdin.readline()
"""

READS = PREAMBLE + """
[handle] = pickle.loads(bytes.fromhex(sys.argv[1]))
with handle as view:
    host = view.copy_to_host()
assert (host == 9999).all(), (host.min(), host.max())
print("complete")
"""


class NumbaIpcTest(case.Case):
    config = {"pool_size": "1GiB", "default_limit": "256MiB"}

    def setUp(self):
        super().setUp()
        self.environment["PYTHONWARNINGS"] = "ignore"
        self.manage("vrampool.numba")

    def manage(self, manager):
        """Which memory manager the processes of from now on have."""
        self.environment["NUMBA_CUDA_MEMORY_MANAGER"] = manager

    def no_objects(self):
        self.eventually(lambda: self.operator("objects")["objects"] == [],
                        "an object lives on")

    def check_another_process(self, manager, name):
        lender = self.start_python(LENDS)
        self.manage(manager)
        opener = self.start_python(OPENS)

        def tell(line):
            opener.stdin.write(line)
            opener.stdin.flush()
            return opener.stdout.readline()

        def ask():
            lender.stdin.write("\n")
            lender.stdin.flush()
            return lender.stdout.readline()
        self.assertEqual(tell(lender.stdout.readline()), "opened\n")
        self.assertEqual(tell(ask()), "written\n")
        self.assertEqual(ask(), "seen\n")
        out, _ = lender.communicate("\n", timeout=case.PATIENCE_SECONDS)
        self.assertEqual((out, lender.returncode), ("", 0))
        out, _ = opener.communicate("\n", timeout=case.PATIENCE_SECONDS)
        self.assertEqual((out, opener.returncode), (f"{name}\n", 0))
        self.no_objects()

    def test_another_process_opens_handles(self):
        self.check_another_process("vrampool.numba", "MemoryManager")

    def test_another_process_with_numbas_own_manager_opens_handles(self):
        self.check_another_process("default", "NumbaCUDAMemoryManager")

    def test_the_process_itself_opens_a_handle(self):
        self.assertEqual(self.run_python(HERE), "works\n")
        self.no_objects()

    def test_contents_are_complete(self):
        lender = self.start_python(FILLS)
        text = lender.stdout.readline().strip()
        self.assertEqual(self.run_python(READS, text), "complete\n")
        lender.communicate("\n", timeout=case.PATIENCE_SECONDS)
        self.assertEqual(lender.returncode, 0)
        self.no_objects()


if __name__ == "__main__":
    if not (case.Case.device or "").startswith("cuda"):
        sys.exit("this test is of a GPU's memory: set VRAMPOOL_TEST_DEVICE")
    case.main()
