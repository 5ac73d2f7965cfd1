#!/usr/bin/env python3
"""Tensors that PyTorch's own allocator cut out of the pool, between processes.

    torch_segments_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL

On a GPU (VRAMPOOL_TEST_DEVICE=cuda:0) it is PyTorch's allocator, by
vrampool.torch.enable(), or for the whole process (VRAMPOOL_TEST_WHOLE=1). On the
host PyTorch draws from nobody: there a stand-in cuts tensors out of a block, and
uses the place of one that has gone for the next, as that allocator does.
"""

import ctypes
import gc
import os
import unittest
import weakref

import case
from broker import Broker

import numpy
import torch
import torch.multiprocessing
import torch.utils.data
import vrampool
import vrampool.torch
from vrampool import _pins, _torch_segments

SPAWN = torch.multiprocessing.get_context("spawn")
ON_GPU = (case.Case.device or "").startswith("cuda")
IS_WHOLE = os.environ.get("VRAMPOOL_TEST_WHOLE") == "1"
DEVICE = ("cuda" if ON_GPU else "cpu", 0)
ELEMENTS = 1 << 18  # A place: 1 MiB.
PLACES = 8


class StandIn:
    """One segment, and places in it: the one that was freed last is next."""

    def __init__(self):
        client = vrampool.default_client()
        _torch_segments.lead(DEVICE, vrampool.default_client)
        session = client._open()
        self.size = ELEMENTS * PLACES * 4
        # Given back never, and known to no Python object of the package.
        self.address = session.library.client_allocate(session.handle,
                                                       self.size, None)
        self.free = list(range(PLACES))

    def empty(self):
        place = self.free.pop()
        address = self.address + place * ELEMENTS * 4
        array = numpy.ctypeslib.as_array(
            (ctypes.c_float * ELEMENTS).from_address(address))
        # The storage keeps the array, and nobody else does.
        weakref.finalize(array, self.free.append, place)
        return torch.from_numpy(array)

    def used(self):
        """Places that hold tensors."""
        return PLACES - len(self.free)


class PyTorchs:
    """PyTorch's own, led to the pool."""

    def __init__(self, whole_process=IS_WHOLE):
        vrampool.torch.enable(whole_process=whole_process)

    def empty(self):
        return torch.empty(ELEMENTS, device="cuda")

    def used(self):
        if IS_WHOLE:  # PyTorch counts nothing.
            return _torch_segments.source_of(DEVICE).usage().live_blocks
        return torch.cuda.memory_allocated() // (ELEMENTS * 4)


def new_segments():
    return PyTorchs() if ON_GPU else StandIn()


def pins_now():
    """What its own thread has not let go of; without looking."""
    return [pin for pins in list(_pins._by_client.values())
            for pin in list(pins.by_token)]


def relay(inbox, outbox):
    """Receives, says what it sees, adds, and lets go when it is told to. Sends
    the same tensor back if it is to."""
    vrampool.torch.share_by_token()
    for word in iter(inbox.recv, "end"):
        if word == "take":
            tensor = inbox.recv()
        elif word == "look":
            outbox.send((tensor.flatten()[0].item(), float(tensor.min()),
                         float(tensor.max())))
        elif word == "add":
            tensor += 1
            if ON_GPU:
                torch.cuda.synchronize()
        elif word == "back":
            outbox.send(tensor)
        elif word == "drop":
            tensor = None
            gc.collect()
        outbox.send("done")


def produce(outbox, count):
    """Makes tensors in places of segments, sends them and ends, before anybody
    reads."""
    vrampool.torch.share_by_token()
    segments = new_segments()
    for number in range(count):
        tensor = segments.empty()
        tensor.fill_(number)
        outbox.send(tensor)


class Numbers(torch.utils.data.Dataset):
    """A worker that draws from segments of its own, and reads its parent's."""

    segments = None

    def __init__(self, tensor):
        self.tensor = tensor

    def __len__(self):
        return 6

    def __getitem__(self, index):
        if Numbers.segments is None:
            vrampool.torch.share_by_token()
            # The parent's tensor has come: PyTorch is at work on the GPU, and
            # its allocator cannot be changed any more.
            Numbers.segments = (PyTorchs(whole_process=False) if ON_GPU
                                else StandIn())
        made = Numbers.segments.empty()
        made.fill_(float(self.tensor[index]) * 10)
        return made


