"""Tensors of the pool in torch.multiprocessing's messages.

A message names an object by its token, and beside it an *anchor*: a name that
keeps something alive until the receiver has opened the object and unlinks it.

- Memory that the sender allocated is shared anew for each message, and the
  anchor is the object's own name: it lives whatever becomes of the sender.
- Memory that PyTorch's own allocator cut out of the pool (`enable()`) is shared
  in the same way, and kept from being cut anew (_torch_segments.py).
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
from typing import Any, List, NamedTuple, Optional, Tuple, Union

import torch
from torch.multiprocessing import reductions

from . import (_blocks, _dlpack, _objects, _pins, _ref, _torch_segments,
               errors)
from ._client import Client
from ._receivers import client_for
from ._ref import Found
from ._tensor import Buffer, Tensor, extent_of
from .dtypes import DType, dtype as _dtype

_LAST_WAIT_SECONDS = 10
_SETTLING_SECONDS = 1  # For a daemon to say what ended by then.
_pinned_for_good: List[_ref.Ref] = []


# Where a tensor is, and who keeps it.
Place = Union[Found, _torch_segments.Part]


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
    found: Optional[Place] = None
    if tensor.layout == torch.strided and tensor.numel() > 0:
        found = _find(tensor) or _torch_segments.find(tensor)
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
    layout = _objects.layout_of(tensor)
    low, high = extent_of(layout.address, layout)
    return _ref.find(low, high - low)


def _message_of(tensor: "torch.Tensor", place: Place) -> Message:
    if tensor.is_cuda:  # This thread may not be the one that filled it.
        torch.cuda.synchronize(tensor.device)
    anchor = f"torch-{os.getpid()}-{uuid.uuid4().hex}"
    if isinstance(place, _torch_segments.Part):
        token = _torch_segments.share(place, anchor, tensor.detach())
        facts, start, part = place.session.facts, place.address, 0
    else:
        token = _send_known(place, anchor)
        known = place.known
        facts, start, part = known.client, known.start, known.part
    return Message(
        token, anchor, facts.directory, facts.uuid, part,
        tensor.data_ptr() - start, _dtype(tensor.dtype), tuple(tensor.shape),
        tuple(tensor.stride()), tensor.requires_grad,
        isinstance(tensor, torch.nn.parameter.Parameter))


def _send_known(found: Found, anchor: str) -> str:
    """Makes the anchor; the token."""
    known, session = found.known, found.session
    if known.object_handle != 0:
        token = _objects.token_of(session, known.object_handle)
        _pin(anchor, found)
        return token
    whole = _dlpack.Layout(known.start, _blocks.BYTE, (known.size,), (1,),
                           known.client.device, False)
    block = Buffer(session, found.ref, whole, None)
    with _objects.share(session, [block], anchor, b"",
                        _objects.LASTING) as made:
        return made.token


class _Passed(NamedTuple):
    """A hold of ours on what a message names, and the message's anchor."""

    anchor: str
    ref: _ref.Ref


def _pin(anchor: str, found: Found) -> None:
    try:
        with _blocks.allocate(found.session, 1) as flag:
            with _objects.share(found.session, [flag], anchor, b"",
                                _objects.LASTING) as made:
                _pins.pin(found.session, made.token,
                          _Passed(anchor, found.ref))
    except MemoryError:
        _pinned_for_good.append(found.ref)


def _passed() -> List[_pins.Pin]:
    return [pin for pin in _pins.pinned() if isinstance(pin.what, _Passed)]


def _wait_for_receivers() -> None:
    deadline = time.monotonic() + _LAST_WAIT_SECONDS
    while _passed() and time.monotonic() < deadline:
        time.sleep(0.01)
    for pin in _passed():
        try:
            Client(pin.session).unlink(pin.what.anchor)
        except errors.Error:
            pass  # Received just now, or nobody is there to be told.
    deadline = time.monotonic() + _SETTLING_SECONDS
    while _passed() and time.monotonic() < deadline:
        time.sleep(0.001)
    _pins.settle(_SETTLING_SECONDS)


# After the queues' own threads have pickled and sent what was put (-5).
Finalize(None, _wait_for_receivers, exitpriority=-100)


def _refuse(status: int, text: str) -> None:
    raise errors.of(status, text)


def _rebuild(*fields: Any) -> "torch.Tensor":
    from .torch import view
    message = Message(*fields)
    client = client_for(message.directory, message.device)
    # The hold ends behind the work on the stream that is current here.
    device_type, ordinal = client._open().facts.device
    stream = torch.cuda.current_stream(ordinal) if device_type == 2 else None
    try:
        opened = client.open(message.token, stream=stream)
    except errors.NotFound as error:
        raise errors.NotFound(
            f"{error}: a message is read once, and what it names is kept for "
            "that one time") from None
    try:
        client.unlink(message.anchor)
    except errors.NotFound:
        pass  # The daemon was told by somebody else; the hold is ours by now.
    part = opened._bytes(message.part)
    tensor = Tensor(client._open(), part._held(), part._layout._replace(
        address=part.address + message.offset, dtype=DType(*message.dtype),
        shape=tuple(message.shape), strides=tuple(message.strides)), None)
    result = view(tensor)
    if message.is_parameter:
        return torch.nn.parameter.Parameter(result, message.requires_grad)
    return result.requires_grad_(message.requires_grad)
