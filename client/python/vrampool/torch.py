"""PyTorch: tensors of the pool's memory, also between its processes.

    import vrampool.torch
    result = vrampool.torch.view(tensor)            # The same memory, writable.
    result = vrampool.torch.empty(client, (2, 3))   # New, in the pool.
    tensor = vrampool.torch.put(client, result)     # One copy, into the pool.
    tensor = vrampool.view_of(result)               # Of a result in the pool.

    vrampool.torch.enable()           # PyTorch draws from the pool (on a GPU).
    vrampool.torch.share_by_token()   # In every process that sends tensors.

After the last, tensors in the pool pass through the queues and pipes of
torch.multiprocessing as tokens: the receiver has the same memory, may send it
on, and the sender may end.
"""

from __future__ import annotations

from typing import Any, Optional, Sequence

import torch

from . import _dlpack
from ._client import Client
from ._objects import view_of
from ._tensor import Tensor
from ._torch_enable import Enabled, disable, enable, pool
from ._torch_messages import share_by_token
from .dtypes import UINT, DType

__all__ = ["Enabled", "disable", "empty", "enable", "pool", "put",
           "share_by_token", "view", "view_of"]


def view(tensor: Tensor, *, writable: Optional[bool] = None) -> "torch.Tensor":
    """The tensor's own memory as a PyTorch tensor.

    PyTorch cannot keep a tensor from being written to. So for one that is
    read-only say `writable=True`, if nothing will write to it."""
    if tensor.readonly and not writable:
        raise BufferError("PyTorch cannot keep a tensor from being written to; "
                          "if nothing will, say writable=True")
    layout = tensor._layout._replace(readonly=False)
    kind = getattr(torch, tensor.dtype.name, None)
    if not isinstance(kind, torch.dtype):
        raise TypeError(f"PyTorch {torch.__version__} has no "
                        f"{tensor.dtype.name}")
    if _goes_as_bits(tensor):  # Its DLPack does not name all of its types.
        bits = DType(UINT, tensor.dtype.bits)
        return _import(tensor, layout._replace(dtype=bits)).view(kind)
    return _import(tensor, layout)


def empty(client: Client, shape: Sequence[int],
          dtype: "torch.dtype" = torch.float32) -> "torch.Tensor":
    """A new tensor in the pool; what is in it is not defined."""
    tensor = client.empty(shape, dtype, stream=_stream_of(client))
    return view(tensor)


def put(client: Client, source: "torch.Tensor") -> Tensor:
    """A copy of a tensor, row-major, in the pool."""
    tensor = client.empty(tuple(source.shape), source.dtype,
                          stream=_stream_of(client))
    view(tensor).copy_(source.detach())
    return tensor


def _stream_of(client: Client) -> Any:
    device_type, ordinal = client._open().facts.device
    return torch.cuda.current_stream(ordinal) if device_type == 2 else None


def _goes_as_bits(tensor: Tensor) -> bool:
    return tensor.dtype.name == "bool" or tensor.dtype.code >= 7


class _Producer:
    """What torch.from_dlpack takes: the given layout of the memory."""

    def __init__(self, tensor: Tensor, layout: _dlpack.Layout) -> None:
        self._tensor, self._layout = tensor, layout

    def __dlpack_device__(self) -> Any:
        return self._layout.device

    def __dlpack__(self, stream: Any = None, **_: Any) -> Any:
        self._tensor._make_ready_for(stream)
        return _dlpack.export(self._tensor._held(), self._layout, False)


def _import(tensor: Tensor, layout: _dlpack.Layout) -> "torch.Tensor":
    result: torch.Tensor = torch.from_dlpack(_Producer(tensor, layout))
    return result
