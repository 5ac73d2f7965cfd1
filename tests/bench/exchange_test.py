#!/usr/bin/env python3
"""What is made of the figures of an exchange: medians, ratios, tables, the picture;
and how the memory of two processes is counted."""

import os
import pathlib
import sys
import tempfile
import unittest
import xml.etree.ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import exchange  # noqa: E402  Found by the line above.
import exchange_chart  # noqa: E402
import exchange_memory  # noqa: E402

MIB = 1 << 20


def record(way, ns, number, case="again"):
    return {"workload": "tensor", "case": case, "way": way, "ns": ns,
            "round": number}


# The second round was twice as slow for everybody.
RECORDS = [
    record("torch queue", 300, 0), record("vrampool queue", 100, 0),
    record("vrampool pipe", 50, 0), record("torch queue", 600, 1),
    record("vrampool queue", 200, 1), record("vrampool pipe", 100, 1),
    record("bare", 7, 0, "new"),
    {"workload": "memory", "case": "table", "way": "vrampool", "round": 0,
     "both": 5 * MIB, "producer": 3 * MIB, "consumer": 4 * MIB},
    {"workload": "adapters", "case": "numba", "way": "own", "round": 0,
     "absent": "not in the list"}]


class FiguresTest(unittest.TestCase):
    def test_a_ratio_is_within_a_round_to_the_first_of_ours(self):
        rows = list(exchange.rows_of(RECORDS))
        self.assertEqual(rows, [
            ("tensor", "again", "torch queue", 450, 3),
            ("tensor", "again", "vrampool queue", 150, 1),
            ("tensor", "again", "vrampool pipe", 75, 0.5),
            ("tensor", "new", "bare", 7, None)])

    def test_tables(self):
        self.assertIn("| tensor | again | torch queue | 450 ns | 3 |",
                      exchange.table(RECORDS).splitlines())
        self.assertEqual(exchange.memory_table(RECORDS).splitlines()[2:],
                         ["| vrampool | 5 | 3 | 4 |"])
        self.assertEqual(exchange.memory_table(RECORDS[:3]), "")
        self.assertEqual([exchange.human(time) for time in
                          (2.5, 1234, 5.678e6, 3e9)],
                         ["2.5 ns", "1.23 us", "5.68 ms", "3 s"])

    def test_only_what_ours_cannot_do_is_a_failure(self):
        self.assertFalse(any(map(exchange.is_failure, RECORDS)))
        failed = {"workload": "tensor", "missing": "ended with 1"}
        self.assertTrue(exchange.is_failure({**failed, "way": "vrampool pipe"}))
        self.assertFalse(exchange.is_failure({**failed, "way": "torch pipe"}))

    def test_the_list_of_interpreters(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("torch /usr/bin/python3\nmxnet - no old Python here\n")
            file.flush()
            self.assertEqual(exchange.interpreters(file.name), (
                {"torch": "/usr/bin/python3"},
                {"mxnet": "no old Python here"}))

    def test_the_picture_has_a_bar_for_each_way(self):
        text = "\n".join(exchange_chart.picture(RECORDS))
        root = xml.etree.ElementTree.fromstring(text)
        bars = [bar for bar in root.iter("{http://www.w3.org/2000/svg}rect")
                if bar.get("fill") != "white"]
        self.assertEqual(len(bars), 3 + 1 + 1)
        longest = max(bars[:3], key=lambda bar: float(bar.get("width")))
        self.assertEqual(longest.get("fill"), exchange_chart.OTHERS)


class MemoryTest(unittest.TestCase):
    def test_what_both_have_mapped_counts_once(self):
        most = {"both": 0, "producer": 0, "consumer": 0, "samples": 0}
        side = {"anon": 1, "file": 2, "shmem": 10}
        exchange_memory.note(most, [side, side], 0)
        self.assertEqual(most, {"both": 26, "producer": 13, "consumer": 13,
                                "samples": 1})
        # Of the file all counts, though only half of it is mapped.
        exchange_memory.note(most, [side, side], 40)
        self.assertEqual(most["both"], 46)

    def test_a_process_and_a_file_in_memory(self):
        kept = bytearray(64 * MIB)
        self.assertGreater(exchange_memory.pss(os.getpid())["anon"], 60 * MIB)
        self.assertEqual(len(kept), 64 * MIB)
        self.assertEqual(exchange_memory.pss(1 << 30), {})
        with tempfile.NamedTemporaryFile() as file:
            file.write(bytes(MIB))
            file.flush()
            os.fsync(file.fileno())
            self.assertGreaterEqual(exchange_memory.held_by(file.name), MIB)
        self.assertEqual(exchange_memory.held_by(file.name), 0)


if __name__ == "__main__":
    unittest.main()
