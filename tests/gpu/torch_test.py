"""PyTorch out of the broker's memory."""

import json
import pathlib
import subprocess
import sys

import pytest

import gpu_broker
from figures import record

HERE = pathlib.Path(__file__).resolve().parent
STEPS = "200"


def result_of(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def run_train(server, mode):
    return result_of(server.run(sys.executable, str(HERE / "train.py"), mode,
                                STEPS))


# Before the fixture that serves the same GPU for the tests below.
@pytest.mark.parametrize("mode", ["pool", "process"])
def test_beyond_the_quota_is_out_of_memory(mode):
    limit = 'tenants { path: "root/default" limit: "1GiB" }\n'
    with gpu_broker.GpuBroker(text=limit) as small:
        done = small.run(sys.executable, str(HERE / "oom.py"), mode)
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout.splitlines()[-1])
        assert said["still_works"]
        if mode == "pool":
            assert said["is_oom"], said
        else:
            assert said["type"] != "builtins.NoneType", said
        record(f"torch out of memory, {mode}", said)
        assert int(small.cli("status")["refused_quota"]) > 0


@pytest.fixture(scope="module", params=["CUDA_IPC", "VMM_FD"])
def server(request):
    with gpu_broker.GpuBroker(kinds=[request.param]) as running:
        running.kind = request.param
        yield running


@pytest.fixture(scope="module")
def plain():
    return result_of(subprocess.run(
        [sys.executable, str(HERE / "train.py"), "plain", STEPS],
        capture_output=True, text=True))


def test_training_in_a_pool_is_exactly_pytorchs_own(server, plain):
    pool = run_train(server, "pool")
    assert pool["losses"] == plain["losses"]
    assert plain["losses"][-1] < plain["losses"][0] / 2, "it learns"
    inside = pool["segments"]["inside_bytes"]
    outside = pool["segments"]["outside_bytes"]
    assert inside > 0 and pool["usage"]["live_bytes"] >= inside
    record(f"torch MemPool, {server.kind}", {
        "steps": int(STEPS), "seconds": pool["seconds"],
        "plain_seconds": plain["seconds"],
        "segments_in_the_broker_bytes": inside,
        "segments_outside_bytes": outside,
        "share_outside": outside / (inside + outside),
        "leased_bytes": pool["usage"]["leased_bytes"],
        "rpcs": pool["usage"]["rpcs"]})


def test_training_with_the_allocator_of_the_process_is_the_same(server, plain):
    whole = run_train(server, "process")
    assert whole["losses"] == plain["losses"]
    record(f"torch change_current_allocator, {server.kind}", {
        "steps": int(STEPS), "seconds": whole["seconds"],
        "plain_seconds": plain["seconds"],
        "leased_bytes": whole["usage"]["leased_bytes"],
        "rpcs": whole["usage"]["rpcs"]})


def test_the_pool_is_whole_after_the_trainings(server):
    pool = server.cli("status")["pool"]
    assert int(pool.get("leased_bytes", 0)) == 0, server.tell("status")
    assert int(pool.get("lingering_bytes", 0)) == 0, server.tell("status")
    # PyTorch does not free its segments at the exit, and is named for it.
    causes = {report["end_cause"] for report in server.cli("leaks")["reports"]}
    assert causes == {"closed"}


def test_a_process_without_python_verifies_a_tensor(server):
    trainer = server.start(sys.executable, str(HERE / "train.py"), "pool", "5",
                           "share")
    trainer.stdout.readline()
    shared = json.loads(trainer.stdout.readline())
    reader = server.run(gpu_broker.program("gpu_verify"), "weights")
    trainer.stdin.close()
    assert trainer.wait(60) == 0
    assert reader.returncode == 0, reader.stderr
    assert json.loads(reader.stdout) == shared
