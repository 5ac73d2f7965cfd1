"""What keeps memory: one reference of the library for each owner here.

A `Ref` is Python's hold on a counted reference (ref.h). Every view holds one,
or, where other libraries hold the memory, a count of their own that C code
releases without Python: on any thread, without the GIL, at any time up to the
end of the process. So the memory ends with its last view, whoever has that.
"""

from __future__ import annotations

import ctypes
import os
import threading
from typing import Callable, List, NamedTuple, Optional, Tuple

from . import _abi, _cuda
from ._library import Library

HOST_DEVICE = (1, 0)  # kDLCPU


class Ref:
    """One reference, released with this."""

    __slots__ = ("pointer", "library", "_release", "__weakref__")

    def __init__(self, library: Library, pointer: int) -> None:
        self.pointer = pointer
        self.library = library
        # Module globals may be gone when the interpreter ends; this is not.
        self._release: Callable[[int], None] = library.ref_release

    def __del__(self) -> None:
        self._release(self.pointer)

    def retained(self) -> int:
        """The pointer, with one reference more, which is the caller's."""
        self.library.ref_retain(self.pointer)
        return self.pointer


class ClientFacts(NamedTuple):
    """What is known of an open client; valid while something refers to it."""

    library: Library
    pointer: int  # Of its reference.
    handle: int  # The vrampool_client.
    kind: _abi.Kind
    device: Tuple[int, int]  # As DLPack counts them.
    uuid: str
    directory: str  # Where it was found; "": the environment says.


class Session:
    """Python's own reference to a client: open until its last user has gone."""

    __slots__ = ("facts", "_ref", "__weakref__")

    def __init__(self, facts: ClientFacts, ref: Ref) -> None:
        self.facts = facts
        self._ref = ref

    @classmethod
    def take(cls, library: Library, pointer: int, handle: int,
             directory: str = "") -> "Session":
        """Takes over the reference `pointer`."""
        ref = Ref(library, pointer)
        info = _abi.Info()
        info.struct_size = ctypes.sizeof(info)
        library.check(library.client_info(handle, info))
        kind, uuid = _abi.Kind(info.kind), str(info.device_uuid.decode())
        device = HOST_DEVICE
        if kind in (_abi.Kind.CUDA_IPC, _abi.Kind.VMM_FD):
            device = (_cuda.DEVICE_TYPE, _cuda.ordinal_of(uuid))
        return cls(ClientFacts(library, pointer, handle, kind, device, uuid,
                               directory), ref)

    @property
    def ref(self) -> Ref:
        return self._ref

    @property
    def library(self) -> Library:
        return self.facts.library

    @property
    def handle(self) -> int:
        return self.facts.handle

    @property
    def pointer(self) -> int:
        return self.facts.pointer


class Known(NamedTuple):
    """Memory that something holds: a block, or an object's buffer."""

    pointer: int  # Of the reference; watched.
    client: ClientFacts
    start: int
    size: int
    object_handle: int = 0  # 0: a block.
    part: int = 0  # Which buffer of the object.


_lock = threading.RLock()
_known: List[Known] = []
_prune_at = 64


def _forget_lock() -> None:
    """In a forked child, where no thread is left that could release it."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_forget_lock)


def note(known: Known) -> None:
    """Makes memory findable by its address for as long as it lives."""
    global _prune_at
    known.client.library.ref_watch(known.pointer)
    with _lock:
        _known.append(known)
        if len(_known) < _prune_at:
            return
        kept = []
        for one in _known:
            library = one.client.library
            if library.ref_try_retain(one.pointer):
                library.ref_release(one.pointer)
                kept.append(one)
            else:
                library.ref_unwatch(one.pointer)
        _known[:] = kept
        _prune_at = max(64, 2 * len(kept))


class Found(NamedTuple):
    """What `find` found, kept by it."""

    known: Known
    ref: Ref
    session: Session


def find(address: int, size: int) -> Optional[Found]:
    """What holds the memory at an address; None if nothing of ours does."""
    with _lock:
        candidates = [one for one in reversed(_known)
                      if one.start <= address
                      and address + size <= one.start + one.size]
        # Blocks first: who has one of them can do more with it.
        candidates.sort(key=lambda one: one.object_handle != 0)
        for known in candidates:  # Watched, as long as they are listed.
            client = known.client
            if client.library.ref_try_retain(known.pointer):
                ref = Ref(client.library, known.pointer)
                client.library.ref_retain(client.pointer)
                return Found(known, ref, Session(
                    client, Ref(client.library, client.pointer)))
    return None
