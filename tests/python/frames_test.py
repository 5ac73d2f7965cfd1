#!/usr/bin/env python3
"""Lines of Python in the stacks of what C code allocates, in each version of
Python that is there and known.

    frames_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL

The C code is ctypes here, which calls the library with the GIL (PyDLL) or
without it (CDLL), as PyTorch mostly does. Each program notes what Python says
of its frames when it allocates, and the daemon's report must say the same.
"""

import glob
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import case

KNOWN = range(10, 14)  # Versions 3.x.

COMMON = """\
import asyncio, ctypes, json, os, sys, threading
import vrampool
from vrampool import _library, _stack
library = _library.get()
handle = library.default_client()
assert handle and vrampool.why_no_frames() is None, vrampool.why_no_frames()
noted = set()

def c_function(kind):
    function = kind(library.path).vrampool_client_allocate
    function.restype = ctypes.c_void_p
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    return lambda size: (noted.add(_stack.lines_from(sys._getframe())), function(handle, size, None))[1]

released, held = c_function(ctypes.CDLL), c_function(ctypes.PyDLL)

def wait():
    print(json.dumps([lines.decode() for lines in noted]), flush=True)
    sys.stdin.read()
"""

KINDS = COMMON + """
def inner(allocate):
    return [
        (1,
         allocate(4096))
        for _ in (1,)]

def outer(allocate):
    return list(map(inner, (allocate,)))

def deep(depth):
    return deep(depth - 1) if depth else released(4096)

def generator():
    yield from (released(4096) for _ in (1,))

async def coroutine():
    await asyncio.sleep(0)
    return released(4096)

async def awaiting():
    return await coroutine()

class Sorted:
    def __lt__(self, other):
        return bool(released(4096))

    def __del__(self):
        released(4096)

def run(path, code):
    names = {"allocate": released}
    exec(compile(code, path, "exec"), names)

outer(released)
outer(held)
deep(500)
next(generator())
asyncio.run(awaiting())
sorted([Sorted(), Sorted()])
thread = threading.Thread(target=outer, args=(released,))
thread.start()
thread.join()
for name, path in (("f\\u00e9", "a\\u00e9.py"), ("f\\u0436", "\\u0436\\x1b[2J.py"),
                   ("g", "/" + "\\U0001f40d" * 5000 + "/long.py"),
                   ("h", "\\udcff.py"), ("i" * 5000, "name.py"), ("j", "")):
    run(path, f"def {name}(): allocate(4096)\\n{name}()")
run("far.py", "def f(x):\\n" + "    x += 1; x -= 1\\n\\n" * 5000 +
    "    allocate(4096)\\nf(1)")
wait()
"""

STRESS = COMMON + """
sys.setswitchinterval(1e-5)
is_over = False

def look():
    while not is_over:
        for frame in sys._current_frames().values():
            while frame is not None:
                frame.f_lineno, frame.f_locals
                frame = frame.f_back

def work(i):
    # Functions of its own, which go while others read theirs.
    for j in range(200):
        names = {}
        exec(compile("\\n" * i + f"def descend{i}(depth, allocate): return "
                     f"descend{i}(depth - 1, allocate) if depth else "
                     "allocate(512)", f"stress{i}.py", "exec"), names)
        names[f"descend{i}"](j % 25, released if j % 3 else held)

observer = threading.Thread(target=look)
observer.start()
workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
for thread in workers:
    thread.start()
for thread in workers:
    thread.join()
is_over = True
observer.join()
wait()
"""

EXIT = """
import atexit
atexit.register(lambda: print(bool(released(4096))))  # After the package's own.
""" + COMMON + """
atexit.register(lambda: print(bool(released(4096))))
begun = threading.Barrier(5)

def work():
    begun.wait()
    while True:
        released(512)

for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
begun.wait()
"""

