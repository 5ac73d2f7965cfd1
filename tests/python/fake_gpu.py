"""The fake driver's GPU for tests in Python: a daemon of it for each test, and
streams whose work can be held up.

A process is of one fake device to its end, so the functions `check_*` of a test
run in a process of their own. `use(DRIVER)` comes before case.main().
"""

import ctypes
import importlib
import os
import pathlib
import tempfile
import time
import uuid

import case

NOT_READY = 600  # CUDA_ERROR_NOT_READY


def use(driver):
    """Where the library finds the driver at this path."""
    os.environ["VRAMPOOL_CUDA_DRIVER"] = driver
    os.environ["VRAMPOOL_NVML_LIBRARY"] = "/nonexistent"


class Streams:
    """Streams of the fake driver, and gates that hold up their work."""

    def __init__(self):
        self.driver = ctypes.CDLL(os.environ["VRAMPOOL_CUDA_DRIVER"])
        self.driver.vrampool_fake_cuda_gate.argtypes = [
            ctypes.c_void_p, ctypes.c_uint64]
        self.driver.vrampool_fake_cuda_open_gate.argtypes = [ctypes.c_uint64]
        self.gates = 0

    def new(self):
        stream = ctypes.c_void_p()
        assert self.driver.cuStreamCreate(ctypes.byref(stream), 1) == 0
        return stream.value

    def new_blocking(self):
        stream = ctypes.c_void_p()
        assert self.driver.cuStreamCreate(ctypes.byref(stream), 0) == 0
        return stream.value

    def hold_up(self, stream):
        """Work on a stream that does not end before the gate is opened."""
        self.gates += 1
        assert self.driver.vrampool_fake_cuda_gate(stream, self.gates) == 0
        return self.gates

    def open(self, gate):
        self.driver.vrampool_fake_cuda_open_gate(gate)

    def is_waiting(self, stream):
        status = self.driver.cuStreamQuery(ctypes.c_void_p(stream))
        assert status in (0, NOT_READY), status
        return status == NOT_READY

    def finish(self, stream):
        assert self.driver.cuStreamSynchronize(ctypes.c_void_p(stream)) == 0


class FakeGpuCase(case.Case):
    config = {"pool_size": "256MiB"}
    device = "cuda:0"

    def setUp(self):
        folder = tempfile.TemporaryDirectory(
            prefix="vrampool-fake-", dir="/dev/shm")
        self.addCleanup(folder.cleanup)
        (pathlib.Path(folder.name) / "config").write_text(
            f"devices=1\nuuid0=GPU-{uuid.uuid4()}\n")
        os.environ["VRAMPOOL_FAKE_CUDA_DIR"] = folder.name
        super().setUp()

    def run_checks(self, test, count):
        """The functions `check_*(test, client, streams)` of the file `test`, so
        many, once for each kind of handle."""
        for kind in ("VMM_FD", "CUDA_IPC"):
            with self.subTest(kind):
                self.environment["VRAMPOOL_KIND"] = kind
                out = self.run_python(
                    "import sys; sys.path[:0] = sys.argv[1:3]\n"
                    "import fake_gpu\n"
                    "fake_gpu.check_all(sys.argv[3])\n",
                    pathlib.Path(__file__).parent, pathlib.Path(test).parent,
                    pathlib.Path(test).stem)
                self.assertEqual(out.split(), [kind, str(count), "checked"])
        self.assertEqual(self.leaks_of_the_ended(), [])


def check_all(name):
    """Every check of a module, in a process that is attached to the GPU."""
    import vrampool
    test = case.unittest.TestCase()
    client = vrampool.connect()
    print(client.info.kind.name)
    client.empty(1)  # Makes the context that streams are of.
    streams = Streams()
    streams.driver.cuInit(0)
    module = importlib.import_module(name)
    checks = [check for name, check in sorted(vars(module).items())
              if name.startswith("check_")]
    print(len(checks))
    with vrampool._cuda._Context(0):
        for check in checks:
            check(test, client, streams)
            await_no_blocks(client)
    print("checked")


def await_no_blocks(client):
    """Objects end when the GPU's work that uses them has, and the daemon says
    so."""
    deadline = time.monotonic() + case.PATIENCE_SECONDS
    while client.usage().live_blocks:
        if time.monotonic() > deadline:
            raise AssertionError("a block lives on")
        time.sleep(0.001)
