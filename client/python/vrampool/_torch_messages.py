"""Tensors of the pool in torch.multiprocessing's messages.

A message names an object by its token, and beside it an *anchor*: a name that
keeps something alive until the receiver has opened the object and unlinks it.

- Memory that the sender allocated is shared anew for each message, and the
  anchor is the object's own name: it lives whatever becomes of the sender.
- Memory that the sender has opened cannot be shared by it. The token is passed
  on, and the anchor is an object of one byte: as long as its name is there, the
  message is on its way, and the sender pins its own hold. At its end the sender
  waits for such messages, ten seconds at most. If there is no room for that
  byte, the hold is pinned until the sender ends.

A message that nobody reads leaves its anchor behind: `vrampool leaks` shows it
among the named objects without holders.
"""

from __future__ import annotations

import os
import time
import uuid
from multiprocessing.reduction import ForkingPickler
from multiprocessing.util import Finalize
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import torch
from torch.multiprocessing import reductions

from . import _blocks, _dlpack, _objects, _ref, errors
from ._client import Client, connect, open_client_of
from ._ref import Found, Session
from ._tensor import Buffer, Tensor, extent_of
from .dtypes import DType, dtype as _dtype

_LAST_WAIT_SECONDS = 10
_pinned: Dict[str, Tuple[Session, _ref.Ref]] = {}  # By anchor.
_pinned_for_good: List[_ref.Ref] = []


class Message(NamedTuple):
    """What goes through the pipe for a tensor."""

    token: str
    anchor: str
    directory: str
    device: str  # UUID.
    part: int
    offset: int  # Of element zero in the part.
    dtype: DType
    shape: Tuple[int, ...]
    strides: Tuple[int, ...]
    requires_grad: bool
    is_parameter: bool


def share_by_token() -> None:
    """From now on this process sends tensors of the pool by token. Others go
    the way that PyTorch has for them. Receivers need not call it."""
    for kind in (torch.Tensor, torch.nn.parameter.Parameter):
        ForkingPickler.register(kind, _reduce)


def _reduce(tensor: "torch.Tensor") -> Any:
    found = _find(tensor)
    if found is None:
        return reductions.reduce_tensor(tensor)
    if tensor.requires_grad and not tensor.is_leaf:
        raise RuntimeError("a tensor that requires grad and is no leaf cannot "
                           "be sent; send tensor.detach()")
    try:
        return _rebuild, tuple(_message_of(tensor, found))
    except errors.Error as error:
        # Pickling may happen in a queue's own thread, which drops messages
        # that fail; so that the receiver does not wait for ever, it is told.
        text = f"the sender, process {os.getpid()}, could not share it: {error}"
        return _refuse, (error.status, text)


def _find(tensor: "torch.Tensor") -> Optional[Found]:
    if tensor.layout != torch.strided or tensor.numel() == 0:
        return None
    layout = _objects.layout_of(tensor)
    low, high = extent_of(layout.address, layout)
    return _ref.find(low, high - low)


def _message_of(tensor: "torch.Tensor", found: Found) -> Message:
    if tensor.is_cuda:  # This thread may not be the one that filled it.
        torch.cuda.synchronize(tensor.device)
    known, session = found.known, found.session
    anchor = f"torch-{os.getpid()}-{uuid.uuid4().hex}"
    if known.object_handle == 0:
        whole = _dlpack.Layout(known.start, _blocks.BYTE, (known.size,), (1,),
                               known.client.device, False)
        block = Buffer(session, found.ref, whole, None)
        with _objects.share(session, [block], anchor, b"",
                            _objects.LASTING) as made:
            token = made.token
    else:
        token = _objects.token_of(session, known.object_handle)
        _pin(anchor, found)
    return Message(
        token, anchor, known.client.directory, known.client.uuid, known.part,
        tensor.data_ptr() - known.start, _dtype(tensor.dtype),
        tuple(tensor.shape), tuple(tensor.stride()), tensor.requires_grad,
        isinstance(tensor, torch.nn.parameter.Parameter))


def _pin(anchor: str, found: Found) -> None:
    _unpin_arrived()
    try:
        with _blocks.allocate(found.session, 1) as flag:
            _objects.share(found.session, [flag], anchor, b"",
                           _objects.LASTING).close()
        _pinned[anchor] = (found.session, found.ref)
    except MemoryError:
        _pinned_for_good.append(found.ref)


def _unpin_arrived() -> None:
    for anchor, (session, _) in list(_pinned.items()):
        try:
            Client(session).open(name=anchor).close()
        except errors.NotFound:  # The receiver has unlinked it.
            _pinned.pop(anchor, None)
        except errors.Error:  # Of a daemon that has gone, or the parent's.
            _pinned.pop(anchor, None)


def _wait_for_receivers() -> None:
    deadline = time.monotonic() + _LAST_WAIT_SECONDS
    _unpin_arrived()
    while _pinned and time.monotonic() < deadline:
        time.sleep(0.01)
        _unpin_arrived()
    for anchor, (session, _) in list(_pinned.items()):
        try:
            Client(session).unlink(anchor)
        except errors.Error:
            pass  # Received just now, or nobody is there to be told.
    _pinned.clear()


# After the queues' own threads have pickled and sent what was put (-5).
Finalize(None, _wait_for_receivers, exitpriority=-100)


def _refuse(status: int, text: str) -> None:
    raise errors.of(status, text)


def _rebuild(*fields: Any) -> "torch.Tensor":
    from .torch import view
    message = Message(*fields)
    client = _client_for(message.directory, message.device)
    try:
        opened = client.open(message.token)
    except errors.NotFound as error:
        raise errors.NotFound(
            f"{error}: a message is read once, and what it names is kept for "
            "that one time") from None
    try:
        client.unlink(message.anchor)
    except errors.NotFound:
        pass  # The daemon was told by somebody else; the hold is ours by now.
    part = opened[message.part]
    tensor = Tensor(client._open(), part._held(), part._layout._replace(
        address=part.address + message.offset, dtype=DType(*message.dtype),
        shape=tuple(message.shape), strides=tuple(message.strides)), None)
    result = view(tensor)
    if message.is_parameter:
        return torch.nn.parameter.Parameter(result, message.requires_grad)
    return result.requires_grad_(message.requires_grad)


_receivers: Dict[Tuple[str, str], Client] = {}


def _client_for(directory: str, device: str) -> Client:
    """A client of the device that this process has, or one for all messages."""
    found = open_client_of(device)
    if found is not None:
        return found
    key = (directory, device)
    if key not in _receivers or _receivers[key].closed:
        _receivers[key] = connect(directory or None, device)
    return _receivers[key]
