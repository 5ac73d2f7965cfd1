"""TensorFlow: tensors of the pool's memory.

    import vrampool.tensorflow
    result = vrampool.tensorflow.view(tensor)         # The same memory.
    tensor = vrampool.tensorflow.put(client, result)  # One copy, into it.

TensorFlow lets nobody choose where its results are, so what it computes has to
be copied into the pool. It takes tensors for immutable: who writes to the
memory of a view while TensorFlow computes with it gets results of old and new
bytes.
"""

from __future__ import annotations

from typing import Any

import tensorflow

from . import _copy, _cuda, _dlpack
from ._client import Client
from ._objects import refuse_masked
from ._tensor import Tensor
from .dtypes import BOOL

ALIGNMENT = 64
"""Bytes: TensorFlow's kernels on the host take memory for so aligned."""


def view(tensor: Tensor) -> Any:
    """The tensor's own memory as a `tf.Tensor`. BufferError where that cannot
    be: elements that are not row-major without gaps, or an address that is no
    multiple of 64. A tensor that is read-only is one more that TensorFlow does
    not write to."""
    if tensor.dtype.code > BOOL:
        raise TypeError(f"TensorFlow takes no {tensor.dtype.name} by DLPack")
    if not tensor.is_contiguous:
        raise BufferError("TensorFlow takes row-major elements without gaps "
                          "only; put() them into a tensor of their own")
    if tensor._is_host():
        if tensor.address % ALIGNMENT != 0:
            raise BufferError(f"TensorFlow wants memory aligned to {ALIGNMENT} "
                              "bytes; allocate the tensor by itself")
    else:
        # TensorFlow names no stream of its own: its work on the GPU comes
        # behind what the host has seen done.
        tensor._make_ready_for(_cuda.LEGACY_STREAM)
        _cuda.synchronize(_cuda.LEGACY_STREAM, tensor.device[1])
    capsule = _dlpack.export(tensor._held(), tensor._layout, False,
                             compact=True)
    return tensorflow.experimental.dlpack.from_dlpack(capsule)


def put(client: Client, source: Any) -> Tensor:
    """A copy of a tensor in the pool."""
    refuse_masked(source)
    source = tensorflow.convert_to_tensor(source)
    return _copy.put(client, _dlpack.Capsule(
        tensorflow.experimental.dlpack.to_dlpack(source)))
