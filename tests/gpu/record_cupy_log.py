#!/usr/bin/env python3
"""Records what a pipeline on tables in CuPy allocates, as a log for compare.sh.

    record_cupy_log.py ROUNDS LOG.csv

Each round makes a table of another number of rows, filters it, joins it with one
of keys (by sorting and searching), groups it, and keeps the sums of the last few
rounds. CuPy's own pool serves it; written is each block that it hands out and
takes back, in the form of RMM's logging_resource_adaptor. Needs a GPU and CuPy,
and no daemon.
"""

import pathlib
import sys

import cupy

HEADER = "Thread,Time,Action,Pointer,Size,Stream"
LEAST_ROWS, MOST_ROWS = 100_000, 4_000_000
KEYS, KEPT = 10_000, 8


class Recorder(cupy.cuda.MemoryHook):
    name = "Recorder"

    def __init__(self):
        self.lines = [HEADER]

    def malloc_postprocess(self, **what):
        self._note("allocate", what["mem_ptr"], what["size"])

    def free_preprocess(self, **what):
        if what["mem_ptr"]:
            self._note("free", what["mem_ptr"], what["mem_size"])

    def _note(self, action, pointer, size):
        stream = cupy.cuda.get_current_stream().ptr
        self.lines.append(
            f"1,{len(self.lines)},{action},{pointer:#x},{size},{stream:#x}")


def pipeline(random, keys):
    """The sums by key of one table; another number of rows each time."""
    rows = int(random.integers(LEAST_ROWS, MOST_ROWS))
    key = random.integers(0, 2 * KEYS, rows)
    price = random.random(rows)
    count = random.integers(1, 10, rows)
    wanted = price > 0.25
    key, total = key[wanted], (price * count)[wanted]
    place = cupy.searchsorted(keys, key)
    place = cupy.minimum(place, KEYS - 1)
    matches = keys[place] == key
    place, total = place[matches], total[matches]
    order = cupy.argsort(place)
    place, total = place[order], total[order]
    sums = cupy.zeros(KEYS)
    cupy.add.at(sums, place, total)
    return sums, cupy.bincount(place, minlength=KEYS)


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    recorder = Recorder()
    with recorder:
        random = cupy.random.default_rng(7)
        keys = cupy.sort(cupy.random.permutation(2 * KEYS)[:KEYS])
        kept = []
        for _ in range(int(sys.argv[1])):
            kept = [*kept, pipeline(random, keys)][-KEPT:]
        cupy.cuda.Device().synchronize()
        del kept, keys, random
    pathlib.Path(sys.argv[2]).write_text("\n".join(recorder.lines) + "\n")
    print(f"{len(recorder.lines) - 1} operations")
    return 0


if __name__ == "__main__":
    sys.exit(main())
