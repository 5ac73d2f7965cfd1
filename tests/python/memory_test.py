#!/usr/bin/env python3
"""Memory, tensors and objects through the Python package.

    memory_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL
"""

import _thread
import concurrent.futures
import ctypes
import math
import os
import pickle
import random
import sys
import unittest.mock

import case
from case import MIB

import vrampool
import numpy
from vrampool import _abi


class ConnectTest(case.Case):
    def test_it_says_what_it_is_attached_to(self):
        client = self.connect(name="me")
        info = client.info
        self.assertEqual((info.device_uuid, info.tenant, info.kind),
                         (self.broker.device.replace(":", "-"), "root/default",
                          vrampool.Kind.HOST_FD))
        self.assertEqual(info.granule_bytes, 2 * MIB)
        [session] = self.operator("sessions")["sessions"]
        self.assertEqual((session["name"], session["process"]["pid"]),
                         ("me", os.getpid()))

    def test_close_ends_the_session_and_every_use(self):
        with self.connect() as client:
            self.assertFalse(client.closed)
        self.assertTrue(client.closed)
        self.assertEqual(self.operator("sessions")["sessions"], [])
        for use in (client.usage, client.budget, client.trim,
                    lambda: client.allocate(1), lambda: client.info,
                    lambda: client.share([]), client.__enter__):
            with self.assertRaisesRegex(vrampool.Closed, "connect anew"):
                use()
        client.close()  # Again: nothing.

    def test_no_daemon_is_unavailable_and_a_connection_error(self):
        with self.assertRaisesRegex(vrampool.Unavailable, "/nowhere") as raised:
            vrampool.connect("/nowhere")
        self.assertIsInstance(raised.exception, ConnectionError)

    def test_bad_options_are_named(self):
        with self.assertRaises(vrampool.NotFound):
            self.connect(device="gpu99")
        with unittest.mock.patch.dict(os.environ, VRAMPOOL_SLAB_SIZE="large"):
            with self.assertRaisesRegex(vrampool.InvalidArgument,
                                        "VRAMPOOL_SLAB_SIZE"):
                self.connect()

    def test_the_default_client_is_the_processs(self):
        out = self.run_python(
            "import vrampool\n"
            "a, b = vrampool.default_client(), vrampool.default_client()\n"
            "t = a.empty(3)\n"
            "print(a.info.session_id == b.info.session_id,"
            " b.usage().live_blocks)\n"
            "a.close()\n"
            "print(b.usage().live_blocks)\n")
        self.assertEqual(out.split(), ["True", "1", "1"])
        self.assertEqual(self.operator("sessions")["sessions"], [])

    def test_a_missing_library_says_what_to_do(self):
        self.environment["VRAMPOOL_LIBRARY"] = "/nowhere/libvrampool.so"
        out = self.run_python(
            "import vrampool\n"
            "try: vrampool.connect()\n"
            "except ImportError as e: print(type(e).__name__, e)\n")
        self.assertRegex(out, "LibraryNotFound.*/nowhere.*VRAMPOOL_LIBRARY")


