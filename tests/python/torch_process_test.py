#!/usr/bin/env python3
"""PyTorch and the pool over a process's life: enabling and disabling, what was
before and comes after, and the allocator of the whole process.

    VRAMPOOL_TEST_DEVICE=cuda:0 torch_process_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL
"""

import ctypes
import random
import sys
import threading

import case
from torch_case import (MIB, Alone, alone, blocks, extremes, is_in_the_pool,
                        mebibytes, stat)

import torch
import vrampool
import vrampool.torch

NOT_LED = """
import torch, vrampool.torch
try:
    vrampool.torch.enable()
except RuntimeError as error:
    print("expandable_segments" in str(error))
print(torch.ones(10, device="cuda").sum().item())
"""
CURRENT = [f"{what}.{of}.current"
           for what in ("allocation", "segment", "active", "inactive_split",
                        "allocated_bytes", "reserved_bytes",
                        "inactive_split_bytes")
           for of in ("all", "small_pool", "large_pool")]


def free_on_the_gpu():
    """As the driver says, not PyTorch, which tells the tenant's budget."""
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    driver = ctypes.CDLL("libcuda.so.1")
    assert driver.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)) == 0
    return free.value


def statistics_of_some_work():
    chance, held, seen = random.Random(11), [], []
    for step in range(300):
        if held and chance.random() < 0.45:
            del held[chance.randrange(len(held))]
        else:
            size = chance.randrange(1, 1 << chance.randrange(8, 26))
            held.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
        if step % 100 == 99:
            torch.cuda.empty_cache()
        seen.append({name: stat(name) for name in CURRENT})
    held.clear()
    torch.cuda.empty_cache()
    seen.append({name: stat(name) for name in CURRENT})
    return seen


