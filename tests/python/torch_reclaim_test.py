#!/usr/bin/env python3
"""What PyTorch caches serves others who ask the daemon for memory, and what its
tensors are in does not.

    VRAMPOOL_TEST_DEVICE=cuda:0 VRAMPOOL_KIND=VMM_FD \\
        torch_reclaim_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL

CUDA_IPC memory stays charged until its process calls vrampool_quiesce(). Tenants
are told apart by the group of a process, so two of them need root.
"""

import json
import os
import pathlib
import sys
import unittest

import case
from torch_case import MIB, SLAB_SIZE, blocks, extremes, mebibytes

import torch
import vrampool.torch

KEPT, CACHED = 64, 1024  # MiB.
GROUP = 1002

KEEPS = """
import sys
sys.path.insert(0, sys.argv[1])
import torch_reclaim_test
torch_reclaim_test.keep()
"""

CLAIMS = """
import os, sys
os.setgid(int(sys.argv[1]))
import vrampool
client = vrampool.connect(wait=float(sys.argv[2]))
block = client.allocate(int(sys.argv[3]))
print(client.info.tenant, flush=True)
sys.stdin.readline()
block.close()
"""


def keep():
    """Caches most of what it has; says what it has whenever it is asked, and the
    last time uses it again."""
    vrampool.torch.enable()
    kept, freed = mebibytes(KEPT), mebibytes(CACHED)
    kept.fill_(5)
    freed.fill_(6)
    torch.cuda.synchronize()
    del freed
    for line in sys.stdin:
        again = None
        if line == "again\n":
            again = mebibytes(CACHED)
        print(json.dumps([blocks(), torch.cuda.memory_reserved() // MIB]),
              flush=True)
        del again
    if extremes(kept) != (5, 5):
        raise AssertionError(f"{extremes(kept)} was 5")


class KeeperCase(case.Case):
    """With a process that caches."""

    config = {"pool_size": f"{CACHED + 512}MiB"}

    def setUp(self):
        super().setUp()
        self.environment.update(PYTHONWARNINGS="ignore",
                                VRAMPOOL_SLAB_SIZE=SLAB_SIZE)
        self.keeper = self.start_python(KEEPS, pathlib.Path(__file__).parent)
        self.assertEqual(self.ask("now"), [2, KEPT + CACHED])

    def ask(self, word):
        """Segments, and MiB that PyTorch has."""
        self.keeper.stdin.write(word + "\n")
        self.keeper.stdin.flush()
        return json.loads(self.keeper.stdout.readline())

    def nothing_was_lost(self):
        self.assertEqual(self.ask("again"), [2, KEPT + CACHED])
        self.keeper.communicate(timeout=case.PATIENCE_SECONDS)
        self.assertEqual(self.keeper.returncode, 0)


class TenantTest(KeeperCase):
    def test_one_that_waits_is_served(self):
        claimer = self.connect(wait=case.PATIENCE_SECONDS)
        block = claimer.allocate(CACHED * MIB)
        self.assertEqual(self.ask("now"), [1, KEPT])
        block.close()
        self.eventually(
            lambda: claimer.trim() or claimer.usage().leased_bytes == 0,
            "what is freed does not go back")
        self.nothing_was_lost()

    def test_nobody_is_asked_while_there_is_room(self):
        block = self.connect(wait=case.PATIENCE_SECONDS).allocate(64 * MIB)
        self.assertEqual(self.ask("now"), [2, KEPT + CACHED])
        block.close()
        self.nothing_was_lost()


@unittest.skipUnless(os.geteuid() == 0, "another tenant needs root")
class GuaranteeTest(KeeperCase):
    config = {"pool_size": f"{CACHED + 512}MiB", "text":
              f'policy {{ gids: {GROUP} tenant: "root/claimer" }}\n'
              f'tenants {{ path: "root/claimer" guarantee: "{CACHED}MiB"'
              ' lend_unused: true }\n'}

    def test_a_tenant_comes_for_what_it_is_guaranteed(self):
        claimer = self.start_python(CLAIMS, GROUP, case.PATIENCE_SECONDS,
                                    CACHED * MIB)
        self.assertEqual(claimer.stdout.readline(), "root/claimer\n")
        self.assertEqual(self.ask("now"), [1, KEPT])
        used = {each["tenant"]: int(each["used_bytes"])
                for each in self.operator("tenants")["tenants"]}
        self.assertGreaterEqual(used["root/claimer"], CACHED * MIB)
        claimer.communicate("\n", timeout=case.PATIENCE_SECONDS)
        self.assertEqual(claimer.returncode, 0)
        self.eventually(lambda: len(self.operator("sessions")["sessions"]) == 1,
                        "the claimer's session lives on")
        self.nothing_was_lost()


if __name__ == "__main__":
    if not (case.Case.device or "").startswith("cuda"):
        sys.exit("this test is of a GPU's memory: set VRAMPOOL_TEST_DEVICE")
    if os.environ.get("VRAMPOOL_KIND") != "VMM_FD":
        sys.exit("this test is of memory that goes back while its process "
                 "works: set VRAMPOOL_KIND=VMM_FD")
    case.main()
