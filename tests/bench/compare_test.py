#!/usr/bin/env python3
"""What is made of the figures of a comparison: medians, ratios, the table, the
picture; of PyTorch's memory history, and of a training loop's shape: a log to
replay; and of what callgrind writes: who executed how much."""

import io
import pathlib
import sys
import unittest
import xml.etree.ElementTree

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parent / "gpu")]
import compare  # noqa: E402  Found by the line above.
import compare_chart  # noqa: E402
import instructions  # noqa: E402
import record_log  # noqa: E402
import training_log  # noqa: E402


def record(allocator, case, ns, workload="pairs"):
    return {"allocator": allocator, "workload": workload, "case": case,
            "ns": ns}


RECORDS = [
    record("vrampool", "4 KiB", 30), record("vrampool", "4 KiB", 90),
    record("vrampool", "4 KiB", 40), record("malloc", "4 KiB", 20),
    record("mimalloc", "4 KiB", 10), record("empty", "4 KiB", 1),
    record("vrampool", "2", 50, "threads"),
    {"allocator": "rmm_pool", "workload": "pairs", "case": "all",
     "missing": "no driver"}]


class InstructionsTest(unittest.TestCase):
    def test_what_a_callee_took_is_its_own_alone(self):
        costs = instructions.self_costs(
            "ob=(1) /lib/libvrampool.so.0.1.0\nfn=(1) a\n10 5\n"
            "cob=(2) /lib/libc.so.6\ncfn=(2) b\ncalls=1 20\n10 100\n11 7\n"
            "ob=(2)\nfn=(2)\n20 60\n+3 40\n")
        self.assertEqual(costs["libvrampool.so.0.1.0"], 12)
        self.assertEqual(costs["libc.so.6"], 100)
        self.assertEqual(instructions.kind_of("libvrampool.so.0.1.0"),
                         "libvrampool")
        self.assertEqual(instructions.kind_of("libc.so.6"), "system")


class TrainingLogTest(unittest.TestCase):
    def test_every_free_is_of_a_live_block_and_steps_leave_nothing(self):
        out = io.StringIO()
        training = training_log.Training(training_log.Log(out), 2, 64)
        training.begin()
        training.step(16)
        after_one = len(training.log.sizes)
        for length in (32, 8, 24):
            training.step(length)
            self.assertEqual(len(training.log.sizes), after_one)
        live = {}
        for line in out.getvalue().splitlines()[1:]:
            _, _, action, pointer, size, _ = line.split(",")
            if action == "allocate":
                self.assertNotIn(pointer, live)
                live[pointer] = size
            else:
                self.assertEqual(live.pop(pointer), size)
        self.assertEqual(len(live), after_one)


class FiguresTest(unittest.TestCase):
    def test_a_figure_is_the_median_of_the_rounds(self):
        times = compare.medians(RECORDS)
        self.assertEqual(times["pairs", "4 KiB"]["vrampool"], 40)
        self.assertNotIn(("pairs", "all"), times)

    def test_the_ratio_is_to_the_fastest_other_allocator(self):
        times = compare.medians(RECORDS)
        self.assertEqual(compare.ratio(times["pairs", "4 KiB"]), "4")
        self.assertEqual(compare.ratio(times["threads", "2"]), "")

    def test_the_table_shows_what_is_missing_as_a_dash(self):
        rows = compare.table(compare.medians(RECORDS),
                             ["vrampool", "malloc"]).splitlines()
        self.assertEqual(rows[1].split(), ["pairs", "4", "KiB", "40.0", "ns",
                                           "20.0", "ns", "4"])
        self.assertEqual(rows[2].split(), ["threads", "2", "50.0", "ns", "-"])

    def test_only_what_ours_cannot_do_is_a_failure(self):
        self.assertFalse(any(map(compare.is_failure, RECORDS)))
        ours = {"allocator": "vrampool VMM_FD", "workload": "pairs"}
        self.assertTrue(compare.is_failure({**ours, "missing": "no room"}))
        self.assertTrue(compare.is_failure(
            {**ours, "workload": "replay", "refused": 1}))

    def test_the_picture_has_a_line_for_each_allocator(self):
        text = "\n".join(compare_chart.picture([*RECORDS, {
            "allocator": "vrampool", "workload": "replay", "case": "x.csv",
            "ns": 3, "peak_held": 5, "peak_live": 4}]))
        root = xml.etree.ElementTree.fromstring(text)
        lines = [path for path in root.iter("{http://www.w3.org/2000/svg}path")
                 if path.get("fill") == "none"]
        self.assertEqual(len(lines), 5 + 2)  # The log's time, and its bytes.
        self.assertIn("bytes held for each byte alive", text)
        self.assertNotIn("streams", text)


class LogTest(unittest.TestCase):
    def test_blocks_are_written_and_segments_are_not(self):
        block = {"addr": 0x700000, "size": 512, "stream": 0, "time_us": 7}
        trace = [{**block, "action": "segment_alloc", "size": 2 << 20},
                 {**block, "action": "alloc"},
                 {**block, "action": "free_requested"},
                 {**block, "action": "free_completed"}]
        self.assertEqual(list(record_log.lines(trace)), [
            record_log.HEADER, "1,7,allocate,0x700000,512,0x0",
            "1,7,free,0x700000,512,0x0"])


if __name__ == "__main__":
    unittest.main()