def first_of(batch):
    return batch[0]


class SegmentsTest(case.Case):
    @classmethod
    def setUpClass(cls):
        """One daemon for all: process-wide clients have one to the end."""
        broker = Broker(cls.vrampoold, pool_size="1GiB", default_limit="1GiB")
        if cls.device is not None:
            broker.device = cls.device
        cls.broker = broker.__enter__()
        cls.addClassCleanup(broker.__exit__, None, None, None)
        os.environ.update(VRAMPOOL_DIR=str(broker.directory),
                          VRAMPOOL_SLAB_SIZE="32MiB",
                          PYTHONPATH=str(case.PACKAGE))
        vrampool.torch.share_by_token()
        cls.segments = new_segments()

    def setUp(self):
        self.client = _torch_segments.source_of(DEVICE)
        self.used_before = self.segments.used()

    def tell(self, *words):
        for word in words:
            self.there.send(word)
            self.assertEqual(self.back.recv(), "done")

    def send(self, tensor):
        self.there.send("take")
        self.there.send(tensor)
        self.assertEqual(self.back.recv(), "done")

    def look(self):
        self.there.send("look")
        seen = self.back.recv()
        self.assertEqual(self.back.recv(), "done")
        return seen

    def start_relay(self):
        take, self.there = SPAWN.Pipe(False)
        self.back, give = SPAWN.Pipe(False)
        process = SPAWN.Process(target=relay, args=(take, give))
        process.start()

        def end():
            self.there.send("end")
            process.join(case.PATIENCE_SECONDS)
            self.assertEqual(process.exitcode, 0)
        self.addCleanup(end)

    def nothing_is_left(self):
        gc.collect()
        self.eventually(lambda: not pins_now(),
                        "something stays pinned")
        self.eventually(lambda: self.segments.used() == self.used_before,
                        "a place stays used")
        self.assertEqual(self.operator("objects")["objects"], [])

    def test_a_place_is_not_used_again_while_others_have_it(self):
        self.start_relay()
        tensor = self.segments.empty()
        tensor.fill_(1)
        address = tensor.data_ptr()
        self.send(tensor)
        del tensor
        gc.collect()
        self.assertEqual(len(_pins.pinned()), 1)
        others = [self.segments.empty() for _ in range(PLACES // 2)]
        for other in others:
            self.assertNotEqual(other.data_ptr(), address)
            other.fill_(9)
        self.assertEqual(self.look(), (1, 1, 1))
        self.tell("drop")
        del others, other
        self.nothing_is_left()

    def test_a_place_that_nobody_has_is_used_again(self):
        self.start_relay()
        for number in range(3 * PLACES):  # More than there are places.
            tensor = self.segments.empty()
            tensor.fill_(number)
            self.send(tensor)
            self.assertEqual(self.look()[0], number)
            self.tell("drop")
            del tensor
        self.nothing_is_left()

    def test_it_is_the_same_memory_on_both_sides(self):
        self.start_relay()
        tensor = self.segments.empty().reshape(512, 512)
        tensor.zero_()
        self.send(tensor[1:, ::2])
        self.tell("add")
        self.assertEqual(float(tensor[1:, ::2].min()), 1)
        self.assertEqual(float(tensor[1:, 1::2].max()), 0)
        self.assertEqual(float(tensor[0].max()), 0)
        self.there.send("back")
        received = self.back.recv()
        self.assertEqual(self.back.recv(), "done")
        self.assertEqual((received.shape, received.stride()),
                         ((511, 256), (512, 2)))
        received += 1
        self.assertEqual(float(tensor[1:, ::2].max()), 2)
        self.tell("drop")
        del tensor, received
        self.nothing_is_left()

    def test_a_tensor_sent_twice_is_pinned_until_both_have_gone(self):
        self.start_relay()
        reader, writer = SPAWN.Pipe(False)
        tensor = self.segments.empty()
        tensor.fill_(3)
        self.send(tensor)
        writer.send(tensor)
        mine = reader.recv()
        del tensor
        gc.collect()
        self.assertEqual(len(_pins.pinned()), 2)
        self.tell("drop")
        self.eventually(lambda: len(_pins.pinned()) == 1,
                        "what nobody has stays pinned")
        self.assertEqual(float(mine.min()), 3)
        del mine
        self.nothing_is_left()

    def test_what_nobody_reads_stays_until_its_name_goes(self):
        reader, writer = SPAWN.Pipe(False)
        tensor = self.segments.empty()
        writer.send(tensor)
        del tensor
        [message] = self.operator("objects")["objects"]
        self.assertEqual(len(_pins.pinned()), 1)
        self.client.unlink(message["name"])
        self.nothing_is_left()
        reader.close()

    def test_parameters_and_gradients_survive(self):
        reader, writer = SPAWN.Pipe(False)
        parameter = torch.nn.Parameter(self.segments.empty())
        writer.send(parameter)
        received = reader.recv()
        self.assertIsInstance(received, torch.nn.Parameter)
        with self.assertRaisesRegex(RuntimeError, "detach"):
            writer.send(parameter.view(ELEMENTS))
        del parameter, received
        self.nothing_is_left()

    def test_the_producer_may_end_first(self):
        reader, writer = SPAWN.Pipe(False)
        process = SPAWN.Process(target=produce, args=(writer, 3))
        process.start()
        process.join(case.PATIENCE_SECONDS)
        self.assertEqual(process.exitcode, 0)
        for number in range(3):
            tensor = reader.recv()
            self.assertEqual((float(tensor.min()), float(tensor.max())),
                             (number, number))
        del tensor
        gc.collect()
        self.eventually(lambda: self.operator("objects")["objects"] == [],
                        "an object lives on")

    def test_a_data_loaders_spawned_workers(self):
        tensor = self.segments.empty()
        tensor[:6] = torch.arange(6.0)
        loader = torch.utils.data.DataLoader(
            Numbers(tensor), num_workers=2, collate_fn=first_of,
            multiprocessing_context="spawn")
        seen = [(float(item.min()), float(item.max())) for item in loader]
        self.assertEqual(seen, [(10.0 * i, 10.0 * i) for i in range(6)])
        del tensor, loader
        gc.collect()
        self.nothing_is_left()

    def test_other_tensors_go_as_they_always_did(self):
        reader, writer = SPAWN.Pipe(False)
        writer.send(torch.ones(3))
        self.assertEqual(reader.recv().tolist(), [1, 1, 1])
        self.assertIsNone(_torch_segments.find(torch.ones(3)))
        self.nothing_is_left()


@unittest.skipIf(ON_GPU, "of the host's memory")
class LostSessionTest(case.Case):
    """In a process of its own, whose daemon is restarted."""

    def test_what_was_pinned_stays_so(self):
        process = self.start_python(
            "import sys; sys.path.insert(0, sys.argv[1])\n"
            "import torch_segments_test as test\n"
            "test.lose_a_session()\n", os.path.dirname(__file__))
        self.assertEqual(process.stdout.readline(), "sent\n")
        self.broker.restart()
        out, _ = process.communicate("\n", timeout=case.PATIENCE_SECONDS)
        self.assertEqual((process.returncode, out), (0, "still pinned\n"))


def lose_a_session():
    vrampool.torch.share_by_token()
    segments = StandIn()
    reader, writer = SPAWN.Pipe(False)
    writer.send(segments.empty())
    received = reader.recv()
    print("sent", flush=True)
    input()
    client = _torch_segments.source_of(DEVICE)
    address = received.data_ptr()
    del received
    more = client.allocate(16 * case.MIB)  # Attaches anew.
    assert client.usage().attachments == 2, client.usage()
    assert not _pins.pinned(), _pins.pinned()
    assert len(_pins.lost()) == 1, _pins.lost()
    assert segments.used() == 1, segments.free
    assert segments.empty().data_ptr() != address
    del more
    print("still pinned")


if __name__ == "__main__":
    case.main()
