#!/usr/bin/env python3
"""What Numba's handles of memory say in other processes, without Numba: on the
host, and in the order of streams on the fake driver's GPU.

    numba_messages_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL FAKE_DRIVER
"""

import concurrent.futures
import ctypes
import gc
import pickle
import sys

import case
import fake_gpu

import numpy
import vrampool
from vrampool import _numba_messages

OPENS = """
import pickle, sys
from vrampool import _numba_messages
message = pickle.loads(bytes.fromhex(sys.argv[1]))
with _numba_messages.opened(message) as buffer:
    numbers = buffer.tensor("int32").numpy()
    print(numbers.tolist())
    numbers += 100
    del numbers
"""

KEEPS = """
import pickle, sys
from vrampool import _numba_messages
message = pickle.loads(bytes.fromhex(sys.argv[1]))
buffer = _numba_messages.opened(message)
part = buffer.tensor("int32", (2,), offset=4)
print(pickle.dumps(_numba_messages.lend(part.address, 8, part).message).hex(),
      flush=True)
sys.stdin.readline()
print(buffer.tensor("int32").numpy().tolist())
"""

LENDS = """
import pickle, sys, numpy, vrampool
from vrampool import _numba_messages
client = vrampool.connect()
tensor = client.empty(10, "int32")
tensor.numpy()[:] = range(10)
loan = _numba_messages.lend(tensor.address + 8, 12, tensor)
print(pickle.dumps(loan.message).hex(), flush=True)
sys.stdin.readline()
"""


class Owner:
    """Whatever has memory in a process."""

    def __init__(self, tensor):
        self.tensor = tensor


class HostTest(case.Case):
    def setUp(self):
        super().setUp()
        self.client = self.connect()
        self.tensor = self.client.empty(10, "int32")
        self.tensor.numpy()[:] = range(10)
        self.addCleanup(self.nothing_is_left)

    def nothing_is_left(self):
        self.tensor = None
        gc.collect()
        self.no_objects()
        self.eventually(lambda: self.client.usage().live_blocks == 0,
                        "a block lives on")
        self.assertEqual(self.leaks_of_the_ended(), [])

    def no_objects(self):
        self.eventually(lambda: self.operator("objects")["objects"] == [],
                        "an object lives on")

    def lend(self, first, count, owner):
        return _numba_messages.lend(self.tensor.address + 4 * first, 4 * count,
                                    owner)

    def test_another_process_has_the_memory_as_often_as_it_likes(self):
        loan = self.lend(3, 4, self.tensor)
        text = pickle.dumps(loan.message).hex()
        self.assertEqual(self.run_python(OPENS, text), "[3, 4, 5, 6]\n")
        self.assertEqual(self.run_python(OPENS, text), "[103, 104, 105, 106]\n")
        self.assertEqual(self.tensor.numpy().tolist(), [
            0, 1, 2, 203, 204, 205, 206, 7, 8, 9])

    def test_a_block_is_one_object_however_often_it_is_lent(self):
        owner = Owner(self.tensor)
        loans = [self.lend(i, 1, owner) for i in range(10)]
        self.assertEqual({loan.message.token for loan in loans},
                         {loans[0].message.token})
        self.assertEqual(len(self.operator("objects")["objects"]), 1)
        for i, loan in enumerate(loans):
            buffer = _numba_messages.opened(loan.message)
            self.assertEqual((buffer.address - self.tensor.address,
                              buffer.nbytes), (4 * i, 4))
            del buffer
        del owner, loan, loans

    def test_it_is_good_while_the_owner_or_the_loan_lives(self):
        owner = Owner(self.tensor)
        loan = self.lend(0, 2, owner)
        message = loan.message
        del loan
        gc.collect()
        _numba_messages.opened(message).close()
        loan = self.lend(0, 2, owner)
        del owner
        gc.collect()
        _numba_messages.opened(message).close()
        del loan
        gc.collect()
        self.no_objects()
        with self.assertRaisesRegex(vrampool.NotFound, "has to keep"):
            _numba_messages.opened(message)

    def test_who_has_opened_it_has_it_when_the_lender_ends(self):
        lender = self.start_python(LENDS)
        message = pickle.loads(bytes.fromhex(lender.stdout.readline()))
        buffer = _numba_messages.opened(message)
        lender.communicate("\n", timeout=case.PATIENCE_SECONDS)
        self.assertEqual(buffer.tensor("int32").numpy().tolist(), [2, 3, 4])
        del buffer
        self.no_objects()

    def test_what_was_opened_is_passed_on(self):
        loan = self.lend(3, 4, self.tensor)
        keeper = self.start_python(KEEPS, pickle.dumps(loan.message).hex())
        passed = pickle.loads(bytes.fromhex(keeper.stdout.readline()))
        self.assertEqual(passed.token, loan.message.token)
        del loan
        self.tensor = None
        gc.collect()
        with _numba_messages.opened(passed) as buffer:
            numbers = buffer.tensor("int32").numpy()
            self.assertEqual(numbers.tolist(), [4, 5])
            numbers *= 2
            del numbers
        out, _ = keeper.communicate("\n", timeout=case.PATIENCE_SECONDS)
        self.assertEqual((out, keeper.returncode), ("[3, 8, 10, 6]\n", 0))

    def test_other_memory_is_refused(self):
        other = numpy.ones(3)
        for address, size in ((other.ctypes.data, 24), (0, 0), (0, 8),
                              (self.tensor.address, 1 << 20)):
            with self.assertRaisesRegex(vrampool.InvalidArgument, "copy it"):
                _numba_messages.lend(address, size, other)


class GpuTest(fake_gpu.FakeGpuCase):
    def test_in_processes_of_their_own(self):
        self.run_checks(__file__, 2)


def check_lending_waits_for_the_work_so_far(test, client, streams):
    tensor = client.empty(4)
    stream = streams.new_blocking()
    gate = streams.hold_up(stream)

    def lend():
        with vrampool._cuda._Context(0):
            return _numba_messages.lend(tensor.address, 16, tensor)
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        lent = thread.submit(lend)
        with test.assertRaises(concurrent.futures.TimeoutError):
            lent.result(timeout=0.05)
        ctypes.memset(tensor.address, 1, 16)  # The fake's memory is the host's.
        streams.open(gate)
        loan = lent.result(timeout=case.PATIENCE_SECONDS)
    with _numba_messages.opened(loan.message) as buffer:
        test.assertEqual(ctypes.string_at(buffer.address, 16), b"\1" * 16)


def check_a_hold_ends_behind_the_work_so_far(test, client, streams):
    tensor = client.empty(4)
    loan = _numba_messages.lend(tensor.address, 16, tensor)
    buffer = _numba_messages.opened(loan.message)
    stream = streams.new_blocking()
    gate = streams.hold_up(stream)
    at = tensor.address
    del tensor, loan, buffer
    gc.collect()
    test.assertEqual(client.usage().live_blocks, 1)
    other = streams.new()
    again = client.empty(4, stream=other)
    test.assertTrue(again.address != at or streams.is_waiting(other))
    streams.open(gate)
    streams.finish(stream)


if __name__ == "__main__":
    fake_gpu.use(sys.argv.pop(4))
    case.main()
