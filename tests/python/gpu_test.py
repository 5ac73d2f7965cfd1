#!/usr/bin/env python3
"""Memory of a GPU through the Python package, on the fake driver's GPU: devices,
streams, the CUDA Array Interface, objects in the order of streams.

    gpu_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL FAKE_DRIVER
"""

import concurrent.futures
import ctypes
import gc
import sys
import time
import types
import weakref

import case
import fake_gpu

import numpy
import vrampool
from vrampool import _client, _pins, _torch_segments


class GpuTest(fake_gpu.FakeGpuCase):
    def test_in_processes_of_their_own(self):
        """A process is of one fake device to its end: one for each kind."""
        self.run_checks(__file__, 18)


class OwnStream:
    """A stream that ends with its object, as CuPy's do."""

    def __init__(self, streams):
        self._streams = streams
        self.ptr = streams.new()

    def __del__(self):
        self._streams.driver.cuStreamDestroy_v2(ctypes.c_void_p(self.ptr))


class CutOut:
    """What PyTorch cut out of a segment, as far as sharing asks: a tensor and
    its storage in one."""

    device = types.SimpleNamespace(type="cuda", index=0)

    def __init__(self, address, size):
        self._address, self._size = address, size

    def untyped_storage(self):
        return self

    def data_ptr(self):
        return self._address

    def nbytes(self):
        return self._size


def check_what_an_allocator_cut_is_kept_until_the_gpu_is_done(test, client,
                                                              streams):
    _torch_segments.lead(("cuda", 0), lambda: _client.device_client(0))
    hooks = vrampool._library.get().c
    hooks.vrampool_torch_malloc.restype = ctypes.c_void_p
    hooks.vrampool_torch_malloc.argtypes = [
        ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p]
    hooks.vrampool_torch_free.argtypes = [
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p]
    size = 2 << 20
    segment = hooks.vrampool_torch_malloc(size, 0, None)
    test.assertIsNone(_torch_segments.find(CutOut(segment + 4096, size)))
    test.assertIsNone(_torch_segments.find(CutOut(4096, 10)))
    cut = CutOut(segment + 4096, 1000)
    kept = weakref.ref(cut)
    token = _torch_segments.share(_torch_segments.find(cut), "a message", cut)
    del cut
    consumer = streams.new()
    opened = client.open(token, stream=consumer)
    client.unlink("a message")
    test.assertEqual((len(opened), opened[0].nbytes), (1, 1000))
    gate = streams.hold_up(consumer)
    opened.close(consumer)
    del opened
    gc.collect()
    test.assertEqual(len(_pins.pinned()), 1)
    streams.open(gate)
    deadline = time.monotonic() + case.PATIENCE_SECONDS
    while kept() is not None:  # The pins' own thread lets go.
        test.assertLess(time.monotonic(), deadline, "it stays pinned")
        time.sleep(0.001)
    hooks.vrampool_torch_free(segment, size, 0, None)
    test.assertEqual(_client.device_client(0).usage().live_blocks, 0)


# The driver ends the process that uses a stream which was destroyed.
def check_a_stream_may_be_dropped_before_its_memory(test, client, streams):
    stream = OwnStream(streams)
    kept = client.empty(64, "float32", stream=stream)
    shared = client.share(kept, stream=stream)
    opened = client.open(shared.token, stream=OwnStream(streams))
    shared.close(OwnStream(streams))
    view = opened[0]
    del stream, shared, opened
    gc.collect()
    test.assertEqual(view.nbytes, 256)
    del kept, view
    gc.collect()


def check_what_it_is(test, client, streams):
    tensor = client.empty((2, 3), "int16", strides=(4, 1))
    test.assertEqual(tensor.__dlpack_device__(), (2, 0))
    test.assertEqual(tensor.__cuda_array_interface__, {
        "shape": (2, 3), "typestr": "<i2", "strides": (8, 2), "version": 3,
        "data": (tensor.address, False), "stream": 1})


def check_host_protocols_are_refused(test, client, streams):
    tensor = client.empty(3)
    test.assertFalse(hasattr(tensor, "__array_interface__"))
    for use in (tensor.memoryview, tensor.numpy,
                lambda: numpy.from_dlpack(tensor, copy=True),
                lambda: tensor.__dlpack__(copy=True),
                lambda: tensor.__dlpack__(stream=0),
                lambda: tensor.__dlpack__(dl_device=(1, 0))):
        with test.assertRaises((BufferError, RuntimeError, ValueError)):
            use()


