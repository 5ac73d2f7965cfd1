"""Several processes at once on one device, each with an allocator of its own, for
compare.py: what an operation takes, and what all hold together of the device
while one after another of them needs much.
"""

import json
import statistics
import subprocess

COUNTS = [1, 2, 4, 8]
BUSY_MIB, IDLE_MIB = 2048, 64


class Worker:
    """A vrampool_compare that does the workload `processes`."""

    def __init__(self, words, environment):
        self._process = subprocess.Popen(
            words, env=environment, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)

    def order(self, mib):
        self._process.stdin.write(f"{mib}\n")
        self._process.stdin.flush()

    def answer(self):
        """What it says of a phase."""
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args} ended early")
        return json.loads(line)

    def end(self, begun=True):
        self._process.stdin.close()
        if begun:
            self.answer()
        if self._process.wait() != 0:
            raise SystemExit(f"{self._process.args} ended with "
                             f"{self._process.returncode}")


def run(words, environment, count, busy_mib=BUSY_MIB):
    """One record of `count` processes: in each round another one is busy, the
    rest are idle but for a little. Its `held` are the most bytes that the device
    lacked at a round's end, beside what it lacked before the first."""
    workers = [Worker(words, environment) for _ in range(count)]
    begun = [worker.answer() for worker in workers]
    if "missing" in begun[0]:
        for worker in workers:
            worker.end(begun=False)
        return begun[0]
    free_before = min(each.get("device_free", 0) for each in begun)
    times, lives, held, refused = [], [], [], 0.0
    for busy in range(count + 1):  # The first is busy again at last.
        for index, worker in enumerate(workers):
            worker.order(busy_mib if index == busy % count else IDLE_MIB)
        said = [worker.answer() for worker in workers]
        times += [each["ns"] for each in said]
        lives.append(sum(each["live"] for each in said))
        refused += sum(each["refused"] for each in said)
        if free_before:
            held.append(free_before - min(each["device_free"]
                                          for each in said))
    for worker in workers:
        worker.end()
    record = {"workload": "processes", "case": str(count),
              "ns": statistics.median(times), "peak_live": max(lives),
              "refused": refused}
    if held:
        record["peak_held"] = max(held)
    return record
