#!/usr/bin/env python3
"""Memory that one tenant lets others see: who may open it, who pays, and what
is left when owners and guests go, by choice or by force.

    grant_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL RPC FAILPOINTS FAKE_DRIVER
"""

import time
import unittest

import admin
from fleet import PATIENCE_SECONDS, Fleet, Places, Served

MIB = 1 << 20
SIZE = 4 * MIB
RED, BLUE, GREEN = 1001, 1002, 1003  # Users, each a tenant.
CONFIG = "".join(
    f'policy {{ uids: {uid} tenant: "root/{name}" }}\n'
    for uid, name in ((RED, "red"), (BLUE, "blue"), (GREEN, "green"))) + (
        f'tenants {{ path: "root/blue" limit: "{2 * SIZE}" }}\n')
KINDS = ("HOST_FD", "VMM_FD", "CUDA_IPC")


class GrantTest(unittest.TestCase):
    places = None

    def each_kind(self, check):
        for kind in KINDS:
            with self.subTest(kind):
                self.serve(kind)
                check(kind)
                self.await_nothing()
                self.doCleanups()

    def serve(self, kind):
        served = self.enterContext(
            Served(self.places, kind, CONFIG, pool_size=str(16 * SIZE)))
        self.fleet = self.enterContext(Fleet(self.places, served.environment))
        self.operator = admin.Admin(served.broker)
        self.addCleanup(self.operator.close)
        self.red = self.fleet.start("sharer", uid=RED)
        self.blue = self.fleet.start("sharer", uid=BLUE)
        self.assertEqual(self.red.ask("tenant"), "root/red")
        self.assertEqual(self.blue.ask("tenant"), "root/blue")

    def share(self, grants=("root/blue",), name=None):
        self.assertIsNone(self.red.ask("take", SIZE, True))
        token = self.red.ask("share", grants, name)
        self.assertIsInstance(token, str)
        return token

    def used(self, name):
        return self.operator.tenant(f"root/{name}").used_bytes

    def opened(self, name):
        return self.operator.tenant(f"root/{name}").opened_bytes

    def eventually(self, is_true, what):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_true():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.001)

    def await_nothing(self):
        """When all have gone, nothing is charged, and no object is left."""
        for worker in list(self.fleet.workers):
            self.fleet.forget(worker)
        self.eventually(lambda: self.operator.books()["used"] == {},
                        "something stays charged")
        books = self.operator.books()
        self.assertEqual(books["objects"], 0)
        self.assertTrue(books["adds_up"])
        self.assertEqual([tenant.opened_bytes for tenant in
                          self.operator.call("ListTenants").tenants
                          if tenant.opened_bytes], [])

    def tidied(self, worker, is_true):
        """A condition under which a worker that closed and freed has unmapped:
        on a GPU a close is done when a thread of the library has seen the
        stream's work done."""
        worker.ask("tidy")
        return is_true()

    def refused(self, answer, name):
        self.assertIsInstance(answer, list, answer)
        self.assertEqual(answer[0], name, answer)
        return answer[1]

    def test_who_is_granted_opens_and_the_owner_pays(self):
        self.each_kind(self.check_open)

    def check_open(self, kind):
        token = self.share()
        if kind == "HOST_FD":
            self.red.ask("write", 7)
        self.assertEqual(self.blue.ask("open", token), "root/red")
        if kind == "HOST_FD":
            self.assertTrue(self.blue.ask("reads", 7))
            self.red.ask("write", 8)  # It is the same memory.
            self.assertTrue(self.blue.ask("reads", 8))
        self.assertTrue(self.blue.ask("open_again", token))
        self.assertEqual((self.used("red"), self.used("blue")), (SIZE, 0))
        self.assertEqual((self.opened("red"), self.opened("blue")), (0, SIZE))
        self.blue.ask("close")
        self.eventually(lambda: self.tidied(
            self.blue, lambda: self.opened("blue") == 0), "it stays open")

    def test_who_is_not_granted_opens_nothing(self):
        self.each_kind(self.check_refused)

    def check_refused(self, kind):
        token = self.share(name="model")
        green = self.fleet.start("sharer", uid=GREEN)
        why = self.refused(green.ask("open", token), "PermissionDenied")
        self.assertIn("root/green", why)
        self.refused(green.ask("open", None, "model", "root/red"), "NotFound")
        self.refused(self.blue.ask("open", None, "model"), "NotFound")
        self.assertEqual(
            self.blue.ask("open", None, "model", "root/red"), "root/red")
        self.refused(self.blue.ask("unlink", "model"), "NotFound")
        self.red.ask("unlink", "model")

    def test_memory_beside_other_blocks_is_not_granted(self):
        self.each_kind(self.check_dedicated)

    def check_dedicated(self, kind):
        self.assertIsNone(self.red.ask("take", SIZE, False))
        why = self.refused(self.red.ask("share", ["root/blue"]), "NotShareable")
        self.assertIn("dedicated", why)
        self.refused(self.red.ask("share", ["no path"]), "NotShareable")
        self.assertIsInstance(self.red.ask("share", []), str)
        self.red.ask("take", SIZE, True)
        self.refused(self.red.ask("share", ["no path"]), "InvalidArgument")

    def test_a_limit_holds_for_what_is_opened(self):
        self.each_kind(self.check_limit)

    def check_limit(self, kind):
        token = self.share()
        self.blue.ask("take", SIZE + 2 * MIB, True)
        why = self.refused(self.blue.ask("open", token), "OverQuota")
        self.assertIn("root/blue", why)
        self.assertEqual(self.opened("blue"), 0)
        self.blue.ask("free")
        self.eventually(lambda: self.tidied(
            self.blue, lambda: self.used("blue") == 0), "it stays charged")
        self.assertEqual(self.blue.ask("open", token), "root/red")
        self.refused(self.blue.ask("take", SIZE + 2 * MIB, True), "OverQuota")

    def test_an_owner_that_lets_go_pays_no_more(self):
        self.each_kind(self.check_let_go)

    def check_let_go(self, kind):
        token = self.share()
        if kind == "HOST_FD":
            self.red.ask("write", 7)
        self.assertEqual(self.blue.ask("open", token), "root/red")
        # In either order.
        self.red.ask("free")
        self.assertEqual((self.used("red"), self.used("blue")), (SIZE, 0))
        self.red.ask("close")
        # CUDA_IPC memory stays mapped until the process is tidied.
        self.eventually(lambda: self.tidied(
            self.red, lambda: (self.used("red"), self.used("blue"))
            == (0, SIZE)), "the charge is not passed on")
        self.assertEqual(self.opened("blue"), 0)
        self.assertTrue(self.blue.ask("open_again", token))
        if kind == "HOST_FD":
            self.assertTrue(self.blue.ask("reads", 7))
        slab = [one for one in self.operator.call("ListLeases").leases
                if one.state == "kept"]
        self.assertEqual([(one.tenant, one.payer) for one in slab],
                         [("root/red", "root/blue")])
        # What it left is nobody's to write to: new memory is other memory.
        self.red.ask("take", SIZE, True)
        if kind == "HOST_FD":
            self.red.ask("write", 9)
            self.assertTrue(self.blue.ask("reads", 7))
        self.blue.ask("close")
        self.eventually(lambda: self.tidied(
            self.blue, lambda: self.used("blue") == 0), "it stays charged")

    def test_an_owner_that_is_killed_pays_no_more(self):
        self.each_kind(self.check_killed)

    def check_killed(self, kind):
        token = self.share(name="model")
        if kind == "HOST_FD":
            self.red.ask("write", 7)
        self.assertEqual(self.blue.ask("open", token), "root/red")
        self.red.kill()
        heir = self.fleet.start("sharer", uid=RED)
        self.eventually(
            lambda: self.operator.call("GetStatus").pool.kept_bytes == SIZE,
            "the object is gone")
        self.assertEqual(self.used("red"), SIZE)  # By its name.
        heir.ask("unlink", "model")
        self.eventually(lambda: (self.used("red"), self.used("blue"))
                        == (0, SIZE), "the charge is not passed on")
        if kind == "HOST_FD":
            self.assertTrue(self.blue.ask("reads", 7))

    def test_a_guest_that_is_killed_leaves_nothing(self):
        self.each_kind(self.check_guest_killed)

    def check_guest_killed(self, kind):
        token = self.share()
        self.assertEqual(self.blue.ask("open", token), "root/red")
        self.red.ask("close")
        self.red.ask("free")
        self.eventually(lambda: self.tidied(
            self.red, lambda: self.used("blue") == SIZE),
            "the charge is not passed on")
        self.blue.kill()
        self.eventually(lambda: self.operator.books()["used"] == {},
                        "the dead one's is not given back")

    def test_a_name_is_waited_for(self):
        self.each_kind(self.check_wait)

    def check_wait(self, kind):
        self.blue.say(("open", None, "later", "root/red", PATIENCE_SECONDS))
        self.assertFalse(self.blue.has_word())
        self.share(name="later")
        self.assertEqual(self.blue.hear(), "root/red")
        self.red.ask("unlink", "later")


if __name__ == "__main__":
    GrantTest.places = Places.from_command_line()
    unittest.main(verbosity=2)