def check_a_consumers_stream_waits_for_the_producers(test, client, streams):
    producer, consumer, other = (streams.new() for _ in range(3))
    tensor = client.empty(4, stream=producer)
    gate = streams.hold_up(producer)
    tensor.__dlpack__(stream=consumer, max_version=(1, 0))
    tensor.__dlpack__(stream=-1)
    test.assertTrue(streams.is_waiting(consumer))
    test.assertFalse(streams.is_waiting(other))
    streams.open(gate)
    streams.finish(consumer)


def check_the_same_stream_needs_no_wait(test, client, streams):
    stream = streams.new()
    tensor = client.empty(4, stream=stream)
    tensor.__dlpack__(stream=stream)
    test.assertEqual(tensor.__cuda_array_interface__["stream"], stream)
    test.assertFalse(streams.is_waiting(stream))


def check_contents_of_an_object_are_there(test, client, streams):
    tensor = client.empty(4)
    ctypes.memset(tensor.address, 1, 16)  # The fake's memory is the host's.
    shared = client.share(tensor)
    with client.open(shared.token) as opened:
        test.assertIsNone(opened[0].__cuda_array_interface__["stream"])
        test.assertEqual(ctypes.string_at(opened[0].address, 16), b"\1" * 16)


def check_objects_follow_streams(test, client, streams):
    producer, consumer = streams.new(), streams.new()
    tensor = client.empty(4, stream=producer)
    gate = streams.hold_up(producer)
    shared = client.share(tensor, stream=producer)
    with test.assertRaises(vrampool.Timeout):
        client.open(shared.token, wait=0.05)
    opened = client.open(shared.token, stream=consumer)
    test.assertEqual(opened[0].__cuda_array_interface__["stream"], consumer)
    test.assertTrue(streams.is_waiting(consumer))
    streams.open(gate)
    streams.finish(consumer)
    opened.check()
    opened.close(stream=consumer)
    shared.close()


def check_foreign_views_are_found(test, client, streams):
    class Array:
        def __init__(self, tensor, mask=None):
            self.tensor = tensor
            self.__cuda_array_interface__ = {
                **tensor.__cuda_array_interface__, "mask": mask}
    tensor = client.empty((2, 2), "complex64")
    found = vrampool.view_of(Array(tensor))
    test.assertEqual((found.address, found.shape, found.dtype, found.device),
                     (tensor.address, (2, 2), tensor.dtype, (2, 0)))
    test.assertEqual(client.share(Array(tensor))[0].shape, (2, 2))
    for use in (client.share, vrampool.view_of):
        with test.assertRaisesRegex(vrampool.InvalidArgument, "mask"):
            use(Array(tensor, mask=client.empty(1)))


def check_streams_of_frameworks_are_understood(test, client, streams):
    def like(**attributes):
        return type("Stream", (), attributes)()
    for stream in (7, like(cuda_stream=7), like(ptr=7),
                   like(handle=ctypes.c_void_p(7)),
                   like(__cuda_stream__=(0, 7)),
                   like(__cuda_stream__=lambda self: (0, 7))):
        test.assertEqual(vrampool._cuda.stream_handle(stream), 7)
    test.assertEqual(vrampool._cuda.stream_handle(None), 0)
    with test.assertRaises(TypeError):
        client.empty(1, stream="a stream")


def check_copies_within_the_gpu(test, client, streams):
    """As vrampool.jax.put and vrampool.tensorflow.put make them."""
    from vrampool import _copy
    stream = streams.new()
    source = client.empty((3, 4), "int32", stream=stream)
    ctypes.memset(source.address, 7, source.nbytes)
    copied = _copy.put(client, source, stream)
    test.assertEqual((copied.shape, copied.dtype), (source.shape, source.dtype))
    test.assertEqual(ctypes.string_at(copied.address, 48), b"\7" * 48)
    test.assertNotEqual(copied.address, source.address)
    with test.assertRaisesRegex(BufferError, "gaps"):
        _copy.put(client, client.empty((3, 4), strides=(8, 2)))
    with test.assertRaisesRegex(BufferError, "device"):
        _copy.put(client, numpy.ones(3))


def check_tables_are_turned_in_the_order_of_streams(test, client, streams):
    fields = {"flag": "bool", "x": "float64", "z": "complex128", "id": "int16"}
    producer, consumer = streams.new(), streams.new()
    table = client.table(fields, 100, layout="aos", stream=producer)
    filling = bytes(i % 251 for i in range(table.nbytes))
    gate = streams.hold_up(producer)
    soa = table.to_soa(stream=consumer)
    test.assertTrue(streams.is_waiting(consumer))
    test.assertEqual(soa["x"].__cuda_array_interface__["stream"], consumer)
    # The fake's memory is the host's.
    ctypes.memmove(table.address, filling, len(filling))
    streams.open(gate)
    back = soa.to_aos(stream=consumer)
    streams.finish(consumer)

    def content(one, name):
        at, step = one[name].address, one[name].strides[0]
        size = one.fields[name].itemsize
        return b"".join(ctypes.string_at(at + i * step * size, size)
                        for i in range(one.rows))
    for name in fields:
        test.assertEqual(content(soa, name), content(table, name))
        test.assertEqual(content(back, name), content(table, name))
    start = table.offset("id")
    test.assertEqual(content(soa, "id")[:2], filling[start:start + 2])
    test.assertEqual(client.table(fields, 0).to_aos().rows, 0)
    shared = client.share(soa, stream=consumer)
    opened = client.open_table(shared.token, stream=producer)
    test.assertEqual((opened.layout, opened["x"].address),
                     ("soa", soa["x"].address))


