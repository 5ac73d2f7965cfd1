#!/usr/bin/env python3
"""PyTorch on the pool's memory: the host's, or a GPU's where VRAMPOOL_TEST_DEVICE
says "cuda:0".

    torch_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL
"""

import contextlib
import gc
import sys
import types
import unittest
import unittest.mock
import warnings

import case

import torch
import vrampool
import vrampool.torch

# What another process does with a tensor of 64-bit floats: reads its sum, and
# doubles it in place.
DOUBLE = """
import sys, torch, vrampool, vrampool.torch
client = vrampool.connect()
stream = torch.cuda.current_stream() if client.empty(1).device[0] == 2 else None
opened = client.open(sys.argv[1], wait=30, stream=stream)
view = vrampool.torch.view(opened[0])
print(float(view.sum()))
view *= 2
if stream is not None: stream.synchronize()
"""


class TorchTest(case.Case):
    def setUp(self):
        super().setUp()
        self.client = self.connect()

    def stream(self):
        """What is to be given for a stream; None on the host."""
        on_gpu = self.client.empty(1).device[0] == 2
        return torch.cuda.current_stream() if on_gpu else None

    def nothing_is_left(self):
        gc.collect()
        self.eventually(lambda: self.client.usage().live_blocks == 0,
                        "a block lives on")

    def test_another_process_has_the_same_memory(self):
        tensor = vrampool.torch.empty(self.client, (1000, 10), torch.float64)
        tensor.fill_(0.5)
        part = tensor[::2, 1:]
        shared = self.client.share(part, stream=self.stream())
        out = self.run_python(DOUBLE, shared.token, python=sys.executable)
        self.assertEqual(float(out), 0.5 * 500 * 9)
        self.assertEqual(float(tensor.sum()), 0.5 * (10000 + 500 * 9))
        del tensor, part, shared
        self.nothing_is_left()

    def test_views_are_in_place_and_found_again(self):
        tensor = self.client.empty((2, 3), "float32", strides=(8, 2),
                                   stream=self.stream())
        for view in (vrampool.torch.view(tensor), torch.from_dlpack(tensor)):
            self.assertEqual((view.data_ptr(), view.shape, view.stride()),
                             (tensor.address, (2, 3), (8, 2)))
            found = vrampool.view_of(view.requires_grad_()[1:])
            self.assertEqual(found.address, tensor.address + 32)
        del view, found, tensor
        self.nothing_is_left()

    def test_put_copies_any_tensor(self):
        source = torch.arange(12.0).reshape(3, 4).t().requires_grad_()
        for dtype in (torch.bool, torch.int16, torch.bfloat16,
                      torch.complex64):
            one = source.to(dtype) if dtype != torch.bool else source > 3
            tensor = vrampool.torch.put(self.client, one)
            self.assertTrue(tensor.is_contiguous)
            copied = vrampool.torch.view(tensor)
            self.assertEqual(copied.dtype, dtype)
            self.assertTrue(torch.equal(copied.cpu(), one.detach()))
            self.assertEqual(vrampool.view_of(copied).dtype, tensor.dtype)
        del tensor, copied
        self.nothing_is_left()

    def test_what_cannot_be_is_refused(self):
        tensor = self.client.empty(3)
        with self.assertRaisesRegex(BufferError, "writable=True"):
            vrampool.torch.view(tensor.as_readonly())
        vrampool.torch.view(tensor.as_readonly(), writable=True)
        with self.assertRaisesRegex(TypeError, "2:32:4"):
            vrampool.torch.view(self.client.empty(3, (2, 32, 4)))
        with self.assertRaises(vrampool.InvalidArgument):
            self.client.share(torch.ones(3))
        view = vrampool.torch.view(self.client.empty(3, "complex64"))
        with self.assertRaisesRegex(vrampool.InvalidArgument, "resolve_conj"):
            self.client.share(view.conj())


