#!/usr/bin/env python3
"""The pool as RMM's memory resource, compiled and in Python, with RMM's own
package and library, on the fake driver's GPU.

    resource_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL FAKE_DRIVER PLACES

PLACES is the PYTHONPATH by which RMM, what it needs and vrampool_rmm are found.
CUDA's runtime, which is part of RMM's library, has no GPU here: what takes it
(contents of buffers, the current device) is in gpu_test.py beside this file.
"""

import concurrent.futures
import ctypes
import gc
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "python"))
import case  # noqa: E402
import fake_gpu  # noqa: E402

MIB = case.MIB


class ResourceTest(fake_gpu.FakeGpuCase):
    config = {"pool_size": "256MiB", "default_limit": "192MiB"}

    def setUp(self):
        super().setUp()
        self.environment["PYTHONPATH"] += f":{PLACES}"

    def test_in_processes_of_their_own(self):
        self.run_checks(__file__, 14)

    def test_a_session_lives_as_long_as_a_buffer(self):
        for ask in ("resource", "callback_resource"):
            with self.subTest(ask):
                process = self.start_python(KEEPS, ask)
                self.assertEqual(process.stdout.readline(), "closed\n")
                self.assertEqual(len(self.operator("sessions")["sessions"]), 1)
                process.stdin.write("\n")
                process.stdin.flush()
                self.assertEqual(process.stdout.readline(), "dropped\n")
                self.eventually(
                    lambda: self.operator("sessions")["sessions"] == [],
                    "the session lives on")
                process.communicate("\n", timeout=case.PATIENCE_SECONDS)
                self.assertEqual(process.returncode, 0)
        self.assertEqual(self.leaks_of_the_ended(), [])

    def test_a_process_may_end_with_buffers(self):
        self.run_python(
            "import rmm, vrampool.rmm\n"
            "mr = vrampool.rmm.resource()\n"
            "rmm.mr.set_per_device_resource(0, mr)\n"
            "buffer = rmm.DeviceBuffer(size=1000, mr=mr)\n"
            "assert vrampool.default_client().usage().live_bytes == 1000\n")
        self.eventually(lambda: self.operator("sessions")["sessions"] == [],
                        "the session lives on")
        self.assertEqual(self.leaks_of_the_ended(), [])

    def test_without_the_compiled_package_it_says_what_to_do(self):
        out = self.run_python(
            "import sys; sys.modules['vrampool_rmm'] = None\n" + REFUSED)
        self.assertRegex(out, "vrampool-rmm for RMM .* is not installed")
        self.assertIn("callback_resource()", out)

    def test_a_wheel_for_another_rmm_is_refused(self):
        folder = self.broker.directory
        (folder / "rmm").mkdir()
        # RMM as it is, under the version of another one.
        (folder / "rmm" / "__init__.py").write_text(
            "import sys; del sys.modules['rmm']; here = sys.path.pop(0)\n"
            "import rmm; rmm.__version__ = '24.08.01'\n")
        self.environment["PYTHONPATH"] = f"{folder}:" + (
            self.environment["PYTHONPATH"])
        out = self.run_python(
            "import sys; sys.path.remove('')\n" + REFUSED)
        self.assertRegex(out, r"vrampool-rmm 0\..* is for RMM \d\d\.\d\d, and "
                         r"RMM 24\.08 is installed")


class HostTest(case.Case):
    def test_memory_of_the_host_is_refused(self):
        self.environment["PYTHONPATH"] += f":{PLACES}"
        for ask in ("resource", "callback_resource"):
            out = self.run_python(
                "import sys, vrampool.rmm\n"
                "try:\n"
                "    getattr(vrampool.rmm, sys.argv[1])()\n"
                "except ValueError as error:\n"
                "    print(error)\n", ask)
            self.assertIn("memory of a GPU", out)


KEEPS = """
import gc, sys, rmm, vrampool, vrampool.rmm
client = vrampool.connect()
mr = getattr(vrampool.rmm, sys.argv[1])(client)
buffers = [rmm.DeviceBuffer(size=1000, mr=mr) for _ in range(3)]
client.close()
del client, mr
gc.collect()
print("closed", flush=True)
sys.stdin.readline()
del buffers
gc.collect()
print("dropped", flush=True)
sys.stdin.readline()
"""

