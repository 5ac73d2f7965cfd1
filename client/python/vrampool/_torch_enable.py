"""PyTorch that draws its memory of a GPU from the pool."""

from __future__ import annotations

import atexit
import threading
from types import TracebackType
from typing import Any, Dict, Optional, Type

import torch

from . import _library, _torch_segments, errors
from ._client import device_client

_lock = threading.RLock()
_routes: Dict[int, "_Route"] = {}  # By the device's number.
_whole: Optional[Any] = None  # The allocator of the whole process.
# Of the routes. Kept for good: segments outlive their pools.
_segments: Optional[Any] = None


class Enabled:
    """What `enable()` gave: as a context manager, it is disabled at the
    block's end."""

    def __init__(self, device: Optional[int]) -> None:
        self._device = device

    def __enter__(self) -> "Enabled":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]],
                 value: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        if self._device is not None:
            disable(self._device)


def enable(device: Any = None, *, whole_process: bool = False) -> Enabled:
    """From now on PyTorch draws its memory of a GPU (None: the current one)
    from that GPU's daemon, on every thread, that of the backward pass, too.

    PyTorch's own allocator stays in front and asks for whole segments, so its
    statistics and `torch.OutOfMemoryError` are as ever; what it holds goes back
    when it is disabled and the tensors are gone. Calls nest.

    `whole_process`: instead each allocation of the process, on every GPU, is a
    block of the pool, for good. Before the first one on a GPU only; PyTorch has
    no statistics and no out-of-memory error of its own then."""
    with _lock:
        library = _library.get()
        if _whole is not None:
            return Enabled(None)
        if whole_process:
            _take_the_process(library)
            return Enabled(None)
        _must_have_pools()
        torch.cuda.init()
        ordinal = _ordinal_of(device)
        if ordinal not in _routes:
            if not library.device_client(ordinal):
                raise library.failure()
            _routes[ordinal] = _Route(ordinal, library)
            _note_drawn(ordinal)
        _routes[ordinal].depth += 1
        return Enabled(ordinal)


def disable(device: Any = None) -> None:
    """Takes back one `enable()`. What PyTorch has no use for goes back to the
    daemon; what tensors are in when they have gone, and
    `torch.cuda.empty_cache()` was called. Nothing happens where nothing was
    enabled."""
    with _lock:
        if _whole is not None:
            raise RuntimeError("the allocator of the whole process stays until "
                               "its end")
        if not _routes:
            return
        ordinal = _ordinal_of(device)
        route = _routes.get(ordinal)
        if route is None:
            return
        route.depth -= 1
        if route.depth == 0:
            del _routes[ordinal]
            route.end()


class _Route:
    """One device's allocations, of all threads, led to a pool of PyTorch's
    whose segments are blocks of ours."""

    def __init__(self, ordinal: int, library: _library.Library) -> None:
        global _segments
        if _segments is None:
            _segments = _pluggable(library, "vrampool_torch_malloc")
        self.depth = 0
        self._ordinal = ordinal
        with torch.cuda.device(ordinal):  # A pool is made on the current one.
            self._pool: Any = torch.cuda.MemPool(_segments.allocator())
        # What torch.cuda.use_mem_pool() does for one thread.
        torch._C._cuda_beginAllocateToPool(ordinal, self._pool.id)

    def end(self) -> None:
        identity = self._pool.id
        torch._C._cuda_endAllocateToPool(self._ordinal, identity)
        torch._C._cuda_releasePool(self._ordinal, identity)
        # The pool's own use of it is the last: with it go its free segments.
        self._pool = None


@atexit.register
def _end_all() -> None:
    """Before PyTorch is taken down: it ends the process where a pool that is
    still led to is destroyed."""
    with _lock:
        while _routes:
            _, route = _routes.popitem()
            route.end()


def _take_the_process(library: _library.Library) -> None:
    global _whole
    if _routes:
        raise RuntimeError("disable() what is enabled before the allocator of "
                           "the whole process is taken")
    chosen = _pluggable(library, "vrampool_torch_malloc_or_throw")
    record_stream = getattr(chosen.allocator(), "set_record_stream_fn", None)
    if record_stream is not None:
        record_stream(_library.address_of(
            library.c.vrampool_torch_record_stream))
    torch.cuda.memory.change_current_allocator(chosen)
    _whole = chosen
    for ordinal in range(torch.cuda.device_count()):
        _note_drawn(ordinal)


def _note_drawn(ordinal: int) -> None:
    """Tensors there may be in memory of the pool from now on."""
    _torch_segments.lead(("cuda", ordinal), lambda: device_client(ordinal))


def _pluggable(library: _library.Library, malloc: str) -> Any:
    return torch.cuda.memory.CUDAPluggableAllocator(
        library.path, malloc, "vrampool_torch_free")


def _must_have_pools() -> None:
    if not hasattr(torch.cuda, "MemPool") or not hasattr(
            torch._C, "_cuda_beginAllocateToPool"):
        raise errors.VersionMismatch(
            f"PyTorch {torch.__version__} cannot lead all threads to a "
            "torch.cuda.MemPool; it has to be 2.9 or later, with CUDA")


def _ordinal_of(device: Any) -> int:
    if device is None:
        return int(torch.cuda.current_device())
    if isinstance(device, int):
        return device
    index = torch.device(device).index
    return int(torch.cuda.current_device() if index is None else index)
