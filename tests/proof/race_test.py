#!/usr/bin/env python3
"""Sixty-four processes race at limits and at the pool. By their own books, and
by no counter of the daemon's, there is never more granted at once than there is;
and before the race and after it, all that there is can be had.

    race_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL RPC FAILPOINTS FAKE_DRIVER

VRAMPOOL_RACE_SECONDS says for how long; by default each process does a number of
operations that takes some seconds in all.
"""

import collections
import os
import unittest

import merge
from fleet import Fleet, Places, Served

MIB = 1 << 20
RACERS = 64
OPERATIONS = 80
SECONDS = float(os.environ.get("VRAMPOOL_RACE_SECONDS", "0"))
POOL = 96 * MIB
# Each user is a tenant; two of them share a third limit.
TENANTS = {1001: "root/team/x", 1002: "root/team/y", 1003: "root/z"}
LIMITS = {"root/team/x": 40 * MIB, "root/team/y": 40 * MIB,
          "root/team": 60 * MIB, "root": POOL}
CONFIG = "".join(
    [f'tenants {{ path: "{path}" limit: "{limit}" }}\n'
     for path, limit in LIMITS.items() if path != "root"] +
    # Above the pool: there it is the pool that lacks.
    ['tenants { path: "root/z" limit: "1GiB" }\n'] +
    [f'policy {{ uids: {uid} tenant: "{path}" }}\n'
     for uid, path in TENANTS.items()])


def is_below(path, above):
    return path == above or path.startswith(above + "/")


class RaceTest(unittest.TestCase):
    places = None

    def test_host_memory(self):
        self.race("HOST_FD")

    def test_vmm_memory(self):
        self.race("VMM_FD")

    def test_cuda_ipc_memory(self):
        self.race("CUDA_IPC")

    def race(self, kind):
        with Served(self.places, kind, CONFIG, pool_size=str(POOL)) as served, \
                Fleet(self.places, served.environment) as fleet:
            racers = self.start(fleet)
            before = self.everybody_takes_all_he_gets(racers)
            books = self.race_on(racers)
            after = self.everybody_takes_all_he_gets(racers)
            self.check(books)
            self.check_reach(before)
            self.check_reach(after)

    def start(self, fleet):
        racers = []
        for seed in range(RACERS):
            uid = list(TENANTS)[seed % len(TENANTS)]
            racers.append((TENANTS[uid], fleet.start(
                "racer", uid=uid, seed=seed, wait=(0, 0.02)[seed // 3 % 2],
                operations=OPERATIONS, seconds=SECONDS)))
        for _, racer in racers:
            self.assertEqual(racer.hear(), "ready")
        return racers

    @staticmethod
    def everybody_takes_all_he_gets(racers):
        """How much each tenant has when nobody gets any more."""
        took = collections.Counter()
        for part in ("root/team", "root/z"):
            takers = [one for one in racers if is_below(one[0], part)]
            for _, racer in takers:
                racer.say("take")
            for tenant, racer in takers:
                took[tenant] += racer.hear()
        return took

    @staticmethod
    def race_on(racers):
        for _, racer in racers:
            racer.say("race")
        return [(tenant, racer.hear()) for tenant, racer in racers]

    def check_reach(self, took):
        """Not a byte that is there was beyond everybody's reach."""
        self.assertEqual(took["root/team/x"] + took["root/team/y"],
                         LIMITS["root/team"], took)
        self.assertEqual(sum(took.values()), POOL, took)

    def check(self, books):
        reasons = collections.Counter()
        for path, limit in LIMITS.items():
            books_below = [book for tenant, book in books
                           if is_below(tenant, path)]
            grants = sum((book["grants"] for book in books_below), [])
            refusals = sum((book["refusals"] for book in books_below), [])
            most = merge.most_at_once(grants)
            self.assertLessEqual(most, limit, path)
            reasons.update(why for *_, why in refusals)
            self.say(f"{path}: {len(grants)} grants, {len(refusals)} refusals, "
                     f"at most {most >> 20} of {limit >> 20} MiB")
        self.assertGreater(reasons["OverQuota"], 0)
        self.assertGreater(reasons["OutOfPool"], 0)

    def say(self, text):
        print(f"{self._testMethodName}: {text}", flush=True)


if __name__ == "__main__":
    RaceTest.places = Places.from_command_line()
    unittest.main(verbosity=2)