class EnableTest(Alone):
    @alone
    def test_memory_of_before_is_freed_by_the_driver(self):
        before = mebibytes(512)
        before.fill_(5)
        with vrampool.torch.enable():
            self.assertFalse(is_in_the_pool(before))
            self.assertEqual(extremes(before), (5, 5))
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            used, free = blocks(), free_on_the_gpu()
            del before
            torch.cuda.empty_cache()
            # The daemon may have taken a slab meanwhile.
            self.assertGreaterEqual(free_on_the_gpu() - free, 448 * MIB)
            self.assertEqual(blocks(), used)
            after = mebibytes(512)
            self.assertTrue(is_in_the_pool(after))
            self.assertEqual(blocks(), used + 1)

    @alone
    def test_tensors_outlive_it(self):
        with vrampool.torch.enable():
            kept = mebibytes(64)
            kept.fill_(5)
            gone = mebibytes(32)
            del gone
        torch.cuda.empty_cache()
        self.assertEqual(blocks(), 1)
        after = mebibytes(64)
        self.assertFalse(is_in_the_pool(after))
        after.fill_(6)
        self.assertTrue(is_in_the_pool(kept))
        self.assertEqual(extremes(kept), (5, 5))
        del kept
        torch.cuda.empty_cache()
        self.assertEqual(blocks(), 0)
        self.assertEqual(extremes(after), (6, 6))

    @alone
    def test_calls_nest(self):
        vrampool.torch.disable()  # Of nothing.
        with vrampool.torch.enable():
            vrampool.torch.enable("cuda:0")
            vrampool.torch.disable()
            first = mebibytes(64)
            self.assertTrue(is_in_the_pool(first))
        second = mebibytes(64)
        self.assertFalse(is_in_the_pool(second))
        vrampool.torch.disable()
        for _ in range(10):
            with vrampool.torch.enable():
                self.assertTrue(is_in_the_pool(mebibytes(128)))
            self.assertFalse(is_in_the_pool(mebibytes(128)))
            torch.cuda.empty_cache()
        self.assertEqual(blocks(), 1)

    @alone
    def test_statistics_are_what_they_are_without_it(self):
        plain = statistics_of_some_work()
        self.assertGreater(max(each["segment.all.current"] for each in plain),
                           5)
        with vrampool.torch.enable():
            led = statistics_of_some_work()
        for step, (got, wanted) in enumerate(zip(led, plain)):
            self.assertEqual(got, wanted, step)

    @alone
    def test_expandable_segments_are_refused(self):
        tell = torch.cuda.memory._set_allocator_settings
        tell("expandable_segments:True")
        with self.assertRaisesRegex(RuntimeError, "expandable_segments"):
            vrampool.torch.enable()
        self.assertFalse(is_in_the_pool(mebibytes(64)))
        tell("expandable_segments:False")
        torch.cuda.empty_cache()
        with vrampool.torch.enable():
            self.assertTrue(is_in_the_pool(mebibytes(64)))

    def test_so_are_those_of_the_environment(self):
        self.environment["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"
        self.assertEqual(self.run_python(NOT_LED), "True\n10.0\n")

    @alone
    def test_tensors_live_to_the_processs_end(self):
        vrampool.torch.enable()
        threading.kept = mebibytes(64)  # Nobody takes that away.
        threading.cycle = [mebibytes(1)]
        threading.cycle.append(threading.cycle)
        threading.pool = vrampool.torch.pool()
        with torch.cuda.use_mem_pool(threading.pool):
            threading.other = mebibytes(64)
        threading.other.fill_(1)
        self.assertTrue(is_in_the_pool(threading.kept))
        self.assertTrue(is_in_the_pool(threading.other))

    def test_the_daemon_has_all_back_after_the_end(self):
        self.test_tensors_live_to_the_processs_end()
        self.eventually(lambda: self.operator("sessions")["sessions"] == [],
                        "a session lives on")
        self.eventually(lambda: int(self.operator("status")["pool"].get(
            "leased_bytes", 0)) == 0, "memory stays leased")


class WholeTest(Alone):
    """enable(whole_process=True): each storage is a block."""

    @alone
    def test_each_storage_is_a_block_and_goes_at_once(self):
        vrampool.torch.enable(whole_process=True)
        client = vrampool.default_client()
        tensors = [torch.empty(1 << i, dtype=torch.uint8, device="cuda")
                   for i in range(8, 28)]
        for tensor in tensors:
            block = client.describe(tensor.data_ptr())
            self.assertEqual(block.address, tensor.data_ptr())
            self.assertGreaterEqual(block.size_bytes, tensor.numel())
        self.assertEqual(blocks(), 20)
        part = tensors[-1][1000:]
        part.fill_(3)
        del tensors, tensor
        self.assertEqual(blocks(), 1)
        self.assertEqual(extremes(part), (3, 3))
        self.assertEqual(torch.empty(0, device="cuda").numel(), 0)
        del part
        self.assertEqual(blocks(), 0)

    @alone
    def test_not_while_it_is_enabled_otherwise(self):
        with vrampool.torch.enable():
            with self.assertRaisesRegex(RuntimeError, "disable"):
                vrampool.torch.enable(whole_process=True)
            self.assertTrue(is_in_the_pool(mebibytes(64)))

    @alone
    def test_further_calls_change_nothing(self):
        vrampool.torch.enable(whole_process=True)
        vrampool.torch.enable(whole_process=True)
        with vrampool.torch.enable():
            self.assertTrue(is_in_the_pool(mebibytes(1)))
        self.assertTrue(is_in_the_pool(mebibytes(1)))
        torch.cuda.empty_cache()  # Nothing is cached, and nothing fails.
        with self.assertRaisesRegex(RuntimeError, "stays"):
            vrampool.torch.disable()

    @alone
    def test_after_pytorch_has_used_the_gpu_it_is_refused(self):
        torch.ones(10, device="cuda")
        with self.assertRaises(RuntimeError):
            vrampool.torch.enable(whole_process=True)
        with vrampool.torch.enable():
            self.assertTrue(is_in_the_pool(mebibytes(64)))

    @alone
    def test_threads_and_streams_keep_their_contents(self):
        import torch_memory_test
        vrampool.torch.enable(whole_process=True)
        failures = []

        def work(seed):
            try:
                torch_memory_test.churn(seed)
            except BaseException as error:  # Told by the main thread.
                failures.append(repr(error))
        threads = [threading.Thread(target=work, args=(seed,))
                   for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        x = torch.ones(1 << 20, device="cuda", requires_grad=True)
        (x * 3).sum().backward()
        self.assertTrue(is_in_the_pool(x.grad))
        self.assertEqual(extremes(x.grad), (3, 3))
        del x
        self.assertEqual(blocks(), 0)

    @alone
    def test_a_graph_keeps_what_it_uses(self):
        vrampool.torch.enable(whole_process=True)
        source = torch.ones(1 << 20, device="cuda")
        extremes(source.mul(3).add(1))
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            between = source.mul(3)
            result = between.add(1)
            del between
        others = [torch.full_like(source, 9) for _ in range(32)]
        source.fill_(2)
        graph.replay()
        self.assertEqual(extremes(result), (7, 7))
        self.assertEqual({extremes(other) for other in others}, {(9, 9)})

    @alone
    def test_what_finds_no_room_costs_nothing(self):
        vrampool.torch.enable(whole_process=True)
        kept = mebibytes(64)
        kept.fill_(5)
        for _ in range(5):
            with self.assertRaises((RuntimeError, MemoryError)):
                mebibytes(3 << 10)
            self.assertEqual(blocks(), 1)
            large = mebibytes(1024)
            large.fill_(6)
            self.assertEqual(extremes(large), (6, 6))
            del large
        self.assertEqual(extremes(kept), (5, 5))


if __name__ == "__main__":
    if not (case.Case.device or "").startswith("cuda"):
        sys.exit("this test is of a GPU's memory: set VRAMPOOL_TEST_DEVICE")
    case.main()
