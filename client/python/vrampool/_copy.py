"""Copying elements: within the host, and within a GPU where they are dense."""

from __future__ import annotations

import ctypes
from typing import Any, Tuple

from . import _blocks, _cuda, _dlpack
from ._client import Client
from ._tensor import Tensor


def clone(tensor: Tensor) -> Tensor:
    """The same elements in a block of their own, row-major and writable."""
    tensor._must_be_host("this copy; let the consumer make it")
    made = _blocks.empty(tensor._session, tensor.shape, tensor.dtype)
    copy_elements(made.address, tensor.address, tensor._layout)
    return made


def put(client: Client, source: Any, stream: Any = None) -> Tensor:
    """A copy of somebody's tensor in the pool, row-major. `source` speaks
    DLPack, and its contents are complete, or come on `stream`."""
    layout = _dlpack.look_into(source)
    made = client.empty(layout.shape, layout.dtype, stream=stream)
    if layout.device[0] != made.device[0]:
        raise BufferError(f"the source is on device {layout.device} and the "
                          f"pool on {made.device}; move it there first")
    if made._is_host():
        copy_elements(made.address, layout.address, layout)
    elif made.size and not _is_dense(layout, 0):
        raise BufferError("the source has gaps between its elements; make it "
                          "contiguous first")
    else:
        _cuda.copy(made.address, layout.address, made.nbytes,
                   _cuda.stream_handle(stream), made.device[1])
    return made


def copy_elements(to: int, start: int, layout: _dlpack.Layout) -> None:
    """Elements of `layout`, of which element zero is at `start`, to memory
    that they fill row-major without gaps."""
    size = layout.dtype.itemsize

    def copy(depth: int, target: int, source: int) -> int:
        if _is_dense(layout, depth):
            count = size
            for extent in layout.shape[depth:]:
                count *= extent
            ctypes.memmove(target, source, count)
            return target + count
        for _ in range(layout.shape[depth]):
            target = copy(depth + 1, target, source)
            source += layout.strides[depth] * size
        return target

    if 0 not in layout.shape:
        copy(0, to, start)


def _is_dense(layout: _dlpack.Layout, depth: int) -> bool:
    """Whether the dimensions from `depth` on have no gaps."""
    shape: Tuple[int, ...] = layout.shape[depth:]
    return all(extent == 1 or stride == expected
               for extent, stride, expected in
               zip(shape, layout.strides[depth:], _dlpack.row_major(shape)))
