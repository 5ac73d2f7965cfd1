#!/usr/bin/env python3
"""The pool as CuPy's allocator, and below CuPy's own pools: sizes, places, streams,
limits.

    VRAMPOOL_TEST_DEVICE=cuda:0 cupy_memory_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL
"""

import gc
import random
import sys

import case
from cupy_case import (MIB, UNIT, CupyCase, is_all, keep_busy, mebibytes)

import cupy
import vrampool

OutOfMemoryError = cupy.cuda.memory.OutOfMemoryError


class SizesTest(CupyCase):
    def test_nothing_takes_nothing(self):
        for allocate in (self.allocator, self.pool().malloc):
            memory = allocate(0)
            self.assertEqual((memory.ptr, memory.mem.size), (0, 0))
            cupy.cuda.set_allocator(allocate)
            array = cupy.zeros((3, 0, 2), cupy.float32)
            self.assertEqual((array.size, array.nbytes), (0, 0))
            del array
        del memory, allocate
        cupy.cuda.set_allocator(self.allocator)
        self.assertEqual(self.blocks(), 0)

    def test_by_itself_it_takes_what_is_asked(self):
        for size in (1, 511, 512, 513, 1 << 20, (1 << 20) + 1):
            memory = self.allocator(size)
            self.assertEqual(memory.mem.size, size)
            self.assertEqual(memory.ptr % 256, 0)
            usage = self.client.usage()
            self.assertEqual((usage.live_blocks, usage.live_bytes), (1, size))
            self.assertEqual(self.client.describe(memory.ptr).address,
                             memory.ptr)
            del memory
            self.assertEqual(self.blocks(), 0)

    def test_cupys_pool_rounds_up(self):
        pool = self.pool()
        for size, rounded in ((1, UNIT), (UNIT, UNIT), (UNIT + 1, 2 * UNIT)):
            memory = pool.malloc(size)
            self.assertEqual(memory.mem.size, rounded)
            self.assertEqual(pool.used_bytes(), rounded)
            self.assertEqual(self.client.usage().live_bytes, rounded)
            del memory
            pool.free_all_blocks()

    def test_memory_is_of_this_device(self):
        memory = self.allocator(1000)
        self.assertEqual(memory.mem.device_id, cupy.cuda.Device().id)
        self.assertIsInstance(memory.mem, cupy.cuda.UnownedMemory)

    def test_copies_and_memset(self):
        source, target = self.allocator(1000), self.allocator(1000)
        source.memset(7, 1000)
        target.memset(0, 1000)
        (target + 100).copy_from_device(source, 500)
        array = cupy.ndarray(1000, cupy.uint8, target)
        self.assertEqual(int(array.astype(cupy.int32).sum()), 3500)
        self.assertTrue(is_all(array[100:600], 7))


