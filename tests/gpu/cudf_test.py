#!/usr/bin/env python3
"""cuDF that draws all its memory from the pool, on a GPU: results, accounts,
limits, and frames that other processes open.

    cudf_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL PLACES

PLACES is the PYTHONPATH by which cuDF, its RMM and vrampool_rmm for that are
found. Needs CuPy and pandas, and VRAMPOOL_TEST_DEVICE ("cuda:0"). cuDF has the
last word on which memory it takes, so each test has processes of its own.
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "python"))
import case  # noqa: E402

MIB = case.MIB
GIB = 1 << 30
# What cuDF may take of the GPU beside the pool once it has run on something
# small: code of kernels for sizes that it had not seen.
BESIDE = 256 * MIB

POOL = """
import gc, json, pickle, sys, time
import cudf, cupy, numpy, pylibcudf, rmm
import vrampool, vrampool.arrow, vrampool.rmm

client = vrampool.connect()
mr = vrampool.rmm.resource(client)
rmm.mr.set_current_device_resource(mr)

def forget(*frames):
    # What an operation has worked out of an index stays with that: 8 bytes a
    # row. And cuDF keeps some scalars that it has met, by their values.
    for frame in frames:
        assert isinstance(frame.index, cudf.RangeIndex)
        frame.index = cudf.RangeIndex(len(frame))
    cudf.utils.scalar.pa_scalar_to_plc_scalar.cache_clear()
    gc.collect()
    cupy.cuda.Device().synchronize()

def await_no_blocks():
    deadline = time.monotonic() + 60
    while client.usage().live_blocks:
        assert time.monotonic() < deadline, client.usage()
        forget()

def say(**what):
    print(json.dumps(what), flush=True)

def hear():
    return sys.stdin.readline()

def pieces_of(frame):
    # All memory of a frame's columns: addresses and sizes.
    def walk(column):
        for part in (column.data(), column.null_mask()):
            if part is None:
                continue
            if not hasattr(part, "ptr"):  # What the frame was made of.
                part = pylibcudf.gpumemoryview(part)
            if part.size:
                yield part.ptr, part.size
        for child in column.children():
            yield from walk(child)
    table, _ = frame.to_pylibcudf()
    return [piece for column in table.columns() for piece in walk(column)]

def lies_in(tensors, frame):
    return all(any(one.address <= start and
                   start + size <= one.address + one.nbytes for one in tensors)
               for start, size in pieces_of(frame))
"""

# The same by cuDF and by pandas; sums of values are exact in any order.
WORK = """
import hashlib, numpy

