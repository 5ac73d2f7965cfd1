#!/usr/bin/env python3
"""Pools of PyTorch's (torch.cuda.MemPool) and those of CUDA graphs, with segments
that are the pool's.

    VRAMPOOL_TEST_DEVICE=cuda:0 torch_pool_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL
"""

import concurrent.futures
import sys
import threading

import case
from torch_case import (MIB, Led, blocks, extremes, is_in_the_pool,
                        mebibytes)

import torch
import vrampool.torch


def number_of_pool():
    return torch.cuda.MemPool().id, vrampool.torch.pool().id


def private_segments():
    """Of any pool but PyTorch's own."""
    return [segment for segment in torch.cuda.memory_snapshot()
            if tuple(segment["segment_pool_id"]) != (0, 0)]


class OursTest(Led):
    """vrampool.torch.pool(), while PyTorch itself draws from CUDA."""

    is_led = False

    def test_each_has_a_number_of_its_own(self):
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            found = [threads.submit(number_of_pool) for _ in range(8)]
        numbers = {number for each in found for number in each.result()}
        self.assertEqual(len(numbers), 16)

    def test_small_tensors_share_a_segment(self):
        pool = vrampool.torch.pool()
        self.assertEqual(pool.use_count(), 1)
        with torch.cuda.use_mem_pool(pool):
            first = mebibytes(1)
            self.assertEqual(pool.use_count(), 2)
        self.assertEqual(pool.use_count(), 1)
        outside = mebibytes(1)
        self.assertFalse(is_in_the_pool(outside))
        with torch.cuda.use_mem_pool(pool):
            second = mebibytes(1)
            self.assertEqual((len(pool.snapshot()), blocks()), (1, 1))
            third = mebibytes(1)
            self.assertEqual((len(pool.snapshot()), blocks()), (2, 2))
        for segment in pool.snapshot():
            self.assertEqual(segment["total_size"], 2 * MIB)
            self.assertTrue(is_in_the_pool(segment["address"]))
        del first, second, third
        self.assertEqual(blocks(), 2)
        del pool, segment
        self.assertEqual(blocks(), 0)

    def test_a_tensor_outlives_its_pool(self):
        pool = vrampool.torch.pool()
        with torch.cuda.use_mem_pool(pool):
            tensor = mebibytes(64)
        tensor.fill_(5)
        del pool
        self.assertEqual(blocks(), 1)
        self.assertEqual(extremes(tensor), (5, 5))
        del tensor
        torch.cuda.empty_cache()
        self.assertEqual(blocks(), 0)

    def test_one_pool_goes_and_another_stays(self):
        pools = [vrampool.torch.pool() for _ in range(2)]
        tensors = []
        for number, pool in enumerate(pools):
            with torch.cuda.use_mem_pool(pool):
                tensors.append(mebibytes(32))
            tensors[-1].fill_(number)
        self.assertEqual(blocks(), 2)
        del tensors[0], pools[0], pool
        self.assertEqual(blocks(), 1)
        self.assertEqual(extremes(tensors[0]), (1, 1))

    def test_it_is_the_threads_that_uses_it_on_all_its_streams(self):
        pool = vrampool.torch.pool()
        with torch.cuda.use_mem_pool(pool):
            with torch.cuda.stream(torch.cuda.Stream()):
                mine = mebibytes(32)
            with concurrent.futures.ThreadPoolExecutor(1) as thread:
                others = thread.submit(mebibytes, 32).result()
        self.assertTrue(is_in_the_pool(mine))
        self.assertFalse(is_in_the_pool(others))
        self.assertEqual(len(pool.snapshot()), 1)

    def test_no_room_is_pytorchs_error(self):
        pool = vrampool.torch.pool()
        with torch.cuda.use_mem_pool(pool):
            kept = mebibytes(64)
            kept.fill_(5)
            with self.assertRaises(torch.OutOfMemoryError):
                mebibytes(3 << 10)
            more = mebibytes(512)
        self.assertTrue(is_in_the_pool(more))
        self.assertEqual(extremes(kept), (5, 5))

    def test_made_and_ended_again_and_again(self):
        for number in range(50):
            pool = vrampool.torch.pool("cuda:0")
            with torch.cuda.use_mem_pool(pool):
                tensor = mebibytes(8)
            tensor.fill_(number)
            self.assertEqual(extremes(tensor), (number, number))
            self.assertEqual(blocks(), 1)
            del tensor, pool
            self.assertEqual(blocks(), 0)


