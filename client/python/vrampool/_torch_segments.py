"""Sharing what PyTorch's own allocator cut out of the pool.

PyTorch draws whole segments, blocks of the pool, and cuts its tensors out of
them. An object may be a part of a block, so such a tensor is shared like any
other. But the pool knows of the segment alone: when the tensor has gone, PyTorch
uses the place again, whoever has opened the object. So the storage is pinned
(_pins.py), kept from going, as long as the object lives. When this process ends,
the segment is the daemon's, which keeps it while it has objects.
"""

from __future__ import annotations

import ctypes
import os
import threading
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

from . import _abi, _objects, _pins
from ._client import Client
from ._ref import Session

# A device of PyTorch's: its type and number.
Device = Tuple[str, int]


class Part(NamedTuple):
    """Where a tensor's storage is in a segment."""

    session: Session
    address: int
    size: int


_lock = threading.RLock()
_clients: Dict[Device, Callable[[], Client]] = {}
# Kept to the process's end, as segments may be.
_sources: Dict[Device, Client] = {}


def lead(device: Device, client: Callable[[], Client]) -> None:
    """From now on PyTorch may draw memory of a device from what `client`
    gives: a process-wide client."""
    with _lock:
        _clients.setdefault(device, client)


def source_of(device: Device) -> Optional[Client]:
    """What PyTorch draws from, if it does."""
    if device not in _clients:
        return None
    with _lock:
        if device not in _sources or _sources[device].closed:
            _sources[device] = _clients[device]()
        return _sources[device]


def find(tensor: Any) -> Optional[Part]:
    """Where a tensor's storage is, if that is in a segment."""
    client = source_of((tensor.device.type, tensor.device.index or 0))
    if client is None:
        return None
    storage = (tensor.untyped_storage() if hasattr(tensor, "untyped_storage")
               else tensor.storage())  # PyTorch before 2.0.
    part = Part(client._open(), int(storage.data_ptr()), int(storage.nbytes()))
    return part if part.size > 0 and _is_in_a_block(part) else None


def _is_in_a_block(part: Part) -> bool:
    raw = _abi.BlockInfo()
    raw.struct_size = ctypes.sizeof(raw)
    library = part.session.library
    if library.describe(part.session.handle, part.address, raw) != 0:
        return False
    return part.address + part.size <= int(raw.address) + int(raw.size_bytes)


def share(part: Part, anchor: str, tensor: Any) -> str:
    """Makes a storage an object with a name, and pins it; the token. `tensor` is
    one of that storage which nobody else has."""
    piece = _objects.Piece(part.address, part.size, None)
    with _objects.share_pieces(part.session, [piece], anchor, b"",
                               _objects.LASTING) as made:
        token = made.token
        _pins.pin(part.session, token, tensor)
    return token


def _forget_lock() -> None:
    """In a forked child, where no thread is left that could release it."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_forget_lock)
