"""Room that a daemon holds before it is used."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Optional, Type

from . import _abi, errors

if TYPE_CHECKING:
    from ._client import Client


class Reservation:
    """Room that `client.reserve()` got: what the process leases from then on
    draws from it. As a context manager, what is left is given back at the
    block's end."""

    def __init__(self, client: "Client", nbytes: int,
                 raw: _abi.Reservation) -> None:
        """Not for users."""
        self._client: Optional["Client"] = client
        self._raw = raw
        self._nbytes = nbytes

    @property
    def id(self) -> int:
        """As `vrampool reservations` lists it."""
        return int(self._raw.id)

    @property
    def nbytes(self) -> int:
        """What was asked for."""
        return self._nbytes

    def release(self) -> bool:
        """Gives back what is left: False if nothing was, because all was used,
        the time was over, or it was released before; also if the client was
        closed: then it ends with the session, or with its time. On another
        error call again."""
        client = self._client
        if client is None or client.closed:
            return False
        session = client._open()
        had_some = True
        try:
            session.library.check(session.library.reservation_release(
                session.handle, self._raw))
        except (errors.NotFound, errors.Stale, errors.Ended):
            had_some = False
        self._client = None
        return had_some

    def __enter__(self) -> "Reservation":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]],
                 value: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<vrampool.Reservation {self.id} of {self.nbytes} bytes>"
