"""What the tests of PyTorch's allocator have in common.

`Led`: PyTorch draws from the pool in this process. All tests of a process have one
daemon, since process-wide clients have one to the end; each test gives all of its
memory back, or fails. `Alone`, with `@alone`: tests that change their process for
good, or need one that nothing has happened in.
"""

import contextlib
import functools
import gc
import inspect
import os
import pathlib
import unittest

import case
from broker import Broker

import torch
import vrampool
import vrampool.torch

MIB = case.MIB
LONG = 1 << 30  # Cycles: half a second, and more.
CONFIG = {"pool_size": "4GiB", "default_limit": "2GiB"}
SLAB_SIZE = "32MiB"  # Segments are of 2 MiB and more.


def mebibytes(count):
    """A tensor of so many."""
    return torch.empty(count * MIB, dtype=torch.uint8, device="cuda")


def extremes(tensor):
    return int(tensor.min()), int(tensor.max())


def is_in_the_pool(what):
    """A tensor, or an address."""
    address = what if isinstance(what, int) else what.data_ptr()
    try:
        vrampool.default_client().describe(address)
        return True
    except vrampool.NotFound:
        return False


def blocks():
    """How many blocks of the pool the process has: PyTorch's segments."""
    gc.collect()
    return vrampool.default_client().usage().live_blocks


def stat(name):
    return torch.cuda.memory_stats()[name]


def warm_up():
    """Loads the kernels that tests launch while the GPU is busy: the first launch
    of one waits for all work on it."""
    tensor = mebibytes(1)
    tensor.fill_(1)
    tensor += 1
    extremes(tensor)
    torch.cuda._sleep(1)
    torch.cuda.synchronize()
    del tensor
    torch.cuda.empty_cache()


class _Shared:
    """The one daemon of a process."""

    broker = None

    @classmethod
    def start(cls, kind):
        if cls.broker is None:
            broker = Broker(kind.vrampoold, **CONFIG)
            broker.device = kind.device
            cls.broker = broker.__enter__()
            unittest.addModuleCleanup(cls.end)
        os.environ.update(VRAMPOOL_DIR=str(cls.broker.directory),
                          VRAMPOOL_SLAB_SIZE=SLAB_SIZE)
        return cls.broker

    @classmethod
    def end(cls):
        cls.broker.__exit__(None, None, None)


class Led(case.Case):
    is_led = True

    def setUp(self):
        self.broker = _Shared.start(type(self))
        if self.is_led:
            vrampool.torch.enable()
        self.addCleanup(self.give_all_back)
        warm_up()

    def give_all_back(self):
        torch.cuda.synchronize()
        if self.is_led:
            vrampool.torch.disable()
        gc.collect()
        torch.cuda.empty_cache()
        client = vrampool.default_client()
        left = client.usage().live_blocks
        client.trim()
        client.quiesce()  # CUDA_IPC's slabs count until then.
        self.assertEqual(left, 0, "the test leaves memory behind")


RUN = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
kind = getattr(importlib.import_module(sys.argv[2]), sys.argv[3])
test = getattr(kind, sys.argv[4])
test.__wrapped__(kind(sys.argv[4]))
print("works")
"""


def alone(body):
    """A test whose body runs in a process of its own; there it has the methods of
    a test, but no daemon's attributes."""
    module = pathlib.Path(inspect.getfile(body)).resolve()

    @functools.wraps(body)
    def test(self):
        self.assertEqual(
            self.run_python(RUN, module.parent, module.stem,
                            type(self).__name__, body.__name__), "works\n")
    return test


class Alone(case.Case):
    config = CONFIG

    def setUp(self):
        super().setUp()
        self.environment.update(PYTHONWARNINGS="ignore",
                                VRAMPOOL_SLAB_SIZE=SLAB_SIZE)


@contextlib.contextmanager
def counted(test, **changes):
    """PyTorch's statistics change so within: num_ooms=1."""
    before = {name: stat(name) for name in changes}
    yield
    test.assertEqual({name: stat(name) - before[name] for name in changes},
                     changes)
