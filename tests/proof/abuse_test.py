#!/usr/bin/env python3
"""Sizes that cannot be, products that overflow, pointers that are nobody's: by
the C interface and by the Python package, on each kind of memory.

    abuse_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL RPC FAILPOINTS FAKE_DRIVER
"""

import unittest

import admin
from fleet import Fleet, Places, Served

LEAST = 100  # Abuses that each process tries.


class AbuseTest(unittest.TestCase):
    places = None

    def test_host_memory(self):
        self.abuse("HOST_FD")

    def test_vmm_memory(self):
        self.abuse("VMM_FD")

    def test_cuda_ipc_memory(self):
        self.abuse("CUDA_IPC")

    def abuse(self, kind):
        with Served(self.places, kind, pool_size="64MiB") as served, \
                Fleet(self.places, served.environment) as fleet:
            operator = admin.Admin(served.broker)
            before = operator.books()
            abuser = fleet.start("abuser")
            self.assertGreater(abuser.hear(), LEAST)
            fleet.forget(abuser)
            after = operator.books()
            operator.close()
        for books in (before, after):
            del books["sessions"]  # Its end is seen in the daemon's own time.
        self.assertEqual(after, before)


if __name__ == "__main__":
    AbuseTest.places = Places.from_command_line()
    unittest.main(verbosity=2)
