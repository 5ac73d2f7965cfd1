"""CuPy: arrays of the pool's memory, and the pool as CuPy's allocator.

    import vrampool.cupy
    array = vrampool.cupy.view(tensor)                 # The same memory.
    tensor = vrampool.cupy.put(client, array)          # One copy, into it.
    cupy.cuda.set_allocator(vrampool.cupy.allocator(client))  # All arrays.

Memory of a GPU only. Not yet run on one.
"""

from __future__ import annotations

from typing import Any, Callable

import cupy

from ._client import Client
from ._tensor import Tensor


def view(tensor: Tensor) -> Any:
    """The tensor's own memory as an array, on CuPy's current stream."""
    if tensor.readonly:
        raise BufferError("CuPy cannot keep a tensor from being written to; "
                          "open it without readonly=True")
    with cupy.cuda.Device(tensor.device[1]):
        return cupy.from_dlpack(tensor)


def put(client: Client, source: Any) -> Tensor:
    """A copy of an array, row-major, in the pool."""
    source = cupy.asarray(source)
    tensor = client.empty(source.shape, source.dtype,
                          stream=cupy.cuda.get_current_stream())
    view(tensor)[...] = source
    return tensor


def allocator(client: Client) -> Callable[[int], Any]:
    """For `cupy.cuda.set_allocator`, or as the source of a
    `cupy.cuda.MemoryPool`, which asks for memory less often. A block is of the
    stream that is current when it is allocated: CuPy names none when it frees.
    """
    ordinal = client._open().facts.device[1]

    def allocate(nbytes: int) -> Any:
        if nbytes == 0:
            memory = cupy.cuda.UnownedMemory(0, 0, client, ordinal)
            return cupy.cuda.MemoryPointer(memory, 0)
        try:
            buffer = client.allocate(nbytes,
                                     stream=cupy.cuda.get_current_stream())
        except MemoryError as error:
            # The one error after which CuPy's pools try again.
            raise cupy.cuda.runtime.CUDARuntimeError(
                cupy.cuda.runtime.errorMemoryAllocation) from error
        memory = cupy.cuda.UnownedMemory(buffer.address, nbytes, buffer,
                                         ordinal)
        return cupy.cuda.MemoryPointer(memory, 0)
    return allocate
