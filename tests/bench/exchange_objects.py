#!/usr/bin/env python3
"""Shares an object and opens it in another process, through the Python package:
what each call takes. For exchange.py; run beside a daemon.

    exchange_objects.py WAY [--gpu] [--quick]

open, first     the slab is not mapped yet: a call to the daemon, a mapping
open, mapped    another object of the slab is open
round trip      share, the token through a pipe, open there, an answer, close
"""

import multiprocessing
import statistics
import sys
import time

from exchange_say import say

import vrampool

SPAWN = multiprocessing.get_context("spawn")
BYTES = 1 << 20
PATIENCE_SECONDS = 60


def took(call, *arguments):
    begin = time.perf_counter_ns()
    result = call(*arguments)
    return time.perf_counter_ns() - begin, result


def answer(link):
    """The other process: opens what it is told to."""
    client = vrampool.connect()
    for token in iter(link.recv_bytes, b""):
        first, opened = took(client.open, token.decode())
        mapped, again = took(client.open, token.decode())
        link.send((first, mapped))
        again.close()
        opened.close()
        link.send(unmap(client))


def unmap(client):
    """So that the next open is a first one; bytes that stay mapped. On a GPU a
    hold ends when the GPU says so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    client.quiesce()
    while client.usage().opened_bytes and time.monotonic() < deadline:
        client.quiesce()
    return client.usage().opened_bytes


def answer_mapped(link):
    """As long as something of the slab is open."""
    client = vrampool.connect()
    kept = client.open(link.recv_bytes().decode())
    link.send_bytes(b"ready")
    for token in iter(link.recv_bytes, b""):
        with client.open(token.decode()):
            link.send_bytes(b"opened")
    kept.close()


def start(target):
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=target, args=(theirs,), daemon=True)
    process.start()
    return ours, process


def end(link, process):
    link.send_bytes(b"")
    process.join()
    if process.exitcode != 0:
        raise SystemExit(f"the other process ended with {process.exitcode}")


def measure_opens(client, tensor, count):
    link, process = start(answer)
    firsts, mapped, shares = [], [], []
    for _ in range(count):
        share, shared = took(client.share, tensor)
        link.send_bytes(shared.token.encode())
        first, again = link.recv()
        if link.recv() != 0:
            raise SystemExit("the slab stays mapped: not a first open")
        shared.close()
        shares.append(share)
        firsts.append(first)
        mapped.append(again)
    end(link, process)
    for case, values in (("share", shares), ("open, first", firsts),
                         ("open, mapped", mapped)):
        say(case, statistics.median(values))


def measure_trips(client, tensor, count):
    link, process = start(answer_mapped)
    kept = client.share(tensor)
    link.send_bytes(kept.token.encode())
    link.recv_bytes()

    def trip():
        with client.share(tensor) as shared:
            link.send_bytes(shared.token.encode())
            link.recv_bytes()
    say("round trip", statistics.median(took(trip)[0] for _ in range(count)))
    end(link, process)


def main():
    count = 3 if "--quick" in sys.argv else 200
    client = vrampool.connect()
    tensor = client.empty(BYTES, "uint8")
    measure_opens(client, tensor, count)
    measure_trips(client, tensor, count)


if __name__ == "__main__":
    main()
