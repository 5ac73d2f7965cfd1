"""Calls a program's own function when the daemon asks for memory.

A thread for each watch waits in the library, which hears of it; it ends with the
watch, or with the client.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import weakref
from types import TracebackType
from typing import Any, Callable, Optional, Type

from . import errors
from ._ref import Session

_SLICE_MS = 200  # How long the end of a watch may take.

_threads: "weakref.WeakSet[threading.Thread]" = weakref.WeakSet()


class ReclaimWatch:
    """What `Client.on_reclaim` gave. As a context manager, it is closed at the
    block's end."""

    def __init__(self, session: Session,
                 function: Callable[[int], Any]) -> None:
        """Not for users."""
        self._function = function
        self._session = weakref.ref(session)
        self._is_over = threading.Event()
        # What was asked for before is over.
        seen, wanted = ctypes.c_uint64(), ctypes.c_uint64()
        session.library.await_reclaim(session.handle, 0, 0,
                                      ctypes.byref(seen), ctypes.byref(wanted))
        self._thread = threading.Thread(
            target=self._watch, args=(seen, wanted), daemon=True,
            name="vrampool reclaims")
        _threads.add(self._thread)
        self._thread.start()

    def end(self) -> None:
        """The function is not called any more, after a call that is under
        way."""
        self._is_over.set()

    def close(self) -> None:
        """The function is not called any more; waits for a call of it that is
        under way, unless this is called by such a function."""
        self.end()
        if threading.current_thread() not in _threads:
            self._thread.join()

    def __enter__(self) -> "ReclaimWatch":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]],
                 value: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    def _watch(self, seen: ctypes.c_uint64, wanted: ctypes.c_uint64) -> None:
        while not self._is_over.is_set():
            # Not longer than that: it is not kept open for this.
            session = self._session()
            if session is None or not self._look(session, seen, wanted):
                return
            del session

    def _look(self, session: Session, seen: ctypes.c_uint64,
              wanted: ctypes.c_uint64) -> bool:
        """False: the process exits."""
        library, handle = session.library, session.handle
        status = library.await_reclaim(
            handle, seen.value, _SLICE_MS, ctypes.byref(seen),
            ctypes.byref(wanted))
        if status == errors.Timeout.status or self._is_over.is_set():
            return True
        if status != 0:
            return False
        try:
            self._function(int(wanted.value))
        except Exception:  # pylint: disable=broad-except
            threading.excepthook(threading.ExceptHookArgs(
                (*sys.exc_info(), threading.current_thread())))
        library.trim(handle)
        return True
