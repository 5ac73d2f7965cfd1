#!/usr/bin/env python3
"""Five hundred processes attach at the same moment: all of them are served.

    crowd_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL RPC FAILPOINTS FAKE_DRIVER

How long that takes is printed, and no reason to fail: docs/results/quotas.md.
VRAMPOOL_CROWD says how many; VRAMPOOL_CROWD_COLD=1 has each of them load the RPC
module for itself, as programs of their own do.
"""

import os
import time
import unittest

import admin
from fleet import Fleet, Places, Served

MIB = 1 << 20
CROWD = int(os.environ.get("VRAMPOOL_CROWD", "500"))
IS_COLD = os.environ.get("VRAMPOOL_CROWD_COLD", "0") == "1"


class CrowdTest(unittest.TestCase):
    places = None

    def test_host_memory(self):
        self.come("HOST_FD")

    def test_vmm_memory(self):
        self.come("VMM_FD")

    def test_cuda_ipc_memory(self):
        self.come("CUDA_IPC")

    def test_a_daemon_that_takes_few_calls_at_once(self):
        self.come("HOST_FD", "bounds { open_rpcs: 32 waiting: 8 }\n")

    def come(self, kind, text=""):
        with Served(self.places, kind, text,
                    pool_size=str(2 * MIB * CROWD)) as served, \
                Fleet(self.places, served.environment,
                      preload=not IS_COLD) as fleet:
            crowd = [fleet.start("comer", nbytes=2 * MIB)
                     for _ in range(CROWD)]
            moment = time.monotonic_ns() + 50_000_000
            for one in crowd:
                one.say(moment)
            answers = [one.hear() for one in crowd]
            operator = admin.Admin(served.broker)
            books = operator.books()
            operator.close()
        self.assertEqual([refused for refused, *_ in answers], [""] * CROWD)
        self.assertEqual((books["sessions"], books["leases"], books["unused"]),
                         (CROWD, CROWD, 0))
        attached, served = (sorted((answer[which] - moment) / 1e6
                                   for answer in answers) for which in (1, 2))
        print(f"{self._testMethodName}: {CROWD} attached after "
              f"{attached[-1]:.0f} ms (half of them after "
              f"{attached[CROWD // 2]:.0f}), each with memory after "
              f"{served[-1]:.0f} ms", flush=True)


if __name__ == "__main__":
    CrowdTest.places = Places.from_command_line()
    unittest.main(verbosity=2)
