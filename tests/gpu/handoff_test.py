"""An object is passed on before its contents are complete: the consumer's stream
waits for them on the GPU, and for no longer than the producer lives."""

import json
import os
import signal
import time

import pytest

import gpu_broker
from figures import record

BYTES = 64 << 20
OK, BROKEN = 0, 9  # Of vrampool_status.
ROUNDS = 10


def start(server, role):
    return server.start(gpu_broker.program("gpu_handoff"), role, str(BYTES))


def tell(process, line):
    process.stdin.write(line + "\n")
    process.stdin.flush()


def hear(process):
    return process.stdout.readline().strip()


def begin(server):
    """Both, with the consumer's stream waiting for the producer's object."""
    consumer = start(server, "consume")
    assert hear(consumer) == "ready"
    producer = start(server, "produce")
    tell(consumer, hear(producer))
    assert hear(consumer) == "waiting"
    return producer, consumer


def end(process):
    process.stdin.close()
    assert process.wait(30) == 0


@pytest.fixture(params=["CUDA_IPC", "VMM_FD"])
def server(request):
    with gpu_broker.GpuBroker(kinds=[request.param], pool="1GiB") as one:
        one.kind = request.param
        yield one


def test_the_stream_goes_on_when_the_contents_are_complete(server):
    took_ms = []
    for _ in range(ROUNDS):
        producer, consumer = begin(server)
        told = time.monotonic()
        tell(consumer, "look")
        tell(producer, "finish")
        assert json.loads(hear(consumer)) == {"mismatches": 0, "status": OK}
        took_ms.append((time.monotonic() - told) * 1e3)
        assert hear(producer) == "finished"
        end(consumer)
        end(producer)
    record(f"hand-off to a waiting stream, {server.kind}", {
        "bytes": BYTES, "min_ms": min(took_ms), "max_ms": max(took_ms)})


def test_the_stream_goes_on_when_the_producer_is_killed(server):
    for _ in range(ROUNDS):
        producer, consumer = begin(server)
        os.kill(producer.pid, signal.SIGKILL)
        tell(consumer, "look")
        assert json.loads(hear(consumer))["status"] == BROKEN
        end(consumer)
        producer.wait()


def test_a_process_can_leave_while_its_stream_waits(server):
    producer, consumer = begin(server)
    tell(consumer, "leave")
    end(consumer)
    tell(producer, "finish")
    assert hear(producer) == "finished"
    end(producer)
