"""What this process keeps as long as an object that it shared lives.

That an object has ended the client library learns from the daemon, when the last
hold is gone and the GPU has done what the holders closed behind. As long as
something of a client's is pinned, a thread waits for that; each new pin looks,
too. What is pinned when a session is lost stays so: who has opened it may go on
using it.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from typing import Any, Dict, List, NamedTuple, Optional

from . import errors
from ._ref import Session

_SLICE_MS = 1000  # How long a thread waits before it looks by itself.


class Pin(NamedTuple):
    """Kept until the object of a token has ended."""

    session: Session
    token: str
    what: Any


class _Pins:
    """Those of one client, which is not closed as long as there are any."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.by_token: Dict[str, Pin] = {}
        self.thread: Optional[threading.Thread] = None
        self._ends = ctypes.c_uint64()  # When all were looked at last.

    def take_new_ends(self) -> List[Pin]:
        """As take_ended, but looks at each only if some object has ended."""
        library, handle = self.session.library, self.session.handle
        status = library.await_ends(handle, self._ends.value, 0,
                                    ctypes.byref(self._ends))
        return self.take_ended() if status == 0 else []

    def take_ended(self) -> List[Pin]:
        """For the caller to drop, without the lock."""
        library, handle = self.session.library, self.session.handle
        gone = []
        for token in list(self.by_token):
            status = library.shared_status(handle, token.encode())
            if status == 0:
                continue
            pin = self.by_token.pop(token, None)
            if status == errors.NotFound.status:
                gone.append(pin)
            elif pin is not None:
                _kept.append(pin)
        return [pin for pin in gone if pin is not None]

    def wait(self) -> None:
        ends = ctypes.c_uint64()
        while True:
            with _lock:
                gone = self.take_ended()
                if not self.by_token:
                    # It has the session until it has ended.
                    _ending.append(threading.current_thread())
                    self.thread = None
                    _by_client.pop(self.session.handle, None)
                    return
            del gone
            status = self.session.library.await_ends(
                self.session.handle, ends.value, _SLICE_MS,
                ctypes.byref(ends))
            if status not in (0, errors.Timeout.status):
                return  # The process exits.


# Whatever is made or dropped under it may run finalizers that pin.
_lock = threading.RLock()
_by_client: Dict[int, _Pins] = {}
_kept: List[Pin] = []  # Of sessions that were lost.
_ending: List[threading.Thread] = []  # That have nothing to wait for.


def pin(session: Session, token: str, what: Any) -> None:
    """Keeps `what` until the object, which this session shared, has ended."""
    with _lock:
        pins = _by_client.setdefault(session.handle, _Pins(session))
        gone = pins.take_new_ends()
        pins.by_token[token] = Pin(pins.session, token, what)
        _ending[:] = [thread for thread in _ending if thread.is_alive()]
        if pins.thread is None:
            pins.thread = threading.Thread(target=pins.wait, daemon=True,
                                           name="vrampool pins")
            try:
                pins.thread.start()
            except RuntimeError:  # The interpreter ends: kept to the end.
                pins.thread = None
    del gone


def pinned() -> List[Pin]:
    """What is kept for objects that live, once what has ended was dropped."""
    gone: List[Pin] = []
    with _lock:
        for pins in list(_by_client.values()):
            gone += pins.take_ended()
        found = [pin for pins in _by_client.values()
                 for pin in pins.by_token.values()]
    del gone
    return found


def settle(seconds: float) -> None:
    """Waits for threads that have nothing to wait for any more, so that their
    clients can be closed."""
    deadline = time.monotonic() + seconds
    pinned()
    with _lock:
        threads = _ending + [pins.thread for pins in _by_client.values()
                             if not pins.by_token]
    for thread in threads:
        if thread is not None:
            thread.join(max(deadline - time.monotonic(), 0))


def lost() -> List[Pin]:
    """What is kept to the process's end."""
    return list(_kept)


def _forget_lock() -> None:
    """In a forked child, where no thread is left that could release it, and
    where nothing can be shared."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_forget_lock)
