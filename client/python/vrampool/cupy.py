"""CuPy: arrays of the pool's memory, and the pool as CuPy's allocator.

    import vrampool.cupy
    array = vrampool.cupy.view(tensor)                 # The same memory.
    tensor = vrampool.cupy.put(client, array)          # One copy, into it.
    cupy.cuda.set_allocator(vrampool.cupy.allocator(client))  # All arrays.

Memory of a GPU only.
"""

from __future__ import annotations

from typing import Any, Callable

import cupy

from ._client import Client
from ._objects import refuse_masked
from ._tensor import Tensor
from .dtypes import UINT, DType


def view(tensor: Tensor) -> Any:
    """The tensor's own memory as an array, on CuPy's current stream."""
    if tensor.readonly:
        raise BufferError("CuPy cannot keep a tensor from being written to; "
                          "open it without readonly=True")
    is_bfloat16 = tensor.dtype.name == "bfloat16"
    source = tensor
    if is_bfloat16:  # Not every CuPy that has it takes it through DLPack.
        source = tensor._derived(tensor.address, DType(UINT, 16), tensor.shape,
                                 tensor.strides)
    with cupy.cuda.Device(tensor.device[1]):
        array = cupy.from_dlpack(source)
        return array.view(_bfloat16()) if is_bfloat16 else array


def _bfloat16() -> Any:
    """TypeError where this CuPy lacks it."""
    try:
        import ml_dtypes
        return cupy.empty(0, ml_dtypes.bfloat16).dtype
    except Exception as error:
        raise TypeError(f"CuPy {cupy.__version__} has no bfloat16 here; it "
                        f"needs CuPy 14 and ml_dtypes ({error})") from None


def put(client: Client, source: Any) -> Tensor:
    """A copy of an array, row-major, in the pool."""
    refuse_masked(source)
    source = cupy.asarray(source)
    tensor = client.empty(source.shape, source.dtype,
                          stream=cupy.cuda.get_current_stream())
    view(tensor)[...] = source
    return tensor


MEMORY_ALLOCATION = 2  # cudaErrorMemoryAllocation, which CuPy does not name.
_Refused: Any = cupy.cuda.runtime.CUDARuntimeError
_NoRoom: Any = cupy.cuda.memory.OutOfMemoryError


class OutOfMemory(_Refused, _NoRoom):  # type: ignore[misc]
    """What `allocator` raises. CuPy's pools try again after the first of
    these errors; the second one, a MemoryError, is what programs know."""

    def __init__(self, text: str) -> None:
        RuntimeError.__init__(self, text)
        self.status = MEMORY_ALLOCATION


def allocator(client: Client) -> Callable[[int], Any]:
    """For `cupy.cuda.set_allocator`, or as the source of a
    `cupy.cuda.MemoryPool`, which asks for memory less often. A block is of the
    stream that is current when it is allocated, and keeps it: CuPy names none
    when it frees.
    """
    ordinal = client._open().facts.device[1]

    def allocate(nbytes: int) -> Any:
        if cupy.cuda.runtime.getDevice() != ordinal:
            raise RuntimeError(
                f"this allocator's memory is on device {ordinal}, and CuPy's "
                f"current device is {cupy.cuda.runtime.getDevice()}; connect "
                "to that one's daemon for an allocator of its own")
        if nbytes == 0:
            memory = cupy.cuda.UnownedMemory(0, 0, client, ordinal)
            return cupy.cuda.MemoryPointer(memory, 0)
        stream = cupy.cuda.get_current_stream()
        try:
            buffer = client.allocate(nbytes, stream=stream)
        except MemoryError as error:
            raise OutOfMemory(str(error)) from error
        # A tuple lets go of its last item first: of the memory.
        memory = cupy.cuda.UnownedMemory(buffer.address, nbytes,
                                         (stream, buffer), ordinal)
        return cupy.cuda.MemoryPointer(memory, 0)
    return allocate
