"""Finds and loads libvrampool.so, once, when it is first needed."""

from __future__ import annotations

import ctypes
import os
import threading
from typing import Any, Optional

from . import _abi, _debug, _frames, _stack, errors

NAME = "libvrampool.so.0"

_lock = threading.Lock()
_loaded: Optional["Library"] = None


class Library:
    """The functions of vrampool.h, by their names without `vrampool_`.

    They release the GIL while they run. `memory` is libc's, whose malloc()
    makes what the library free()s.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.c = ctypes.CDLL(path)
        for name, (result, *arguments) in _abi.FUNCTIONS.items():
            try:
                function = getattr(self.c, name)
            except AttributeError:
                raise errors.VersionMismatch(
                    f"{path} has no {name}: it is older than this package "
                    f"(it says {self._version()}); install the library of "
                    "the same version") from None
            function.restype, function.argtypes = result, arguments
            setattr(self, name[len("vrampool_"):], function)
        self.memory = ctypes.CDLL(None)
        self.memory.malloc.restype = ctypes.c_void_p
        self.memory.malloc.argtypes = [ctypes.c_size_t]
        self.memory.free.restype = None
        self.memory.free.argtypes = [ctypes.c_void_p]
        self._is_placing = False
        if _debug.is_wanted(os.environ.get("VRAMPOOL_DEBUG", "")):
            self.place_calls()
        python = ctypes.pythonapi
        self.capsule_use(address_of(python.PyCapsule_IsValid),
                         address_of(python.PyCapsule_GetPointer))
        self.frames_refusal = _frames.begin(
            self, address_of(python.PyGILState_GetThisThreadState))

    def __getattr__(self, name: str) -> Any:  # For type checkers.
        raise AttributeError(name)

    def place_calls(self) -> None:
        """From now on the library hears which line a call comes from."""
        if self._is_placing:
            return
        self._is_placing = True
        for name in _debug.CALLS:
            setattr(self, name, _debug.placed(getattr(self, name),
                                              self.debug_place))

    def allocate(self, handle: int, nbytes: int, alignment: int,
                 dedicated: bool, stream: int) -> int:
        """A block's address; 0 with an error. Tells the caller's lines if they
        are to be recorded."""
        address = self.client_allocate_from(handle, nbytes, alignment,
                                            dedicated, stream, b"")
        if address == _abi.WANTS_FRAMES:
            address = self.client_allocate_from(handle, nbytes, alignment,
                                                dedicated, stream,
                                                _stack.lines())
        return address or 0

    def check(self, status: int) -> None:
        """Raises what the last call of this thread left, unless it is OK."""
        if status != 0:
            raise errors.of(status, self.message())

    def failure(self) -> errors.Error:
        """The error of the last call of this thread, which gave null."""
        return errors.of(self.last_status(), self.message())

    def message(self) -> str:
        return str(self.last_error_message().decode(errors="replace"))

    def allocate_chunk(self, size: int) -> int:
        """Memory from malloc(), for what C code frees; filled with zeros."""
        address = self.memory.malloc(size)
        if not address:
            raise MemoryError(f"no {size} bytes for a structure")
        ctypes.memset(address, 0, size)
        return int(address)

    def _version(self) -> str:
        self.c.vrampool_version.restype = ctypes.c_char_p
        return str(self.c.vrampool_version().decode())


def address_of(function: Any) -> int:
    """Where a C function begins."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def get() -> Library:
    """The library; it is loaded by the first call."""
    global _loaded
    if _loaded is None:
        with _lock:
            if _loaded is None:
                _loaded = _load()
    return _loaded


def why_no_frames() -> Optional[str]:
    """Why the stacks of what C and C++ code allocates have no lines of Python;
    None: they have."""
    return get().frames_refusal


def _load() -> Library:
    chosen = os.environ.get("VRAMPOOL_LIBRARY", "")
    path = chosen or NAME
    try:
        return Library(path)
    except OSError as error:
        advice = (
            "VRAMPOOL_LIBRARY names it: correct or unset that" if chosen else
            "install vrampool (cmake --install, then ldconfig), or name the "
            "file in the environment variable VRAMPOOL_LIBRARY")
        raise errors.LibraryNotFound(
            f"libvrampool cannot be loaded ({error}); {advice}") from None
