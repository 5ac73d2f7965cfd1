#!/usr/bin/env python3
"""Arrays of CuPy's in the pool: who keeps them, and how long; threads, hooks and
the work areas of plans.

    VRAMPOOL_TEST_DEVICE=cuda:0 cupy_lifetime_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL
"""

import concurrent.futures
import gc
import sys
import threading

import case
from cupy_case import MIB, UNIT, CupyCase, is_all, mebibytes

import cupy
import numpy
import vrampool

EXITS = """
import threading, cupy, vrampool, vrampool.cupy
client = vrampool.connect()
direct = vrampool.cupy.allocator(client)
pool = cupy.cuda.MemoryPool(direct)
cupy.cuda.set_allocator(direct)
kept = cupy.full(1 << 20, 5, cupy.uint8)
cycle = [cupy.full(1000, 6, cupy.uint8)]
cycle.append(cycle)
threading.kept = kept[100:]  # Nobody takes that away.
cupy.cuda.set_allocator(pool.malloc)
with cupy.cuda.Stream(non_blocking=True) as stream:
    threading.pooled = cupy.full(1 << 20, 7, cupy.uint8)
    cupy.empty(1 << 20)
    stream.synchronize()
print(int(kept.max()), int(threading.pooled.max()))
client.close()
"""


class UsersTest(CupyCase):
    def test_parts_keep_the_whole(self):
        self.draw()
        array = mebibytes(1, 1)
        parts = [array.reshape(1024, 1024).T, array[1000:], array[::-2],
                 array.view(cupy.int32)[5:6]]
        del array
        while parts:
            self.assertEqual(self.blocks(), 1)
            last = parts.pop()
            self.assertEqual(int(last.ravel()[0]) & 255, 1)
            del last
        self.assertEqual(self.blocks(), 0)

    def test_cycles_go_with_their_collection(self):
        self.draw()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        cycle = {"array": mebibytes(1)}
        cycle["self"] = cycle
        del cycle
        self.assertEqual(self.client.usage().live_blocks, 1)
        gc.collect()
        self.assertEqual(self.client.usage().live_blocks, 0)

    def test_an_array_outlives_the_client(self):
        self.draw()
        array = mebibytes(1, 5)
        session = self.client.info.session_id
        self.client.close()
        with self.assertRaises(vrampool.Closed):
            mebibytes(1)
        array += 1  # In place, without memory for it.
        self.assertEqual(set(cupy.asnumpy(array).tolist()), {6})

        def is_there():
            return session in [int(each["session_id"]) for each in
                               self.operator("sessions")["sessions"]]
        self.assertTrue(is_there())
        del array
        cupy.cuda.set_allocator(cupy.get_default_memory_pool().malloc)
        self.allocator = None
        gc.collect()
        self.eventually(lambda: not is_there(), "the session lives on")

    def test_arrays_may_live_to_the_interpreters_end(self):
        before = len(self.operator("sessions")["sessions"])
        self.assertEqual(self.run_python(EXITS), "5 7\n")
        self.eventually(lambda: len(self.operator("sessions")["sessions"])
                        == before, "a session lives on")

    def test_plans_have_their_work_areas_in_the_pool(self):
        try:
            import cupy.cuda.cufft  # noqa: F401
        except ImportError as error:
            self.skipTest(f"no cuFFT: {error}")
        self.draw()
        plans = cupy.fft.config.get_plan_cache()
        plans.clear()
        host = numpy.random.default_rng(3).random(100003)  # A prime.
        array = cupy.asarray(host.astype(numpy.complex64))
        result = cupy.fft.fft(array)
        wanted = numpy.fft.fft(host)
        self.assertLess(abs(cupy.asnumpy(result) - wanted).max(), 1)
        del result
        area = plans.get_curr_memsize()
        self.assertGreater(area, 0)
        gc.collect()
        self.assertGreaterEqual(self.client.usage().live_bytes,
                                array.nbytes + area)
        plans.clear()
        self.assertEqual(self.blocks(), 1)
        self.assertEqual(self.client.usage().live_bytes, array.nbytes)


class AllocatorsTest(CupyCase):
    def test_one_for_a_thread_alone(self):
        def make():
            return mebibytes(1)
        with cupy.cuda.using_allocator(self.allocator):
            mine = make()
            with concurrent.futures.ThreadPoolExecutor(1) as thread:
                others = thread.submit(make).result()
            with self.assertRaises(ValueError):
                cupy.cuda.set_allocator(None)
        after = make()
        self.assertEqual([self.is_inside(each)
                          for each in (mine, others, after)],
                         [True, False, False])

    def test_they_nest(self):
        pool = self.pool()
        seen = []
        with cupy.cuda.using_allocator(self.allocator):
            seen.append(self.is_inside(mebibytes(1)))
            with cupy.cuda.using_allocator(None):
                seen.append(self.is_inside(mebibytes(1)))
                with cupy.cuda.using_allocator(pool.malloc):
                    seen.append(self.is_inside(mebibytes(1)))
                seen.append(self.is_inside(mebibytes(1)))
            seen.append(self.is_inside(mebibytes(1)))
            self.assertGreater(pool.total_bytes(), 0)
        seen.append(self.is_inside(mebibytes(1)))
        self.assertEqual(seen, [True, False, True, False, True, False])

    def test_one_that_fails_is_left(self):
        with self.assertRaises(cupy.cuda.memory.OutOfMemoryError):
            with cupy.cuda.using_allocator(self.allocator):
                mebibytes(512)
        self.assertFalse(self.is_inside(mebibytes(1)))

    def test_two_clients_of_one_daemon(self):
        other = self.connect()
        with cupy.cuda.using_allocator(self.allocator):
            mine = mebibytes(1, 3)
        with cupy.cuda.using_allocator(vrampool.cupy.allocator(other)):
            theirs = mebibytes(1, 4)
        self.assertEqual((self.client.usage().live_blocks,
                          other.usage().live_blocks), (1, 1))
        theirs += mine
        self.assertTrue(is_all(theirs, 7))


