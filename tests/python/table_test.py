#!/usr/bin/env python3
"""Tables: both layouts, between processes, and metadata that lies.

    table_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL FRAMEWORKS

FRAMEWORKS is the list of interpreters that make_venv.sh wrote.
"""

import gc
import json
import pathlib
import sys

import case

import ml_dtypes
import numpy
import pyarrow
import vrampool
import vrampool.arrow

EVERY_TYPE = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
    "uint64", "float16", "float32", "float64", "complex64", "complex128",
    "bfloat16", "float8_e5m2"]
FIELDS = {"flag": "bool", "x": "float64", "id": "int16", "y": "float32"}

INTERPRETERS = {}  # Framework to interpreter, set by the command line.

# Reads a table of FIELDS, doubles its "x", and adds its "id" to "y".
WORK = """
import importlib, sys, vrampool
framework = importlib.import_module("vrampool." + sys.argv[2])
client = vrampool.connect()
table = client.open_table(name=sys.argv[1], wait=30)
x, y, number, flag = (framework.view(table[name])
                      for name in ("x", "y", "id", "flag"))
print(table.layout, table.rows, *table.fields, table["x"].strides[0],
      int(flag.sum()))
x *= 2
y += number
"""


def filled(client, layout, rows=1000, fields=FIELDS):
    table = client.table(fields, rows, layout=layout)
    for number, tensor in enumerate(table.columns().values()):
        values = numpy.arange(rows) * (number + 1) % 120
        tensor.numpy()[:] = values.astype(tensor.numpy().dtype)
    return table