class Steps:
    """The functions of PyTorch and of the library that are told who draws from
    whom; they note how they are called."""

    def __init__(self, test):
        self.taken = []
        self.settings, self.backend = {}, "native"
        library, module = vrampool._library.get(), vrampool._torch_enable
        for owner, name, replacement in (
                (library, "torch_lead", self.noted("lead", 0)),
                (library, "torch_leave", self.noted("leave")),
                (library, "device_client", self.noted("daemon", 1)),
                (module, "device_client", lambda _: self),
                (torch.cuda, "empty_cache", self.noted("empty")),
                (torch.cuda, "init", lambda: None),
                (torch.cuda, "current_device", lambda: 3),
                (torch.cuda, "device", self.device),
                (torch.cuda, "MemPool", self.noted("pool", "a pool")),
                (torch.cuda, "get_allocator_backend", lambda: self.backend),
                (torch.cuda.memory, "_snapshot",
                 lambda: {"allocator_settings": self.settings}),
                (torch._C, "_cuda_attach_out_of_memory_observer",
                 self.noted("observe")),
                (torch.cuda.memory, "CUDAPluggableAllocator", self.allocator),
                (torch.cuda.memory, "change_current_allocator",
                 self.noted("change"))):
            patch = unittest.mock.patch.object(owner, name, replacement,
                                               create=True)
            patch.start()
            test.addCleanup(patch.stop)

    def noted(self, name, result=None):
        def note(*arguments):
            self.taken.append((name, *arguments))
            return result
        return note

    def device(self, ordinal):
        self.taken.append(("device", ordinal))
        return contextlib.nullcontext()

    def on_reclaim(self, function):
        """As a client has it."""
        self.taken.append(("watch",))
        self.reclaim = function
        return types.SimpleNamespace(close=self.noted("unwatch"))

    def allocator(self, path, malloc, free):
        class Allocator:
            def __init__(self):
                self.record_stream = None

            def allocator(self):
                return self

            def set_record_stream_fn(self, address):
                self.record_stream = address

            def __eq__(self, other):
                return other == (malloc, free)
        self.path = path
        return Allocator()

    def take(self):
        taken, self.taken[:] = list(self.taken), []
        return taken


