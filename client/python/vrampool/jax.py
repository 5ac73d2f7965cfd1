"""JAX: arrays of the pool's memory.

    import vrampool.jax
    array = vrampool.jax.view(tensor)          # The same memory.
    tensor = vrampool.jax.put(client, array)   # One copy, into the pool.

JAX lets nobody choose where its results are, so what it computes has to be
copied into the pool. It takes arrays for immutable: who writes to the memory of
a view while JAX computes with it gets results of old and new bytes.
"""

from __future__ import annotations

from typing import Any

import jax

from . import _copy, _cuda, _dlpack
from ._client import Client
from ._tensor import Tensor

ALIGNMENT = 64
"""Bytes: memory that begins elsewhere is copied by JAX on the host."""


def view(tensor: Tensor) -> "jax.Array":
    """The tensor's own memory as an array. BufferError where JAX would copy:
    elements with gaps, or an address that is no multiple of 64. A tensor that
    is read-only is one more that JAX does not write to."""
    wide = tensor.dtype.bits == (128 if tensor.dtype.code == 5 else 64)
    if wide and not getattr(jax.config, "jax_enable_x64"):
        raise TypeError(f"JAX has no {tensor.dtype.name} before "
                        'jax.config.update("jax_enable_x64", True)')
    if tensor._is_host() and tensor.address % ALIGNMENT != 0:
        raise BufferError(f"JAX copies what is not aligned to {ALIGNMENT} "
                          "bytes; allocate the tensor by itself")
    try:
        array: jax.Array = jax.dlpack.from_dlpack(_Producer(tensor))
    except Exception as error:
        if "striding" in str(error):
            raise BufferError("JAX takes no elements with gaps between them; "
                              "put() them into a tensor of their own") from None
        raise
    if tensor.size and array.unsafe_buffer_pointer() != tensor.address:
        raise BufferError("this version of JAX copied the tensor")
    return array


def put(client: Client, source: Any) -> Tensor:
    """A copy of an array in the pool."""
    source.block_until_ready()
    return _copy.put(client, source)


class _Producer:
    """JAX never writes, so what is read-only need not be said, which the
    DLPack that it speaks cannot."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __dlpack_device__(self) -> Any:
        return self._tensor.__dlpack_device__()

    def __dlpack__(self, *, stream: Any = None, **_: Any) -> Any:
        tensor = self._tensor
        if stream is None and not tensor._is_host() and (
                tensor._stream is not None):
            # JAX that names no stream does not wait for the default one.
            _cuda.synchronize(tensor._stream or _cuda.LEGACY_STREAM,
                              tensor.device[1])
        tensor._make_ready_for(stream)
        return _dlpack.export(tensor._held(), tensor._layout, False)
