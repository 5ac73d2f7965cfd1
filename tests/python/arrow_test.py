#!/usr/bin/env python3
"""Arrow data in the pool: every type, slices, tables, and metadata that lies.

    arrow_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL
"""

import copy
import datetime
import decimal
import gc
import json
import zlib

import case

import numpy
import pyarrow
import vrampool
import vrampool.arrow


def arrays():
    """One of each type, each of three elements."""
    make = pyarrow.array
    texts, lists = ["a", None, "c" * 50], [[1], None, [2, 3]]
    small = make([1, 2, None])
    return {
        "null": pyarrow.nulls(3), "bool": make([True, None, False]),
        **{str(kind): make([1, None, 3], kind) for kind in (
            pyarrow.int8(), pyarrow.uint16(), pyarrow.int64(),
            pyarrow.float32(), pyarrow.float64())},
        "float16": make(numpy.array([1, 2, 3], "float16")),
        **{str(kind): make(texts, kind) for kind in (
            pyarrow.string(), pyarrow.large_string(), pyarrow.string_view(),
            pyarrow.binary(), pyarrow.large_binary(), pyarrow.binary_view())},
        "short view": make(["a", None, "b"], pyarrow.string_view()),
        "fixed binary": make([b"ab", None, b"cd"], pyarrow.binary(2)),
        **{str(kind): make(lists, kind) for kind in (
            pyarrow.list_(pyarrow.int8()), pyarrow.large_list(pyarrow.int8()),
            pyarrow.list_view(pyarrow.int8()))},
        "fixed list": make([[1, 2], None, [3, 4]],
                           pyarrow.list_(pyarrow.int8(), 2)),
        "struct": make([{"a": 1, "b": "x"}, None, {"a": 2, "b": None}]),
        "map": make([[("k", 1)], None, []],
                    pyarrow.map_(pyarrow.string(), pyarrow.int32())),
        "dictionary": make(["a", "b", "a"]).dictionary_encode(),
        "decimal128": make([decimal.Decimal("1.5"), None, None],
                           pyarrow.decimal128(10, 2)),
        "decimal256": make([decimal.Decimal("1.5"), None, None],
                           pyarrow.decimal256(50, 2)),
        "date": make([datetime.date(2020, 1, 1), None, None]),
        **{str(kind): small.cast(kind) for kind in (
            pyarrow.timestamp("us", "UTC"), pyarrow.time64("ns"),
            pyarrow.duration("s"))},
        "time32": make([1, None, 2], pyarrow.time32("s")),
        "interval": make([(1, 2, 3), None, (0, 0, 0)],
                         pyarrow.month_day_nano_interval()),
        "dense union": pyarrow.UnionArray.from_dense(
            make([0, 1, 0], pyarrow.int8()), make([0, 0, 1], pyarrow.int32()),
            [make([1, 2]), make(["x"])]),
        "sparse union": pyarrow.UnionArray.from_sparse(
            make([0, 1, 0], pyarrow.int8()),
            [make([1, 2, 3]), make(["x", "y", "z"])]),
        "runs": pyarrow.RunEndEncodedArray.from_arrays(
            make([2, 3], pyarrow.int32()), make(["a", "b"]))}


class OnlyDevice:
    """A producer that speaks the device interface alone."""

    def __init__(self, view):
        self.view = view

    def __arrow_c_device_array__(self, requested_schema=None, **kwargs):
        return self.view.__arrow_c_device_array__(requested_schema, **kwargs)