FORK = COMMON + """
import warnings
from vrampool import _frames
warnings.simplefilter("ignore")  # Of forks beside threads.
is_over = False

def work():
    while not is_over:
        released(512)

for _ in range(3):
    threading.Thread(target=work).start()
for _ in range(50):
    if os.fork() == 0:
        assert _frames.prove(library.python_begin) == 0
        sys.exit(0)
    assert os.wait()[1] == 0
is_over = True
"""


def interpreters():
    """One of each version that has what the tests need."""
    found = {sys.version_info.minor: sys.executable}
    for minor in KNOWN:
        for path in [shutil.which(f"python3.{minor}"), *glob.glob(
                os.path.expanduser(f"~/.pyenv/versions/3.{minor}.*/bin/python3"))]:
            if path and minor not in found and subprocess.run(
                    [path, "-c", "import sys, ctypes, asyncio; "
                     f"sys.exit(sys.version_info.minor != {minor})"],
                    capture_output=True).returncode == 0:
                found[minor] = path
    return [found[minor] for minor in sorted(found) if minor in KNOWN]


def recorded(line):
    """What is to be kept of a line as Python tells it."""
    path, number, name = re.fullmatch(r"(.*):(\d+) \((.*)\)", line, re.S).groups()
    line = re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", f"{path}:{number} ({name[:128]})")
    return line.encode()[:183].decode(errors="ignore")


class FramesTest(case.Case):

    def setUp(self):
        super().setUp()
        self.environment["VRAMPOOL_STACKS"] = "all"

    def start(self, python, text):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = pathlib.Path(folder.name) / "program.py"
        path.write_text(text, encoding="utf-8")
        child = subprocess.Popen(
            [python, str(path)], env=self.environment, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(child.communicate)
        self.addCleanup(child.kill)
        return child

    def finish(self, python, text):
        child = self.start(python, text)
        out, error = child.communicate(timeout=case.PATIENCE_SECONDS)
        self.assertEqual((child.returncode, error), (0, ""))
        return out

    def reported(self, child):
        """Of each stack the lines of Python, which come behind all others."""
        [report] = [report for report in self.operator("leaks")["reports"]
                    if report["session"]["process"]["pid"] == child.pid]
        for stack in report["stacks"]:
            frames = [frame.get("text", "") for frame in stack["frames"]]
            lines = [text for text in frames if text]
            self.assertGreater(len(frames), len(lines))
            self.assertLessEqual(len(frames), 31)
            self.assertEqual(frames[-len(lines):], lines)
            yield tuple(lines)

    def check(self, python, text):
        child = self.start(python, text)
        line = child.stdout.readline()
        self.assertTrue(line, child.poll() and child.stderr.read())
        told = {tuple(map(recorded, lines.split("\n")))
                for lines in json.loads(line)}
        left = set(told)
        for lines in self.reported(child):
            # C++ frames may have taken the room of the outermost.
            same = {one for one in told if one[:len(lines)] == lines and
                    (len(lines) >= 15 or len(one) == len(lines))}
            self.assertTrue(same, lines)
            left -= same
        self.assertFalse(left)

    def test_every_kind_of_frame_is_told_as_python_tells_it(self):
        for python in interpreters():
            with self.subTest(python=python):
                self.check(python, KINDS)

    def test_frames_are_read_while_other_threads_run(self):
        for python in interpreters():
            with self.subTest(python=python):
                self.check(python, STRESS)

    def test_a_process_ends_while_its_threads_allocate(self):
        for python in interpreters():
            with self.subTest(python=python):
                for _ in range(5):
                    self.assertEqual(self.finish(python, EXIT), "True\nTrue\n")

    def test_forked_children_read_theirs_and_end(self):
        for python in interpreters():
            with self.subTest(python=python):
                self.finish(python, FORK)

    def test_the_environment_turns_them_off(self):
        self.environment["VRAMPOOL_PYTHON_FRAMES"] = "0"
        self.assertEqual(
            self.finish(sys.executable, "import vrampool\n"
                        "print(vrampool.why_no_frames())"),
            "VRAMPOOL_PYTHON_FRAMES turns them off\n")


if __name__ == "__main__":
    case.main()
