#!/usr/bin/env python3
"""PyTorch's own allocator behaves as ever when its segments are the pool's: its
cache, streams, threads, errors and limits.

    VRAMPOOL_TEST_DEVICE=cuda:0 torch_memory_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL
"""

import concurrent.futures
import random
import sys
import threading
import warnings

import case
from torch_case import (LONG, MIB, Led, blocks, counted, extremes,
                        is_in_the_pool, mebibytes, stat)

import torch
import vrampool


class CacheTest(Led):
    def test_segments_are_blocks(self):
        """Small ones, those that are shared by tensors, and large ones."""
        tensors = [mebibytes(1), mebibytes(1), mebibytes(4), mebibytes(64)]
        client = vrampool.default_client()
        segments = torch.cuda.memory_snapshot()
        self.assertEqual(sorted(each["total_size"] for each in segments),
                         [2 * MIB, 20 * MIB, 64 * MIB])
        for segment in segments:
            block = client.describe(segment["address"])
            self.assertEqual(block.address, segment["address"])
            self.assertEqual(block.size_bytes, segment["total_size"])
        self.assertEqual(blocks(), len(segments))
        for tensor in tensors:
            self.assertTrue(is_in_the_pool(tensor))

    def test_empty_cache_gives_free_segments_back(self):
        kept, freed = mebibytes(64), mebibytes(128)
        kept.fill_(3)
        reserved = torch.cuda.memory_reserved()
        self.assertEqual(blocks(), 2)
        del freed
        self.assertEqual(blocks(), 2)
        self.assertEqual(torch.cuda.memory_reserved(), reserved)
        torch.cuda.empty_cache()
        self.assertEqual(blocks(), 1)
        self.assertEqual(torch.cuda.memory_reserved(), reserved - 128 * MIB)
        self.assertEqual(extremes(kept), (3, 3))

    def test_a_segment_that_is_partly_used_stays(self):
        first, second = mebibytes(4), mebibytes(4)
        self.assertEqual(blocks(), 1)
        second.fill_(5)
        del first
        torch.cuda.empty_cache()
        self.assertEqual(blocks(), 1)
        self.assertEqual(extremes(second), (5, 5))

    def test_a_place_is_used_again_without_the_pool(self):
        tensor = mebibytes(64)
        place = tensor.data_ptr()
        with counted(self, **{"segment.all.allocated": 0,
                              "allocation.all.allocated": 100}):
            for _ in range(100):
                del tensor
                tensor = mebibytes(64)
                self.assertEqual(tensor.data_ptr(), place)
        self.assertEqual(blocks(), 1)

    def test_statistics_and_peaks(self):
        torch.cuda.reset_peak_memory_stats()
        tensor = mebibytes(100)
        self.assertEqual(torch.cuda.memory_allocated(), 100 * MIB)
        self.assertEqual(torch.cuda.memory_reserved(), 100 * MIB)
        del tensor
        self.assertEqual(torch.cuda.memory_allocated(), 0)
        self.assertEqual(torch.cuda.memory_reserved(), 100 * MIB)
        torch.cuda.empty_cache()
        self.assertEqual(torch.cuda.memory_reserved(), 0)
        self.assertEqual(torch.cuda.max_memory_allocated(), 100 * MIB)
        self.assertEqual(torch.cuda.max_memory_reserved(), 100 * MIB)

    def test_the_history_is_recorded(self):
        torch.cuda.memory._record_memory_history(stacks="python")
        self.addCleanup(torch.cuda.memory._record_memory_history, None)
        tensor = mebibytes(64)
        place = tensor.data_ptr()
        del tensor
        torch.cuda.empty_cache()
        traces = torch.cuda.memory._snapshot()["device_traces"]
        seen = [event["action"]
                for event in traces[torch.cuda.current_device()]
                if event.get("addr") == place]
        self.assertEqual(seen, ["segment_alloc", "alloc", "free_requested",
                                "free_completed", "segment_free"])


