#!/usr/bin/env python3
"""From which lines blocks were allocated, as an operator sees it.

    stacks_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL
"""

import pathlib
import signal
import subprocess
import sys
import tempfile
import threading

import case

MIB = case.MIB

PROGRAM = """\
import sys
import threading
import vrampool

def inner(client, size):
    return client.allocate(size)

def outer(client, size):
    with vrampool.tag("kv-cache"):
        return inner(client, size)

def run():
    client = vrampool.connect(tag="batch")
    kept = [outer(client, 1 << 20) for _ in range(4)]
    kept.append(client.empty((256, 1024)))
    print("ready", flush=True)
    sys.stdin.read()

worker = threading.Thread(target=run)
worker.start()
worker.join()
"""


class StacksTest(case.Case):

    def start(self, stacks, program=PROGRAM, **environment):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = pathlib.Path(folder.name) / "program.py"
        path.write_text(program, encoding="utf-8")
        child = subprocess.Popen(
            [sys.executable, str(path)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=dict(self.environment, VRAMPOOL_STACKS=stacks, **environment))
        self.addCleanup(lambda: (child.kill(), child.communicate()))
        self.assertEqual(child.stdout.readline(), "ready\n")
        return child

    def stacks(self, child):
        """The stacks of the report on that process, as lines."""
        [report] = [report for report in self.operator("leaks")["reports"]
                    if report["session"]["process"]["pid"] == child.pid]
        return [(stack["tag"], int(stack["estimated_bytes"]),
                 [frame.get("text", "") for frame in stack["frames"]])
                for stack in report.get("stacks", [])]

    def check(self, stacks):
        self.assertEqual([(tag, size) for tag, size, _ in stacks],
                         [("kv-cache", 4 * MIB), ("batch", MIB)])
        # The first is the interpreter's own.
        lines = stacks[0][2]
        self.assertEqual(lines[0], "")
        self.assertRegex(lines[1], r"program\.py:6 \(inner\)$")
        self.assertRegex(lines[2], r"program\.py:10 \(outer\)$")
        self.assertRegex(lines[3], r"program\.py:14 \(<listcomp>|run\)$")
        self.assertRegex(lines[-1], r"threading\.py:\d+ \(_bootstrap\)$")
        self.assertRegex(stacks[1][2][1], r"program\.py:15 \(run\)$")

    def test_of_the_living_and_of_the_killed(self):
        child = self.start("all")
        self.check(self.stacks(child))
        child.send_signal(signal.SIGKILL)
        child.wait()
        # Its manifest is read after its end.
        self.eventually(self.leaks_of_the_ended, "no report")
        self.check(self.stacks(child))

    def test_the_tool_prints_lines_of_python_and_no_interpreter(self):
        self.start("all")
        text = subprocess.run(
            [self.cli, "--directory", str(self.broker.directory), "leaks"],
            check=True, capture_output=True, text=True).stdout
        self.assertRegex(
            text, r"where its blocks were allocated:\n"
            r"  4\.0 MiB in 4 blocks, tag kv-cache\n"
            r"    \S*program\.py:6 \(inner\)\n"
            r"    \S*program\.py:10 \(outer\)\n")

    def test_off_is_off(self):
        self.assertEqual(self.stacks(self.start("off")), [])

    def test_samples_are_some(self):
        program = PROGRAM.replace("range(4)", "range(4000)").replace(
            "1 << 20", "4096")
        self.start("16KiB", program)
        [report] = self.operator("leaks")["reports"]
        [stack] = [stack for stack in report["stacks"]
                   if stack["tag"] == "kv-cache"]
        seen = int(stack["sampled_blocks"])
        self.assertGreater(seen, 0)
        self.assertLess(seen, 3000)  # A fifth, if none came too quickly.
        self.assertGreater(int(stack["estimated_blocks"]), seen)

    def test_options_choose_too(self):
        program = PROGRAM.replace('tag="batch"', 'tag="batch", stacks="all"')
        self.check(self.stacks(self.start("off", program)))

    def test_a_leak_check_says_the_lines(self):
        done = subprocess.run(
            [sys.executable, "-c", """
import ctypes
import vrampool

def forget():
    buffer = vrampool.connect().allocate(1 << 20)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(buffer))

forget()
"""], env=dict(self.environment, VRAMPOOL_LEAK_CHECK="1"),
            capture_output=True, text=True, timeout=case.PATIENCE_SECONDS)
        self.assertEqual(done.returncode, 23, done.stderr)
        self.assertRegex(
            done.stderr,
            r"  1\.0 MiB in 1 blocks, tag -, from .*\n"
            r"      called from <string>:6 \(forget\)\n"
            r"      called from <string>:9 \(<module>\)\n\Z")

    def test_a_process_ends_while_its_threads_allocate(self):
        for check in ("0", "1"):
            done = subprocess.run(
                [sys.executable, "-c", """
import threading
import vrampool
client = vrampool.connect(stacks="all")
begun = threading.Barrier(5)

def work():
    begun.wait()
    while True:
        client.allocate(512)

for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
begun.wait()
client.allocate(512)
"""], env=dict(self.environment, VRAMPOOL_LEAK_CHECK=check),
                capture_output=True, text=True, timeout=case.PATIENCE_SECONDS)
            self.assertIn(done.returncode, (0, 23), done.stderr)

    def test_frames_are_asked_for_in_many_threads_at_once(self):
        client = self.connect(stacks="all")
        failures = []

        def work():
            try:
                for _ in range(300):
                    client.allocate(512).close()
            except Exception as error:  # pylint: disable=broad-except
                failures.append(error)
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])


if __name__ == "__main__":
    case.main()