def tables(library, rows):
    random = numpy.random.default_rng(7)
    keys = numpy.arange(0, rows // 8, 2)
    left = library.DataFrame({
        "row": numpy.arange(rows),
        "key": random.integers(0, rows // 8, rows),
        "group": random.integers(0, 1000, rows, "int32"),
        "value": random.integers(-8000, 8000, rows) / 8})
    left["name"] = left["group"].astype("str")
    left["maybe"] = left["value"].where(left["value"] > 0)
    return left, library.DataFrame({"key": keys, "weight": keys % 97})

def results(left, right):
    groups = left.groupby("group", sort=True)
    return {
        "sum": groups[["value", "row"]].sum().reset_index(),
        "mean": groups[["value"]].mean().reset_index(),
        "max": groups[["maybe", "row"]].max().reset_index(),
        "count": groups[["maybe"]].count().reset_index(),
        "named": left.groupby("name", sort=True)[["value"]].sum().reset_index(),
        "joined": left.merge(right, on="key", how="inner").sort_values(
            "row").reset_index(drop=True),
        "sorted": left.sort_values(["group", "value", "row"]).reset_index(
            drop=True),
        "chosen": left[(left["value"] > 0) & (left["group"] < 500)].reset_index(
            drop=True)}

def digests(made):
    # By cuDF's own hashes where there are texts.
    def numbers(column):
        if column.dtype.kind not in "if":
            column = column.hash_values()
        return column.fillna(0).to_numpy()
    told = {}
    for name, frame in made.items():
        hashed = hashlib.sha256()
        for column in frame.columns:
            array = numbers(frame[column])
            hashed.update(f"{column} {array.dtype} {len(array)} ".encode())
            hashed.update(array.tobytes())
        told[name] = hashed.hexdigest()
    return told
"""

OWN = WORK + """
import json, sys, cudf
print(json.dumps(digests(results(*tables(cudf, int(sys.argv[1]))))))
"""

WORKS = POOL + WORK + """
import pandas
rows, few = int(sys.argv[1]), 100_000

def same(ours, theirs):
    assert list(ours.columns) == list(theirs.columns)
    for name in theirs.columns:
        mine, yours = ours[name].to_pandas(), theirs[name]
        if yours.dtype.kind in "if":
            assert numpy.array_equal(mine.to_numpy(), yours.to_numpy(),
                                     equal_nan=yours.dtype.kind == "f"), name
        else:
            assert list(mine) == list(yours), name

def compare():
    made = results(*tables(cudf, few))
    for name, theirs in results(*tables(pandas, few)).items():
        same(made[name], theirs)

compare()
await_no_blocks()
say(free=rmm.mr.available_device_memory()[0])
hear()

left, right = tables(cudf, rows)
made = results(left, right)
told = digests(made)
forget(left, right, *made.values())
blocks = {}
for frame in (left, right, *made.values()):
    for start, size in pieces_of(frame):
        block = client.describe(start)  # NotFound if it is not the pool's.
        assert start + size <= block.address + block.size_bytes
        blocks[block.address] = block.size_bytes
say(digests=told, blocks=sum(blocks.values()),
    free=rmm.mr.available_device_memory()[0], **client.usage()._asdict())
hear()

del left, right, made, frame
await_no_blocks()
client.quiesce()
say(**client.usage()._asdict())
hear()
"""

LIMITED = POOL + """
rows = 10_000_000
column = cudf.Series(numpy.arange(rows))
same = cudf.DataFrame({"key": numpy.zeros(20_000, "int64")})
forget()
before = client.usage().live_bytes
for ask in (lambda: cudf.concat([column] * 20), lambda: same.merge(same, on="key"),
            lambda: cudf.Series(cupy.zeros(1 << 28))):
    try:
        ask()
    except MemoryError as error:
        assert "limit" in str(error) or "tenant" in str(error), error
    else:
        raise AssertionError("was not refused")
    del ask
    forget(column, same)
    assert client.usage().live_bytes == before, client.usage()
    assert int(column.sum()) == rows * (rows - 1) // 2
frame = cudf.DataFrame({"key": column % 10, "value": column})
sums = frame.groupby("key", sort=True)["value"].sum()
assert int(sums.iloc[3]) == sum(range(3, rows, 10))
del column, same, frame, sums
await_no_blocks()
print("works")
"""

FRAME = """
def new_frame(library):
    frame = library.DataFrame({"number": numpy.arange(100_000),
                               "half": numpy.arange(100_000) / 2})
    frame["name"] = (frame["number"] % 1000).astype("str")
    frame["maybe"] = frame["half"].where(frame["number"] % 3 > 0)
    return frame
"""

# Every type of column, as a frame's buffers and what cuDF says of them.
LENDS = POOL + FRAME + """
frame = new_frame(cudf)
forget()
places = {start for start, _ in pieces_of(frame)}
header, parts = frame.device_serialize()
assert all(header["is-cuda"]) and len(parts) >= 6, header
shared = client.share(parts, metadata=pickle.dumps(header), stream=0)
assert {part.address for part in shared} == places
say(token=shared.token)
hear()
assert int(frame["number"].sum()) == 7 * len(frame)  # The other's doing.
del frame, parts, header
shared.close()
del shared
forget()
say(gone=True)
hear()
await_no_blocks()
"""

OPENS = POOL + FRAME + """
import pandas
expected = new_frame(pandas)
opened = client.open(sys.argv[1], wait=60, stream=0)
tensors = list(opened)
frame = cudf.DataFrame.device_deserialize(pickle.loads(opened.metadata), tensors)
other = cudf.DataFrame.device_deserialize(
    pickle.loads(opened.metadata), list(map(pylibcudf.gpumemoryview, tensors)))
assert client.usage().live_bytes == 0, client.usage()  # None of its own.
assert lies_in(tensors, frame)
assert pieces_of(other) == pieces_of(frame)
table, _ = other.to_pylibcudf()
twice = pylibcudf.concatenate.concatenate([table, table])
assert twice.num_rows() == 2 * len(frame)
del other, table, twice
assert client.usage().opened_bytes >= sum(one.nbytes for one in tensors)

def same():
    host = frame.to_pandas()
    for name in ("half", "maybe"):
        assert numpy.array_equal(host[name], expected[name], equal_nan=True)
    assert list(host["name"]) == list(expected["name"])
    sums = frame.groupby("name", sort=True)[["half"]].sum()
    wanted = expected.groupby("name", sort=True)[["half"]].sum()
    assert numpy.array_equal(sums.to_pandas()["half"], wanted["half"])

assert numpy.array_equal(frame["number"].to_numpy(), expected["number"])
same()
numbers = cupy.asarray(frame["number"])
assert any(numbers.data.ptr == one.address for one in tensors)
numbers[:] = 7
cupy.cuda.Stream.null.synchronize()
say(written=True)
hear()
opened.close()
del opened, tensors
same()  # The frame keeps the memory, though its producer has let go of it.
assert int(frame["number"].sum()) == 7 * len(frame)
del frame, numbers
await_no_blocks()
say(done=True)
hear()
"""

# Columns of numbers by themselves, and a table of the pool as Arrow's.
LENDS_NUMBERS = POOL + """
frame = cudf.DataFrame({"x": numpy.arange(1000.0), "y": numpy.arange(1000)})
columns = client.share([frame["x"], frame["y"]], stream=0)
table = client.table({"x": "float32", "id": "int64"}, 1000, stream=0)
for name in table:
    cupy.from_dlpack(table[name])[:] = cupy.arange(1000)
shared = client.share(table, stream=0)
say(columns=columns.token, table=shared.token)
hear()
assert float(frame["x"].sum()) == 0
assert int(cupy.from_dlpack(table["id"]).sum()) == 0
say(seen=True)
hear()
"""

OPENS_NUMBERS = POOL + """
opened = client.open(sys.argv[1], wait=60, stream=0)
x, y = opened
frame = cudf.DataFrame.from_pylibcudf(
    pylibcudf.Table([pylibcudf.Column.from_cuda_array_interface(one)
                     for one in (x, y)]), {"columns": ["x", "y"]})
table = client.open_table(sys.argv[2], wait=60, stream=0)
view = vrampool.arrow.table(table)
other = cudf.DataFrame.from_pylibcudf(
    pylibcudf.Table.from_arrow(view), {"columns": list(table)})
assert client.usage().live_bytes == 0, client.usage()
assert [start for start, _ in pieces_of(frame)] == [x.address, y.address]
assert [start for start, _ in pieces_of(other)] == [
    table[name].address for name in table]
writable = cupy.asarray(frame["x"]), cupy.asarray(other["id"])
opened.close()
table.close()
del opened, table, view, x, y  # The frames keep the memory.
assert int(frame["y"].sum()) == int(other["id"].sum()) == 499500
joined = frame.merge(other, left_on="y", right_on="id")
assert float((joined["x_x"] - joined["x_y"]).abs().sum()) == 0
assert len(joined) == 1000
for array in writable:
    array[:] = 0
cupy.cuda.Stream.null.synchronize()
del array, writable, frame, other, joined
await_no_blocks()
say(done=True)
hear()
"""


class CudfCase(case.Case):
    def setUp(self):
        super().setUp()
        self.environment["PYTHONPATH"] += f":{PLACES}"
        self.environment["PYTHONWARNINGS"] = "ignore"

    def ask(self, process):
        """What a program says next, having heard a line if it waits for one."""
        if hasattr(process, "has_spoken"):
            process.stdin.write("\n")
            process.stdin.flush()
        process.has_spoken = True
        line = process.stdout.readline()
        self.assertTrue(line, "the program has ended")
        return json.loads(line)

    def end(self, process):
        out, _ = process.communicate("\n", timeout=case.PATIENCE_SECONDS)
        self.assertEqual((out, process.returncode), ("", 0))


class WorkTest(CudfCase):
    config = {"pool_size": "24GiB", "default_limit": "20GiB"}
    rows = 10_000_000

    def pool(self):
        """The daemon's books, in bytes."""
        status = self.operator("status")
        self.assertTrue(status["conservation_holds"])
        return {state.removesuffix("_bytes"): int(size)
                for state, size in status["pool"].items()}

    def test_results_are_cudfs_own_and_all_memory_is_the_pools(self):
        own = json.loads(self.run_python(OWN, self.rows))
        process = self.start_python(WORKS, self.rows)

        before, pool_before = self.ask(process), self.pool()
        during, pool_during = self.ask(process), self.pool()
        self.assertEqual(during["digests"], own)
        # What the frames have is what the process has, but for some scalars.
        self.assertGreater(during["blocks"], GIB)
        self.assertGreaterEqual(during["live_bytes"], during["blocks"])
        self.assertLess(during["live_bytes"] - during["blocks"], MIB)
        self.assertGreaterEqual(during["leased_bytes"], during["live_bytes"])
        self.assertGreaterEqual(pool_during["leased"], during["live_bytes"])
        # What the device lacks more is what the pool has more.
        on_device = [books["capacity"] - books["free"]
                     for books in (pool_before, pool_during)]
        beside = (before["free"] - during["free"]) - (
            on_device[1] - on_device[0])
        print(f"\n  cuDF: {during['live_bytes'] / MIB:.0f} MiB in the pool, "
              f"{beside / MIB:.0f} MiB more beside it")
        self.assertLess(beside, BESIDE)

        after = self.ask(process)
        self.assertEqual((after["live_bytes"], after["leased_bytes"]), (0, 0))
        self.eventually(lambda: self.pool()["leased"] == 0,
                        "the pool lacks what cuDF has given back")
        self.end(process)
        self.assertEqual(self.leaks_of_the_ended(), [])


class LimitTest(CudfCase):
    config = {"pool_size": "4GiB", "default_limit": "1GiB"}

    def test_beyond_the_limit_is_a_memory_error_and_the_process_goes_on(self):
        self.assertEqual(self.run_python(LIMITED), "works\n")


class ShareTest(CudfCase):
    config = {"pool_size": "4GiB", "default_limit": "2GiB"}

    def no_objects(self):
        self.eventually(lambda: self.operator("objects")["objects"] == [],
                        "an object lives on")

    def test_another_process_opens_a_frame_without_a_copy(self):
        lender = self.start_python(LENDS)
        opener = self.start_python(OPENS, self.ask(lender)["token"])
        self.assertEqual(self.ask(opener), {"written": True})
        self.assertEqual(self.ask(lender), {"gone": True})
        self.assertEqual(self.ask(opener), {"done": True})
        self.end(opener)
        self.end(lender)
        self.no_objects()

    def test_another_process_opens_columns_and_tables_without_a_copy(self):
        lender = self.start_python(LENDS_NUMBERS)
        tokens = self.ask(lender)
        opener = self.start_python(OPENS_NUMBERS, tokens["columns"],
                                   tokens["table"])
        self.assertEqual(self.ask(opener), {"done": True})
        self.assertEqual(self.ask(lender), {"seen": True})
        self.end(opener)
        self.end(lender)
        self.no_objects()


if __name__ == "__main__":
    if not (case.Case.device or "").startswith("cuda"):
        sys.exit("this test is of a GPU's memory: set VRAMPOOL_TEST_DEVICE")
    PLACES = sys.argv.pop(4)
    case.main()