class TableTest(case.Case):
    def setUp(self):
        super().setUp()
        self.client = self.connect()

    def test_structures_are_those_of_c(self):
        fields = [(name, name) for name in EVERY_TYPE
                  if not name.startswith("complex")]
        for these in (fields, fields[::-1], fields[3:7] + fields[:3]):
            table = self.client.table(these, 5, layout="aos")
            wanted = numpy.dtype(
                [(name, getattr(ml_dtypes, name, name)) for name, _ in these],
                align=True)
            self.assertEqual(table.row_bytes, wanted.itemsize)
            self.assertEqual(
                [table.offset(name) for name in table],
                [wanted.fields[name][1] for name in wanted.names])
            self.assertEqual(table.nbytes, 5 * wanted.itemsize)
        # Complex numbers are aligned to the whole, as CUDA's are.
        table = self.client.table([("a", "int8"), ("z", "complex64")], 3,
                                  layout="aos")
        self.assertEqual((table.offset("z"), table.row_bytes), (8, 16))

    def test_fields_are_views_of_the_memory(self):
        for layout, stride in (("aos", 3), ("soa", 1)):
            table = filled(self.client, layout, 10)
            self.assertEqual((table.layout, len(table), list(table)),
                             (layout, 10, list(FIELDS)))
            x = table["x"]
            self.assertEqual((x.strides, x.address),
                             ((stride,), table.address + table.offset("x")))
            self.assertEqual(x.numpy().tolist(), list(range(0, 20, 2)))
            x.numpy()[3] = -1
            self.assertEqual(table["x"].numpy()[3], -1)
            self.assertEqual(vrampool.view_of(x.numpy()).address, x.address)
            with self.assertRaisesRegex(KeyError, "'z'.*'flag', 'x'"):
                table["z"]
            self.assertIn("x", table)
            self.assertNotIn("z", table)
            frozen = table.as_readonly()
            self.assertFalse(frozen["x"].numpy().flags.writeable)
        for tensor in filled(self.client, "soa", 7).columns().values():
            self.assertEqual(tensor.address % 256, 0)

    def test_numpys_structured_arrays(self):
        table = self.client.table(
            numpy.dtype([("a", "i1"), ("b", "f8"), ("c", "c8")]), 4,
            layout="aos")
        array = table.numpy()
        array["a"], array["b"], array["c"] = 1, 2.5, 3j
        array[2] = (7, 8, 9)
        self.assertEqual(table["a"].numpy().tolist(), [1, 1, 7, 1])
        self.assertEqual(table["c"].numpy().tolist(), [3j, 3j, 9, 3j])
        self.assertEqual(array.ctypes.data, table.address)
        with self.assertRaisesRegex(BufferError, "to_aos"):
            table.to_soa().numpy()
        del table
        gc.collect()
        self.assertEqual(self.client.usage().live_blocks, 1)
        self.assertEqual(array["b"].sum(), 2.5 * 3 + 8)
        del array
        gc.collect()
        self.assertEqual(self.client.usage().live_blocks, 0)

    def test_conversions_move_every_bit_of_every_type(self):
        random = numpy.random.default_rng(1)
        fields = {name: name for name in EVERY_TYPE}
        for rows in (0, 1, 2, 1000, 12345):
            table = self.client.table(fields, rows, layout="aos")
            whole = numpy.frombuffer(table._memory.memoryview(), "uint8")
            whole[:] = random.integers(0, 256, whole.size)
            self.check_conversions(table)

    def test_conversions_without_numpy(self):
        out = self.run_python(
            "import sys\n"
            "sys.modules['numpy'] = None\n"
            "import vrampool\n"
            "client = vrampool.connect()\n"
            f"for rows in (1, 3, 5000):\n"
            f"    table = client.table({list(zip(EVERY_TYPE, EVERY_TYPE))!r},\n"
            "                         rows, layout='aos')\n"
            "    memory = table._memory.memoryview()\n"
            "    size = table.row_bytes\n"
            "    memory[:] = bytes(i * i % 251 for i in range(rows * size))\n"
            "    soa = table.to_soa()\n"
            "    back = soa.to_aos()\n"
            "    for name, kind in table.fields.items():\n"
            "        start, width = table.offset(name), kind.itemsize\n"
            "        column = b''.join(\n"
            "            memory[start + i * size:start + i * size + width]\n"
            "            for i in range(rows))\n"
            "        assert bytes(soa[name]._derived(\n"
            "            soa[name].address, vrampool.dtype('uint8'),\n"
            "            (width * rows,), (1,)).memoryview()) == column, name\n"
            "        again = back._memory.memoryview()\n"
            "        assert b''.join(\n"
            "            again[start + i * size:start + i * size + width]\n"
            "            for i in range(rows)) == column, name\n"
            "print('same')\n")
        self.assertEqual(out, "same\n")

    def check_conversions(self, table):
        def bits(tensor):
            return tensor.numpy().tobytes()
        soa = table.to_soa()
        self.assertIs(soa.to_soa(), soa)
        self.assertEqual((soa.layout, soa.rows, soa.fields),
                         ("soa", table.rows, table.fields))
        back = soa.to_aos()
        self.assertEqual(back.layout, "aos")
        for name in table:
            self.assertEqual(bits(soa[name]), bits(table[name]), name)
            self.assertEqual(bits(back[name]), bits(table[name]), name)

    def test_another_process_and_framework_has_the_same_table(self):
        for layout, stride, framework in (
                ("aos", 3, "torch"), ("soa", 1, "torch"), ("aos", 3, "numpy"),
                ("soa", 1, "numpy")):
            if INTERPRETERS[framework] == "-":
                print("\nnot tested here:", framework)
                continue
            table = filled(self.client, layout)
            before = {name: table[name].numpy().copy() for name in table}
            shared = self.client.share(table, name="table")
            out = self.run_python(WORK, "table", framework,
                                  python=INTERPRETERS[framework])
            self.assertEqual(out.split(), [
                layout, "1000", *FIELDS, str(stride),
                str(int(before["flag"].sum()))])
            self.assertTrue((table["x"].numpy() == 2 * before["x"]).all())
            self.assertTrue((table["y"].numpy() ==
                             before["y"] + before["id"]).all())
            self.client.unlink("table")
            del table, shared
            self.eventually(lambda: self.client.usage().live_blocks == 0,
                            "a block lives on")

    def test_opening_and_sharing_on(self):
        other = self.connect()
        for rows in (3, 0):
            for layout in ("aos", "soa"):
                shared = self.client.share(
                    filled(self.client, layout, rows))
                opened = other.open_table(shared.token, readonly=True)
                self.assertEqual((opened.rows, opened.layout), (rows, layout))
                self.assertTrue(opened.readonly)
                self.assertEqual(
                    {name: kind.name for name, kind in opened.fields.items()},
                    FIELDS)
                self.assertFalse(opened["x"].numpy().flags.writeable)
                self.check_conversions(opened)
                turned = opened.to_soa() if layout == "aos" else (
                    opened.to_aos())
                passed_on = other.share(turned)
                again = self.client.open_table(passed_on.token)
                self.assertNotEqual(again.layout, layout)
                self.assertEqual(again["x"].numpy().tolist(),
                                 [0, 2, 4][:rows])
        shared = self.client.share(self.client.empty(3))
        with self.assertRaisesRegex(vrampool.InvalidArgument, "no table"):
            other.open_table(shared.token)
        with self.assertRaisesRegex(TypeError, "metadata"):
            self.client.share(filled(self.client, "aos"), metadata=b"x")

    def test_a_structure_of_arrays_is_a_record_batch(self):
        fields = {"a": "int8", "b": "float64", "c": "uint16", "d": "float16"}
        for rows in (0, 100):
            table = filled(self.client, "soa", rows, fields)
            batch = pyarrow.record_batch(vrampool.arrow.table(table))
            batch.validate(full=True)
            self.assertEqual(batch.schema.names, list(fields))
            for name in fields:
                self.assertEqual(batch.column(name).to_pylist(),
                                 table[name].numpy().tolist())
                self.assertEqual(batch.column(name).buffers()[1].address,
                                 table[name].address)
        expected = table["b"].numpy().tolist()
        del table
        gc.collect()
        self.assertEqual(batch.column("b").to_pylist(), expected)
        with self.assertRaisesRegex(BufferError, "to_soa"):
            vrampool.arrow.table(filled(self.client, "aos", 1))
        for wrong in ("bool", "bfloat16", "complex64"):
            with self.assertRaises(TypeError):
                vrampool.arrow.table(self.client.table({"x": wrong}, 1))

    def test_what_is_no_table_is_refused(self):
        for fields, rows, layout, error in (
                ({}, 1, "soa", ValueError), ({"": "int8"}, 1, "soa", ValueError),
                ({"a\0": "int8"}, 1, "soa", ValueError),
                ({3: "int8"}, 1, "soa", ValueError),
                ([("a", "int8"), ("a", "int8")], 1, "soa", ValueError),
                ([("a",)], 1, "soa", ValueError),
                ({"a": (2, 32, 4)}, 1, "soa", TypeError),
                ({"a": "text"}, 1, "soa", TypeError),
                ({"a": "int8"}, -1, "soa", ValueError),
                ({"a": "int8"}, 1.5, "soa", TypeError),
                ({"a": "int8"}, 1 << 60, "soa", ValueError),
                ({"a": "int8"}, 1 << 56, "soa", vrampool.InvalidArgument),
                ({"a": "int8"}, 1, "rows", ValueError)):
            with self.subTest(fields=fields, rows=rows, layout=layout):
                with self.assertRaises(error):
                    self.client.table(fields, rows, layout=layout)
        with self.assertRaisesRegex(vrampool.InvalidArgument, "shorter"):
            self.client.share(self.client.table(
                {f"{'long' * 100} {i}": "int8" for i in range(200)}, 1))
        table = filled(self.client, "aos")
        table.close()
        for use in (lambda: table["x"], table.to_soa, table.numpy,
                    lambda: self.client.share(table)):
            with self.assertRaises(vrampool.Closed):
                use()

    def test_metadata_that_lies_is_refused(self):
        table = filled(self.client, "aos", 10)
        magic, true = b"vrampool.table.1\n", ["aos", 10, [["x", 2, 64]]]
        self.opened(magic + json.dumps(true).encode(), table)
        lies = [
            ["aos", 10 ** 6, true[2]], ["soa", 1 << 55, true[2]],
            ["aos", -1, true[2]], ["aos", True, true[2]], ["aos", 2.0, true[2]],
            ["aos", "10", true[2]], ["other", 10, true[2]], [3, 10, true[2]],
            [["aos"], 10, true[2]], ["aos", 10, []], ["aos", 10, 5],
            ["aos", 10, None], ["aos", 10, [["x", 2]]], ["aos", 10, ["x23"]],
            ["aos", 10, {"x23": 1}], ["aos", 10, [["x", 2, 64]] * 2],
            ["aos", 10, [["x", "2", 64]]], ["aos", 10, [["x", 2, -64]]],
            ["aos", 10, [["x", 2, 63]]], ["aos", 10, [["x", True, 64]]],
            ["aos", 10, [["x", 2, 0]]], ["aos", 10, [["x", 99, 64]]],
            ["aos", 10, [["", 2, 64]]], ["aos", 10, [["a\0b", 2, 64]]],
            ["aos", 10, [["\ud800", 2, 64]]], ["aos", 10, [[["x"], 2, 64]]],
            ["aos", 10, [[None, 2, 64]]], ["aos", 10], [], {}, None, 7,
            ["aos", 10, true[2], 1]]
        texts = [json.dumps(lie).encode() for lie in lies]
        texts += [b"", b"\xff", b"[" * 60000, b"1" * 60000,
                  b'["aos",' + b"9" * 5000 + b',[["x",2,64]]]']
        for text in texts:
            with self.assertRaises(vrampool.InvalidArgument, msg=text[:80]):
                self.opened(magic + text, table)
        with self.assertRaisesRegex(vrampool.InvalidArgument, "no table"):
            self.opened(b"vrampool.arrow.1\n[]", table)
        true_text = magic + json.dumps(true).encode()
        for parts in ([table._memory, self.client.allocate(8)],
                      self.client.empty(1000),
                      self.client.empty((9, 90), "uint8")):
            shared = self.client.share(parts, metadata=true_text)
            with self.assertRaises(vrampool.InvalidArgument):
                self.client.open_table(shared.token)

    def opened(self, metadata, table):
        shared = self.client.share(table._memory, metadata=metadata)
        return self.client.open_table(shared.token)


if __name__ == "__main__":
    for line in pathlib.Path(sys.argv.pop(4)).read_text().splitlines():
        name, interpreter, *_ = line.split()
        INTERPRETERS[name] = interpreter
    case.main()
