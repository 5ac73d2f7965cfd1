"""What the tests of the pool as CuPy's allocator have in common."""

import gc

import case

import cupy
import numpy
import vrampool
import vrampool.cupy

MIB = case.MIB
UNIT = 512  # Of CuPy's pools.
LONG = 1 << 30  # Cycles: half a second, and more.

_SPIN = cupy.RawKernel(r"""
extern "C" __global__ void spin(long long cycles) {
  const long long start = clock64();
  while (clock64() - start < cycles) {}
}""", "spin")


def keep_busy(cycles=LONG):
    """The current stream."""
    _SPIN((1,), (1,), (numpy.int64(cycles),))


def mebibytes(count, value=None):
    """An array of so many."""
    array = cupy.empty(count * MIB, cupy.uint8)
    if value is not None:
        array.fill(value)
    return array


def is_all(array, value):
    """Takes hardly any memory."""
    return (int(array.min()), int(array.max())) == (value, value)


class CupyCase(case.Case):
    config = {"pool_size": "1GiB", "default_limit": "256MiB"}

    def setUp(self):
        super().setUp()
        self.environment["PYTHONWARNINGS"] = "ignore"
        stock = cupy.get_default_memory_pool().malloc
        cupy.cuda.set_allocator(stock)
        self.addCleanup(cupy.cuda.set_allocator, stock)
        self.warm_up()
        self.client = self.connect()
        self.allocator = vrampool.cupy.allocator(self.client)

    def warm_up(self):
        """Loads the kernels that tests launch while the GPU is busy: the first
        launch of one waits for all work on it."""
        keep_busy(1)
        array = mebibytes(1, 0)
        array.fill(1)
        self.assertTrue(is_all(array, 1))
        cupy.cuda.Device().synchronize()

    def draw(self, pool=None):
        """All arrays from the pool now, by a pool of CuPy's if it is given."""
        cupy.cuda.set_allocator(self.allocator if pool is None
                                else pool.malloc)

    def pool(self):
        return cupy.cuda.MemoryPool(self.allocator)

    def blocks(self):
        gc.collect()
        return self.client.usage().live_blocks

    def is_inside(self, what):
        """An array, or what has an address as `ptr`."""
        address = what.ptr if hasattr(what, "ptr") else what.data.ptr
        try:
            self.client.describe(int(address))
            return True
        except vrampool.NotFound:
            return False
