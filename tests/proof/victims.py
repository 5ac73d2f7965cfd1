"""Processes that are killed, and the one beside them that nothing happens to."""

import os
import random

import vrampool
from roles import MIB, Bench

NAME = "others"  # The bystander's object.
LEFT = "left"    # A named object that victims leave: it outlives them.
OPERATIONS = 400  # Of a victim that nobody kills.


class Victim:
    """A client that does everything a client can, in random order."""

    def __init__(self, line, seed):
        self.line = line
        self.random = random.Random(seed)
        self.blocks, self.objects, self.rooms = [], [], []

    def live(self):
        self.line.say("attach")
        self.bench = Bench(wait=0.001)
        self.client = self.bench.client
        operations = [
            self.allocate, self.allocate, self.allocate, self.free, self.trim,
            self.quiesce, self.share, self.share_by_name, self.share_pending,
            self.open, self.open, self.close, self.close, self.reserve,
            self.release, self.wait, self.wait_in_line, self.budget,
            self.unlink]
        for _ in range(OPERATIONS):
            operation = self.random.choice(operations)
            self.line.say(operation.__name__)
            operation()
        self.line.say("end")

    def one_of(self, things):
        return things.pop(self.random.randrange(len(things)))

    def allocate(self):
        if len(self.blocks) > 8:
            self.blocks.pop(0).close()
        block = self.bench.take(self.random.choice((1000, MIB, 2 * MIB,
                                                    5 * MIB)))
        if block is not None:
            self.blocks.append(block)

    def free(self):
        if self.blocks:
            self.one_of(self.blocks).close()

    def trim(self):
        self.client.trim()

    def quiesce(self):
        while self.objects:  # What nobody here has open is unmapped, too.
            self.objects.pop().close()
        self.client.quiesce()

    def share(self, **options):
        if self.blocks:
            block = self.random.choice(self.blocks)
            self.objects.append(self.client.share(block, **options))

    def share_by_name(self):
        try:
            self.share(name=LEFT)
        except vrampool.AlreadyExists:
            pass

    def share_pending(self):
        if self.blocks:
            self.share(pending=True)
            self.objects[-1].ready()

    def open(self):
        self.objects.append(self.client.open(name=NAME))

    def close(self):
        if self.objects:
            self.one_of(self.objects).close()

    def reserve(self):
        room = self.bench.reserve(2 * MIB)
        if room is not None:
            self.rooms.append(room)

    def release(self):
        if self.rooms:
            try:
                self.bench.release(self.one_of(self.rooms))
            except vrampool.NotFound:
                pass  # Used up.

    def wait(self):
        try:
            self.client.wait_for_room(30 * MIB, timeout=0.001)
        except vrampool.Timeout:
            pass

    def wait_in_line(self):
        block = self.bench.take(30 * MIB)
        if block is not None:
            self.blocks.append(block)

    def budget(self):
        self.client.budget()

    def unlink(self):
        try:
            self.client.unlink(LEFT)
        except vrampool.NotFound:
            pass


def victim(line, seed):
    """Says each operation before it begins it."""
    Victim(line, seed).live()
    line.hear()


def sweeper(line, nbytes):
    """Takes all the room there is, once whenever it is asked to: what others
    left warm has to go for it, and what it leaves is always the same."""
    bench = Bench()
    line.say("ready")
    while line.hear():
        bench.give_back(bench.take(nbytes))
        line.say("swept")


def bystander(line):
    """Holds memory and shares it, and takes the name off what the dead left,
    whenever it is asked to. At the end it says whether its bytes are as they
    were."""
    client = Bench().client
    block = client.allocate(MIB)
    is_host = client.info.kind == vrampool.Kind.HOST_FD
    pattern = os.urandom(MIB)
    if is_host:
        block.memoryview()[:] = pattern
    kept = client.share(block, name=NAME)
    line.say("ready")
    while line.hear() == "tidy":
        try:
            client.unlink(LEFT)
        except vrampool.NotFound:
            pass
        line.say("tidy")
    line.say(not is_host or bytes(block.memoryview()) == pattern)
    line.hear()
    client.unlink(NAME)
    kept.close()
    block.close()
