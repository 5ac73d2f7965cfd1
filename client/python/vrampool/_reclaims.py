"""Calls a program's own function when the daemon asks for memory.

A thread for each watch waits in the library, which hears of it; it ends with the
watch, or with the client.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from types import TracebackType
from typing import Any, Callable, Optional, Type

from . import errors
from ._ref import Session

_SLICE_MS = 200  # How long the end of a watch may take.


class ReclaimWatch:
    """What `Client.on_reclaim` gave. As a context manager, it is closed at the
    block's end."""

    def __init__(self, session: Session,
                 function: Callable[[int], Any]) -> None:
        """Not for users."""
        self._function = function
        self._is_over = threading.Event()
        # What was asked for before is over.
        seen, wanted = ctypes.c_uint64(), ctypes.c_uint64()
        session.library.await_reclaim(session.handle, 0, 0,
                                      ctypes.byref(seen), ctypes.byref(wanted))
        self._thread = threading.Thread(
            target=self._watch, args=(session, seen, wanted), daemon=True,
            name="vrampool reclaims")
        self._thread.start()

    def close(self) -> None:
        """The function is not called any more; waits for a call of it that is
        under way, unless that is where this is called."""
        self._is_over.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> "ReclaimWatch":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]],
                 value: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    def _watch(self, session: Session, seen: ctypes.c_uint64,
               wanted: ctypes.c_uint64) -> None:
        library, handle = session.library, session.handle
        while not self._is_over.is_set():
            status = library.await_reclaim(
                handle, seen.value, _SLICE_MS, ctypes.byref(seen),
                ctypes.byref(wanted))
            if status == errors.Timeout.status or self._is_over.is_set():
                continue
            if status != 0:
                return  # The process exits.
            try:
                self._function(int(wanted.value))
            except Exception:  # pylint: disable=broad-except
                threading.excepthook(threading.ExceptHookArgs(
                    (*sys.exc_info(), threading.current_thread())))
            library.trim(handle)