class ChunksTest(CupyCase):
    """Of CuPy's pool, cut out of our blocks."""

    def setUp(self):
        super().setUp()
        self.chunks = self.pool()

    def test_a_block_is_cut_and_made_whole_again(self):
        whole = self.chunks.malloc(4 * UNIT)
        place = whole.ptr
        del whole
        for first_to_go in ("head", "tail"):
            parts = {"head": self.chunks.malloc(2 * UNIT),
                     "tail": self.chunks.malloc(2 * UNIT)}
            self.assertEqual((parts["head"].ptr, parts["tail"].ptr),
                             (place, place + 2 * UNIT))
            self.assertEqual(self.blocks(), 1)
            del parts[first_to_go]
            self.chunks.free_all_blocks()  # Half of one is no block.
            self.assertEqual(self.blocks(), 1)
            parts.clear()
            whole = self.chunks.malloc(4 * UNIT)
            self.assertEqual(whole.ptr, place)
            del whole
        self.chunks.free_all_blocks()
        self.assertEqual(self.blocks(), 0)

    def test_parts_do_not_touch_each_other(self):
        whole = self.chunks.malloc(1 << 20)
        del whole
        with cupy.cuda.using_allocator(self.chunks.malloc):
            parts = [cupy.full(UNIT, number, cupy.uint8)
                     for number in range(200)]
            self.assertEqual(self.blocks(), 1)
        for number, part in enumerate(parts):
            self.assertTrue(is_all(part, number))

    def test_a_larger_one_is_another_block(self):
        small = self.chunks.malloc(4 * UNIT)
        place = small.ptr
        del small
        large = self.chunks.malloc(8 * UNIT)
        self.assertNotEqual(large.ptr, place)
        self.assertEqual(self.blocks(), 2)

    def test_bytes_are_counted(self):
        first, second = (self.chunks.malloc(n * UNIT) for n in (2, 4))
        self.assertEqual((self.chunks.used_bytes(), self.chunks.free_bytes(),
                          self.chunks.total_bytes()),
                         (6 * UNIT, 0, 6 * UNIT))
        del first
        self.assertEqual((self.chunks.used_bytes(), self.chunks.free_bytes(),
                          self.chunks.n_free_blocks()),
                         (4 * UNIT, 2 * UNIT, 1))
        self.assertEqual(self.client.usage().live_bytes, 6 * UNIT)
        self.chunks.free_all_blocks()
        self.assertEqual(self.chunks.total_bytes(), 4 * UNIT)
        self.assertEqual(self.client.usage().live_bytes, 4 * UNIT)
        del second

    def test_free_blocks_of_one_stream_go_or_of_all(self):
        stream = cupy.cuda.Stream(non_blocking=True)
        one = self.chunks.malloc(4 * UNIT)
        with stream:
            other = self.chunks.malloc(4 * UNIT)
            place = other.ptr
        del one, other
        self.assertEqual(self.blocks(), 2)
        self.chunks.free_all_blocks(stream=cupy.cuda.Stream.null)
        self.assertEqual(self.blocks(), 1)
        with stream:
            again = self.chunks.malloc(4 * UNIT)
        self.assertEqual(again.ptr, place)
        del again
        self.chunks.free_all_blocks()
        self.assertEqual(self.blocks(), 0)

    def test_a_freed_chunk_is_freed_once(self):
        memory = self.chunks.malloc(1).mem
        memory.free()
        memory.free()
        self.assertEqual(self.chunks.n_free_blocks(), 1)
        del memory
        self.chunks.free_all_blocks()
        self.assertEqual(self.blocks(), 0)


class StreamsTest(CupyCase):
    def each_way(self):
        yield "direct", self.allocator
        yield "pool", self.pool().malloc

    def test_the_stream_that_freed_has_the_memory_again_at_once(self):
        for way, allocate in self.each_way():
            with self.subTest(way), cupy.cuda.using_allocator(allocate):
                with cupy.cuda.Stream(non_blocking=True) as stream:
                    first = mebibytes(1, 1)
                    place = first.data.ptr
                    keep_busy()
                    first.fill(7)
                    del first
                    second = mebibytes(1, 2)
                    self.assertEqual(second.data.ptr, place)
                    self.assertFalse(stream.done)
                    self.assertTrue(is_all(second, 2))
                    del second

    def check_another_stream(self, size):
        """What a stream is to write to memory that it freed is not seen in what
        another one got: whether the addresses were the same."""
        late = cupy.cuda.Stream(non_blocking=True)
        other = cupy.cuda.Stream(non_blocking=True)
        with late:
            freed = mebibytes(size, 1)
            place = freed.data.ptr
            keep_busy()
            freed.fill(7)
        self.assertFalse(late.done)
        del freed
        with other:
            got = mebibytes(size, 2)
        late.synchronize()
        other.synchronize()
        self.assertTrue(is_all(got, 2))
        return got.data.ptr == place

    def test_another_stream_does_not_have_it_while_there_is_room(self):
        for way, allocate in self.each_way():
            with self.subTest(way), cupy.cuda.using_allocator(allocate):
                self.assertFalse(self.check_another_stream(1))

    def test_without_room_it_has_it_behind_the_work(self):
        """The tenant may have 256 MiB."""
        for way, allocate in self.each_way():
            with self.subTest(way), cupy.cuda.using_allocator(allocate):
                self.check_another_stream(200)
            del allocate
            gc.collect()
            self.client.quiesce()

    def test_many_arrays_on_many_streams(self):
        pool = self.pool()
        for way, allocate in (("direct", self.allocator), ("pool", pool.malloc)):
            with self.subTest(way), cupy.cuda.using_allocator(allocate):
                self.churn()
            pool.free_all_blocks()
            self.assertEqual(self.blocks(), 0)

    def churn(self):
        chance, held = random.Random(5), []
        streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(4)]

        def check(stream, array, value):
            with stream:
                self.assertTrue(is_all(array, value))
        for step in range(600):
            if held and (chance.random() < 0.45 or len(held) > 60):
                check(*held.pop(chance.randrange(len(held))))
                continue
            stream = chance.choice(streams)
            size = chance.randrange(1, 1 << chance.randrange(1, 22))
            with stream:
                array = cupy.full(size, step % 251, cupy.uint8)
            self.assertTrue(self.is_inside(array))
            held.append((stream, array, step % 251))
        self.assertGreater(len(held), 5)
        for each in held:
            check(*each)