class EnableTest(case.Case):
    """How PyTorch is told, with its functions replaced: tests/python/
    allocators_test.py does it on a GPU."""

    begin = [("lead", 3), ("device", 3), ("empty",),
             ("observe", vrampool._torch_enable._explain), ("watch",)]
    end = [("leave", 3), ("unwatch",), ("device", 3), ("empty",)]

    def setUp(self):
        super().setUp()
        self.steps = Steps(self)
        module = vrampool._torch_enable
        for name, value in (("_routes", {}), ("_whole", None),
                            ("_segments", None), ("_is_observed", False)):
            patch = unittest.mock.patch.object(module, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def test_nested_and_as_a_context(self):
        with vrampool.torch.enable():
            self.assertEqual(self.steps.take(), self.begin)
            with vrampool.torch.enable("cuda"):
                vrampool.torch.enable(3)
                vrampool.torch.disable(torch.device("cuda", 3))
                vrampool.torch.disable(1)
            self.assertEqual(self.steps.take(), [])
        self.assertEqual(self.steps.take(), self.end)
        vrampool.torch.disable()
        self.assertEqual(self.steps.take(), [])
        vrampool.torch.enable()
        begin = [step for step in self.begin if step[0] != "observe"]
        self.assertEqual(self.steps.take(), begin)

    def test_two_devices(self):
        with vrampool.torch.enable(0), vrampool.torch.enable(1):
            led = [step for step in self.steps.take() if step[0] == "lead"]
            self.assertEqual(led, [("lead", 0), ("lead", 1)])
        left = [step for step in self.steps.take() if step[0] == "leave"]
        self.assertEqual(left, [("leave", 1), ("leave", 0)])

    def test_the_cache_is_emptied_when_the_daemon_asks(self):
        vrampool.torch.enable()
        self.steps.take()
        self.steps.reclaim(1 << 30)
        self.assertEqual(self.steps.take(), [("device", 3), ("empty",)])
        with unittest.mock.patch.object(
                vrampool._library.get(), "torch_await_no_capture",
                lambda _: vrampool.Timeout.status):
            self.steps.reclaim(1 << 30)
        self.assertEqual(self.steps.take(), [])

    def test_nothing_stays_led_where_enabling_fails(self):
        def empty():
            raise RuntimeError("CUDA error")
        with unittest.mock.patch.object(torch.cuda, "empty_cache", empty):
            with self.assertRaisesRegex(RuntimeError, "CUDA error"):
                vrampool.torch.enable()
        self.assertEqual(self.steps.take(),
                         [("lead", 3), ("device", 3), ("leave", 3)])
        vrampool.torch.enable()
        self.assertEqual(self.steps.take(), self.begin)

    def test_an_error_for_want_of_memory_is_explained(self):
        library = vrampool._library.get()

        def refusal(text, size):
            text.value = b"a limit"
            return min(len(text.value), size)
        with unittest.mock.patch.object(library, "torch_refusal", refusal):
            with self.assertWarnsRegex(RuntimeWarning, "GPU 3: a limit"):
                vrampool._torch_enable._explain(3, 100, 200, 50)
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # PyTorch's error goes first.
                vrampool._torch_enable._explain(3, 100, 200, 50)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            vrampool._torch_enable._explain(3, 100, 200, 50)
        self.assertEqual(said, [])

    def test_a_pool_for_a_part_of_a_program(self):
        pool = vrampool.torch.pool(2)
        self.assertEqual(pool, "a pool")
        self.assertEqual(self.steps.take(), [
            ("daemon", 2), ("device", 2),
            ("pool", ("vrampool_torch_malloc", "vrampool_torch_free"))])
        self.assertEqual(self.steps.path, vrampool._library.get().path)

    def test_the_whole_process_for_good(self):
        with vrampool.torch.enable():
            with self.assertRaisesRegex(RuntimeError, "disable"):
                vrampool.torch.enable(whole_process=True)
        self.steps.take()
        with vrampool.torch.enable(whole_process=True):
            [(step, allocator)] = self.steps.take()
            self.assertEqual((step, allocator), (
                "change", ("vrampool_torch_malloc_or_throw",
                           "vrampool_torch_free")))
            self.assertGreater(allocator.record_stream, 0)
        vrampool.torch.enable()
        vrampool.torch.enable(whole_process=True)
        self.assertEqual(self.steps.take(), [])
        with self.assertRaisesRegex(RuntimeError, "stays"):
            vrampool.torch.disable()

    def test_what_would_not_ask_for_segments_is_refused(self):
        self.steps.settings["expandable_segments"] = True
        with self.assertRaisesRegex(RuntimeError, "unset expandable_segments"):
            vrampool.torch.enable()
        self.steps.settings.clear()
        for backend, words in (("cudaMallocAsync", "unset backend"),
                               ("pluggable", "was changed")):
            self.steps.backend = backend
            with self.assertRaisesRegex(RuntimeError, words):
                vrampool.torch.enable()
        self.assertEqual(self.steps.take(), [])

    def test_used_too_early_is_said(self):
        def change(_):
            raise RuntimeError("Can't swap an already initialized allocator")
        with unittest.mock.patch.object(torch.cuda.memory,
                                        "change_current_allocator", change):
            with self.assertRaisesRegex(RuntimeError, "first of all"):
                vrampool.torch.enable(whole_process=True)
        vrampool.torch.enable()
        self.assertEqual(self.steps.take(), self.begin)

    def test_an_old_pytorch_has_no_pools(self):
        old = types.SimpleNamespace(cuda=None, _C=None, __version__="2.4")
        with unittest.mock.patch.object(vrampool._torch_enable, "torch", old):
            with self.assertRaisesRegex(vrampool.VersionMismatch, "2.4.*2.5"):
                vrampool.torch.pool()
            vrampool.torch.disable()
        self.assertEqual(self.steps.take(), [])


@unittest.skipIf(torch.cuda.is_available(), "PyTorch would be led for good")
class CpuTest(case.Case):
    """A PyTorch without CUDA."""

    def test_it_is_said_that_there_is_nothing_to_lead(self):
        library = vrampool._library.get()
        with self.assertRaises(vrampool.NotFound):
            library.check(library.torch_lead(0))
        with self.assertRaises(vrampool.NotFound):
            library.check(library.torch_lead(-1))


if __name__ == "__main__":
    case.main()
