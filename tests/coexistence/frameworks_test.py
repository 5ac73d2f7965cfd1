#!/usr/bin/env python3
"""The library in a process with grpcio, TensorFlow and pyarrow.

    frameworks_test.py before|after VRAMPOOLD LIBVRAMPOOL

Whether they are imported, and used, before the library is loaded or only after
it has been used: both work on, side by side, on the same memory.
"""

import os
import sys
import unittest

from library import Library, view

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "python"))
from broker import Broker  # noqa: E402  Found by the line above.

BYTES = 1 << 20
SUM = sum(range(BYTES // 8))


class FrameworksTest(unittest.TestCase):
    order = vrampoold = libvrampool = None  # Set by the command line.

    def setUp(self):
        self.broker = self.enterContext(
            Broker(self.vrampoold, pool_size="256MiB"))
        os.environ["VRAMPOOL_DIR"] = str(self.broker.directory)

    def test_both_work(self):
        if self.order == "before":
            self.use_frameworks("first")
        library = Library(self.libvrampool)
        client = library.open_client()
        self.use_library(library, client)
        self.assertEqual("grpc" in sys.modules, self.order == "before")
        self.use_frameworks("second")
        self.use_together(library, client)
        self.use_library(library, client)
        library.close_client(client)
        self.use_frameworks("third")

    def use_library(self, library, client):
        """Leases, shares and opens: everything that needs the RPC module."""
        address = library.allocate(client, BYTES)
        view(address, BYTES)[:] = b"\x07" * BYTES
        shared = library.share(client, address, BYTES)
        opened = library.open(client, library.token(shared))
        data, size = library.contents(opened)
        self.assertEqual(bytes(view(data, size)), b"\x07" * BYTES)
        library.close(opened)
        library.close(shared)
        library.deallocate(client, address, BYTES)

    def use_frameworks(self, name):
        import frameworks  # Not above: when it is imported is what is tested.
        folder = self.broker.directory
        self.assertEqual(frameworks.grpc_call(folder / f"grpc-{name}"),
                         "hello!")
        self.assertEqual(frameworks.arrow_flight_sum(folder / f"flight-{name}"),
                         42)
        self.assertEqual(frameworks.tensorflow_served_sum([40, 2]), 42)

    def use_together(self, library, client):
        """All of them on one block of the pool."""
        import frameworks
        address = library.allocate(client, BYTES)
        memory = view(address, BYTES)
        numbers = frameworks.numpy_view(memory)
        numbers[:] = range(BYTES // 8)
        self.assertEqual(frameworks.tensorflow_sum(numbers), SUM)
        self.assertEqual(frameworks.arrow_sum(address, BYTES, memory), SUM)
        library.deallocate(client, address, BYTES)


if __name__ == "__main__":
    (FrameworksTest.order, FrameworksTest.vrampoold,
     FrameworksTest.libvrampool) = sys.argv[1:4]
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
