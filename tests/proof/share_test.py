#!/usr/bin/env python3
"""Who gets memory when not everybody can have it: guarantees, burst and what
becomes of it, large requests among small ones, limits that change.

    share_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL RPC FAILPOINTS FAKE_DRIVER
"""

import subprocess
import time
import unittest

import admin
from fleet import PATIENCE_SECONDS, Fleet, Places, Served

MIB = 1 << 20
ROUNDS = 100
RED, BLUE, BATCH = 1001, 1002, 1003  # Users, each a tenant.
POLICY = "".join(
    f'policy {{ uids: {uid} tenant: "root/{name}" }}\n'
    for uid, name in ((RED, "red"), (BLUE, "blue"), (BATCH, "batch")))
BUSY = 50  # Milliseconds after which somebody is evicted.


class ShareCase(unittest.TestCase):
    places = None

    def serve(self, kind, text, pool):
        self.served = self.enterContext(
            Served(self.places, kind, POLICY + text, pool_size=str(pool)))
        self.fleet = self.enterContext(
            Fleet(self.places, self.served.environment))
        self.operator = admin.Admin(self.served.broker)
        self.addCleanup(self.operator.close)

    def servant(self, uid, wait=0, **environment):
        """A client that attached."""
        servant = self.fleet.start("servant", uid=uid, wait=wait,
                                   environment=environment)
        servant.ask("attach")
        return servant

    def eventually(self, is_true, what):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_true():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.001)

    def tell(self, text):
        print(f"{self.id().rpartition('.')[2]}: {text}", flush=True)


class GuaranteeTest(ShareCase):
    SHARE = 16 * MIB

    def test_servers_that_start_together_both_get_theirs(self):
        for kind in ("HOST_FD", "VMM_FD", "CUDA_IPC"):
            with self.subTest(kind):
                self.start_together(kind)
                self.doCleanups()

    def start_together(self, kind):
        """A hundred times; a third tenant takes what it can all the while."""
        self.serve(kind, f"""
tenants {{ path: "root" unreclaimable_burst: true }}
tenants {{ path: "root/red" guarantee: "{self.SHARE}" }}
tenants {{ path: "root/blue" guarantee: "{self.SHARE}" }}
""", 2 * self.SHARE + 4 * MIB)
        glutton = self.fleet.start("glutton", uid=BATCH)
        glutton.hear()
        for _ in range(ROUNDS):
            both = [self.fleet.start("servant", uid=uid, wait=0)
                    for uid in (RED, BLUE)]
            moment = time.monotonic_ns() + 1_000_000
            for server in both:
                server.say(("start_at", moment, 4))
            for server in both:
                self.assertEqual(server.hear(), [self.SHARE, [""] * 4])
            for server in both:
                self.fleet.forget(server)
            self.eventually(lambda: all(
                self.operator.tenant(tenant).used_bytes == 0
                for tenant in ("root/red", "root/blue")), "given back")
        glutton.say("stop")
        self.assertGreater(glutton.hear(), 0)
        # Beyond the guarantees there was room for two slabs.
        self.assertEqual(self.operator.tenant("root/batch").peak_bytes, 4 * MIB)

    def test_two_that_size_themselves_by_what_is_free(self):
        """Without guarantees, who looks first is told the truth, and of two
        that believe the same only as much is granted as there is."""
        self.serve("HOST_FD", "", 16 * MIB)
        red, blue = self.servant(RED), self.servant(BLUE)
        for _ in range(20):
            free = [each.ask("budget")["free"] for each in (red, blue)]
            self.assertEqual(free, [16 * MIB] * 2)
            for each in (red, blue):
                each.say(("take", 16 * MIB))
            self.assertEqual(sorted(each.hear() for each in (red, blue)),
                             ["", "OutOfPool"])
            for each in (red, blue):
                each.ask("give")


