"""What the client processes of the proofs do. Each function is a process: it is
given its end of a connection to the test, and ends when that does."""

import ctypes
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] /
                       "client" / "python"))
import vrampool  # noqa: E402  Found by the line above.
import vrampool._cuda  # noqa: E402,F401  Loaded once for all processes.
import vrampool._library  # noqa: E402

MIB = 1 << 20
NEVER = 3600  # Seconds after which nothing idle goes back by itself.


class Reservation(ctypes.Structure):
    _fields_ = [("epoch", ctypes.c_uint64), ("id", ctypes.c_uint64)]


def load():
    """All that the roles need, so that their processes load nothing."""
    c = vrampool._library.get().c
    c.vrampool_reserve.argtypes = [
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint64,
        ctypes.POINTER(Reservation)]
    c.vrampool_reservation_release.argtypes = [ctypes.c_void_p, Reservation]


class Bench:
    """A client whose blocks are slabs of their own: what it has of the library
    is what it has of the daemon."""

    def __init__(self, wait=0.0, slab_bytes=2 * MIB):
        self.client = vrampool.connect(slab_bytes=slab_bytes, wait=wait,
                                       idle=NEVER)
        self.library = vrampool._library.get()

    def take(self, nbytes):
        """A block; None if there is no room, which is then said by `refused`:
        "OverQuota", "OutOfPool" or "Timeout"."""
        self.refused = None
        try:
            return self.client.allocate(nbytes)
        except (vrampool.OverQuota, vrampool.OutOfPool,
                vrampool.Timeout) as error:
            self.refused = type(error).__name__
            return None

    def give_back(self, block):
        block.close()
        self.client.quiesce()

    def reserve(self, nbytes):
        """Its number, or None."""
        self.refused = None
        made = Reservation()
        status = self.library.c.vrampool_reserve(
            self.client._session.handle, nbytes, NEVER * 1000,
            ctypes.byref(made))
        if status != 0:
            self.refused = type(vrampool.errors.of(
                status, self.library.message())).__name__
            return None
        return made

    def release(self, reservation):
        self.library.check(self.library.c.vrampool_reservation_release(
            self.client._session.handle, reservation))


class Ledger:
    """A process's own book of what it has had, by the machine's clock. Each
    entry is [asked, got, giving, given, bytes] in nanoseconds: it certainly had
    the bytes from `got` to `giving`, and may have had them from `asked` to
    `given`. Refusals are [asked, answered, bytes, why]."""

    def __init__(self):
        self.grants = []
        self.refusals = []

    def had(self, asked, nbytes):
        self.grants.append([asked, time.monotonic_ns(), 0, 0, nbytes])
        return self.grants[-1]

    def refused(self, asked, nbytes, why):
        self.refusals.append([asked, time.monotonic_ns(), nbytes, why])


class Racer:
    """Takes and gives back at random, and writes it down."""

    SIZES = (2 * MIB, 2 * MIB, 4 * MIB, 6 * MIB)

    def __init__(self, seed, wait):
        self.bench = Bench(wait)
        self.book = Ledger()
        self.random = random.Random(seed)
        self.held = []  # (entry of the book, how to give it back)

    def take(self, nbytes):
        asked = time.monotonic_ns()
        block = self.bench.take(nbytes)
        if block is None:
            self.book.refused(asked, nbytes, self.bench.refused)
            return False
        entry = self.book.had(asked, nbytes)
        self.held.append((entry, lambda: self.bench.give_back(block)))
        return True

    def fill(self):
        """Takes all it can get; how much it has then."""
        while self.take(2 * MIB):
            pass
        return sum(entry[4] for entry, _ in self.held)

    def reserve(self, nbytes):
        """Room held for a moment, and then mostly used."""
        asked = time.monotonic_ns()
        reservation = self.bench.reserve(nbytes)
        if reservation is None:
            self.book.refused(asked, nbytes, self.bench.refused)
            return
        entry = self.book.had(asked, nbytes)
        if self.random.random() < 0.5:
            self.held.append((entry, lambda: self.bench.release(reservation)))
            return
        block = self.bench.take(nbytes)
        if block is None:
            raise AssertionError(f"reserved, and then {self.bench.refused}")
        self.held.append((entry, lambda: self.bench.give_back(block)))

    def give_one(self):
        entry, give_back = self.held.pop(self.random.randrange(len(self.held)))
        entry[2] = time.monotonic_ns()
        give_back()
        entry[3] = time.monotonic_ns()

    def give_all(self):
        while self.held:
            self.give_one()

    def step(self):
        # A reservation that is not used up serves whatever is taken next, so
        # one that has any takes nothing else.
        choice = self.random.random()
        if self.held and (choice < 0.45 or len(self.held) > 4):
            self.give_one()
        elif choice < 0.9 or self.held:
            self.take(self.random.choice(self.SIZES))
        else:
            self.reserve(self.random.choice(self.SIZES))
            self.give_all()


