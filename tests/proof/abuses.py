"""A process that asks for what cannot be, and gives back what is not its own,
through the C interface and through the Python package: it is told so, and
nothing changes."""

import ctypes

import vrampool
import vrampool._abi
from roles import MIB, Bench

MOST = (1 << 64) - 1
ABSURD = (MOST, MOST - 1, MOST - 254, MOST - 255, MOST - 2 * MIB, 1 << 63,
          (1 << 63) + 1, (1 << 63) - 1, 1 << 62, 1 << 40)
# No room, over quota, or not to be understood: not a crash, and not a block.
REFUSALS = {vrampool.errors.OverQuota.status, vrampool.errors.OutOfPool.status,
            vrampool.errors.InvalidArgument.status,
            vrampool.errors.LimitReached.status}
INVALID = vrampool.errors.InvalidArgument.status


class Abuser:
    def __init__(self):
        self.bench = Bench()
        self.client = self.bench.client
        self.library = self.bench.library
        self.handle = self.client._session.handle
        self.errors = 0

    def everything(self):
        for abuse in (self.sizes, self.products, self.reservations,
                      self.frees, self.shares):
            before = self.client.usage()._replace(rpcs=0)
            abuse()
            self.client.quiesce()
            after = self.client.usage()._replace(rpcs=0)
            check(after == before, abuse.__name__, before, after)
        return self.errors

    def refused(self, status, expected, *what):
        check(status in expected, status, self.library.message(), *what)
        check(self.library.message() != "", "no words", *what)
        self.errors += 1

    def sizes(self):
        c = self.library
        check(not c.client_allocate(self.handle, 0, 0), "zero bytes")
        check(c.last_status() == 0, "zero bytes are no error")
        for size in ABSURD:
            for alignment in (256, 4096, 1 << 21, 1 << 63):
                check(not c.client_allocate_aligned(self.handle, size,
                                                    alignment, 0), size)
                self.refused(c.last_status(), REFUSALS, size, alignment)
            check(not c.client_allocate(self.handle, size, 0), size)
            self.refused(c.last_status(), REFUSALS, size)
            self.refused(c.wait_for_room(self.handle, size, 0),
                         REFUSALS | {vrampool.errors.Timeout.status}, size)
            self.raises(lambda: self.client.allocate(size), size)
        for alignment in (3, 255, 257, 1 << 63, MOST):
            check(not c.client_allocate_aligned(self.handle, 1, alignment, 0),
                  alignment)
            self.refused(c.last_status(), REFUSALS, alignment)

    def products(self):
        for shape, dtype in (((1 << 32, 1 << 32), "uint8"),
                             ((1 << 32, 1 << 32), "float32"),
                             ((1 << 61,), "float64"), ((1 << 62,), "float64"),
                             ((1 << 63,), "uint8"), ((1 << 64,), "uint8"),
                             ((1 << 31, 1 << 31, 4), "int8"),
                             ((1 << 16,) * 4, "complex128"),
                             ((1 << 16,) * 16, "bool"),
                             (((1 << 64) + 1,), "uint8")):
            self.raises(lambda: self.client.empty(shape, dtype), shape, dtype)
        for strides in ((1 << 62,), (1 << 63,), ((1 << 64) - 1,)):
            self.raises(lambda: self.client.empty(8, "float64",
                                                  strides=strides), strides)

    def raises(self, call, *what):
        try:
            call()
        except (MemoryError, ValueError, vrampool.Error):
            self.errors += 1
            return
        check(False, "granted", *what)

    def reservations(self):
        for size in (0, *ABSURD):
            check(self.bench.reserve(size) is None, size)
            fits = ctypes.c_int(7)
            status = self.library.c.vrampool_fits(
                ctypes.c_void_p(self.handle), ctypes.c_size_t(size),
                ctypes.byref(fits))
            check(status != 0 or fits.value == 0, "it fits", size)
            self.errors += 1

    def frees(self):
        c = self.library
        size = 100_000
        block = c.client_allocate(self.handle, size, 0)
        neighbour = c.client_allocate(self.handle, size, 0)
        check(block and neighbour, "no memory")
        theirs = Bench()
        foreign = c.client_allocate(theirs.client._session.handle, size, 0)
        own = ctypes.create_string_buffer(size)
        before = self.client.usage()
        for pointer in (block + 1, block + 256, block + size - 1, block + size,
                        block - 256, foreign, ctypes.addressof(own), 1, MOST,
                        1 << 63, id(self)):
            self.free(pointer, size)
            self.refused(c.last_status(), {INVALID}, hex(pointer))
        for wrong in (size + 1, size - 1, 0, MOST, 1 << 63):
            self.free(block, wrong)
            self.refused(c.last_status(), {INVALID}, wrong)
        check(self.client.usage() == before, "it changed")
        self.free(block, size)
        check(c.last_status() == 0, "the right one is freed")
        for _ in range(3):  # Twice, from the cache and when that is empty.
            self.free(block, size)
            self.refused(c.last_status(), {INVALID}, "double free")
            self.client.trim()
        check(self.client.usage().live_blocks == 1, "the neighbour lives")
        self.free(neighbour, size)
        check(c.last_status() == 0, "the neighbour is freed")
        self.free(neighbour, size)
        self.refused(c.last_status(), {INVALID}, "double free")
        c.client_deallocate(theirs.client._session.handle, foreign, size, 0)
        check(c.last_status() == 0, "the foreigner's own free")

    def free(self, pointer, size):
        self.library.client_deallocate(self.handle, pointer, size, 0)

    def shares(self):
        size = MIB
        block = self.library.client_allocate_aligned(self.handle, size, 256, 0)
        for data, nbytes in ((block, MOST), (block, size + 1),
                             (block, 1 << 63), (block + 1, size),
                             (block + size, 1), (MOST, 1), (0, 1)):
            self.share(data, nbytes, None)
        for shape, bits, offset in (((1 << 32, 1 << 32), 32, 0),
                                    ((1 << 62,), 64, 0), ((-1,), 8, 0),
                                    ((-1, -(1 << 20)), 8, 0),
                                    ((size + 1,), 8, 0), ((1,), 8, MOST),
                                    ((16,), 8, size - 15), ((1,), 0, 0)):
            self.share(block, size, (shape, bits, offset))
        self.free(block, size)
        check(self.library.last_status() == 0, "it was shared all the same")

    def share(self, data, nbytes, layout):
        abi, library = vrampool._abi, self.library
        options, made = abi.ShareOptions(), ctypes.c_void_p()
        library.share_options_init_sized(options, ctypes.sizeof(options))
        if layout is not None:
            shape, bits, offset = layout
            extents = (ctypes.c_int64 * len(shape))(*shape)
            tensor = abi.TensorLayout(1, bits, 1, len(shape), extents, None,
                                      offset)
            options.tensors = ctypes.pointer(tensor)
        status = library.share(self.handle, abi.BufferPiece(data, nbytes), 1,
                               options, ctypes.byref(made))
        self.refused(status, {INVALID, vrampool.errors.NotFound.status},
                     hex(data), nbytes, layout)


def check(is_right, *what):
    if not is_right:
        raise AssertionError(what)


def abuser(line):
    """How many abuses were refused."""
    line.say(Abuser().everything())
    line.hear()
