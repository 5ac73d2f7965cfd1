#!/usr/bin/env python3
"""The kernel that turns tables on a GPU, compiled for the CPU: every size of
element and of row, tiles that are not full, and nothing written beside them.

    table_kernel_test.py HOST_LIBRARY
"""

import ctypes
import hashlib
import sys
import unittest

import case

import numpy
from vrampool import _table_kernel, _table_layout

HOST = None  # table_kernel_host.cc, set by the command line.
THREADS = 64
GUARD = 64  # Bytes before and behind, which nobody touches.


class Memory:
    """Aligned as a GPU's, with guards."""

    def __init__(self, size, filling):
        self.whole = numpy.full(size + 2 * GUARD + 256, filling, "uint8")
        start = -(self.whole.ctypes.data + GUARD) % 256 + GUARD
        self.bytes = self.whole[start:start + size]
        self.start, self.filling = start, filling

    @property
    def address(self):
        return self.bytes.ctypes.data

    def guards_are_whole(self):
        end = self.start + self.bytes.size
        return (self.whole[:self.start] == self.filling).all() and (
            self.whole[end:] == self.filling).all()


def turn(structures, arrays, aos, soa, to_arrays):
    fields = _table_kernel._Fields()
    for place, (name, column) in zip(fields.of, soa.columns.items()):
        place.column, place.size = column.offset, column.dtype.itemsize
        place.offset = aos.columns[name].offset
    tile_rows, pad = _table_kernel.tile_of(aos.row_bytes)
    assert tile_rows % 16 == 0 and tile_rows > 0
    HOST.run_table_kernel(
        2, THREADS, ctypes.c_void_p(structures.address),
        ctypes.c_void_p(arrays.address), ctypes.c_uint64(aos.rows),
        aos.row_bytes, tile_rows, pad, int(to_arrays), len(soa.columns),
        ctypes.byref(fields))


def column(memory, one, rows):
    return numpy.ndarray((rows,), f"V{one.dtype.itemsize}",
                         memory.bytes if memory.bytes.size else bytearray(),
                         one.offset, (one.step,)).tobytes()


class TableKernelTest(unittest.TestCase):
    cases = [
        ["int8"], ["float32", "float32"], ["int64", "int8"],
        ["int8", "int16", "int32", "int64", "complex128"],
        ["complex128"] * 4, ["float64"] * 4, ["float32"] * 16,
        ["int8"] * 7, ["int16"] * 3, ["float32"] * 199, ["int8"] * 200,
        ["complex128", "int8"] * 10]

    def test_every_bit_comes_and_goes(self):
        random = numpy.random.default_rng(3)
        for types in self.cases:
            fields = [(str(i), kind) for i, kind in enumerate(types)]
            row = _table_layout.plan(fields, 1, "aos").row_bytes
            full = _table_kernel.tile_of(row)[0]
            for rows in (1, 15, full, full + 1, 3 * full + 37):
                with self.subTest(types=types[:5], rows=rows):
                    self.check(fields, rows, random)

    def check(self, fields, rows, random):
        aos = _table_layout.plan(fields, rows, "aos")
        soa = _table_layout.plan(fields, rows, "soa")
        structures, back = Memory(aos.nbytes, 1), Memory(aos.nbytes, 2)
        arrays = Memory(soa.nbytes, 3)
        structures.bytes[:] = random.integers(0, 256, aos.nbytes)
        turn(structures, arrays, aos, soa, True)
        turn(back, arrays, aos, soa, False)
        for name in aos.columns:
            wanted = column(structures, aos.columns[name], rows)
            self.assertEqual(column(arrays, soa.columns[name], rows), wanted)
            self.assertEqual(column(back, aos.columns[name], rows), wanted)
        for memory in (structures, arrays, back):
            self.assertTrue(memory.guards_are_whole())

    def test_what_it_is_not_for(self):
        def can(structures=256, arrays=256, row=8, count=2):
            return _table_kernel.can(_table_kernel.Turn(
                structures, arrays, 10, row, [(0, 0, 4)] * count, True))
        self.assertTrue(can())
        self.assertTrue(can(row=1500, count=200))
        self.assertFalse(can(structures=264))
        self.assertFalse(can(arrays=8))
        self.assertFalse(can(row=1600))
        self.assertFalse(can(count=201))

    def test_its_ptx_was_made_of_it(self):
        folder = case.PACKAGE / "vrampool"
        source = (folder / "table_kernel.cu").read_bytes()
        self.assertEqual(
            (folder / "table_kernel.ptx").read_text().splitlines()[1],
            f"// {hashlib.sha256(source).hexdigest()}",
            "run client/python/make_table_kernel.py")


if __name__ == "__main__":
    HOST = ctypes.CDLL(sys.argv.pop(1))
    HOST.run_table_kernel.restype = None
    unittest.main(verbosity=2)
