#!/usr/bin/env python3
"""What a client has and may have: usage, budgets, limits, reservations, tags.

    accounts_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL
"""

import case

import vrampool
from case import MIB


class AccountsTest(case.Case):
    config = {"pool_size": "64MiB", "default_limit": "16MiB"}

    def test_usage_and_budget_count_what_is_there(self):
        client = self.connect(slab_bytes=4 * MIB)
        self.assertEqual(client.budget()[:3], (16 * MIB, 16 * MIB, 0))
        block = client.allocate(1000)
        usage = client.usage()
        self.assertEqual((usage.live_bytes, usage.live_blocks,
                          usage.leased_bytes, usage.slabs),
                         (1000, 1, 4 * MIB, 1))
        self.assertEqual(client.budget()[:3], (12 * MIB, 16 * MIB, 4 * MIB))
        block.close()
        self.assertEqual(client.usage().live_blocks, 0)
        client.trim()
        self.assertEqual(client.budget().used, 0)
        client.quiesce()

    def test_too_much_is_a_memory_error_with_the_numbers(self):
        client = self.connect()
        with self.assertRaisesRegex(vrampool.OverQuota, "16.0 MiB") as raised:
            client.allocate(32 * MIB)
        self.assertIsInstance(raised.exception, MemoryError)
        for absurd in (1 << 62, 1 << 63):
            with self.assertRaises(vrampool.Error):
                client.allocate(absurd)
        for bad in (-1, 1 << 64):
            with self.assertRaises(ValueError):
                client.allocate(bad)
        with self.assertRaises(vrampool.InvalidArgument):
            client.allocate(1, alignment=3)

    def test_room_is_waited_for(self):
        client = self.connect()
        client.wait_for_room(MIB, timeout=1)
        held = client.allocate(15 * MIB)
        with self.assertRaises(TimeoutError):
            self.connect().wait_for_room(8 * MIB, timeout=0.05)
        held.close()

    def test_room_is_reserved_before_it_is_used(self):
        client, other = self.connect(), self.connect()
        self.assertTrue(client.fits(16 * MIB))
        self.assertTrue(other.fits(12 * MIB))
        with client.reserve(12 * MIB, 60) as room:
            self.assertEqual(room.nbytes, 12 * MIB)
            [listed] = self.operator("reservations")["reservations"]
            self.assertEqual(int(listed["reservation_id"]), room.id)
            self.assertFalse(other.fits(8 * MIB))
            with self.assertRaisesRegex(vrampool.OverQuota, "16.0 MiB"):
                other.allocate(8 * MIB)
            with self.assertRaises(MemoryError):
                other.reserve(8 * MIB, 60)
            block = client.allocate(8 * MIB)
            self.assertTrue(other.fits(4 * MIB))
        self.assertTrue(other.fits(8 * MIB))
        self.assertEqual(self.operator("reservations")["reservations"], [])
        self.assertFalse(room.release())
        block.close()

    def test_reservations_end_by_themselves(self):
        client, other = self.connect(), self.connect()
        brief = client.reserve(16 * MIB, 0.001)
        self.eventually(lambda: other.fits(16 * MIB), "it stays")
        self.assertFalse(brief.release())
        left = client.reserve(16 * MIB, 3600)
        self.assertFalse(other.fits(MIB))
        client.close()
        self.eventually(lambda: other.fits(16 * MIB), "it stays")
        self.assertFalse(left.release())
        with other.reserve(16 * MIB, 60):  # All of it is used up.
            block = other.allocate(16 * MIB)
        self.assertEqual(other.usage().live_bytes, 16 * MIB)
        block.close()

    def test_what_cannot_be_reserved_is_refused(self):
        client = self.connect()
        for call in (client.fits, lambda n: client.reserve(n, 60)):
            for size in (-1, 1 << 64):
                with self.assertRaises(ValueError):
                    call(size)
        with self.assertRaises(vrampool.InvalidArgument):
            client.fits(17 * MIB)
        for seconds in (0, -1, float("nan"), 3601):
            with self.assertRaises(ValueError):
                client.reserve(MIB, seconds)
        client.close()
        with self.assertRaises(vrampool.Closed):
            client.fits(1)

    def test_tags_nest_and_are_of_the_thread(self):
        client = self.connect()
        with vrampool.tag("model"):
            outer = client.allocate(1)
            with vrampool.tag("kv-cache"):
                inner = client.allocate(2)
            again = client.allocate(3)
        plain = client.allocate(4)
        [report] = self.operator("leaks")["reports"]
        self.assertEqual(
            {int(one["size_bytes"]): one["tag"] for one in report["blocks"]},
            {1: "model", 2: "kv-cache", 3: "model", 4: ""})
        for block in (outer, inner, again, plain):
            block.close()

    def test_a_tag_ends_with_an_exception(self):
        client = self.connect()
        with self.assertRaises(KeyError):
            with vrampool.tag("lost"):
                raise KeyError
        block = client.allocate(1)
        [report] = self.operator("leaks")["reports"]
        self.assertEqual(report["blocks"][0]["tag"], "")
        block.close()


if __name__ == "__main__":
    case.main()
