#!/usr/bin/env python3
"""How two runs of numba-cuda's tests are judged."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import numba_suite as suite  # noqa: E402  Found by the line above.


def reports(test, *outcomes):
    return [f'{{"test": "{test}", "outcome": "{outcome}"}}'
            for outcome in outcomes]


class RecordTest(unittest.TestCase):
    def test_a_part_that_fails_or_is_skipped_counts_for_the_whole(self):
        lines = (reports("a", "passed", "passed", "passed")
                 + reports("b", "passed", "failed", "skipped")
                 + reports("c", "skipped", "passed"))
        self.assertEqual(suite.read_record(lines), (
            {"a": "passed", "b": "failed", "c": "skipped"}, False))

    def test_a_run_that_is_cut_off_has_what_came_before(self):
        lines = reports("a", "passed") + ['{"test": "b", "outc']
        self.assertEqual(suite.read_record(lines), ({"a": "passed"}, False))
        self.assertEqual(suite.read_record(lines[:1] + ['"ended"']),
                         ({"a": "passed"}, True))


class DiffersTest(unittest.TestCase):
    def test_each_test_has_a_reason(self):
        self.assertEqual(
            suite.read_differs("# As it is.\nfails a::b\nleft-out c\n"),
            {"fails": ["a::b"], "left-out": ["c"]})
        for text in ("fails a", "# Why.\n\nfails a", "# Why.\na",
                     "# Why.\nfails"):
            with self.assertRaises(ValueError):
                suite.read_differs(text)

    def test_the_list_is_one(self):
        text = (suite.SUITE / "differs.txt").read_text()
        self.assertIn("fails", suite.read_differs(text))


class ComparisonTest(unittest.TestCase):
    stock = {"a": "passed", "b": "passed", "c": "failed", "d": "skipped"}

    def judged(self, ours, fails=(), left_out=()):
        return suite.compared(self.stock, ours, {
            "fails": list(fails), "left-out": list(left_out)})

    def test_what_is_no_worse_is_right(self):
        self.assertEqual(self.judged({"a": "passed", "b": "skipped",
                                      "c": "failed", "d": "failed"}), [])

    def test_what_fails_or_is_missing_is_named(self):
        first, second = self.judged({"a": "failed"})
        self.assertIn("fails with ours: a", first)
        self.assertIn("is not run with ours: b", second)
        self.assertEqual(self.judged({"a": "failed"}, "a", "b"), [])

    def test_a_list_that_is_stale_is_named(self):
        passes, gone = {"a": "passed", "b": "passed"}, "differs.txt names what"
        self.assertEqual(self.judged(passes, "a"), [f"{gone} passes: a"])
        self.assertEqual(self.judged(passes, "x"), [f"{gone} is no test: x"])
        self.assertEqual(self.judged(passes, (), "x"),
                         [f"{gone} is no test: x"])

    def test_a_module_is_found_by_its_file(self):
        self.assertEqual(
            suite.argument("cudapy/test_ipc.py::Test::test_a[x.py]"),
            "numba.cuda.tests.cudapy.test_ipc::Test::test_a[x.py]")


if __name__ == "__main__":
    unittest.main()
