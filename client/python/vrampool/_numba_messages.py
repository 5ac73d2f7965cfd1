"""What Numba's handles of memory say in other processes; itself without Numba.

A handle names an object: the whole block that the memory is in, since an array
with negative strides reaches to before its first element. It is shared once,
and lives as long as whatever owns the memory in the process that lends it, as
long as a handle there does, and as long as somebody has opened it. Memory that
this process has opened is passed on by its token, as long as it is held here.
"""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple, Union

from . import _cuda, _objects, _ref, errors
from ._objects import Object
from ._receivers import client_for
from ._ref import Found, Ref
from ._tensor import Buffer


class Message(NamedTuple):
    """What a handle says when it is pickled."""

    token: str
    directory: str
    device: str  # UUID.
    part: int
    offset: int  # In the part.
    size: int


class Loan(NamedTuple):
    """A message, and what keeps it good in the process that lends."""

    message: Message
    kept: Union[Object, Ref]


# By whatever owns the memory.
_shared: "weakref.WeakKeyDictionary[Any, Object]" = weakref.WeakKeyDictionary()


def lend(address: int, size: int, owner: Any) -> Loan:
    """Lets other processes open memory, as it is when the work so far of the
    default stream, and of those that wait for it, is done: waits for that.
    `owner` lives as long as the memory does here."""
    found = _ref.find(address, max(size, 1)) if address else None
    if found is None:
        raise errors.InvalidArgument(
            "this memory is not the pool's (it has no bytes, or is pinned, "
            "mapped, managed or another library's), or no Python code "
            "allocated it; copy it into cuda.device_array()")
    known = found.known
    _await_work(known.client.device)
    if known.object_handle != 0:
        token = _objects.token_of(found.session, known.object_handle)
        kept: Union[Object, Ref] = found.ref
    else:
        kept = _share(found, owner)
        token = kept.token
    return Loan(Message(token, known.client.directory, known.client.uuid,
                        known.part, address - known.start, size), kept)


def _await_work(device: Any) -> None:
    if device[0] == _cuda.DEVICE_TYPE:
        _cuda.bar_blocking_streams(device[1])
        _cuda.synchronize(_cuda.LEGACY_STREAM, device[1])


def _share(found: Found, owner: Any) -> Object:
    made = _shared.get(owner)
    if made is None:
        known = found.known
        made = _objects.share_pieces(
            found.session, [_objects.Piece(known.start, known.size, None)],
            None, b"", _objects.LASTING)
        made = _shared.setdefault(owner, made)  # Another thread was first.
    return made


def opened(message: Message) -> Buffer:
    """The memory of a message, which it keeps."""
    client = client_for(message.directory, message.device)
    try:
        held = client.open(message.token)
    except errors.NotFound as error:
        raise errors.NotFound(
            f"{error}: the process that made the handle has to keep that, or "
            "the array, until others have opened it") from None
    with held:
        part = held._bytes(message.part)
        return Buffer(part._session, part._held(), part._layout._replace(
            address=part.address + message.offset, shape=(message.size,)),
            None)