class LimitsTest(CupyCase):
    def test_a_limit_in_bytes(self):
        pool = self.pool()
        pool.set_limit(size=8 * MIB)
        kept = pool.malloc(6 * MIB)
        with self.assertRaises(OutOfMemoryError):
            pool.malloc(4 * MIB)
        self.assertEqual(self.blocks(), 1)
        pool.set_limit(size=0)
        more = pool.malloc(4 * MIB)
        self.assertEqual(self.blocks(), 2)
        del kept, more

    def test_a_limit_as_a_fraction(self):
        pool = self.pool()
        total = cupy.cuda.runtime.memGetInfo()[1]
        pool.set_limit(fraction=8 * MIB / total)
        self.assertAlmostEqual(pool.get_limit(), 8 * MIB, delta=1)
        kept = pool.malloc(6 * MIB)
        with self.assertRaises(OutOfMemoryError):
            pool.malloc(4 * MIB)
        self.assertEqual(self.blocks(), 1)
        for wrong in ({"fraction": 1.5}, {"size": 1, "fraction": 0.5}):
            with self.assertRaises(ValueError):
                pool.set_limit(**wrong)
        del kept

    def test_out_of_memory_is_cupys_and_nothing_is_lost(self):
        for pool in (None, self.pool()):
            self.draw(pool)
            kept = mebibytes(32, 5)
            for number in range(5):
                with self.assertRaises(OutOfMemoryError) as raised:
                    mebibytes(512)
                self.assertIsInstance(raised.exception, MemoryError)
                del raised
                array = mebibytes(128, number)
                self.assertTrue(is_all(array, number))
                del array
            self.assertTrue(is_all(kept, 5))
            del kept
            self.draw()
            if pool is not None:
                pool.free_all_blocks()
            self.assertEqual(self.blocks(), 0)

    def test_beyond_the_limit_it_says_why(self):
        self.draw()
        with self.assertRaises(OutOfMemoryError) as raised:
            mebibytes(512)
        self.assertIsInstance(raised.exception.__cause__, vrampool.OverQuota)
        self.assertIn("256.0 MiB", str(raised.exception))

    def test_cycles_of_garbage_are_collected_before_it_fails(self):
        """By CuPy's pool, which takes our error for CUDA's."""
        self.draw(self.pool())
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        cycle = [mebibytes(200)]
        cycle.append(cycle)
        del cycle
        self.assertEqual(self.client.usage().live_blocks, 1)
        with cupy.cuda.Stream(non_blocking=True):  # It has no free chunk.
            array = mebibytes(200, 3)
            self.assertTrue(is_all(array, 3))
        del array


if __name__ == "__main__":
    if not (case.Case.device or "").startswith("cuda"):
        sys.exit("this test is of a GPU's memory: set VRAMPOOL_TEST_DEVICE")
    case.main()
