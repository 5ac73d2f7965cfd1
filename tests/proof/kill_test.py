#!/usr/bin/env python3
"""Clients are killed by the hundred, at whatever they are doing: after each the
daemon's books are exactly what they were before, and it holds no more of the
machine after many than after few.

    kill_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL RPC FAILPOINTS FAKE_DRIVER

VRAMPOOL_KILLS says how many on each kind of memory; 340 by default.
"""

import collections
import os
import pathlib
import random
import time
import unittest

import admin
from fleet import PATIENCE_SECONDS, Fleet, Places, Served

KILLS = int(os.environ.get("VRAMPOOL_KILLS", "340"))
# What is made once and kept (threads, arenas, connections) is there by then.
WARM = KILLS // 3
MAX_GROWTH_KIB = 16  # For each kill.
MOST_OPERATIONS = 40  # Before it is killed.
CALLS = ("Lease", "Return", "ReportUnmapped", "Share", "Ready", "Open", "Close",
         "Unlink", "Wait", "Budget", "Reserve", "ReleaseReservation")
SWEEPER = 1001
ROOM = 62 << 20  # Of the pool; the bystander has the rest.
# Reports of the dead are kept, up to a number; it is reached while warming up.
CONFIG = f"""
bounds {{ leak_reports: 16 }}
policy {{ uids: {SWEEPER} tenant: "root/sweeper" }}
"""


class Daemon:
    """What a daemon holds of the machine."""

    def __init__(self, pid):
        self._proc = pathlib.Path(f"/proc/{pid}")

    def descriptors(self):
        return len(os.listdir(self._proc / "fd"))

    def threads(self):
        return len(os.listdir(self._proc / "task"))

    def resident_kib(self):
        [line] = [line for line in
                  (self._proc / "status").read_text().splitlines()
                  if line.startswith("VmRSS:")]
        return int(line.split()[1])

    def all(self):
        return self.descriptors(), self.threads(), self.resident_kib()


class KillTest(unittest.TestCase):
    places = None

    def test_host_memory(self):
        self.kill_many("HOST_FD")

    def test_vmm_memory(self):
        self.kill_many("VMM_FD")

    def test_cuda_ipc_memory(self):
        self.kill_many("CUDA_IPC")

    def kill_many(self, kind):
        self.random = random.Random(7)
        self.died_in = collections.Counter()
        with Served(self.places, kind, CONFIG, pool_size="64MiB") as served, \
                Fleet(self.places, served.environment) as fleet:
            self.fleet, self.operator = fleet, admin.Admin(served.broker)
            self.bystander = fleet.start("bystander")
            self.bystander.hear()
            self.sweeper = fleet.start("sweeper", uid=SWEEPER, nbytes=ROOM)
            self.sweeper.hear()
            self.sweep()
            self.baseline = self.operator.books()
            daemon = Daemon(self.operator.call("GetStatus").pid)
            for number in range(KILLS):
                if number == WARM:
                    self.sweep()
                    before = daemon.all()
                self.kill_one(number)
            self.sweep()
            self.check_growth(before, daemon)
            self.check_bystander()
            self.operator.close()
        for where in CALLS:
            self.assertGreater(self.died_in[where], 0, self.died_in)
        self.assertGreater(self.died_in["by surprise"], KILLS // 4)

    def kill_one(self, number):
        if number % 2 == 0:
            self.die_by_surprise(number)
        else:
            self.die_in_a_call(number)
        self.await_baseline()

    def die_by_surprise(self, number):
        """At any moment of some operation, or between two."""
        victim = self.fleet.start("victim", seed=number)
        for _ in range(self.random.randint(1, MOST_OPERATIONS)):
            victim.hear()
        end = time.perf_counter() + self.random.uniform(0, 0.0005)
        while time.perf_counter() < end:
            pass
        victim.kill()
        self.died_in["by surprise"] += 1
        self.fleet.forget(victim)

    def die_in_a_call(self, number):
        """Just before the daemon hears of a call, or when it has carried it out
        and nobody knows."""
        call = CALLS[number // 2 % len(CALLS)]
        when = self.random.choice(("before", "after"))
        victim = self.fleet.start("victim", seed=number, environment={
            "VRAMPOOL_RPC_MODULE": self.places.failpoint_module,
            "VRAMPOOL_FAILPOINT_MODULE": self.places.rpc_module,
            "VRAMPOOL_FAILPOINT":
                f"{call}:{when}:{self.random.randint(1, 3)}"})
        try:
            while victim.hear() != "end":
                pass
            victim.kill()  # It never came to that call.
        except (EOFError, ConnectionResetError):
            victim.await_end()
            self.died_in[call] += 1
        self.fleet.forget(victim)

    def await_baseline(self):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            self.bystander.say("tidy")
            self.bystander.hear()
            books = self.operator.books()
            if books == self.baseline:
                return
            if time.monotonic() > deadline:
                self.assertEqual(books, self.baseline)
            time.sleep(0.001)

    def sweep(self):
        """So that no slab is there, warm, that was not there before."""
        self.sweeper.say(True)
        self.sweeper.hear()

    def check_growth(self, before, daemon):
        # Connections of the dead are closed in the daemon's own time.
        deadline = time.monotonic() + PATIENCE_SECONDS
        while daemon.descriptors() > before[0] and time.monotonic() < deadline:
            time.sleep(0.01)
        after = daemon.all()
        print(f"{self._testMethodName}: {KILLS} kills; descriptors, threads, "
              f"resident KiB: after {WARM} {before}, after all {after}; "
              f"{dict(self.died_in)}", flush=True)
        self.assertLessEqual(after[0], before[0], "descriptors")
        self.assertLessEqual(after[1], before[1] + 2, "threads")
        self.assertLessEqual(after[2], before[2] +
                             MAX_GROWTH_KIB * (KILLS - WARM), "memory")

    def check_bystander(self):
        self.bystander.say("end")
        self.assertTrue(self.bystander.hear(), "its bytes have changed")


if __name__ == "__main__":
    KillTest.places = Places.from_command_line()
    unittest.main(verbosity=2)