class ThreadsTest(CupyCase):
    def test_what_one_thread_freed_another_uses(self):
        pool = self.pool()
        self.draw(pool)
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            array = mebibytes(1)
            place = array.data.ptr
            del array
            seen = thread.submit(lambda: mebibytes(1).data.ptr).result()
        self.assertEqual(seen, place)
        self.assertEqual(self.blocks(), 1)
        self.draw()
        pool.free_all_blocks()
        self.assertEqual(self.blocks(), 0)

    def test_one_thread_makes_and_another_frees(self):
        for pool in (None, self.pool()):
            self.draw(pool)
            arrays = [mebibytes(1, number) for number in range(50)]

            def look_and_free():
                number = len(arrays)
                while arrays:
                    number -= 1
                    if not is_all(arrays.pop(), number):
                        raise AssertionError(f"lost what was in {number}")
                return number
            with concurrent.futures.ThreadPoolExecutor(1) as thread:
                self.assertEqual(thread.submit(look_and_free).result(), 0)
            self.draw()
            if pool is not None:
                pool.free_all_blocks()
            self.assertEqual(self.blocks(), 0)

    def test_many_threads_at_once(self):
        for pool in (None, self.pool()):
            self.draw(pool)
            start = threading.Barrier(4)

            def work(number):
                start.wait(case.PATIENCE_SECONDS)
                with cupy.cuda.Stream(non_blocking=True) as stream:
                    for step in range(100):
                        value = (number * 60 + step) % 251
                        array = cupy.full(1000 << step % 10, value,
                                          cupy.uint8)
                        if not is_all(array, value):
                            raise AssertionError(f"lost {value}")
                    stream.synchronize()
                return step
            with concurrent.futures.ThreadPoolExecutor(4) as threads:
                self.assertEqual(list(threads.map(work, range(4))), [99] * 4)
            self.draw()
            if pool is not None:
                pool.free_all_blocks()
            self.assertEqual(self.blocks(), 0)


class Recorder(cupy.cuda.MemoryHook):
    """What CuPy's pools told it, in order."""

    name = "recorder"

    def __init__(self):
        self.told = []

    def names(self):
        return [name for name, _ in self.told]


def _tell(name):
    def told(self, **facts):
        self.told.append((name, facts))
    return told


for _name in ("alloc", "malloc", "free"):
    for _when in ("preprocess", "postprocess"):
        setattr(Recorder, f"{_name}_{_when}", _tell(f"{_name}_{_when}"))

ASKS = ["malloc_preprocess", "malloc_postprocess"]
ASKS_US = [ASKS[0], "alloc_preprocess", "alloc_postprocess", ASKS[1]]
FREES = ["free_preprocess", "free_postprocess"]


class HooksTest(CupyCase):
    def test_of_a_pool_over_ours(self):
        pool, hook = self.pool(), Recorder()
        with hook:
            memory = pool.malloc(1)
            place = memory.ptr
            self.assertTrue(self.is_inside(memory))
            del memory
            memory = pool.malloc(1)
            del memory
        self.assertEqual(hook.names(), ASKS_US + FREES + ASKS + FREES)
        told = dict(hook.told[:6])
        self.assertEqual(told["malloc_preprocess"]["size"], 1)
        for name, facts in told.items():
            self.assertEqual(facts["mem_size"], UNIT, name)
            if name not in ("malloc_preprocess", "alloc_preprocess"):
                self.assertEqual(facts["mem_ptr"], place, name)

    def test_what_fails_is_told_as_tried_again(self):
        pool, hook = self.pool(), Recorder()
        with hook, self.assertRaises(cupy.cuda.memory.OutOfMemoryError):
            pool.malloc(512 * MIB)
        tries = hook.names().count("alloc_preprocess")
        self.assertGreater(tries, 1)
        self.assertEqual(hook.names(),
                         ASKS[:1] + ASKS_US[1:3] * tries + ASKS[1:])
        self.assertEqual([facts["mem_ptr"] for name, facts in hook.told
                          if name.endswith("postprocess")], [0] * (tries + 1))

    def test_two_hear_in_their_order(self):
        pool, order = self.pool(), []

        def hook_of(label):
            class Labelled(cupy.cuda.MemoryHook):
                name = label

                def malloc_preprocess(self, **facts):
                    order.append(label)
            return Labelled()
        with hook_of("first"), hook_of("second"):
            pool.malloc(1)
        pool.malloc(1)
        self.assertEqual(order, ["first", "second"])


if __name__ == "__main__":
    if not (case.Case.device or "").startswith("cuda"):
        sys.exit("this test is of a GPU's memory: set VRAMPOOL_TEST_DEVICE")
    case.main()