class TensorTest(case.Case):
    def setUp(self):
        super().setUp()
        self.client = self.connect()

    def test_blocks_are_aligned_and_described(self):
        block = self.client.allocate(1000, alignment=4096)
        self.assertEqual(block.address % 4096, 0)
        described = self.client.describe(block.address + 999)
        self.assertEqual((described.address, described.size_bytes),
                         (block.address, 1000))
        self.assertEqual(self.client.describe(block.numpy()[500:]), described)
        with self.assertRaises(vrampool.NotFound):
            self.client.describe(block.address + 1000)

    def test_a_tensor_says_what_it_is(self):
        tensor = self.client.empty((2, 3), "int16")
        self.assertEqual(
            (tensor.shape, tensor.strides, tensor.dtype.name, tensor.ndim,
             tensor.size, tensor.nbytes, tensor.device, tensor.kind,
             tensor.readonly, tensor.is_contiguous, tensor.closed),
            ((2, 3), (3, 1), "int16", 2, 6, 12, (1, 0), vrampool.Kind.HOST_FD,
             False, True, False))
        self.assertIn("int16[2, 3]", repr(tensor))
        self.assertEqual(self.client.empty(5).shape, (5,))
        self.assertEqual(self.client.empty(()).size, 1)

    def test_layouts_in_a_buffer_stay_inside(self):
        buffer = self.client.allocate(96)
        numbers = numpy.asarray(buffer.tensor("float64"))
        numbers[:] = range(12)
        self.assertEqual(buffer.tensor("float64", offset=80).shape, (2,))
        reverse = buffer.tensor("float64", (12,), strides=(-1,), offset=88)
        self.assertEqual(list(reverse.numpy()), list(range(11, -1, -1)))
        column = buffer.tensor("float64", (3,), strides=(4,), offset=8)
        self.assertEqual(list(numpy.from_dlpack(column)), [1, 5, 9])
        for shape, strides, offset in (
                ((13,), None, 0), ((12,), None, 8), ((1,), None, -8),
                ((2,), (-1,), 0), ((2,), (12,), 0), ((2, 2), (1,), 0)):
            with self.assertRaises(ValueError, msg=(shape, strides, offset)):
                buffer.tensor("float64", shape, strides=strides, offset=offset)

    def test_shapes_and_types_that_are_none_are_refused(self):
        for shape in ((-1,), (1,) * 17):
            with self.assertRaises(ValueError):
                self.client.empty(shape)
        for dtype in ("float99", object(), (1,), (0, 0), (255, 3), ">i4"):
            with self.assertRaises(TypeError, msg=dtype):
                self.client.empty(1, dtype)
        with self.assertRaises(TypeError):
            self.client.empty(1, numpy.dtype(">i4"))
        with self.assertRaises(ValueError):
            self.client.empty(1, order="X")
        with self.assertRaises(ValueError):
            self.client.empty(2, strides=(-1,))

    def test_numpy_and_the_buffer_protocol_see_the_same_memory(self):
        for name in ("bool", "int8", "uint8", "int16", "uint16", "int32",
                     "uint32", "int64", "uint64", "float32", "float64"):
            tensor = self.client.empty((2, 2), name)
            tensor.numpy()[...] = [[0, 1], [1, 0]]
            view = tensor.memoryview()
            self.assertEqual(view.tolist(), [[0, 1], [1, 0]], name)
            self.assertEqual(numpy.asarray(tensor).dtype, name)
            self.assertEqual(numpy.from_dlpack(tensor).tolist(), view.tolist())
            self.assertEqual(vrampool.dtype(numpy.dtype(name)), tensor.dtype)
        for name in ("float16", "complex64", "complex128"):
            tensor = self.client.empty(2, name)
            tensor.numpy()[:] = [1, 2]
            self.assertEqual(list(numpy.from_dlpack(tensor)), [1, 2])
            self.assertEqual(list(numpy.asarray(tensor)), [1, 2])
            self.assertEqual(tensor.memoryview().nbytes, tensor.nbytes)

    def test_types_that_numpy_lacks_come_from_ml_dtypes(self):
        for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
            tensor = vrampool.numpy.put(
                self.client, numpy.ones(4).astype(name_of(name)))
            self.assertEqual((tensor.dtype.name, tensor.numpy().tolist()),
                             (name, [1] * 4))
            with self.assertRaises(AttributeError):
                tensor.__array_interface__
            self.assertEqual(tensor.memoryview().nbytes, tensor.nbytes)
        with self.assertRaisesRegex(TypeError, "2:32:4"):
            self.client.empty(1, (2, 32, 4)).numpy()

    def test_zero_sizes_and_gaps(self):
        empty = self.client.empty((2, 0, 3), "int32")
        for array in (empty.numpy(), numpy.asarray(empty),
                      numpy.from_dlpack(empty)):
            self.assertEqual(array.shape, (2, 0, 3))
        self.assertEqual(self.client.allocate(0).nbytes, 0)
        self.assertEqual(len(self.client.empty(0).memoryview()), 0)
        gaps = self.client.empty((2, 2), "int32", strides=(3, 1))
        gaps.numpy()[...] = [[1, 2], [3, 4]]
        self.assertEqual(numpy.asarray(gaps).strides, (12, 4))
        with self.assertRaisesRegex(BufferError, "gaps"):
            gaps.memoryview()
        fortran = self.client.empty((2, 3), "int8", order="F")
        self.assertTrue(fortran.numpy().flags.f_contiguous)

    def test_read_only_is_said_wherever_it_can_be(self):
        tensor = self.client.empty(3).as_readonly()
        for array in (tensor.numpy(), numpy.asarray(tensor),
                      numpy.from_dlpack(tensor)):
            self.assertFalse(array.flags.writeable)
        self.assertTrue(tensor.memoryview().readonly)
        with self.assertRaisesRegex(BufferError, "read-only"):
            tensor.__dlpack__()

    def test_the_buffer_protocol_itself(self):
        tensor = self.client.empty((2, 2), "int32")
        if sys.version_info < (3, 12):  # The language has no such hook yet.
            with self.assertRaises(TypeError):
                memoryview(tensor)
            return
        memoryview(tensor)[1, 1] = 7
        self.assertEqual(tensor.numpy()[1, 1], 7)
        for lacking in (self.client.empty(1, "bfloat16"),
                        self.client.empty((2, 0))):
            with self.assertRaises(BufferError):
                memoryview(lacking)

    def test_dlpack_follows_the_standard(self):
        tensor = self.client.empty(2, "int32")
        self.assertEqual(tensor.__dlpack_device__(), (1, 0))
        for version, name in ((None, "dltensor"), ((0, 8), "dltensor"),
                              ((1, 0), "dltensor_versioned"),
                              ((2, 1), "dltensor_versioned")):
            self.assertIn(f'"{name}"', repr(
                tensor.__dlpack__(max_version=version)))
        tensor.__dlpack__(stream=-1, dl_device=(1, 0), copy=False)
        for wrong in ({"stream": 1}, {"dl_device": (2, 0)}):
            with self.assertRaises(BufferError, msg=wrong):
                tensor.__dlpack__(**wrong)
        with self.assertRaises(AttributeError):
            tensor.__cuda_array_interface__

    def test_a_copy_is_made_where_it_is_asked_for(self):
        tensor = self.client.empty((2, 2), "int32", strides=(1, 2))
        tensor.numpy()[...] = [[1, 2], [3, 4]]
        copied = numpy.from_dlpack(tensor.as_readonly(), copy=True)
        tensor.numpy()[...] = 0
        self.assertEqual(copied.tolist(), [[1, 2], [3, 4]])
        self.assertTrue(copied.flags.c_contiguous and copied.flags.writeable)

    def test_a_closed_tensor_gives_nothing_away(self):
        with self.client.empty(3) as tensor:
            kept = tensor.numpy()
        self.assertEqual(self.client.usage().live_blocks, 1)
        for use in (tensor.numpy, tensor.memoryview, tensor.as_readonly,
                    tensor.__dlpack__, tensor.__enter__,
                    lambda: tensor.address, lambda: self.client.share(tensor),
                    lambda: tensor.__array_interface__):
            with self.assertRaises(vrampool.Closed):
                use()
        del kept
        self.assertEqual(self.client.usage().live_blocks, 0)

    def test_nothing_is_pickled(self):
        tensor = self.client.empty(1)
        for one in (tensor, self.client, self.client.share(tensor)):
            with self.assertRaisesRegex(TypeError, "token|connect"):
                pickle.dumps(one)


