"""A client is killed while its kernel writes: the next tenant notices nothing,
and the bytes come back."""

import json
import os
import signal
import statistics
import time

import pytest

import gpu_broker
from figures import record

VICTIM, WITNESS = 1001, 1002  # Users without a name; each is a tenant.
POOL = 1 << 30
ROUNDS = 25
WATCH_MS = 80
TENANTS = f"""
policy {{ uids: {VICTIM} tenant: "root/victim" }}
policy {{ uids: {WITNESS} tenant: "root/witness" }}
"""
SETTINGS = {"VRAMPOOL_SLAB_SIZE": "1GiB", "VRAMPOOL_WAIT_MS": "60000"}


def start(server, user, *words):
    process = server.start(gpu_broker.program(words[0]), *words[1:],
                           env=SETTINGS, user=user, group=user)
    assert process.stdout.readline().strip() == "ready"
    return process


def order(process, line):
    process.stdin.write(line + "\n")
    process.stdin.flush()


def kill_one(victim):
    """Seconds since the epoch of the clock at which its last process ended."""
    order(victim, "go")
    word, child = victim.stdout.readline().split()
    assert word == "writing"
    os.kill(victim.pid, signal.SIGKILL)
    killed = time.monotonic_ns()
    if int(child) > 0:
        # What is left of it keeps the session open, and the GPU at work.
        victim.wait()
        os.kill(int(child), signal.SIGKILL)
        killed = time.monotonic_ns()
    return killed


@pytest.mark.parametrize("how", ["alone", "forked"])
@pytest.mark.parametrize("kind", ["CUDA_IPC", "VMM_FD"])
def test_the_next_tenant_sees_nothing_of_the_dead(kind, how):
    with gpu_broker.GpuBroker(kinds=[kind], pool="1GiB",
                              text=TENANTS) as server:
        server.directory.chmod(0o755)
        witness = start(server, WITNESS, "gpu_witness", str(POOL),
                        str(WATCH_MS))
        victims = [start(server, VICTIM, "gpu_victim", str(POOL), how)]
        took_ms = []
        for _ in range(ROUNDS):
            victims.append(start(server, VICTIM, "gpu_victim", str(POOL), how))
            victim = victims.pop(0)
            killed = kill_one(victim)
            order(witness, "look")
            sight = json.loads(witness.stdout.readline())
            assert sight["foreign"] == 0, "it saw what the dead had written"
            assert sight["overwritten"] == 0, "the dead went on writing"
            took_ms.append((sight["granted_ns"] - killed) / 1e6)
            victim.wait()
        for left in (victims[0], witness):
            left.stdin.close()
            assert left.wait(30) == 0
        pool = server.cli("status")["pool"]
        assert int(pool.get("leased_bytes", 0)) == 0
        assert int(pool.get("lingering_bytes", 0)) == 0
        record(f"kill in mid-kernel, {kind}, {how}", {
            "kills": ROUNDS, "bytes": POOL,
            "to_grantable_ms_median": statistics.median(took_ms),
            "to_grantable_ms_max": max(took_ms)})
