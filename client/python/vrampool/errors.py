"""The errors of the library, one class for each status of vrampool.h.

All are an `Error`; those that Python knows under a name of its own are that,
too: `except MemoryError` catches a refusal by quota. The text is the library's:
a sentence that says what to do.
"""

from __future__ import annotations

from typing import ClassVar, Dict, Type


class Error(Exception):
    """Anything that went wrong in vrampool."""

    status: ClassVar[int] = -1
    """The number of the status in vrampool.h; -1 where it has none."""


class InvalidArgument(Error, ValueError):
    """The call itself is wrong."""

    status = 1


class OverQuota(Error, MemoryError):
    """The tenant's limit: free some memory, or wait."""

    status = 2


class OutOfPool(Error, MemoryError):
    """The device is full: wait, or ask for less."""

    status = 3


class LimitReached(Error, RuntimeError):
    """A bound on a number of things: use fewer."""

    status = 4


class Unavailable(Error, ConnectionError):
    """No daemon: memory in hand goes on working."""

    status = 5


class PermissionDenied(Error, PermissionError):
    """The daemon does not admit this."""

    status = 6


class NotFound(Error, LookupError):
    """No such object, device or name."""

    status = 7


class AlreadyExists(Error, FileExistsError):
    """The name is taken."""

    status = 8


class Broken(Error, RuntimeError):
    """The producer died, or its work failed, before the contents were ready."""

    status = 9


class Stale(Error, LookupError):
    """Of an earlier life of the daemon."""

    status = 10


class NotShareable(Error, ValueError):
    """Must be allocated in another way to be shared."""

    status = 11


class Timeout(Error, TimeoutError):
    """Waited as long as was allowed."""

    status = 12


class Forked(Error, RuntimeError):
    """The client belongs to the parent process of this one."""

    status = 13


class VersionMismatch(Error, RuntimeError):
    """Daemon, library or package do not match."""

    status = 14


class DeviceLost(Error, OSError):
    """The device failed; see the daemon's log."""

    status = 15


class Ended(Error, ConnectionError):
    """The daemon ended this session by force."""

    status = 16


class Internal(Error, RuntimeError):
    """A defect of vrampool, or a failed system call."""

    status = 17


class RateLimited(Error, RuntimeError):
    """The tenant's rate lets no more through now: wait, or ask later."""

    status = 18


class Closed(InvalidArgument):
    """The client or object was closed by this process."""


class LibraryNotFound(Error, ImportError):
    """libvrampool.so cannot be loaded."""


BY_STATUS: Dict[int, Type[Error]] = {
    kind.status: kind
    for kind in (InvalidArgument, OverQuota, OutOfPool, LimitReached,
                 Unavailable, PermissionDenied, NotFound, AlreadyExists, Broken,
                 Stale, NotShareable, Timeout, Forked, VersionMismatch,
                 DeviceLost, Ended, Internal, RateLimited)}
"""The class of each status but OK."""


def of(status: int, message: str) -> Error:
    """The error to raise for a status that is not OK."""
    return BY_STATUS.get(status, Internal)(message)
