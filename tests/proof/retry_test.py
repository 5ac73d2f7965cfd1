#!/usr/bin/env python3
"""Ten thousand allocations whose calls have a millisecond at most, so that many
replies are lost, and are asked for again by the same key: there is one grant for
each key, and the daemon's books are what the client holds.

    retry_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL RPC FAILPOINTS FAKE_DRIVER
"""

import concurrent.futures
import os
import pathlib
import random
import sys
import threading
import time
import unittest

import grpc

import admin
from fleet import PATIENCE_SECONDS, Places, Served

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] /
                       "coexistence"))
from attach import Session  # noqa: E402  Found by the line above.

MIB = 1 << 20
KEYS = 10000
AT_ONCE = 60  # Keys that are asked for together,
ROOM = 40     # and how many of them there is room for.
THREADS = 8
SHORT_TRIES = 3  # With a millisecond; then as long as it takes.


class Client:
    """One session; what it holds, by key."""

    def __init__(self, broker):
        self._session = Session(broker.socket_path("attach.sock"), "retrier")
        self._service = admin.Service(broker.socket_path("broker.sock"),
                                      "Broker")
        self._reading = threading.Lock()
        self.held = {}
        self.lost = 0

    def ask(self, key):
        """Until it is known whether there is room: whether it has been had."""
        self.drop_slabs()  # Unread ones are a reason to be refused.
        for attempt in range(SHORT_TRIES + 1):
            timeout = (random.uniform(0.0001, 0.001)
                       if attempt < SHORT_TRIES else PATIENCE_SECONDS)
            try:
                reply = self._service.call(
                    "Lease", self._session.token, timeout, size_bytes=2 * MIB,
                    wait_ms=random.choice((0, 1)), idempotency_key=key)
            except grpc.RpcError as error:
                details = [value for name, value in
                           error.trailing_metadata() or ()
                           if name == "grpc-status-details-bin"]
                if details:  # The daemon's own word.
                    return self.refused(error)
                self.lost += 1
                continue
            self.held[key] = reply.lease_id
            return True
        raise AssertionError("no answer")

    @staticmethod
    def refused(error):
        if error.code() not in (grpc.StatusCode.RESOURCE_EXHAUSTED,
                                grpc.StatusCode.DEADLINE_EXCEEDED):
            raise error
        return False

    def repeat(self, key):
        """Asks again for what it has: the lease."""
        return self._service.call("Lease", self._session.token,
                                  size_bytes=2 * MIB,
                                  idempotency_key=key).lease_id

    def give_back(self, key):
        self._service.call("Return", self._session.token,
                           epoch=self._session.epoch,
                           lease_id=self.held.pop(key), mapping=1)

    def take_and_give(self, key):
        if not self.ask(key):
            raise AssertionError("there is room for all of them")
        self.give_back(key)

    def drop_slabs(self):
        with self._reading:
            self._session.drop_slabs()

    def close(self):
        self._service.close()
        self._session.close()


class RetryTest(unittest.TestCase):
    places = None

    def setUp(self):
        self.served = self.enterContext(Served(
            self.places, "HOST_FD", pool_size=str(2 * ROOM * MIB)))
        self.operator = admin.Admin(self.served.broker)
        self.addCleanup(self.operator.close)
        self.client = Client(self.served.broker)
        self.addCleanup(self.client.close)

    def test_one_grant_for_each_key(self):
        client = self.client
        done, waiting = 0, []
        with concurrent.futures.ThreadPoolExecutor(THREADS) as threads:
            while done < KEYS:
                waiting += [os.urandom(16)
                            for _ in range(AT_ONCE - len(waiting))]
                list(threads.map(client.ask, waiting))
                waiting = self.check(client, waiting)
                done += len(client.held)
                for key in list(client.held):
                    client.give_back(key)
        self.eventually_none()
        print(f"{done} keys, {client.lost} replies lost", flush=True)
        self.assertGreater(client.lost, KEYS // 100)

    def test_what_is_given_back_stays_so(self):
        """Also when a call that was given up comes late, behind the return."""
        with concurrent.futures.ThreadPoolExecutor(THREADS) as threads:
            for _ in range(KEYS // AT_ONCE):
                list(threads.map(self.client.take_and_give,
                                 [os.urandom(16) for _ in range(AT_ONCE)]))
        self.eventually_none()

    def check(self, client, keys):
        """By the daemon's list, all that is leased is what the client has, and
        that is all there is room for; the keys that have none are returned. A
        key that was refused while a call of its own was still on its way may
        have been granted all the same: whoever asks again is told."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            leases = sorted(lease.lease_id for lease in
                            self.operator.call("ListLeases").leases
                            if lease.lease_id)
            refused = [key for key in keys if key not in client.held]
            if leases == sorted(client.held.values()) and len(leases) == ROOM:
                break
            self.assertLess(time.monotonic(), deadline, "leases nobody has")
            for key in refused:
                client.ask(key)
        key, lease = random.choice(list(client.held.items()))
        self.assertEqual(client.repeat(key), lease)
        return refused

    def eventually_none(self):
        """Calls that nobody waits for any more may still be under way."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.operator.books()["used"]:
            self.assertLess(time.monotonic(), deadline,
                            self.operator.books())
            time.sleep(0.01)


if __name__ == "__main__":
    RetryTest.places = Places.from_command_line()
    unittest.main(verbosity=2)