class BurstTest(ShareCase):
    """A tenant that bursts has all of the pool; one comes that has a right to
    the half of it."""
    TENANTS = """
tenants { path: "root" unreclaimable_burst: true }
tenants { path: "root/red" guarantee: "16MiB" lend_unused: true }
"""

    def test_what_lies_idle_goes_back(self):
        for kind in ("HOST_FD", "VMM_FD"):
            with self.subTest(kind):
                self.reclaim(kind)
                self.doCleanups()

    def reclaim(self, kind):
        self.serve(kind, self.TENANTS, 32 * MIB)
        burst, red = self.servant(BATCH), self.servant(RED, wait=60)
        for _ in range(20):
            self.assertEqual(burst.ask("fill", 2 * MIB), 32 * MIB)
            burst.ask("free")  # Its slabs stay with it.
            self.assertEqual(self.operator.tenant("root/batch").used_bytes,
                             32 * MIB)
            refused, took_ms = red.ask("take_timed", 16 * MIB)
            self.assertEqual(refused, "")
            # The one that was asked works on, in what is left.
            self.assertEqual(burst.ask("fill", 2 * MIB), 16 * MIB)
            red.ask("give")
            burst.ask("give")
        self.tell(f"{kind}: 16 MiB of idle burst, the last time after "
                  f"{took_ms:.1f} ms")

    def test_what_is_in_use_is_taken_by_force_where_that_is_allowed(self):
        for kind in ("HOST_FD", "VMM_FD", "CUDA_IPC"):
            with self.subTest(kind):
                self.evict(kind)
                self.doCleanups()

    def evict(self, kind):
        self.serve(kind, self.TENANTS + f"""
tenants {{ path: "root/batch" evict: true }}
tenants {{ path: "root/blue" guarantee: "4MiB" evict: true }}
reclaim_patience_ms: {BUSY}
""", 32 * MIB)
        within = self.servant(BLUE)
        self.assertEqual(within.ask("take", 4 * MIB), "")
        bursts = [self.servant(BATCH) for _ in range(2)]
        self.assertEqual(bursts[0].ask("take", 14 * MIB), "")
        self.assertEqual(bursts[1].ask("take", 14 * MIB), "")
        red = self.servant(RED, wait=60)
        refused, took_ms = red.ask("take_timed", 12 * MIB)
        self.assertEqual(refused, "")
        # The younger one, and nobody else.
        bursts[1].await_end()
        self.assertTrue(bursts[0].is_running())
        self.assertTrue(within.is_running())
        # Reports are written when the memory has gone its way.
        self.eventually(self.causes, "no report")
        causes = self.causes()
        self.assertEqual(len(causes), 1)
        self.assertRegex(causes[0], "evicted: .*root/batch.*root/red")
        self.assertIn("session evicted", self.served.broker.log())
        self.tell(f"{kind}: 12 MiB by force after {took_ms:.1f} ms, of which "
                  f"{BUSY} are patience")

    def causes(self):
        """Why sessions that left something have ended."""
        return [report.end_cause for report in
                self.operator.call("ListLeaks").reports
                if not report.session_live]


class LineTest(ShareCase):
    SLABS = 16

    def test_a_large_request_among_many_small_ones(self):
        for kind, uid in (("HOST_FD", BATCH), ("HOST_FD", RED),
                          ("VMM_FD", RED)):
            with self.subTest(kind, uid=uid):
                self.large_among_small(kind, uid)
                self.doCleanups()

    def large_among_small(self, kind, uid):
        """For each slab that the small ones give back, others of them wait, and
        some ask all the time."""
        self.serve(kind, "", 2 * self.SLABS * MIB)
        waits = [60] * (3 * self.SLABS) + [0] * 4
        small = [self.fleet.start("stream", uid=BATCH, wait=wait)
                 for wait in waits]
        for one in small:
            one.hear()
        large = self.servant(uid, wait=60)
        for _ in range(5):
            refused, took_ms = large.ask("take_timed", 28 * MIB)
            self.assertEqual(refused, "")
            large.ask("give")
        for one in small:
            one.say("stop")
        counts = [one.hear() for one in small]
        self.assertGreater(min(counts[:3 * self.SLABS]), 0,
                           "small ones starved")
        self.tell(f"{kind}: 28 of 32 MiB after {took_ms:.1f} ms, beside "
                  f"{sum(counts)} small grants in all")


class LimitTest(ShareCase):
    LOW, HIGH = 8 * MIB, 32 * MIB

    def set_limit(self, limit):
        """As an operator does it."""
        subprocess.run(
            [self.places.vrampool, "--directory",
             self.served.environment["VRAMPOOL_DIR"], "quota", "set",
             "root/red", f"{limit // MIB}MiB"],
            check=True, capture_output=True, timeout=PATIENCE_SECONDS)

    def fill(self, clients):
        """What all of them get together, when nobody gets any more."""
        for client in clients:
            client.say(("fill", 2 * MIB))
        return sum(client.hear() for client in clients)

    def test_a_limit_below_use_and_restored(self):
        for kind in ("HOST_FD", "VMM_FD", "CUDA_IPC"):
            with self.subTest(kind):
                self.lower_and_raise(kind)
                self.doCleanups()

    def lower_and_raise(self, kind):
        self.serve(kind, f"""
tenants {{ path: "root/red" limit: "{self.HIGH}" }}
""", 2 * self.HIGH)
        clients = [self.servant(RED) for _ in range(8)]
        for _ in range(3):
            self.assertEqual(self.fill(clients), self.HIGH)
            self.set_limit(self.LOW)
            budget = clients[0].ask("budget")
            self.assertEqual(
                (budget["free"], budget["used"]), (0, self.HIGH))
            self.assertEqual(self.fill(clients), 0)
            for client in clients:
                client.ask("give")
            self.assertEqual(self.fill(clients), self.LOW)
            # One waits for what only a new limit can give.
            waiting = self.servant(RED, wait=60)
            waiting.say(("take", 4 * MIB))
            self.eventually(
                lambda: self.operator.call("GetStatus").waiting == 1, "waits")
            self.set_limit(self.HIGH)
            self.assertEqual(waiting.hear(), "")
            self.assertEqual(self.fill(clients),
                             self.HIGH - self.LOW - 4 * MIB)
            for client in (*clients, waiting):
                client.ask("give")
            self.fleet.forget(waiting)


if __name__ == "__main__":
    ShareCase.places = Places.from_command_line()
    unittest.main(verbosity=2)