REFUSED = """
import vrampool.rmm
try:
    vrampool.rmm.resource()
except ImportError as error:
    print(error)
"""


class Stream:
    """A stream of the fake driver, as RMM takes others' streams."""

    def __init__(self, handle):
        self.handle = handle

    def __cuda_stream__(self):
        return 0, self.handle


def rmms(handle):
    from rmm.pylibrmm.stream import Stream as RmmStream
    return RmmStream(Stream(handle))


def buffer_of(mr, size, **options):
    import rmm
    return rmm.DeviceBuffer(size=size, mr=mr, **options)


def both(client):
    import vrampool.rmm
    return [vrampool.rmm.resource(client), vrampool.rmm.callback_resource(client)]


def check_buffers_are_blocks(test, client, streams):
    for mr in both(client):
        buffers = [buffer_of(mr, size) for size in (1, 256, 1000, 3 * MIB)]
        test.assertEqual(client.usage().live_bytes, 1257 + 3 * MIB)
        for buffer in buffers:
            block = client.describe(buffer.ptr)
            test.assertEqual((block.address, block.size_bytes, buffer.ptr % 256),
                             (buffer.ptr, buffer.size, 0))
        del buffers, buffer
        test.assertEqual(client.usage().live_blocks, 0)


def check_it_is_rmms_resource(test, client, streams):
    import rmm
    import vrampool.rmm
    mr = vrampool.rmm.resource(client)
    test.assertIsInstance(mr, rmm.mr.DeviceMemoryResource)
    rmm.mr.set_per_device_resource(7, mr)
    test.assertIs(rmm.mr.get_per_device_resource(7), mr)
    rmm.mr.set_per_device_resource(7, rmm.mr.CudaMemoryResource())


def check_nothing_is_no_error(test, client, streams):
    for mr in both(client):
        address = mr.allocate(0)
        test.assertEqual(address, 0)
        mr.deallocate(address, 0)
        test.assertEqual(buffer_of(mr, 0).size, 0)


def check_no_room_says_what_to_do(test, client, streams):
    for mr in both(client):
        for size, text in ((200 * MIB, "limit"), (1 << 40, "no room")):
            with test.assertRaisesRegex(MemoryError, text):
                buffer_of(mr, size)
        test.assertEqual(client.usage().live_blocks, 0)


def check_adaptors_stand_on_it(test, client, streams):
    import rmm
    for mr in both(client):
        counted = rmm.mr.StatisticsResourceAdaptor(mr)
        limited = rmm.mr.LimitingResourceAdaptor(counted, MIB)
        buffer = buffer_of(limited, 1000)
        test.assertEqual(counted.allocation_counts.current_bytes, 1000)
        test.assertEqual(client.usage().live_bytes, 1000)
        with test.assertRaises(MemoryError):
            buffer_of(limited, 2 * MIB)
        del buffer
        test.assertEqual(counted.allocation_counts.current_bytes, 0)


def check_a_failure_may_be_answered(test, client, streams):
    import rmm
    for mr in both(client):
        kept = [buffer_of(mr, 120 * MIB)]
        asked = []

        def let_go(size):
            asked.append(size)
            kept.clear()
            return len(asked) == 1
        retried = rmm.mr.FailureCallbackResourceAdaptor(mr, let_go)
        buffer = buffer_of(retried, 100 * MIB)
        test.assertEqual((buffer.size, asked), (100 * MIB, [100 * MIB]))
        del buffer, retried


def check_another_stream_waits_for_what_was_freed(test, client, streams):
    first, second = streams.new(), streams.new()
    for mr in both(client):
        buffer = buffer_of(mr, 12 * MIB, stream=rmms(first))
        at, gate = buffer.ptr, streams.hold_up(first)
        del buffer
        again = buffer_of(mr, 12 * MIB, stream=rmms(second))
        test.assertTrue(again.ptr != at or streams.is_waiting(second))
        streams.open(gate)
        streams.finish(first)
        streams.finish(second)
        del again


