"""Numba: arrays of the pool's memory, and the pool as Numba's memory manager.

    import vrampool.numba
    array = vrampool.numba.view(tensor)        # The same memory.
    tensor = vrampool.view_of(array)           # Of an array in the pool.

    export NUMBA_CUDA_MEMORY_MANAGER=vrampool.numba     # All arrays.

With the last, all device arrays come from the process-wide client of
VRAMPOOL_DIR and VRAMPOOL_DEVICE, and `array.get_ipc_handle()` gives a handle
that other processes open. Memory of a GPU only.
"""

from __future__ import annotations

import ctypes
import itertools
import weakref
from typing import Any, Callable, Dict, Optional

from numba import cuda
from numba.cuda import HostOnlyCUDAMemoryManager, MemoryPointer

from . import _cuda, _numba_ipc
from ._client import Client, default_client
from ._tensor import Buffer, Tensor


def view(tensor: Tensor) -> Any:
    """The tensor's own memory as a device array. Numba waits for the tensor's
    stream, and works on that where it is given no other."""
    if tensor.readonly:
        raise BufferError("Numba cannot keep a tensor from being written to; "
                          "open it without readonly=True")
    if tensor.dtype.typestr is None:
        raise TypeError("the CUDA Array Interface, by which Numba takes arrays, "
                        f"has no {tensor.dtype.name}")
    # With a reference of its own: the tensor may be closed.
    return cuda.as_cuda_array(tensor._derived(
        tensor.address, tensor.dtype, tensor.shape, tensor.strides))


class MemoryManager(HostOnlyCUDAMemoryManager):  # type: ignore[misc]
    """Device memory from the pool. Numba names no stream, so it is of the
    legacy default stream, which waits for all but non-blocking ones; and so
    that they wait for what used the memory before, it is given something to
    do with each allocation."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._client: Optional[Client] = None
        self._buffers: Dict[int, Buffer] = {}  # By a number of their own.
        self._numbers = itertools.count()

    def initialize(self) -> None:
        if self._client is None:
            self._client = default_client()

    def memalloc(self, size: int) -> Any:
        self.initialize()
        assert self._client is not None
        ordinal = self._client._open().facts.device[1]
        if self.context.device.id != ordinal:
            raise RuntimeError(
                f"the pool of VRAMPOOL_DEVICE is on device {ordinal}, and "
                f"Numba's current device is {self.context.device.id}")
        buffer = self._client.allocate(size)
        _cuda.bar_blocking_streams(ordinal)
        number = next(self._numbers)
        self._buffers[number] = buffer
        return MemoryPointer(weakref.proxy(self.context),
                             ctypes.c_void_p(buffer.address), size,
                             finalizer=self._finalizer(number))

    def _finalizer(self, number: int) -> Callable[[], None]:
        buffers = self._buffers

        def finalize() -> None:
            buffers.pop(number, None)
        return finalize

    def get_ipc_handle(self, memory: Any) -> Any:
        return _numba_ipc.handle_of(memory)

    def get_memory_info(self) -> Any:
        self.initialize()
        assert self._client is not None
        budget = self._client.budget()
        return cuda.MemoryInfo(budget.free, budget.total)

    def reset(self) -> None:
        super().reset()
        self._buffers.clear()

    @property
    def interface_version(self) -> int:
        return 1


_numba_memory_manager = MemoryManager