class ArrowTest(case.Case):
    def setUp(self):
        super().setUp()
        self.client = self.connect()
        self.other = self.connect()

    def opened(self, data):
        """A view through another client, the only one there is then."""
        shared = vrampool.arrow.share(self.client, data)
        return vrampool.arrow.view(self.other.open(shared.token))

    def test_every_type_whole_sliced_and_empty(self):
        for name, array in arrays().items():
            for one in (array, array[1:], array[:2], array[:0]):
                with self.subTest(type=name, length=len(one)):
                    view = self.opened(one)
                    self.assertEqual(len(view), len(one))
                    result = pyarrow.array(view)
                    result.validate(full=True)
                    self.assertTrue(result.equals(one))

    def test_batches_and_tables_with_their_schemas(self):
        batch = pyarrow.record_batch(arrays())
        table = pyarrow.table(arrays())
        schema = table.schema.with_metadata({"made": "here"})
        table = pyarrow.concat_tables(
            [table, table.slice(1)]).cast(schema).unify_dictionaries()
        for data in (batch, batch.slice(1, 1), table, table.slice(0, 0),
                     pyarrow.schema({"x": pyarrow.string()}).empty_table()):
            result = pyarrow.record_batch(self.opened(data))
            result.validate(full=True)
            as_table = pyarrow.Table.from_batches([result])
            wanted = data if isinstance(data, pyarrow.Table) else (
                pyarrow.Table.from_batches([data]))
            self.assertTrue(as_table.equals(wanted))
            self.assertTrue(result.schema.equals(data.schema,
                                                 check_metadata=True))
        wide = pyarrow.table({f"column {i}": [i] for i in range(20000)})
        with self.assertRaisesRegex(vrampool.InvalidArgument, "several tables"):
            vrampool.arrow.share(self.client, wide)
        with self.assertRaisesRegex(TypeError, "__arrow_c_array__"):
            vrampool.arrow.share(self.client, [1, 2])

    def test_buffers_and_columns_are_the_memory_itself(self):
        view = self.opened(pyarrow.table({"x": [1, 2, 3], "y": [.5, 1, None]}))
        batch = pyarrow.record_batch(OnlyDevice(view))
        column = view["x"]
        self.assertEqual(column.numpy().tolist(), [1, 2, 3])
        self.assertEqual(batch.column("x").buffers()[1].address,
                         column.address)
        self.assertEqual(view.column_names, ["x", "y"])
        with self.assertRaisesRegex(TypeError, "nulls"):
            view["y"]
        with self.assertRaises(KeyError):
            view["z"]
        with self.assertRaisesRegex(TypeError, "'u'"):
            self.opened(pyarrow.table({"t": ["text"]}))["t"]
        with self.assertRaises(NotImplementedError):
            view.__arrow_c_device_array__(unheard_of=1)
        sliced = self.opened(pyarrow.record_batch({"x": [1, 2, 3]}).slice(1))
        self.assertEqual(sliced["x"].numpy().tolist(), [2, 3])

    def test_what_is_made_of_a_view_keeps_the_memory(self):
        batch = pyarrow.record_batch(
            self.opened(pyarrow.record_batch({"x": [1, 2], "t": ["a", "b"]})))
        column = batch.column("t")
        del batch
        gc.collect()
        self.assertEqual(len(self.operator("objects")["objects"]), 1)
        self.assertEqual(column.to_pylist(), ["a", "b"])
        del column
        view = self.opened(pyarrow.array([1]))
        capsules = [view.__arrow_c_array__(), view.__arrow_c_device_array__()]
        del view
        gc.collect()
        self.assertEqual(len(self.operator("objects")["objects"]), 1)
        del capsules
        gc.collect()
        self.assertEqual(self.operator("objects")["objects"], [])

    def test_tensors_are_arrays(self):
        tensor = self.client.empty(5, "float32")
        tensor.numpy()[:] = range(5)
        array = pyarrow.array(vrampool.arrow.array(tensor))
        self.assertEqual(array.buffers()[1].address, tensor.address)
        self.assertEqual(array.to_pylist(), [0, 1, 2, 3, 4])
        for wrong, error in (((2, 2), BufferError), ((), BufferError)):
            with self.assertRaises(error):
                vrampool.arrow.array(self.client.empty(wrong))
        for dtype in ("bool", "bfloat16"):
            with self.assertRaises(TypeError):
                vrampool.arrow.array(self.client.empty(1, dtype))

    def test_metadata_that_lies_is_refused(self):
        batch = pyarrow.record_batch(
            {"x": [1, 2], "t": ["a", "b"], "v": pyarrow.array(
                ["a", "b" * 20], pyarrow.string_view())})
        shared = vrampool.arrow.share(self.client, batch)
        magic, data = shared.metadata[:17], shared.metadata[17:]
        true = json.loads(zlib.decompress(data))
        column = [1, "children", 0]
        lies = [
            ([1, "length"], -1), ([1, "length"], 1 << 62), ([1, "length"], "2"),
            ([1, "length"], True), ([1, "offset"], 1 << 40),
            ([1, "null_count"], 3), ([*column, "length"], 100),
            ([*column, "buffers"], [None]), ([*column, "buffers", 1], None),
            ([*column, "buffers", 1], 1 << 40), ([*column, "buffers", 1], -8),
            ([1, "children", 1, "buffers", 1], 10 ** 6),
            ([1, "children", 2, "buffers", -1], 10 ** 6),
            ([1, "children"], []), ([1, "dictionary"], {}),
            ([0, "format"], "?"), ([0, "format"], "a\0b"), ([0, "name"], 3),
            ([0, "flags"], None), ([0, "metadata"], "AQAAAP///38="),
            ([0, "children"], 7), ([1], []), ([0], None)]
        for path, value in lies:
            trees = copy.deepcopy(true)
            place = trees
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = value
            self.refused(magic + zlib.compress(json.dumps(trees).encode()),
                         shared, (path, value))
        for text in (b"", b"x", data[:-3], zlib.compress(b"[" * 10 ** 5),
                     zlib.compress(bytes(17 << 20))):
            self.refused(magic + text, shared, text[:8])
        self.refused(b"something else", shared, "another magic")

    def refused(self, metadata, shared, what):
        lying = self.client.share(shared_block(self.client, shared),
                                  metadata=metadata)
        with self.assertRaises(vrampool.InvalidArgument, msg=what):
            vrampool.arrow.view(self.other.open(lying.token))


def shared_block(client, shared):
    """A block with the same bytes as an object's."""
    block = client.allocate(shared[0].nbytes)
    block.memoryview()[:] = shared[0].memoryview()
    return block


if __name__ == "__main__":
    case.main()