class StreamsTest(Led):
    def test_recorded_memory_is_used_again_after_the_streams_work(self):
        side = torch.cuda.Stream()
        tensor, spare = mebibytes(64), mebibytes(64)
        place, spare_place = tensor.data_ptr(), spare.data_ptr()
        with torch.cuda.stream(side):
            torch.cuda._sleep(LONG)
            tensor.fill_(7)
        tensor.record_stream(side)
        del tensor, spare
        other = mebibytes(64)
        other.fill_(1)
        self.assertFalse(side.query())
        self.assertEqual(other.data_ptr(), spare_place)
        side.synchronize()
        again = mebibytes(64)
        self.assertEqual(again.data_ptr(), place)
        self.assertEqual(blocks(), 2)
        again.fill_(2)
        self.assertEqual(extremes(other), (1, 1))
        self.assertEqual(extremes(again), (2, 2))

    def check_late_work(self, size):
        """A segment goes back to the pool while a stream is to write to it; the
        next one to have the memory does not see that."""
        late, other = torch.cuda.Stream(), torch.cuda.Stream()
        with torch.cuda.stream(late):
            tensor = mebibytes(size)
            torch.cuda._sleep(LONG)
            tensor.fill_(7)
        self.assertFalse(late.query())
        del tensor
        torch.cuda.empty_cache()
        self.assertEqual(blocks(), 0)
        with torch.cuda.stream(other):
            got = mebibytes(size)
            got.fill_(1)
        torch.cuda.synchronize()
        self.assertEqual(extremes(got), (1, 1))

    def test_what_goes_back_is_not_written_to_any_more(self):
        self.check_late_work(64)

    def test_nor_where_there_is_no_other_memory(self):
        self.check_late_work(1280)

    def test_another_stream_has_segments_of_its_own(self):
        side = torch.cuda.Stream()
        tensor = mebibytes(64)
        place = tensor.data_ptr()
        del tensor
        with torch.cuda.stream(side):
            other = mebibytes(64)
        self.assertNotEqual(other.data_ptr(), place)
        self.assertTrue(is_in_the_pool(other))
        self.assertEqual(blocks(), 2)


def churn(seed):
    """Tensors of all sizes on a stream of its own, which keep their contents; how
    many there were."""
    chance, held, count = random.Random(seed), [], 0

    def check(tensor, value):
        if extremes(tensor) != (value, value):
            raise AssertionError(f"{tensor} was {value}")
    with torch.cuda.stream(torch.cuda.Stream()):
        for step in range(200):
            if held and chance.random() < 0.5:
                check(*held.pop(chance.randrange(len(held))))
            else:
                size = chance.randrange(1, 1 << chance.randrange(1, 24))
                value = (seed * 50 + step) % 251
                tensor = torch.full((size,), value, dtype=torch.uint8,
                                    device="cuda")
                if not is_in_the_pool(tensor):
                    raise AssertionError(f"{size} bytes are not the pool's")
                held.append((tensor, value))
                count += 1
            if step % 40 == 39:
                torch.cuda.empty_cache()
        for tensor, value in held:
            check(tensor, value)
        torch.cuda.current_stream().synchronize()
    return count