def check_a_table_that_is_let_go_of_is_read_first(test, client, streams):
    """Whoever gets its memory on its stream comes behind the copy."""
    producer, consumer = streams.new(), streams.new()
    table = client.table({"x": "float64"}, 1000, layout="aos", stream=producer)
    gate = streams.hold_up(consumer)
    soa = table.to_soa(stream=consumer)
    del table
    test.assertTrue(streams.is_waiting(producer))
    streams.open(gate)
    streams.finish(producer)
    del soa


def check_blocking_streams_can_be_barred(test, client, streams):
    """As vrampool.numba does it, whose allocations name no stream."""
    first, second = streams.new_blocking(), streams.new_blocking()
    gate = streams.hold_up(first)
    streams.open(streams.hold_up(second))
    streams.finish(second)  # It goes on by itself.
    vrampool._cuda.bar_blocking_streams(0)
    streams.open(streams.hold_up(second))
    test.assertTrue(streams.is_waiting(second))
    streams.open(gate)
    streams.finish(second)


def check_the_last_view_may_end_on_another_thread(test, client, streams):
    """Handle 2 is another stream there, which must not have the memory while
    this one's work may use it."""
    own = vrampool._cuda.PER_THREAD_STREAM
    tensor = client.empty(40 << 20, "int8", stream=own)  # Alone in its slab.
    at, gate = tensor.address, streams.hold_up(own)

    def is_given_away():
        with vrampool._cuda._Context(0):
            tensor.close()
            again = client.empty(40 << 20, "int8", stream=own)
            return again.address == at and not streams.is_waiting(own)
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        test.assertFalse(thread.submit(is_given_away).result())
    streams.open(gate)
    streams.finish(own)


def check_tables_that_the_kernel_is_not_for(test, client, streams):
    stream = streams.new()
    for types in (["int8"] * 201, ["complex128"] * 100):
        fields = [(str(i), kind) for i, kind in enumerate(types)]
        table = client.table(fields, 50, layout="aos", stream=stream)
        filling = bytes(i % 251 for i in range(table.nbytes))
        ctypes.memmove(table.address, filling, len(filling))
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            # Which has no context of its own.
            soa = thread.submit(table.to_soa, stream).result()
        back = soa.to_aos(stream)
        streams.finish(stream)
        test.assertEqual(ctypes.string_at(back.address, back.nbytes), filling)


def check_torchs_hooks_know_of_other_streams(test, client, streams):
    """What was recorded on another stream is given to nobody before that."""
    library = vrampool._library.get().c
    library.vrampool_torch_malloc.restype = ctypes.c_void_p
    library.vrampool_torch_malloc.argtypes = [ctypes.c_size_t, ctypes.c_int,
                                              ctypes.c_void_p]
    library.vrampool_torch_free.argtypes = [
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p]
    library.vrampool_torch_record_stream.argtypes = [ctypes.c_void_p] * 2
    own, other, size = streams.new(), streams.new(), 3 << 20
    first = library.vrampool_torch_malloc(size, 0, own)
    test.assertTrue(first, vrampool._library.get().message())
    gate = streams.hold_up(other)
    library.vrampool_torch_record_stream(first, other)
    library.vrampool_torch_free(first, size, 0, own)
    second = library.vrampool_torch_malloc(size, 0, own)
    test.assertNotEqual(second, first)
    library.vrampool_torch_free(second, size, 0, own)
    test.assertEqual(library.vrampool_torch_malloc(size, 0, own), second)
    library.vrampool_torch_free(second, size, 0, own)
    streams.open(gate)
    streams.finish(other)


def check_views_keep_the_memory(test, client, streams):
    tensor = client.empty(4)
    capsule = tensor.__dlpack__()
    del tensor
    test.assertEqual(client.usage().live_blocks, 1)
    del capsule
    test.assertEqual(client.usage().live_blocks, 0)


if __name__ == "__main__":
    fake_gpu.use(sys.argv.pop(4))
    case.main()
