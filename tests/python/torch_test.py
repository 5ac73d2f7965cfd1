#!/usr/bin/env python3
"""PyTorch on the pool's memory: the host's, or a GPU's where VRAMPOOL_TEST_DEVICE
says "cuda:0".

    torch_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL
"""

import gc
import sys

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


if __name__ == "__main__":
    case.main()
