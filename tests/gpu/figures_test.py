"""What the broker costs on a GPU: memory, calls, stalls, and drift."""

import json
import subprocess

import pytest

import gpu_broker
from figures import record

KINDS = ["CUDA_IPC", "VMM_FD"]


def used_mib():
    said = subprocess.run(
        ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,"
         "nounits"], capture_output=True, text=True, check=True).stdout
    return int(said.split()[0])


def figures(server, *words):
    done = server.run(gpu_broker.program("gpu_figures"), *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(params=KINDS)
def server(request):
    with gpu_broker.GpuBroker(kinds=[request.param]) as running:
        running.kind = request.param
        yield running


@pytest.mark.parametrize("kind", KINDS)
def test_the_daemons_own_memory(kind):
    before = used_mib()
    with gpu_broker.GpuBroker(kinds=[kind]):
        own = used_mib() - before
    record(f"the daemon's own GPU memory, {kind}", {"mib": own})
    if kind == "VMM_FD":
        assert own <= 8


def test_a_cold_lease(server):
    numbers = figures(server, "lease")
    record(f"a cold lease of 64 MiB, {server.kind}", numbers)
    if server.kind == "VMM_FD":
        bare = numbers["empty_rpc_us"] + numbers["raw_vmm_mapping_us"]
        assert numbers["cold_lease_us"] <= 2 * bare


def test_nothing_stalls_beside_a_long_kernel(server):
    numbers = figures(server, "stalls")
    record(f"worst beside a kernel of 100 ms, {server.kind}", numbers)
    assert numbers.pop("rounds_within_the_kernel") == 20
    # The driver's own does: the kernel is really in the way.
    assert numbers.pop("driver_free_us") > 50_000


def test_ten_thousand_leases_leave_nothing_behind(server):
    before = used_mib()
    numbers = figures(server, "cycles", "10000")
    numbers["nvml_used_mib_drift"] = used_mib() - before
    record(f"10,000 leases and returns, {server.kind}", numbers)
    assert numbers["free_bytes_drift"] <= 2 << 20
    assert numbers["nvml_used_mib_drift"] <= 4
