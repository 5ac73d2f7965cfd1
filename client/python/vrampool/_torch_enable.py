"""PyTorch that draws its memory of a GPU from the pool.

Its own allocator stays in front: what it asks of CUDA, whole segments, comes from
the pool (vrampool_torch_lead). A pool of PyTorch's own (torch.cuda.MemPool) that
all threads are led to would not do: as long as one is led to, PyTorch uses memory
again that was on several streams only at its end, and never gives up what it
caches (docs/decisions/0024).
"""

from __future__ import annotations

import ctypes
import threading
import warnings
from types import TracebackType
from typing import Any, Dict, Optional, Type

import torch

from . import _library, _torch_segments, errors
from ._client import device_client
from ._reclaims import ReclaimWatch

_CAPTURE_MS = 10_000  # How long a capture may put off what the daemon wants.

_lock = threading.RLock()
_routes: Dict[int, "_Route"] = {}  # By the device's number.
_whole: Optional[Any] = None  # The allocator of the whole process.
# Of pools. Kept for good: segments outlive their pools.
_segments: Optional[Any] = None
_is_observed = False


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
    from that GPU's daemon, on every thread, that of the backward pass, too. Call
    it before PyTorch has used the GPU: segments of before stay CUDA's, and new
    tensors are cut out of what is free in them.

    PyTorch's own allocator stays in front and asks for whole segments, so its
    statistics, options and `torch.OutOfMemoryError` are as ever; a warning says
    why there was no memory. `torch.cuda.mem_get_info()` is the tenant's
    budget. What it caches goes back by
    `torch.cuda.empty_cache()`, which is called when the daemon asks for memory,
    too. Calls nest.

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
        _must_draw_segments()
        torch.cuda.init()
        ordinal = _ordinal_of(device)
        if ordinal not in _routes:
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


def pool(device: Any = None) -> Any:
    """A `torch.cuda.MemPool` of a GPU (None: the current one) whose segments are
    blocks of the pool, for `torch.cuda.use_mem_pool()`: for a part of a program,
    without `enable()`. While a pool is in use, PyTorch uses memory again that
    was on several streams only after that, and gives up nothing that it caches."""
    global _segments
    with _lock:
        library = _library.get()
        if not hasattr(torch.cuda, "MemPool"):
            raise errors.VersionMismatch(
                f"PyTorch {torch.__version__} has no torch.cuda.MemPool; it has "
                "to be 2.5 or later, with CUDA")
        torch.cuda.init()
        ordinal = _ordinal_of(device)
        if not library.device_client(ordinal):
            raise library.failure()
        if _segments is None:
            _segments = _pluggable(library, "vrampool_torch_malloc")
        _note_drawn(ordinal)
        with torch.cuda.device(ordinal):  # It is made on the current one.
            return torch.cuda.MemPool(_segments.allocator())


class _Route:
    """One device's segments, of all threads, from the pool."""

    def __init__(self, ordinal: int, library: _library.Library) -> None:
        self.depth = 0
        self._ordinal = ordinal
        self._library = library
        library.check(library.torch_lead(ordinal))
        try:
            # Of what PyTorch caches nothing is CUDA's any more.
            self._empty_cache()
            _observe()
            self._client = device_client(ordinal)  # The watch ends with it.
            self._watch: ReclaimWatch = self._client.on_reclaim(
                lambda _: self._give_up())
        except BaseException:
            library.torch_leave(ordinal)
            raise

    def end(self) -> None:
        self._library.torch_leave(self._ordinal)
        self._watch.close()
        self._empty_cache()

    def _empty_cache(self) -> None:
        # On another device it would make a context of CUDA's.
        with torch.cuda.device(self._ordinal):
            torch.cuda.empty_cache()

    def _give_up(self) -> None:
        """For the daemon, on a thread of the package."""
        if self._library.torch_await_no_capture(_CAPTURE_MS) == 0:
            self._empty_cache()


def _observe() -> None:
    """From now on PyTorch's errors for want of memory come with the reason."""
    global _is_observed
    attach = getattr(torch._C, "_cuda_attach_out_of_memory_observer", None)
    if _is_observed or attach is None:
        return
    attach(_explain)
    _is_observed = True


def _explain(device: int, *_: Any) -> None:
    """Called by the thread that asked for the memory, before PyTorch raises its
    error; another one would come in its place."""
    try:
        text = ctypes.create_string_buffer(1024)
        if _library.get().torch_refusal(text, len(text)) > 0:
            why = text.value.decode(errors="replace")
            warnings.warn(f"PyTorch got no memory of GPU {device}: {why}",
                          RuntimeWarning, stacklevel=2)
    except Exception:  # pylint: disable=broad-except
        pass  # Warnings may be errors.


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
    try:
        torch.cuda.memory.change_current_allocator(chosen)
    except RuntimeError as error:
        raise RuntimeError(
            "PyTorch has used a GPU before, so its allocator cannot be changed "
            f"any more ({error}): call enable(whole_process=True) first of all, "
            "or enable()") from error
    _whole = chosen
    for ordinal in range(torch.cuda.device_count()):
        _note_drawn(ordinal)


def _note_drawn(ordinal: int) -> None:
    """Tensors there may be in memory of the pool from now on."""
    _torch_segments.lead(("cuda", ordinal), lambda: device_client(ordinal))


def _pluggable(library: _library.Library, malloc: str) -> Any:
    return torch.cuda.memory.CUDAPluggableAllocator(
        library.path, malloc, "vrampool_torch_free")


def _must_draw_segments() -> None:
    """RuntimeError where PyTorch would ask others than cudaMalloc()."""
    backend = torch.cuda.get_allocator_backend()
    if backend == "pluggable":
        raise RuntimeError(
            "PyTorch's allocator was changed to another one, which asks for its "
            "memory by itself: call enable() in a process where it was not")
    if backend != "native":
        raise RuntimeError(
            f"PyTorch's allocator is {backend}, which asks CUDA's own pools: "
            "unset backend in PYTORCH_ALLOC_CONF and PYTORCH_CUDA_ALLOC_CONF")
    settings = torch.cuda.memory._snapshot().get("allocator_settings", {})
    if settings.get("expandable_segments"):
        raise RuntimeError(
            "PyTorch's expandable_segments come from CUDA's driver, not from a "
            "pool: unset expandable_segments in PYTORCH_ALLOC_CONF and "
            "PYTORCH_CUDA_ALLOC_CONF")


def _ordinal_of(device: Any) -> int:
    if device is None:
        return int(torch.cuda.current_device())
    if isinstance(device, int):
        return device
    index = torch.device(device).index
    return int(torch.cuda.current_device() if index is None else index)
