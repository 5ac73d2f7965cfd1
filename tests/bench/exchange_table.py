#!/usr/bin/env python3
"""An Arrow table to another process: what it takes from having it in one process
until the other has it, and until that has summed up a column. For exchange.py; run
beside a daemon.

    exchange_table.py WAY [--quick] [--shm FOLDER] [--memory]

WAY: "vrampool" (vrampool.arrow.share: one copy), "vrampool in place" (the
producer made the table in the pool: none), "pickle pipe" and "pickle queue"
(multiprocessing's), "IPC file" (pyarrow's file format, written into FOLDER, which
is memory, and mapped by the other).

"first" is the first table of two processes, with a small one before it. With
--memory it only says first which processes and which file are at work, for
exchange_memory.py.
"""

import json
import multiprocessing
import os
import statistics
import sys
import time

import numpy
import pyarrow
import pyarrow.compute
import pyarrow.ipc
import vrampool
import vrampool.arrow
from exchange_say import say

SPAWN = multiprocessing.get_context("spawn")
COLUMNS, SMALL_ROWS = 8, 1000
ROWS = (1 << 20 if "--quick" in sys.argv else 1 << 30) // (8 * COLUMNS)
TRIPS = 2 if "--quick" in sys.argv or "--memory" in sys.argv else 4
FOLDER = sys.argv[sys.argv.index("--shm") + 1]
NAMES = [f"column {number}" for number in range(COLUMNS)]


class PickleWay:
    """Through what `link` sends and receives."""

    def __init__(self, link):
        self.link = link

    def make(self, rows):
        return pyarrow.table({
            name: numpy.full(rows, number, "float64")
            for number, name in enumerate(NAMES)})

    def send(self, table):
        self.link.send(table)

    def receive(self):
        return self.link.receive()

    def let_go(self):
        """The other process has no use for the last table any more."""


class PoolWay(PickleWay):
    def __init__(self, link):
        super().__init__(link)
        self.client = vrampool.connect()
        self.shared = None

    def send(self, table):
        self.shared = vrampool.arrow.share(self.client, table)
        self.link.send(self.shared.token)

    def receive(self):
        opened = self.client.open(self.link.receive())
        return pyarrow.record_batch(vrampool.arrow.view(opened))

    def let_go(self):
        self.shared = None


class InPlaceWay(PoolWay):
    def make(self, rows):
        table = self.client.table(dict.fromkeys(NAMES, "float64"), rows)
        for number, name in enumerate(NAMES):
            table[name].numpy()[:] = number
        return table

    def send(self, table):
        self.shared = self.client.share(table)
        self.link.send(self.shared.token)

    def receive(self):
        opened = self.client.open_table(self.link.receive())
        return pyarrow.record_batch(vrampool.arrow.table(opened))


class FileWay(PickleWay):
    def __init__(self, link):
        super().__init__(link)
        self.path = os.path.join(FOLDER, f"exchange-{os.getpid()}.arrow")

    def send(self, table):
        with (pyarrow.OSFile(self.path, "wb") as file,
              pyarrow.ipc.new_file(file, table.schema) as writer):
            writer.write_table(table)
        self.link.send(self.path)

    def receive(self):
        return pyarrow.ipc.open_file(
            pyarrow.memory_map(self.link.receive())).read_all()

    def let_go(self):
        os.unlink(self.path)


WAYS = {"vrampool": PoolWay, "vrampool in place": InPlaceWay,
        "pickle pipe": PickleWay, "pickle queue": PickleWay,
        "IPC file": FileWay}


class PipeLink:
    def __init__(self, ends):
        self.ends = ends

    def send(self, message):
        self.ends[0].send(message)

    def receive(self):
        return self.ends[1].recv()


class QueueLink(PipeLink):
    def send(self, message):
        self.ends[0].put(message)

    def receive(self):
        return self.ends[1].get()


def link_of(name, ends):
    return (QueueLink if name == "pickle queue" else PipeLink)(ends)


def consume(name, ends, trips):
    link = link_of(name, ends)
    way = WAYS[name](link)
    for _ in range(trips):
        table = way.receive()
        has = time.monotonic_ns()
        total = pyarrow.compute.sum(table.column(NAMES[1])).as_py()
        summed = time.monotonic_ns()
        del table
        link.send((has, summed, total))


def trip(way, link, table):
    """Until the other has it, and has the sum. Both read one clock."""
    begin = time.monotonic_ns()
    way.send(table)
    has, summed, total = link.receive()
    rows = len(table) if isinstance(table, vrampool.Table) else table.num_rows
    if total != rows:
        raise SystemExit(f"the sum is {total}, and not {rows}")
    way.let_go()
    return has - begin, summed - begin


def main():
    name = sys.argv[1]
    if name == "pickle queue":
        there, back = SPAWN.Queue(), SPAWN.Queue()
        ours, theirs = (there, back), (back, there)
    else:
        (take, there), (get, back) = SPAWN.Pipe(False), SPAWN.Pipe(False)
        ours, theirs = (there, get), (back, take)
    process = SPAWN.Process(target=consume, args=(name, theirs, TRIPS + 1))
    process.start()
    link = link_of(name, ours)
    way = WAYS[name](link)
    if "--memory" in sys.argv:
        print(json.dumps({"pids": [os.getpid(), process.pid],
                          "file": getattr(way, "path", "")}), flush=True)
    trip(way, link, way.make(SMALL_ROWS))
    table = way.make(ROWS)
    times = [trip(way, link, table) for _ in range(TRIPS)]
    process.join()
    if "--memory" not in sys.argv:
        for number, case in enumerate(("has it", "has a sum")):
            say(f"{case}, first", times[0][number])
            say(case, statistics.median(each[number] for each in times[1:]))
    return process.exitcode


if __name__ == "__main__":
    sys.exit(main())
