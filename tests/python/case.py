"""What the tests of the Python package have in common: a daemon for each test,
the package from the source tree, and the eyes of an operator.

    NAME_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL [UNITTEST_ARGUMENT...]
"""

import json
import os
import pathlib
import subprocess
import sys
import time
import unittest

PACKAGE = pathlib.Path(__file__).resolve().parents[2] / "client" / "python"
PATIENCE_SECONDS = 180  # Of a machine that has more to do than it can.
MIB = 1 << 20

sys.path.insert(0, str(PACKAGE))
from broker import Broker  # noqa: E402


class Case(unittest.TestCase):
    vrampoold = cli = None  # Set by main().
    config = {"pool_size": "64MiB"}
    # Of the daemon; without it, it is the host's memory.
    device = os.environ.get("VRAMPOOL_TEST_DEVICE")

    def setUp(self):
        self.broker = Broker(self.vrampoold, **self.config)
        if self.device is not None:
            self.broker.device = self.device
        self.broker.__enter__()
        self.addCleanup(self.broker.__exit__, None, None, None)
        os.environ.update(VRAMPOOL_DIR=str(self.broker.directory),
                          VRAMPOOL_SLAB_SIZE="4MiB")
        self.environment = dict(os.environ, PYTHONPATH=str(PACKAGE),
                                PYTHONFAULTHANDLER="1")

    def connect(self, **options):
        import vrampool  # Not above: main() says first where the library is.
        client = vrampool.connect(**options)
        self.addCleanup(client.close)
        return client

    def operator(self, *command):
        """What `vrampool COMMAND --json` says."""
        done = subprocess.run(
            [self.cli, "--directory", str(self.broker.directory), "--json",
             *command], check=True, capture_output=True, text=True,
            timeout=PATIENCE_SECONDS)
        return json.loads(done.stdout)

    def leaks_of_the_ended(self):
        """Reports of sessions that ended and left blocks behind."""
        return [report for report in self.operator("leaks")["reports"]
                if not report["session_live"]]

    def run_python(self, text, *arguments, python=sys.executable):
        """Runs a program of its own to its end; its output."""
        done = subprocess.run(
            [python, "-c", text, *map(str, arguments)], env=self.environment,
            capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        self.assertEqual((done.returncode, done.stderr), (0, ""),
                         done.stdout + done.stderr)
        return done.stdout

    def start_python(self, text, *arguments, python=sys.executable):
        """A program of its own, with pipes; it is ended with the test."""
        process = subprocess.Popen(
            [python, "-c", text, *map(str, arguments)], env=self.environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def eventually(self, is_true, what):
        """Asks until `is_true()`: for what others do in their own time."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_true():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.01)


def main():
    Case.vrampoold, Case.cli, library = sys.argv[1:4]
    os.environ["VRAMPOOL_LIBRARY"] = library
    unittest.main(module="__main__", argv=sys.argv[:1] + sys.argv[4:],
                  verbosity=2)