class UsersTest(Led):
    """A program's own pools, while PyTorch draws from ours."""

    def test_its_segments_are_blocks_and_end_with_it(self):
        pool = torch.cuda.MemPool()
        with torch.cuda.use_mem_pool(pool):
            tensor = mebibytes(64)
        [segment] = pool.snapshot()
        self.assertEqual(segment["address"], tensor.data_ptr())
        self.assertTrue(is_in_the_pool(tensor))
        del tensor
        self.assertEqual(blocks(), 1)
        del pool
        self.assertEqual(blocks(), 0)

    def test_a_tensor_outlives_it(self):
        pool = torch.cuda.MemPool()
        with torch.cuda.use_mem_pool(pool):
            tensor = mebibytes(64)
        tensor.fill_(5)
        del pool
        self.assertEqual(blocks(), 1)
        other = mebibytes(64)
        other.fill_(6)
        self.assertEqual(blocks(), 2)
        self.assertEqual(extremes(tensor), (5, 5))
        del tensor, other
        torch.cuda.empty_cache()
        self.assertEqual(blocks(), 0)

    def test_threads_make_and_end_them(self):
        """Not at once: PyTorch ends the process where a pool ends while another
        thread uses one."""
        start, one_at_a_time = threading.Barrier(4), threading.Lock()

        def work(number):
            start.wait(case.PATIENCE_SECONDS)
            for step in range(20):
                with one_at_a_time:
                    pool = torch.cuda.MemPool()
                    with torch.cuda.use_mem_pool(pool):
                        tensor = mebibytes(4)
                    inside = is_in_the_pool(tensor)
                    tensor.fill_(number * 20 + step)
                    seen = extremes(tensor)
                    del tensor, pool
                if not inside or seen != (number * 20 + step,) * 2:
                    raise AssertionError(f"{inside}, {seen}")
            return step
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            self.assertEqual(list(threads.map(work, range(4))), [19] * 4)
        torch.cuda.empty_cache()
        self.assertEqual(private_segments(), [])

    def test_one_of_ours_serves_beside_it(self):
        """Its blocks are the pool's by the other way."""
        pool = vrampool.torch.pool()
        with torch.cuda.use_mem_pool(pool):
            tensor = mebibytes(64)
        other = mebibytes(64)
        self.assertEqual(blocks(), 2)
        tensor.fill_(1)
        other.fill_(2)
        self.assertEqual((extremes(tensor), extremes(other)),
                         ((1, 1), (2, 2)))
        del tensor, pool, other
        torch.cuda.empty_cache()
        self.assertEqual(blocks(), 0)


class GraphTest(Led):
    """Captures of two steps, whose result between them goes at once."""

    def setUp(self):
        super().setUp()
        source = torch.ones(1 << 22, device="cuda")
        source.mul(3).add(1)  # Nothing is loaded in a capture.
        torch.full_like(source, 9)
        extremes(source)
        torch.cuda.synchronize()

    def capture(self, source, **options):
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, **options):
            between = source.mul(3)
            result = between.add(1)
            del between
        return graph, result

    def test_its_private_pool_is_of_blocks_and_ends_with_it(self):
        source = torch.ones(1 << 22, device="cuda")
        graph, result = self.capture(source)
        segments = private_segments()
        self.assertGreater(len(segments), 0)
        for segment in segments:
            self.assertTrue(is_in_the_pool(segment["address"]))
        for number in range(3):
            source.fill_(number)
            graph.replay()
            self.assertEqual(extremes(result), (3 * number + 1,) * 2)
        del segments, segment, result
        graph.reset()
        del graph
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        self.assertEqual(private_segments(), [])

    def test_what_it_uses_is_nobody_elses(self):
        source = torch.ones(1 << 22, device="cuda")
        graph, result = self.capture(source)
        torch.cuda.empty_cache()
        others = [torch.full_like(source, 9) for _ in range(32)]
        source.fill_(2)
        graph.replay()
        self.assertEqual(extremes(result), (7, 7))
        self.assertEqual({extremes(other) for other in others}, {(9, 9)})

    def test_two_share_a_pool(self):
        source = torch.ones(1 << 22, device="cuda")
        first, result = self.capture(source)
        second, last = self.capture(result, pool=first.pool())
        segments = {tuple(segment["segment_pool_id"])
                    for segment in private_segments()}
        self.assertEqual(segments, {tuple(first.pool())})
        source.fill_(2)
        first.replay()
        second.replay()
        self.assertEqual(extremes(last), (22, 22))

    def test_of_a_users_pool(self):
        pool = torch.cuda.MemPool()
        source = torch.ones(1 << 22, device="cuda")
        graph, result = self.capture(source, pool=pool.id)
        self.assertTrue(is_in_the_pool(result))
        source.fill_(4)
        graph.replay()
        self.assertEqual(extremes(result), (13, 13))
        del graph, result  # Before the pool that they are in.

    def test_many_captures_leave_nothing(self):
        source = torch.ones(1 << 22, device="cuda")
        counts = []
        for _ in range(5):
            graph, result = self.capture(source)
            graph.replay()
            self.assertEqual(extremes(result), (4, 4))
            del graph, result
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            counts.append(blocks())
        self.assertEqual(counts, counts[:1] * 5)


if __name__ == "__main__":
    if not (case.Case.device or "").startswith("cuda"):
        sys.exit("this test is of a GPU's memory: set VRAMPOOL_TEST_DEVICE")
    case.main()
