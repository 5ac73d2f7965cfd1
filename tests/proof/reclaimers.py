"""Roles around memory that comes back because the daemon asks for it."""

import time

import vrampool
from roles import MIB, NEVER


def hoarder(line, slab_bytes, slabs):
    """Leases so many slabs and leaves them idle; says how many bytes it has
    each time it is asked."""
    client = vrampool.connect(slab_bytes=slab_bytes, idle=NEVER)
    blocks = [client.allocate(slab_bytes) for _ in range(slabs)]
    line.say([client.info.tenant, client.usage().leased_bytes])
    line.hear()
    for block in blocks:
        block.close()
    del blocks, block
    while True:
        line.say(client.usage().leased_bytes)
        line.hear()


def claimer(line, slab_bytes, slabs, wait):
    """Wants it all, now that it is asked to; says how long it took."""
    client = vrampool.connect(slab_bytes=slab_bytes, idle=NEVER, wait=wait)
    line.say(client.info.tenant)
    line.hear()
    begin = time.monotonic_ns()
    blocks = [client.allocate(slab_bytes) for _ in range(slabs)]
    line.say((time.monotonic_ns() - begin) / 1e9)
    line.hear()
    for block in blocks:
        block.close()


def witness(line):
    """Leases and gives back 2 MiB, again and again, and says how many
    nanoseconds each lease took whenever it is asked."""
    client = vrampool.connect(slab_bytes=2 * MIB, idle=NEVER)
    line.say(client.info.tenant)
    took = []
    while True:
        begin = time.monotonic_ns()
        block = client.allocate(2 * MIB, dedicated=True)
        took.append(time.monotonic_ns() - begin)
        block.close()
        # What it has given back and the GPU has not done with counts, too.
        client.quiesce()
        if line.has_word():
            line.hear()
            line.say(took)
            took = []
