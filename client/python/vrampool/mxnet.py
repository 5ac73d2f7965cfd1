"""MXNet: arrays of the pool's memory.

    import vrampool.mxnet
    array = vrampool.mxnet.view(tensor)          # The same memory, writable.
    array[:] = 1
    array.wait_to_read()                         # MXNet works in its own time.
    tensor = vrampool.mxnet.put(client, array)   # One copy, into the pool.

MXNet 1.9.1, its last version, runs with NumPy before 1.24 and thus with Python
before 3.12.
"""

from __future__ import annotations

from typing import Any

import mxnet

from . import _copy, _cuda, _dlpack
from ._client import Client
from ._tensor import Tensor

DTYPES = ("int8", "uint8", "int32", "int64", "float16", "float32", "float64")
"""The types that MXNet takes; its errors about others say something else."""


def view(tensor: Tensor) -> Any:
    """The tensor's own memory as an NDArray. BufferError for elements that are
    not row-major without gaps, and for what is read-only: MXNet would not
    know."""
    if tensor.readonly:
        raise BufferError("MXNet cannot keep a tensor from being written to; "
                          "open it without readonly=True")
    if not tensor.is_contiguous:
        raise BufferError("MXNet takes row-major elements without gaps only; "
                          "put() them into a tensor of their own")
    if 0 in (tensor.size, tensor.ndim) and not mxnet.util.is_np_shape():
        raise BufferError("MXNet takes a shape without dimensions or elements "
                          "for an unknown one, before "
                          "mxnet.util.set_np_shape(True)")
    if tensor.dtype.name not in DTYPES:
        raise TypeError(f"MXNet takes no {tensor.dtype.name} by DLPack, only "
                        f"{', '.join(DTYPES)}")
    if not tensor._is_host():  # MXNet names no stream of its own.
        tensor._make_ready_for(_cuda.LEGACY_STREAM)
        _cuda.synchronize(_cuda.LEGACY_STREAM, tensor.device[1])
    return mxnet.nd.from_dlpack(_dlpack.export(
        tensor._held(), tensor._layout, False, compact=True))


def put(client: Client, source: Any) -> Tensor:
    """A copy of an NDArray in the pool."""
    source.wait_to_read()
    return _copy.put(client, _dlpack.Capsule(source.to_dlpack_for_read()))


def view_of(source: Any) -> Tensor:
    """The tensor of the pool whose memory an NDArray has."""
    from ._objects import view_of as find
    source.wait_to_read()
    return find(_dlpack.Capsule(source.to_dlpack_for_read()))
