#!/usr/bin/env python3
"""The debug mode as programs in Python see it: with their own lines.

    debug_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL
"""

import subprocess
import sys
import tempfile

import case

START = """\
import ctypes
import vrampool
client = vrampool.connect(tag="batch")
"""


class DebugTest(case.Case):

    def run_program(self, text, debug="1", start=START):
        """Runs it from a file named program.py, whose lines count from one
        behind START."""
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/program.py"
            with open(path, "w", encoding="utf-8") as file:
                file.write(start + text)
            return subprocess.run(
                [sys.executable, path],
                env=dict(self.environment, VRAMPOOL_DEBUG=debug),
                capture_output=True, text=True,
                timeout=case.PATIENCE_SECONDS)

    @staticmethod
    def line(number):
        return rf"\S*program\.py:{START.count(chr(10)) + number} \(<module>\)"

    def test_good_use_says_nothing(self):
        done = self.run_program("""
array = client.empty((100, 100)).numpy()
array[:] = 7
shared = client.share(client.empty(10), name="x")
with vrampool.connect().open(name="x") as opened:
    opened[0].numpy()[:] = 1
shared.close()
client.unlink("x")
del array
client.trim()
client.close()
""")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_a_write_past_the_end_names_both_lines(self):
        done = self.run_program("""\
block = client.allocate(1000)
ctypes.memset(block.address + 1000, 1, 3)
block.close()
""")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(
            done.stderr,
            r"\Avrampool: write past the end of the block of 1000 bytes at "
            r"0x[0-9a-f]+ \(tag batch\): 3 bytes changed, the first at "
            r"0x[0-9a-f]+, 1000 bytes from its beginning\n"
            rf"  this call     {self.line(3)}, thread \d+, stream 0x0\n"
            rf"  allocated at  {self.line(1)}, thread \d+, stream 0x0\n\Z")

    def test_a_dedicated_block_names_both_lines(self):
        done = self.run_program("""\
block = client.allocate(1000, dedicated=True)
ctypes.memset(block.address + 1000, 1, 3)
block.close()
""")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(
            done.stderr,
            r"\Avrampool: write past the end of the block of 1000 bytes"
            rf"(?s:.*)  this call     {self.line(3)}(?s:.*)"
            rf"  allocated at  {self.line(1)}, thread")

    def test_the_token_of_an_object_that_has_ended_names_the_line(self):
        done = self.run_program("""\
shared = client.share(client.empty(10))
token = shared.token
shared.close()
try:
    client.open(token, wait=0)
except Exception as error:
    print(type(error).__name__)
""")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr, rf"  this call     {self.line(5)}")

    def test_a_write_after_the_free_names_both_lines(self):
        done = self.run_program("""\
tensor = client.empty(100)
address = client.describe(tensor).address
del tensor
ctypes.memset(address + 8, 1, 1)
client.trim()
""")
        self.assertRegex(
            done.stderr,
            r"write after the free of the block of 400 bytes(?s:.*)"
            rf"freed at      {self.line(3)}(?s:.*)"
            rf"allocated at  {self.line(1)}")

    def test_calls_of_c_are_checked_as_well(self):
        done = self.run_program("""\
from vrampool import _library
library = _library.get()
handle = client._session.handle
p = library.client_allocate(handle, 1000, None)
library.client_deallocate(handle, p, 1000, None)
library.client_deallocate(handle, p, 1000, None)
print(library.last_status(), library.message())
library.client_deallocate(handle, p + 256, 744, None)
library.client_deallocate(handle, 4096, 1, None)
""")
        self.assertEqual(done.returncode, 0, done.stderr)
        for text in (done.stdout, done.stderr):
            self.assertRegex(text, r"double free of the block of 1000 bytes")
            self.assertRegex(text, self.line(6))
            self.assertRegex(text, rf"freed first:?\s+{self.line(5)}")
            self.assertRegex(text, rf"allocated at:?\s+{self.line(4)}")
        self.assertTrue(done.stdout.startswith("1 "))  # INVALID_ARGUMENT
        self.assertIn("256 bytes into the block of 1000 bytes", done.stderr)
        self.assertIn("free of a foreign pointer: 0x1000", done.stderr)

    def test_a_leak_check_counts_no_quarantine(self):
        program = """\
from vrampool import _library
library = _library.get()
handle = client._session.handle
p = library.client_allocate(handle, 1000, None)
q = library.client_allocate(handle, 3000, None)
library.client_deallocate(handle, p, 1000, None)
"""
        self.environment["VRAMPOOL_LEAK_CHECK"] = "1"
        done = self.run_program(program)
        self.assertEqual(done.returncode, 23, done.stderr)
        self.assertRegex(done.stderr, r"\Avrampool: this process ends with 1 "
                         r"blocks \(2\.9 KiB\) that it did not free")
        done = self.run_program(
            program + "library.client_deallocate(handle, q, 3000, None)\n")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_abort_ends_the_process(self):
        done = self.run_program("""\
block = client.allocate(1000)
ctypes.memset(block.address + 1000, 1, 1)
block.close()
print("not reached")
""", debug="abort")
        self.assertEqual(done.returncode, -6)
        self.assertIn("write past the end", done.stderr)
        self.assertEqual(done.stdout, "")

    def test_protected_memory_faults(self):
        done = self.run_program("""\
block = client.allocate(1 << 16)
address = block.address
block.close()
ctypes.memset(address + 8192, 1, 1)
print("not reached")
""", debug="protect")
        self.assertEqual(done.returncode, -11)
        self.assertEqual(done.stdout, "")

    def test_the_argument_of_connect_is_enough(self):
        done = self.run_program("""\
block = client.allocate(1000)
ctypes.memset(block.address + 1000, 1, 1)
block.close()
""", debug="0", start=START.replace('tag="batch"', 'debug="1"'))
        self.assertRegex(done.stderr, rf"allocated at  {self.line(1)}")

    def test_nonsense_is_refused(self):
        done = self.run_program("", debug="loud")
        self.assertIn("VRAMPOOL_DEBUG", done.stderr)
        self.assertNotEqual(done.returncode, 0)

    def test_without_it_nothing_is_said(self):
        done = self.run_program("""\
block = client.allocate(1000)
ctypes.memset(block.address + 1000, 1, 1)
block.close()
""", debug="")
        self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    case.main()
