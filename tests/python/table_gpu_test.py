#!/usr/bin/env python3
"""Tables in a GPU's memory, with PyTorch: turned bit by bit, and how fast.

    VRAMPOOL_TEST_DEVICE=cuda:0 table_gpu_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL
"""

import json
import sys

import case

import numpy
import torch
import vrampool
import vrampool.torch
from framework_worker import bytes_of, write_bytes

EVERY_TYPE = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
    "uint64", "float16", "float32", "float64", "complex64", "complex128",
    "bfloat16", "float8_e5m2"]
GIB = 1 << 30


def elements(memory, table, name):
    """A field's elements in the bytes of a table."""
    size = table.fields[name].itemsize
    return numpy.ndarray(
        (table.rows,), f"V{size}", memory, table.offset(name),
        (table[name].strides[0] * size,)).tobytes()


class TableGpuTest(case.Case):
    config = {"pool_size": "6GiB"}

    def setUp(self):
        super().setUp()
        self.client = self.connect()
        self.stream = torch.cuda.Stream()
        torch.cuda.set_stream(self.stream)

    def bytes_of(self, table):
        self.stream.synchronize()
        return bytes_of(table._memory)

    def test_every_bit_comes_and_goes(self):
        random = numpy.random.default_rng(5)
        for types in (EVERY_TYPE, EVERY_TYPE[::-1], ["float32"] * 8,
                      ["float64"] * 16, ["int8"] * 3, ["complex128", "int8"],
                      ["int8"] * 201, ["complex128"] * 100):  # Not the kernel.
            for rows in (1, 100, 1_000_003 // len(types)):
                fields = [(str(i), kind) for i, kind in enumerate(types)]
                with self.subTest(types=types[:5], rows=rows):
                    self.check(fields, rows, random)

    def check(self, fields, rows, random):
        table = self.client.table(fields, rows, layout="aos",
                                  stream=self.stream)
        content = random.integers(0, 256, table.nbytes, "uint8").tobytes()
        write_bytes(table._memory, content)
        soa = table.to_soa(self.stream)
        back = soa.to_aos(self.stream)
        soa_bytes, back_bytes = self.bytes_of(soa), self.bytes_of(back)
        for name in table:
            wanted = elements(content, table, name)
            self.assertEqual(elements(soa_bytes, soa, name), wanted)
            self.assertEqual(elements(back_bytes, back, name), wanted)
        self.assertEqual(self.bytes_of(table), content)

    def test_pytorch_has_the_fields_and_another_process_the_table(self):
        table = self.client.table({"x": "float32", "id": "int64"}, 1000,
                                  layout="aos", stream=self.stream)
        x, number = (vrampool.torch.view(table[name]) for name in table)
        number.copy_(torch.arange(1000))
        x.copy_(number * 0.5)
        shared = self.client.share(table, stream=self.stream)
        out = self.run_python(
            "import sys, torch, vrampool, vrampool.torch\n"
            "stream = torch.cuda.current_stream()\n"
            "client = vrampool.connect()\n"
            "table = client.open_table(sys.argv[1], wait=30, stream=stream)\n"
            "soa = table.to_soa(stream)\n"
            "x = vrampool.torch.view(soa['x'])\n"
            "print(x.is_contiguous(), float(x.sum()))\n"
            "vrampool.torch.view(table['x']).zero_()\n"
            "stream.synchronize()\n", shared.token)
        self.assertEqual(out.split(), ["True", str(0.5 * 999 * 500)])
        self.assertEqual(float(x.abs().sum()), 0)
        self.assertEqual(int(number.sum()), 999 * 500)

    def test_how_fast(self):
        """Bytes read and written a second, beside a plain copy's. Printed, and
        far from what a copy field by field comes to."""
        plain = self.measure(self.copier(GIB), 2 * GIB)
        print(json.dumps({"copy": plain / 1e9}))
        for types in (["float32"] * 4, ["float32"] * 8, ["float32"] * 16,
                      ["float64"] * 16, ["float32"] * 3 + ["int8"]):
            fields = [(str(i), kind) for i, kind in enumerate(types)]
            row = sum(vrampool.dtype(kind).itemsize for kind in types)
            aos = self.client.table(fields, GIB // row, layout="aos",
                                    stream=self.stream)
            soa = aos.to_soa(self.stream)
            moved = aos.nbytes + soa.nbytes
            speeds = {
                "to_soa": self.measure(lambda: aos.to_soa(self.stream), moved),
                "to_aos": self.measure(lambda: soa.to_aos(self.stream), moved)}
            print(json.dumps({"types": types, **{
                name: speed / 1e9 for name, speed in speeds.items()}}))
            for name, speed in speeds.items():
                self.assertGreater(speed, plain / 4, (name, types))
            del aos, soa

    def copier(self, size):
        source, target = (torch.empty(size, dtype=torch.uint8, device="cuda")
                          for _ in range(2))
        return lambda: target.copy_(source)

    def measure(self, work, moved):
        """The best of some."""
        best = float("inf")
        for _ in range(8):
            begin, end = (torch.cuda.Event(enable_timing=True)
                          for _ in range(2))
            begin.record()
            work()
            end.record()
            end.synchronize()
            best = min(best, begin.elapsed_time(end) / 1e3)
        return moved / best


if __name__ == "__main__":
    if not (case.Case.device or "").startswith("cuda"):
        sys.exit("this test is of a GPU's memory: set VRAMPOOL_TEST_DEVICE")
    case.main()
