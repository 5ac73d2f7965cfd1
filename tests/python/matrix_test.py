#!/usr/bin/env python3
"""A tensor that one framework makes in one process is opened by every framework
in another: all pairs, data types, layouts.

    matrix_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL FRAMEWORKS

FRAMEWORKS is the list of interpreters that make_venv.sh wrote. Where
VRAMPOOL_TEST_DEVICE says "cuda:0" it is the memory of that GPU, and the
frameworks that work on one (MatrixTest alone).
"""

import itertools
import json
import pathlib
import platform
import subprocess
import sys
import types

import ml_dtypes
import numpy

import case
import framework_views

INTERPRETERS = {}  # Framework to interpreter, set by main.
MISSING = {}  # Framework to reason.
SHAPE = (3, 4)
STRIDES = {"C": None, "F": (1, 3), "gaps": (8, 2)}


def type_of(name):
    return numpy.dtype(getattr(ml_dtypes, name, None) or name)


def expected(dtype, count):
    return numpy.array(framework_views.fill(count, dtype)).astype(
        type_of(dtype)).tobytes().hex()


class Process:
    """A framework_worker.py."""

    def __init__(self, framework, environment):
        here = pathlib.Path(__file__).parent
        self._views = None
        self._process = subprocess.Popen(
            [INTERPRETERS[framework], here / "framework_worker.py", framework],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=environment)

    @property
    def views(self):
        """What framework_views.py says of it."""
        if self._views is None:
            self._views = types.SimpleNamespace(**self.call("describe"))
        return self._views

    def send(self, *command):
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker ended: {self._process.args}")
        answer = json.loads(line)
        if "raised" in answer:
            raise AssertionError(answer["raised"])
        return answer["is"]

    def call(self, *command):
        self.send(*command)
        return self.answer()

    def end(self):
        self._process.communicate(timeout=case.PATIENCE_SECONDS)
        return self._process.returncode


class MatrixTest(case.Case):
    config = {"pool_size": "256MiB"}

    def setUp(self):
        super().setUp()
        self.environment.update(
            JAX_PLATFORMS="cuda" if framework_views.ON_GPU else "cpu",
            XLA_PYTHON_CLIENT_PREALLOCATE="false")
        self.makers = self.start(set())
        self.openers = self.start(framework_views.MAKES_ONLY)

    def start(self, without):
        started = {}
        for framework in INTERPRETERS:
            if framework in without:
                continue
            started[framework] = Process(framework, self.environment)
            self.addCleanup(started[framework].end)
        return started

    def test_every_pair(self):
        versions = {name: maker.views.version
                    for name, maker in self.makers.items()}
        print("\nframeworks:", versions)
        counts = {"opened": 0, "refused": 0, "written": 0}
        failures = []  # Not subtests: after a worker's end all would fail.
        for name, maker in self.makers.items():
            for what, opener in itertools.product(self.cases_of(name),
                                                  self.openers):
                try:
                    self.try_pair(maker, opener, counts, **what)
                except AssertionError as failure:
                    failures.append(f"made by {name}, {what}, opened by "
                                    f"{opener}: {failure}")
        self.assertEqual(failures, [], "\n".join(failures))
        for processes in (self.openers, self.makers):
            for process in processes.values():
                process.call("drop")
        for processes in (self.openers, self.makers):
            for name, process in processes.items():
                self.eventually(lambda: process.call("drop") == 0,
                                f"{name} keeps memory")
                self.assertEqual(process.end(), 0, name)
        print(counts)
        pairs = len(self.makers) * len(self.openers)
        self.assertGreater(min(counts["opened"], counts["written"]),
                           max(pairs, 20))
        # RMM takes nothing of others, so nothing is refused by it.
        self.assertGreater(counts["refused"], 10 if "rmm" in versions else 20)
        self.assertEqual(self.operator("objects")["objects"], [])
        self.assertEqual(self.leaks_of_the_ended(), [])

    def cases_of(self, name):
        """Vectors of every type; one type in other shapes and layouts."""
        views = self.makers[name].views
        for dtype in views.makes:
            yield {"dtype": dtype, "shape": (12,), "layout": "C"}
        if name in framework_views.MAKES_ONLY:
            return
        yield {"dtype": "float32", "shape": (12,), "layout": "C",
               "readonly": True}
        yield {"dtype": "int32", "shape": (0,), "layout": "C"}
        if name == "pyarrow":
            return
        yield {"dtype": "float32", "shape": (), "layout": "C"}
        yield {"dtype": "float32", "shape": (2, 0, 3), "layout": "C"}
        makes_layouts = name in ("numpy", "torch", "cupy")
        for layout in STRIDES if makes_layouts else ["C"]:
            yield {"dtype": "float32", "shape": SHAPE, "layout": layout}

    def try_pair(self, maker, name, counts, dtype, shape, layout,
                 readonly=False):
        """Opened by the process of framework `name`."""
        opener = self.openers[name]
        token = maker.call("make", dtype, shape, STRIDES[layout]
                           if len(shape) == 2 else None)
        seen = opener.call("open", token, readonly)
        refusal = self.refusal(name, opener.views, dtype, shape, layout,
                               readonly)
        if refusal is not None:
            counts["refused"] += 1
            self.assertEqual(seen, {"refused": refusal})
            return
        counts["opened"] += 1
        count = int(numpy.prod(shape))
        self.assertEqual(seen, {"content": expected(dtype, count),
                                "is_same": True, "shape": list(shape)})
        if count > 0:
            counts["written"] += self.write(maker, opener, name, dtype, count,
                                            readonly)

    def refusal(self, name, views, dtype, shape, layout, readonly):
        """How the documentation says that it is refused, or None."""
        if readonly and not views.respects_readonly:
            return "BufferError"
        if name == "pyarrow" and len(shape) != 1:
            return "BufferError"
        if dtype not in views.opens:
            return "TypeError"
        return None if layout in views.layouts else "BufferError"

    def write(self, maker, opener, name, dtype, count, readonly):
        """What one side writes is seen by the other; how often it was tried."""
        tried = 0
        if opener.views.is_writable and not readonly:
            opener.call("write", 1)
            element = numpy.ones(1, type_of(dtype)).tobytes().hex()
            made = maker.call("made_bytes")
            if made.count(element) < count:
                self.fail(f"the maker reads {made}, then "
                          f"{maker.call('made_bytes')}; the opener "
                          f"{opener.call('content')}, by the driver "
                          f"{opener.call('view_bytes')}")
            tried += 1
        maker.call("write_made", 0)
        zeros = numpy.zeros(count, type_of(dtype)).tobytes().hex()
        self.assertEqual(opener.call("content"), zeros, name)
        return tried + 1


class ListTest(case.Case):
    def test_the_frameworks_of_this_system_are_all_there(self):
        for framework, reason in MISSING.items():
            print(f"\nnot tested here: {framework}: {reason}")
        self.assertEqual({*INTERPRETERS, *MISSING},
                         set(framework_views.HOST))
        release = platform.freedesktop_os_release()
        may_lack = set() if release["ID"] == "debian" else {"mxnet", "torch"}
        self.assertLessEqual(set(MISSING), may_lack)


def main():
    for line in pathlib.Path(sys.argv.pop(4)).read_text().splitlines():
        name, interpreter, *reason = line.split(maxsplit=2)
        if interpreter == "-":
            MISSING[name] = reason[0]
        else:
            INTERPRETERS[name] = interpreter
    case.main()


if __name__ == "__main__":
    main()
