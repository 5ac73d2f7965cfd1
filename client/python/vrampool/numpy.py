"""NumPy: arrays of the pool's memory, without a copy.

    import vrampool.numpy
    array = vrampool.numpy.view(tensor)          # The same memory.
    tensor = vrampool.numpy.put(client, array)   # One copy, into the pool.

`numpy.asarray(tensor)` and `numpy.from_dlpack(tensor)` do as `view` does, but
know no bfloat16 and float8, which come from the package ml_dtypes here.
"""

from __future__ import annotations

from typing import Any, Optional

import numpy

from ._client import Client
from ._objects import refuse_masked
from ._tensor import Tensor


def view(tensor: Tensor) -> "numpy.ndarray[Any, Any]":
    """The tensor's own memory as an array, which keeps it. On the host only."""
    tensor._must_be_host("NumPy")
    if tensor.dtype.typestr is not None:
        return numpy.asarray(_Interface(tensor))
    kind = dtype_of(tensor)
    bytes_of = _Interface(tensor, f"|V{kind.itemsize}")
    return numpy.asarray(bytes_of).view(kind)


class _Interface:
    """What an array keeps of a tensor: its own reference to the memory."""

    def __init__(self, tensor: Tensor, typestr: Optional[str] = None) -> None:
        size = tensor.dtype.itemsize
        self._ref = tensor._held()
        self.__array_interface__ = {
            "shape": tensor.shape, "typestr": typestr or tensor.dtype.typestr,
            "data": (tensor.address, tensor.readonly), "version": 3,
            "strides": tuple(stride * size for stride in tensor.strides)}


def dtype_of(tensor: Tensor) -> "numpy.dtype[Any]":
    """NumPy's type of a tensor's elements. TypeError if it has none."""
    if tensor.dtype.typestr is not None:
        return numpy.dtype(tensor.dtype.typestr)
    try:
        import ml_dtypes
        kind: "numpy.dtype[Any]" = numpy.dtype(
            getattr(ml_dtypes, tensor.dtype.name))
        return kind
    except (ImportError, AttributeError):
        raise TypeError(
            f"NumPy has no {tensor.dtype.name}; the package ml_dtypes has "
            "bfloat16 and float8 (pip install ml_dtypes)") from None


def put(client: Client, source: Any) -> Tensor:
    """A copy of an array, row-major, in the pool. On the host only."""
    refuse_masked(source)
    source = numpy.asarray(source)
    tensor = client.empty(source.shape, source.dtype)
    view(tensor)[...] = source
    return tensor