def racer(line, seed, wait, operations, seconds):
    """Takes all it can get, races, and takes all again. Says how much it had,
    its book, and how much again."""
    me = Racer(seed, wait)
    line.say("ready")
    line.hear()
    line.say(me.fill())
    line.hear()
    end = time.monotonic() + seconds
    count = 0
    while count < operations or time.monotonic() < end:
        me.step()
        count += 1
    me.give_all()
    line.say({"grants": me.book.grants, "refusals": me.book.refusals,
              "operations": count})
    line.hear()
    line.say(me.fill())
    line.hear()


class Servant:
    """Does what it is told, one order after the other; an order is the name of
    a method and its arguments, and the answer what that returns."""

    def __init__(self, wait):
        self.wait = wait
        self.blocks = []

    def attach(self):
        self.bench = Bench(self.wait)
        return self.bench.client.info.tenant

    def take(self, nbytes):
        """"", or why not."""
        block = self.bench.take(nbytes)
        if block is not None:
            self.blocks.append(block)
        return self.bench.refused or ""

    def take_timed(self, nbytes):
        """The same, and how many milliseconds it took."""
        began = time.monotonic()
        return self.take(nbytes), (time.monotonic() - began) * 1000

    def fill(self, nbytes):
        """Takes blocks of so much until there is no more; the sum."""
        count = 0
        while not self.take(nbytes):
            count += 1
        return count * nbytes

    def start_at(self, moment, pieces):
        """At a moment of the machine's clock: attaches, asks what it is
        guaranteed and takes that, in so many pieces; why not, for each."""
        while time.monotonic_ns() < moment:
            pass
        self.attach()
        share = self.bench.client.budget().guaranteed // pieces
        return share * pieces, [self.take(share) for _ in range(pieces)]

    def free(self):
        """Frees its blocks; their slabs stay here, idle."""
        while self.blocks:
            self.blocks.pop().close()

    def give(self):
        self.free()
        self.bench.client.quiesce()

    def budget(self):
        return self.bench.client.budget()._asdict()

    def write(self, byte):
        """Into all its blocks; memory of the host only."""
        for block in self.blocks:
            block.memoryview()[:] = bytes([byte]) * block.nbytes

    def reads(self, byte):
        """Whether that is what is in all of them."""
        return all(bytes(block.memoryview()) == bytes([byte]) * block.nbytes
                   for block in self.blocks)


def servant(line, wait):
    me = Servant(wait)
    while True:
        order, *arguments = line.hear()
        line.say(getattr(me, order)(*arguments))


def comer(line, nbytes):
    """At a moment of the machine's clock it attaches and takes a block; why it
    was refused, or "", and when it was attached and when it was served."""
    moment = line.hear()
    time.sleep(max(0, moment - time.monotonic_ns()) / 1e9)
    servant = Servant(wait=0)
    servant.attach()
    attached = time.monotonic_ns()
    line.say((servant.take(nbytes), attached, time.monotonic_ns()))
    line.hear()


def stream(line, wait):
    """Asks for a slab, gives it back and asks again, until it is told to stop;
    how many it was given. Without `wait` it asks again when it was refused."""
    bench = Bench(wait)
    count = 0
    line.say("ready")
    while not line.has_word():
        block = bench.take(2 * MIB)
        if block is not None:
            bench.give_back(block)
            count += 1
        elif wait:
            raise AssertionError(f"refused: {bench.refused}")
    line.say(count)
    line.hear()


def glutton(line):
    """Takes all it can get, and a little more room whenever there is some,
    until it is told to stop; how often it was refused."""
    bench = Bench()
    held, refused = [], 0
    line.say("ready")
    while not line.has_word():
        block = bench.take(2 * MIB)
        if block is not None:
            held.append(block)
            continue
        refused += 1
        if held:
            bench.give_back(held.pop())
    while held:
        bench.give_back(held.pop())
    line.say(refused)
    line.hear()


from abuses import abuser  # noqa: E402,F401  These use the above.
from liars import flooder, forger, liar  # noqa: E402,F401
from reclaimers import claimer, hoarder, witness  # noqa: E402,F401
from sharers import sharer  # noqa: E402,F401
from victims import bystander, sweeper, victim  # noqa: E402,F401