def check_the_same_stream_does_not_wait(test, client, streams):
    stream = streams.new()
    for mr in both(client):
        buffer = buffer_of(mr, 12 * MIB, stream=rmms(stream))
        at, gate = buffer.ptr, streams.hold_up(stream)
        del buffer
        again = buffer_of(mr, 12 * MIB, stream=rmms(stream))
        test.assertEqual(again.ptr, at)
        streams.open(gate)
        streams.finish(stream)
        del again


def check_python_is_not_asked(test, client, streams):
    compiled, in_python = both(client)

    def python_calls(mr):
        calls = []
        sys.setprofile(lambda frame, event, what: calls.append(frame.f_code.co_name)
                       if event == "call" else None)
        try:
            mr.deallocate(mr.allocate(1000), 1000)
        finally:
            sys.setprofile(None)
        return calls
    test.assertEqual(python_calls(compiled), [])
    test.assertIn("allocate", python_calls(in_python))


def check_threads_meet(test, client, streams):
    def churn(mr, seed):
        kept = []
        for i in range(1, 1000):
            kept.append(buffer_of(mr, i * seed % 9001 + 1))
            if i % 3 == 0:
                kept = kept[1::2]
        return len(kept)
    for mr in both(client):
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            left = list(threads.map(lambda seed: churn(mr, seed),
                                    (37, 101, 997, 8999)))
        test.assertEqual(len(set(left)), 1)
        test.assertEqual(client.usage().live_blocks, 0)


def check_a_buffer_is_shared(test, client, streams):
    import vrampool
    stream = rmms(streams.new())
    for mr in both(client):
        buffer = buffer_of(mr, 1000, stream=stream)
        at = buffer.ptr
        ctypes.memset(at, 7, 1000)  # The fake's memory is the host's.
        shared = client.share(buffer, stream=stream)
        del buffer  # The object has the memory.
        test.assertEqual(client.usage().live_bytes, 1000)
        test.assertNotEqual(buffer_of(mr, 1000).ptr, at)
        other = vrampool.connect()
        opened = other.open(shared.token, wait=case.PATIENCE_SECONDS)
        test.assertEqual((opened[0].shape, opened[0].dtype.name),
                         ((1000,), "uint8"))
        test.assertEqual(ctypes.string_at(opened[0].address, 1000),
                         b"\7" * 1000)
        del opened, shared, other
        fake_gpu.await_no_blocks(client)


def check_part_of_a_buffer_is_shared(test, client, streams):
    """As a column of cuDF is part of one."""
    import vrampool.rmm
    buffer = buffer_of(vrampool.rmm.resource(client), 1000)
    part = type("Column", (), {"__cuda_array_interface__": {
        "shape": (10,), "typestr": "<f8", "version": 3,
        "data": (buffer.ptr + 80, False)}})()
    shared = client.share(part)
    tensor = shared[0]
    test.assertEqual((tensor.address, tensor.shape, tensor.dtype.name),
                     (buffer.ptr + 80, (10,), "float64"))
    beyond = type("Column", (), {"__cuda_array_interface__": {
        "shape": (1001,), "typestr": "|u1", "version": 3,
        "data": (buffer.ptr, False)}})()
    with test.assertRaises(vrampool.InvalidArgument):
        client.share(beyond)


def check_a_view_cannot_keep_a_buffer(test, client, streams):
    import vrampool
    import vrampool.rmm
    other = vrampool.connect()
    buffer = buffer_of(vrampool.rmm.resource(client), 1000)
    with test.assertRaisesRegex(vrampool.InvalidArgument, "share"):
        vrampool.view_of(buffer)
    with test.assertRaisesRegex(vrampool.InvalidArgument, "is the client's"):
        other.share(buffer)


def check_copies_of_the_resource_are_enough(test, client, streams):
    """What RMM keeps of a resource that Python has dropped."""
    import rmm
    import vrampool
    import vrampool.rmm
    mr = vrampool.rmm.resource(client)
    counted = rmm.mr.StatisticsResourceAdaptor(mr)
    del mr
    gc.collect()
    buffer = buffer_of(counted, 1000)
    del counted
    gc.collect()
    test.assertEqual(client.usage().live_bytes, 1000)
    del buffer


if __name__ == "__main__":
    PLACES = sys.argv.pop(5)
    fake_gpu.use(sys.argv.pop(4))
    case.main()
