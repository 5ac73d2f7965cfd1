"""Numba's handles of memory (IpcHandle), for memory of the pool."""

from __future__ import annotations

import ctypes
import weakref
from typing import Any, Optional

from numba.cuda import IpcHandle, MemoryPointer

from . import _cuda, _numba_messages
from ._numba_messages import Loan, Message


class Handle(IpcHandle):  # type: ignore[misc]
    """Memory of the pool for another process, by pickle, as Numba's own handles
    are; the process that made it may open it, too. It can be opened again when
    it was closed, and what it gave stays good then, until it is dropped."""

    def __init__(self, message: Message, base: Any = None,
                 loan: Optional[Loan] = None) -> None:
        self._message = message
        self.base = base  # Kept, where the handle was made.
        self.size = message.size
        self.offset = message.offset
        self.source_info = None
        self._loan = loan
        self._impl: Any = None  # What is open.

    @property
    def handle(self) -> Any:
        raise AttributeError(
            "memory of the pool has no CUipcMemHandle, so that "
            "cuda.open_ipc_array() cannot open it; send the handle itself, "
            "which can be pickled, or the token of client.share(array)")

    def can_access_peer(self, context: Any) -> bool:
        """Whether the context is of the memory's own device."""
        return bool(context.device.id == self._ordinal())

    def open(self, context: Any) -> Any:
        """The memory itself; on another device than its own, a copy."""
        if self.can_access_peer(context):
            return self.open_direct(context)
        return self.open_staged(context)

    def open_direct(self, context: Any) -> Any:
        self._must_be_closed()
        if not self.can_access_peer(context):
            raise RuntimeError(
                f"the memory is on device {self._ordinal()}, and Numba's "
                f"current device is {context.device.id}: make that one "
                "current, or have a copy by open_staged()")
        view = self._impl = _numba_messages.opened(self._message)
        return MemoryPointer(weakref.proxy(context),
                             ctypes.c_void_p(view.address), self.size,
                             owner=view)

    def open_staged(self, context: Any) -> Any:
        """A copy in memory of the context's device."""
        self._must_be_closed()
        view = _numba_messages.opened(self._message)
        copied = context.memalloc(self.size)
        _cuda.copy(copied.device_pointer_value or 0, view.address, self.size,
                   _cuda.LEGACY_STREAM, view.device[1])
        self._impl = copied
        return copied

    def close(self) -> None:
        if self._impl is None:
            raise ValueError("IpcHandle not opened")
        self._impl = None

    def __reduce__(self) -> Any:
        return Handle, (self._message,)

    def _ordinal(self) -> int:
        return _cuda.ordinal_of(self._message.device)

    def _must_be_closed(self) -> None:
        if self._impl is not None:
            raise ValueError("IpcHandle is already opened")


def handle_of(memory: Any) -> Handle:
    """A handle of memory that Numba has: a MemoryPointer, or a view of one."""
    owner = memory.owner
    if not isinstance(owner, MemoryPointer):  # Somebody else's.
        owner = memory
    loan = _numba_messages.lend(memory.device_pointer_value or 0, memory.size,
                                owner)
    return Handle(loan.message, memory, loan)
