#!/usr/bin/env python3
"""Lines of Python in the stacks of what C code allocates, in each version of
Python that is there and known.

    frames_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL

The C code is ctypes here, which calls the library with the GIL (PyDLL) or
without it (CDLL), as PyTorch mostly does. Each program notes what Python says
of its frames when it allocates, and the daemon's report must say the same.
"""

import functools
import json
import os
import pathlib
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

def passing(size):  # Whether there was a block, which is freed.
    address = released(size)
    library.client_deallocate(handle, address, size, None)
    return bool(address)

def wait():
    print(json.dumps([lines.decode() for lines in noted]), flush=True)
    sys.stdin.read()
"""

KINDS = COMMON + """
import gc

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

class Made:
    def __init__(self, allocates):
        self.block = allocates and released(4096)

def make(allocates):
    return Made(allocates)

def closure(x):
    # Python 3.11 may collect garbage before the frame has begun.
    return lambda: x

class Circle:
    def __init__(self):
        self.self = self

    def __del__(self):
        released(4096)

def collect():
    before = len(noted)
    gc.set_threshold(1)
    gc.disable()
    Circle()
    gc.enable()
    closure(1)
    gc.set_threshold(700)
    assert len(noted) > before

def run(path, code):
    names = {"allocate": released}
    exec(compile(code, path, "exec"), names)

outer(released)
outer(held)
deep(500)
next(generator())
asyncio.run(awaiting())
sorted([Sorted(), Sorted()])
for i in range(200):  # It is made in another way when it was made often.
    make(i == 199)
collect()
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
        names[f"descend{i}"](j % 10, released if j % 3 else held)

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
atexit.register(lambda: print(passing(4096)))  # After the package's own.
""" + COMMON + """
atexit.register(lambda: print(passing(4096)))
begun = threading.Barrier(5)

def work():
    begun.wait()
    while True:
        passing(512)

for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
begun.wait()
"""

FORK = COMMON + """
import warnings
from vrampool import _frames
warnings.simplefilter("ignore")  # Of forks beside threads.
state = _library.address_of(ctypes.pythonapi.PyGILState_GetThisThreadState)
is_over = False

def work():
    while not is_over:
        passing(512)

for _ in range(3):
    threading.Thread(target=work).start()
for _ in range(50):
    if os.fork() == 0:
        assert _frames.prove(library.python_begin, state) == 0
        sys.exit(0)
    assert os.wait()[1] == 0
is_over = True
"""

# The library is loaded where the program's own frames are hard to tell.
AROUND = """
class Made:
    def __init__(self, is_last):
        if is_last:
            import vrampool
            print(vrampool.why_no_frames())

def make(is_last):
    return Made(is_last)

make.__code__ = make.__code__.replace(
    co_linetable=b"", co_filename="\\x1b\\n\\x85.py", co_name="f" * 500)
for i in range(200):
    make(i == 199)
"""

ANOTHER = COMMON + """
try:
    import _interpreters as interpreters
    another = interpreters.create("legacy")
except ImportError:
    import _xxsubinterpreters as interpreters
    another = interpreters.create(isolated=False)
failed = interpreters.run_string(another, '''
import vrampool
reason = vrampool.why_no_frames()
assert reason == "the lines are the main interpreter's, and this is another", reason
''')
assert not failed, failed
interpreters.destroy(another)
assert vrampool.why_no_frames() is None
released(4096)
wait()
"""

# As some containers have it: system calls by their numbers, and errors instead.
FORBIDDEN = """
import ctypes, errno, platform, struct

number = {"x86_64": 310, "aarch64": 270}[platform.machine()]
program = b"".join(struct.pack("HBBI", *step) for step in (
    (0x20, 0, 0, 0),                         # Load the number;
    (0x15, 0, 1, number),                    # if it is process_vm_readv's,
    (0x06, 0, 0, 0x00050000 | errno.EPERM),  # that is an error,
    (0x06, 0, 0, 0x7fff0000)))               # else allowed.
steps = ctypes.create_string_buffer(program)
filter = ctypes.create_string_buffer(
    struct.pack("HxxxxxxP", 4, ctypes.addressof(steps)))
control = ctypes.CDLL(None, use_errno=True).prctl
control.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
assert control(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS.
assert control(22, 2, ctypes.addressof(filter), 0, 0) == 0, ctypes.get_errno()
import vrampool
print(vrampool.why_no_frames())
"""

REASON = "import vrampool; print(vrampool.why_no_frames())"

UNKNOWN = """
from vrampool import _library
library = _library.get()
print(library.python_begin(99, 1, 1, b"a.py:1 (f)"), library.message())
"""


@functools.lru_cache(maxsize=None)
def interpreter(minor):
    """One of Python 3.`minor` that has what the tests need: the one that runs
    this, or one on the PATH; None: there is none."""
    paths = [os.path.join(folder, f"python3.{minor}")
             for folder in os.get_exec_path()]
    if minor == sys.version_info.minor:
        paths.insert(0, sys.executable)
    for path in paths:
        if os.access(path, os.X_OK) and subprocess.run(
                [path, "-c", "import sys, ctypes, asyncio; "
                 f"sys.exit(sys.version_info.minor != {minor})"],
                capture_output=True).returncode == 0:
            return path
    return None


def interpreters():
    """One of each version that is there and known."""
    found = list(filter(None, map(interpreter, KNOWN)))
    assert found, f"there is no Python 3.x, x in {KNOWN}"
    return found


def recorded(line):
    """What is to be kept of a line as Python tells it."""
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

    def test_what_is_around_the_proof_makes_no_difference(self):
        for python in interpreters():
            with self.subTest(python=python):
                self.assertEqual(self.finish(python, AROUND), "None\n")

    def test_another_interpreter_neither_begins_nor_ends_it(self):
        for python in interpreters():
            with self.subTest(python=python):
                self.check(python, ANOTHER)

    def test_the_environment_turns_them_off(self):
        for python in interpreters():
            for value, reason in (
                    ("0", "VRAMPOOL_PYTHON_FRAMES turns them off\n"),
                    ("1", "None\n"), ("", "None\n")):
                self.environment["VRAMPOOL_PYTHON_FRAMES"] = value
                self.assertEqual(self.finish(python, REASON), reason)

    def test_a_system_that_forbids_reading_is_told(self):
        for python in interpreters():
            with self.subTest(python=python):
                self.assertEqual(
                    self.finish(python, FORBIDDEN),
                    "the system does not let this process read its own memory "
                    "(process_vm_readv)\n")

    def test_a_version_that_is_not_known_is_told(self):
        unknown = "this library does not know how Python 3.{} keeps its frames\n"
        out = self.finish(sys.executable, UNKNOWN)
        self.assertTrue(out.endswith(" " + unknown.format(99)), out)
        for minor in (KNOWN.start - 1, KNOWN.stop):
            python = interpreter(minor)
            if python:
                self.assertEqual(self.finish(python, REASON),
                                 unknown.format(minor))


if __name__ == "__main__":
    print("with", *interpreters(), file=sys.stderr)
    case.main()