class ObjectTest(case.Case):
    def setUp(self):
        super().setUp()
        self.client = self.connect()
        self.other = self.connect()

    def test_several_parts_with_their_layouts(self):
        matrix = self.client.empty((2, 3), "float32", strides=(4, 1))
        matrix.numpy()[...] = 5
        scalar = self.client.empty((), "complex128")
        block = self.client.allocate(100)
        shared = self.client.share([matrix, scalar, block], metadata=b"\0m")
        opened = self.other.open(shared.token)
        self.assertEqual((len(opened), opened.metadata, opened.name),
                         (3, b"\0m", ""))
        self.assertEqual([(part.shape, part.strides, part.dtype.name)
                          for part in opened],
                         [((2, 3), (4, 1), "float32"), ((), (), "complex128"),
                          ((100,), (1,), "uint8")])
        self.assertEqual(opened[0].numpy().sum(), 30)
        opened[-1].numpy()[99] = 9
        self.assertEqual(block.numpy()[99], 9)
        with self.assertRaises(IndexError):
            opened[3]

    def test_what_is_granted_is_alone_in_its_slab(self):
        block = self.client.allocate(100)
        with self.assertRaisesRegex(vrampool.NotShareable, "dedicated=True"):
            self.client.share(block, grants=["root/b"])
        alone = self.client.empty((10,), "float32", dedicated=True)
        slab = self.client.describe(alone)
        self.assertEqual(slab.slab_bytes, 2 * MIB)
        table = self.client.table({"x": "int32"}, 10, dedicated=True)
        slabs = {self.client.describe(address).slab_id for address in (
            block.address, alone.address, table["x"].address)}
        self.assertEqual(len(slabs), 3)
        with self.assertRaises(ValueError):
            self.client.empty((1,), alignment=1 << 20, dedicated=True)
        for grants in (["no path"], ["root/b"] * 17):
            with self.assertRaises(vrampool.InvalidArgument):
                self.client.share(alone, grants=grants)
        with self.client.share(alone, grants=["root/b"], name="x") as shared:
            [listed] = self.operator("objects")["objects"]
            self.assertEqual(listed["grants"], ["root/b"])
            self.assertEqual(shared.owner, "")
        # One's own tenant needs no grant, and can be named.
        opened = self.other.open(name="x", tenant=self.client.info.tenant)
        self.assertEqual(opened.owner, "")
        with self.assertRaises(vrampool.NotFound):
            self.other.open(name="x", tenant="root/b")
        with self.assertRaises(vrampool.InvalidArgument):
            self.other.open(name="x", tenant="no path")
        with self.assertRaises(TypeError):
            self.other.open(opened.token, tenant="root/b")
        self.client.unlink("x")

    def test_bare_buffers_stay_buffers(self):
        shared = self.client.share(self.client.allocate(10))
        [part] = self.other.open(shared.token)
        self.assertIsInstance(part, vrampool.Buffer)
        self.assertEqual(part.tensor("int16").shape, (5,))

    def test_a_tensor_is_shared_and_opened_without_a_call(self):
        tensor = self.client.empty((3, 4), "float32")
        first = self.client.share(tensor)  # Brings promises.
        self.other.open(first.token)[0]  # Maps the slab.
        before = self.client.usage().rpcs, self.other.usage().rpcs
        tokens = set()
        for turn in range(8):
            view = tensor.numpy()[turn % 2:, ::2]
            view[0, 0] = turn
            shared = self.client.share(view)
            tokens.add(shared.token)
            # Whoever is faster than the message asks the daemon.
            self.eventually(
                lambda: len(self.operator("objects")["objects"]) == 2,
                "the daemon heard of it, and of the end of the one before")
            [part] = self.other.open(shared.token)
            self.assertEqual((part.shape, part.strides, part.dtype),
                             ((3 - turn % 2, 2), (4, 2), tensor.dtype))
            self.assertEqual(part.numpy()[0, 0], turn)
            del part, shared
        self.assertEqual(len(tokens), 8)
        shares = self.client.usage().rpcs - before[0]
        # A close each, at most; and a share if the promises were used up.
        self.assertLessEqual(shares, 8 + 2)
        self.assertEqual(self.other.usage().rpcs, before[1])

    def test_views_of_others_are_shared_by_their_memory(self):
        array = self.client.empty((4, 6), "int64").numpy()
        array[...] = numpy.arange(24).reshape(4, 6)
        shared = self.client.share(array[::2, ::-1])
        [part] = self.other.open(shared.token, readonly=True)
        self.assertEqual(part.numpy().tolist(), array[::2, ::-1].tolist())
        self.assertTrue(part.readonly)
        half = self.client.empty(2, "bfloat16")
        self.assertEqual(self.client.share(half.numpy())[0].dtype, half.dtype)
        for foreign, error in ((numpy.ones(3), vrampool.InvalidArgument),
                               (array.astype(">i8"), TypeError),
                               (array.view("V8"), TypeError),
                               (object(), TypeError),
                               (self.other.empty(1), vrampool.InvalidArgument),
                               (part, vrampool.InvalidArgument)):
            with self.assertRaises(error, msg=foreign):
                self.client.share(foreign)
        for count in (0, 65):
            with self.assertRaises(vrampool.InvalidArgument):
                self.client.share([array] * count)

    def test_elements_that_are_no_whole_bytes_are_refused(self):
        """Whoever calls the library directly can share such."""
        library = self.client._open().library
        block = self.client.allocate(16)
        layout = _abi.TensorLayout(1, 1, 1, 1, (ctypes.c_int64 * 1)(128))
        options = _abi.ShareOptions()
        library.share_options_init_sized(options, ctypes.sizeof(options))
        options.tensors = ctypes.pointer(layout)
        handle = ctypes.c_void_p()
        library.check(library.share(
            self.client._open().handle, _abi.BufferPiece(block.address, 16), 1,
            options, ctypes.byref(handle)))
        shared = vrampool.Object(self.client._open(), handle.value, False, None)
        with self.assertRaisesRegex(vrampool.InvalidArgument, "whole bytes"):
            self.other.open(shared.token)[0]

    def test_any_view_of_an_array_arrives_as_it_was(self):
        chance = random.Random(1)
        array = self.client.empty((5, 6, 7), "int32").numpy()
        array[...] = numpy.arange(array.size).reshape(array.shape)
        for _ in range(200):
            view = array[tuple(
                slice(None, None, chance.choice((1, 2, 3, -1, -2)))
                if chance.random() < 0.7 else
                slice(chance.randrange(extent), chance.randrange(extent + 1))
                for extent in array.shape)]
            view = view.transpose(chance.sample(range(3), 3))
            if chance.random() < 0.3:
                view = numpy.broadcast_to(view, (2, *view.shape))
            with self.client.share(view) as shared:
                opened = self.other.open(shared.token)
            for seen in (opened[0].numpy(), numpy.from_dlpack(opened[0])):
                self.assertEqual(seen.tolist(), view.tolist(), view.strides)

    def test_what_a_mask_hides_is_not_shared_as_if_it_were_there(self):
        tensor = self.client.empty(3, "int32")

        class Column:
            def __init__(self, of, mask):
                interface = {**tensor.__array_interface__, "mask": mask}
                setattr(self, f"__{of}array_interface__", interface)
        hidden = numpy.ma.array(tensor.numpy(), mask=[0, 1, 0], copy=False)
        for masked in (Column("", b"\5"), Column("cuda_", b"\5"), hidden,
                       hidden[:1]):
            for use in (self.client.share, vrampool.view_of,
                        lambda one: self.client.share([tensor, one])):
                with self.assertRaisesRegex(vrampool.InvalidArgument,
                                            r"mask.*fillna.*serialize"):
                    use(masked)
        for whole in (Column("", None), Column("cuda_", None), hidden.data,
                      numpy.ma.array(tensor.numpy(), copy=False)):
            self.assertEqual(vrampool.view_of(whole).address, tensor.address)
        with self.assertRaisesRegex(vrampool.InvalidArgument, "mask"):
            vrampool.numpy.put(self.client, hidden)
        self.assertEqual(vrampool.numpy.put(
            self.client, hidden.filled(7)).numpy()[1], 7)

    def test_names_are_found_taken_and_taken_off(self):
        shared = self.client.share(self.client.empty(1), name="w")
        with self.assertRaises(FileExistsError):
            self.client.share(self.client.empty(1), name="w")
        opened = self.other.open(name="w", wait=1)
        self.assertEqual(opened.name, "w")
        shared.close()
        opened.close()
        self.other.open(name="w").close()
        self.client.unlink("w")
        with self.assertRaises(LookupError):
            self.other.open(name="w")
        with self.assertRaises(LookupError):
            self.client.unlink("w")

    def test_a_pending_object_is_waited_for(self):
        shared = self.client.share(self.client.empty(1), pending=True)
        with self.assertRaises(vrampool.Timeout):
            self.other.open(shared.token, wait=0.05)
        shared.ready()
        self.other.open(shared.token, stream=1).check()
        with self.assertRaises(vrampool.Error):
            self.other.open("no token")
        for both in ({}, {"token": "a", "name": "b"}):
            with self.assertRaises(TypeError):
                self.other.open(**both)
        with self.assertRaises(ValueError):
            self.other.open(name="x", wait=math.nan)

    def test_a_producer_that_dies_ends_the_wait_for_what_is_pending(self):
        producer = self.start_python(
            "import sys, vrampool\n"
            "c = vrampool.connect()\n"
            "o = c.share(c.empty(1), pending=True)\n"
            "print(o.token, flush=True)\n"
            "sys.stdin.read()\n")
        token = producer.stdout.readline().strip()
        before = self.client.usage().rpcs
        with concurrent.futures.ThreadPoolExecutor() as threads:
            opening = threads.submit(self.client.open, token,
                                     wait=case.PATIENCE_SECONDS)
            self.eventually(lambda: self.client.usage().rpcs > before,
                            "the open has not begun")
            producer.kill()
            # Broken for who waits at that moment; after it there is nothing.
            with self.assertRaises((vrampool.Broken, vrampool.NotFound)):
                opening.result()

    def test_ctrl_c_ends_a_wait(self):
        before = self.client.usage().rpcs

        def interrupt():
            self.eventually(lambda: self.client.usage().rpcs > before,
                            "the wait has not begun")
            _thread.interrupt_main()
        with concurrent.futures.ThreadPoolExecutor() as threads:
            threads.submit(interrupt)
            with self.assertRaises(KeyboardInterrupt):
                self.client.open(name="never", wait=math.inf)

    def test_a_closed_object_gives_nothing_away(self):
        with self.client.share(self.client.empty(1)) as shared:
            token = shared.token
        for use in (lambda: shared.token, lambda: shared.name, shared.ready,
                    lambda: shared.metadata, lambda: shared[0], shared.check,
                    shared.__enter__):
            with self.assertRaises(vrampool.Closed):
                use()
        shared.close()
        with self.assertRaises(vrampool.NotFound):
            self.other.open(token)


def name_of(name):
    import ml_dtypes
    return getattr(ml_dtypes, name)


if __name__ == "__main__":
    import vrampool.numpy
    case.main()
