#!/usr/bin/env python3
"""What a program drops when the daemon asks for memory.

    reclaim_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL
"""

import gc
import threading

import case

MIB = case.MIB


class ReclaimTest(case.Case):
    """The pool of 64 MiB, and somebody who keeps most of it in a cache."""

    def setUp(self):
        super().setUp()
        self.keeper = self.connect(idle=3600.0)
        self.cache = [self.keeper.allocate(4 * MIB) for _ in range(12)]
        self.asked = []

    def want(self, mebibytes):
        """Somebody else's, who has time."""
        return self.connect(wait=case.PATIENCE_SECONDS).allocate(
            mebibytes * MIB)

    def drop(self, nbytes):
        self.asked.append(nbytes)
        self.cache.clear()

    def test_what_the_function_drops_serves_who_waits(self):
        self.keeper.on_reclaim(self.drop)
        self.assertEqual(self.want(40).nbytes, 40 * MIB)
        self.assertGreater(self.asked[0], 0)
        self.assertEqual(self.keeper.usage().live_blocks, 0)

    def test_a_function_that_fails_is_told_and_called_again(self):
        told, old = [], threading.excepthook
        self.addCleanup(setattr, threading, "excepthook", old)
        threading.excepthook = told.append

        def fail(nbytes):
            del nbytes
            del self.cache[3:]
            raise RuntimeError("cannot drop the rest")
        self.keeper.on_reclaim(fail)
        kept = self.want(40)
        self.keeper.on_reclaim(self.drop)
        self.want(20)
        self.assertEqual(len(self.asked), 1)
        kept.close()
        self.assertEqual(str(told[0].exc_value), "cannot drop the rest")

    def test_nothing_is_called_after_the_close(self):
        import vrampool  # Not above: main() says first where the library is.
        with self.keeper.on_reclaim(self.drop) as watch:
            pass
        watch.close()
        with self.assertRaises(vrampool.errors.Timeout):
            self.connect(wait=0.5).allocate(40 * MIB)
        self.assertEqual(self.asked, [])

    def test_a_function_may_close_its_own_watch_and_client(self):
        done = threading.Event()

        def close(nbytes):
            self.drop(nbytes)
            self.keeper.close()
            done.set()
        self.keeper.on_reclaim(close)
        self.want(40)
        self.assertTrue(done.wait(case.PATIENCE_SECONDS))

    def test_a_closed_client_ends_its_session_all_the_same(self):
        session = self.keeper.info.session_id
        self.keeper.on_reclaim(self.drop)
        self.cache.clear()
        self.keeper.close()
        self.assertNotIn(session, [
            int(each["session_id"])
            for each in self.operator("sessions")["sessions"]])

    def test_two_functions_may_close_the_client(self):
        both = threading.Barrier(2)

        def close(nbytes):
            both.wait(case.PATIENCE_SECONDS)
            self.drop(nbytes)
            self.keeper.close()
        self.keeper.on_reclaim(close)
        self.keeper.on_reclaim(close)
        self.want(40)

    def test_a_client_that_nobody_has_ends(self):
        import vrampool
        client = vrampool.connect()
        session = client.info.session_id
        client.on_reclaim(self.drop)
        del client
        gc.collect()
        self.eventually(lambda: session not in [
            int(each["session_id"])
            for each in self.operator("sessions")["sessions"]],
            "it goes on")


if __name__ == "__main__":
    case.main()
