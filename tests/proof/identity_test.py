#!/usr/bin/env python3
"""Who a process is, the kernel says: one that says of itself that it is another
gets what is its own and no more, and a user who comes ten thousand times keeps
nobody else out. Users are changed, so this needs root.

    identity_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL RPC FAILPOINTS FAKE_DRIVER
"""

import dataclasses
import os
import pathlib
import tempfile
import time
import unittest

import admin
from fleet import PATIENCE_SECONDS, Fleet, Places, Served

MIB = 1 << 20
POOR, RICH = 1001, 1002
CGROUP = "/kubepods.slice/kubepods-podrich.slice"
LIMIT = 4 * MIB
CONFIG = f"""
policy {{ uids: {RICH} tenant: "root/rich" }}
policy {{ cgroup_prefix: "{CGROUP}" tenant: "root/rich" }}
default_tenant: "root/poor"
tenants {{ path: "root/poor" limit: "{LIMIT}" }}
"""
ATTEMPTS = 10000
BOUND = 200  # Of sessions of one user.


class IdentityTest(unittest.TestCase):
    places = None

    def setUp(self):
        self.assertEqual(os.geteuid(), 0, "run this as root")

    def serve(self, kind, text, **places):
        self.served = self.enterContext(
            Served(dataclasses.replace(self.places, **places), kind, text,
                   pool_size="64MiB"))
        self.fleet = self.enterContext(
            Fleet(self.places, self.served.environment))
        self.operator = admin.Admin(self.served.broker)
        self.addCleanup(self.operator.close)
        self.attach_path = str(self.served.broker.socket_path("attach.sock"))

    def test_who_lies_stays_in_his_tenant(self):
        for kind in ("HOST_FD", "VMM_FD", "CUDA_IPC"):
            with self.subTest(kind):
                self.lie(kind)
                self.doCleanups()

    def lie(self, kind):
        self.serve(kind, CONFIG)
        rich = self.fleet.start("servant", uid=RICH, wait=0)
        self.assertEqual(rich.ask("attach"), "root/rich")
        claims = {"tenant": "root/rich", "pod": "podrich", "cgroup": CGROUP,
                  "uid": RICH, "pid": rich.pid}
        for uid in (POOR, 0):
            liar = self.fleet.start("liar", uid=uid, claims=claims,
                                    nbytes=2 * MIB)
            self.assertEqual(liar.hear(),
                             {"tenant": "root/poor", "taken": LIMIT})
            self.check_listed(liar.pid, uid)
            self.fleet.forget(liar)
            self.eventually(lambda: self.operator.tenant(
                "root/poor").used_bytes == 0)
        forger = self.fleet.start("forger", path=self.attach_path,
                                  claims=claims)
        self.assertEqual(forger.hear(), "root/poor")
        self.check_listed(forger.pid, 0)
        # None of it was the other's: he has all that is his.
        self.assertEqual(self.operator.tenant("root/rich").used_bytes, 0)
        self.assertEqual(rich.ask("fill", 2 * MIB), 64 * MIB)

    def check_listed(self, pid, uid):
        """Under its own name, and not in the cgroup that it claims."""
        [session] = [one for one in
                     self.operator.call("ListSessions").sessions
                     if one.process.pid == pid]
        self.assertEqual((session.process.uid, session.tenant),
                         (uid, "root/poor"))
        self.assertNotIn("kubepods-podrich", session.process.cgroup)

    def eventually(self, is_true):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_true():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.001)

    def test_ten_thousand_sessions_of_one_user(self):
        self.serve("HOST_FD", f"bounds {{ sessions_per_uid: {BOUND} }}")
        flooder = self.fleet.start("flooder", uid=POOR, path=self.attach_path,
                                   attempts=ATTEMPTS)
        while not flooder.has_word():
            self.check_served()
        told = flooder.hear()
        self.assertEqual(told["sessions"], BOUND)
        [(text, count)] = told["refusals"].items()
        self.assertEqual(count, ATTEMPTS - BOUND)
        self.assertIn("bounds.sessions_per_uid", text)
        self.check_served()
        flooder.say("close")
        flooder.hear()
        self.eventually(
            lambda: self.operator.call("GetStatus").sessions < BOUND)
        # The same user comes in again, from a process of its own.
        again = self.fleet.start("servant", uid=POOR, wait=0)
        self.assertEqual(again.ask("attach"), "root/default")

    def test_a_user_who_wants_all_descriptors_of_the_daemon(self):
        """The bounds of the configuration are far above what it can carry."""
        few = 1024
        folder = self.enterContext(tempfile.TemporaryDirectory())
        program = pathlib.Path(folder) / "vrampoold"
        program.write_text(f"#!/bin/sh\nulimit -n {few}\n"
                           f"exec {self.places.vrampoold} \"$@\"\n")
        program.chmod(0o755)
        self.serve("HOST_FD", "", vrampoold=str(program))
        flooder = self.fleet.start("flooder", uid=POOR, path=self.attach_path,
                                   attempts=few)
        told = flooder.hear()
        self.assertLess(told["sessions"], few // 8)
        self.assertGreater(told["sessions"], few // 32)
        for _ in range(10):
            self.check_served()
        self.assertIn("fewer sessions than bounds.sessions",
                      self.served.broker.log())

    def check_served(self):
        """Another user, as ever."""
        other = self.fleet.start("servant", uid=RICH, wait=60)
        self.assertEqual(other.ask("attach"), "root/default")
        self.assertEqual(other.ask("take", 2 * MIB), "")
        self.fleet.forget(other)


if __name__ == "__main__":
    IdentityTest.places = Places.from_command_line()
    unittest.main(verbosity=2)