class ThreadsTest(Led):
    def test_many_tensors_of_many_threads(self):
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            counts = list(threads.map(churn, range(4)))
        self.assertGreater(min(counts), 50)

    def test_one_thread_makes_and_another_frees(self):
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            held = [thread.submit(mebibytes, 32).result() for _ in range(4)]
        for number, tensor in enumerate(held):
            self.assertTrue(is_in_the_pool(tensor))
            tensor.fill_(number)
        self.assertEqual([extremes(tensor) for tensor in held],
                         [(n, n) for n in range(4)])
        del tensor, held
        torch.cuda.empty_cache()
        self.assertEqual(blocks(), 0)

    def test_the_backward_passs_thread(self):
        seen = []

        class Noting(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x.clone()

            @staticmethod
            def backward(ctx, gradient):
                made = mebibytes(64)
                seen.append((threading.get_ident(), is_in_the_pool(made)))
                return gradient * 2
        x = torch.ones(1 << 20, device="cuda", requires_grad=True)
        (Noting.apply(x) * 3).sum().backward()
        [(thread, is_inside)] = seen
        self.assertNotEqual(thread, threading.get_ident())
        self.assertTrue(is_inside)
        self.assertTrue(is_in_the_pool(x.grad))
        self.assertEqual(extremes(x.grad), (6, 6))


class RoomTest(Led):
    """The tenant may have 2 GiB."""

    def test_out_of_memory_is_pytorchs_own_and_nothing_is_lost(self):
        kept = mebibytes(64)
        kept.fill_(5)
        with counted(self, num_ooms=1, num_alloc_retries=1):
            with self.assertRaises(torch.OutOfMemoryError) as raised:
                mebibytes(3 << 10)
        self.assertIn("out of memory", str(raised.exception))
        del raised
        self.assertEqual(blocks(), 1)
        with counted(self, num_ooms=0, num_alloc_retries=0):
            large = mebibytes(1024)
        large.fill_(6)
        self.assertEqual(extremes(large), (6, 6))
        self.assertEqual(extremes(kept), (5, 5))

    def test_a_warning_says_why(self):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            with self.assertRaises(torch.OutOfMemoryError):
                mebibytes(3 << 10)
        texts = [str(each.message) for each in said]
        self.assertTrue(any("2.0 GiB" in text for text in texts), texts)

    def test_what_is_cached_is_given_up_first(self):
        """Of another stream, whose free segments this one cannot have."""
        with torch.cuda.stream(torch.cuda.Stream()):
            tensors = [mebibytes(448) for _ in range(4)]
        del tensors
        self.assertEqual(blocks(), 4)
        with counted(self, num_ooms=0, num_alloc_retries=1):
            more = mebibytes(448)
        self.assertEqual(blocks(), 1)
        more.fill_(2)
        self.assertEqual(extremes(more), (2, 2))

    def test_again_and_again(self):
        for number in range(20):
            with self.assertRaises(torch.OutOfMemoryError):
                mebibytes(3 << 10)
            tensor = mebibytes(512)
            tensor.fill_(number)
            self.assertEqual(extremes(tensor), (number, number))
            del tensor

    def limit_to(self, size):
        """In MiB. PyTorch's fractions are of the GPU, not of the tenant's
        budget."""
        self.addCleanup(torch.cuda.set_per_process_memory_fraction, 1.0)
        whole = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(size * MIB / whole)

    def test_a_fraction_of_the_gpu(self):
        self.limit_to(512)
        first = mebibytes(400)
        with counted(self, num_ooms=1):
            with self.assertRaises(torch.OutOfMemoryError):
                mebibytes(200)
        self.assertEqual(blocks(), 1)
        del first
        second = mebibytes(450)  # The other one's segment is given up.
        self.assertEqual(blocks(), 1)
        torch.cuda.set_per_process_memory_fraction(1.0)
        third = mebibytes(700)
        self.assertEqual(blocks(), 2)
        del second, third

    def test_old_segments_are_collected_as_garbage(self):
        torch.cuda.memory._set_allocator_settings(
            "garbage_collection_threshold:0.5")
        self.limit_to(1024)
        old = mebibytes(400)
        del old
        live = mebibytes(500)
        self.assertEqual(blocks(), 2)
        with counted(self, num_alloc_retries=0):
            more = mebibytes(420)  # Both would be beyond the limit.
        self.assertEqual(blocks(), 2)
        self.assertEqual(stat("reserved_bytes.all.current"), 920 * MIB)
        del live, more


if __name__ == "__main__":
    if not (case.Case.device or "").startswith("cuda"):
        sys.exit("this test is of a GPU's memory: set VRAMPOOL_TEST_DEVICE")
    case.main()
