"""The little of CUDA's driver that views need: which device a GPU is in this
process, and making one stream wait for another. Loaded for GPUs only.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any, Dict, List, NamedTuple, Optional

from . import errors

DEVICE_TYPE = 2  # kDLCUDA
LEGACY_STREAM, PER_THREAD_STREAM = 1, 2  # As DLPack and the driver count them.
_NO_TIMING = 2  # CU_EVENT_DISABLE_TIMING

_driver: Optional[Any] = None


def _get() -> Any:
    global _driver
    if _driver is None:
        path = os.environ.get("VRAMPOOL_CUDA_DRIVER") or "libcuda.so.1"
        try:
            driver = ctypes.CDLL(path)
        except OSError as error:
            raise errors.Unavailable(
                f"CUDA's driver cannot be loaded ({error}); memory of a GPU "
                "needs it") from None
        _check(driver.cuInit(0), "cuInit")
        _driver = driver
    return _driver


def _check(status: int, what: str) -> None:
    if status != 0:
        raise errors.Internal(f"{what} failed with CUDA error {status}")


def ordinal_of(uuid: str) -> int:
    """The number that this process's CUDA gives a GPU ("GPU-6b2e...")."""
    driver = _get()
    count = ctypes.c_int()
    _check(driver.cuDeviceGetCount(ctypes.byref(count)), "cuDeviceGetCount")
    wanted = uuid.lower().partition("-")[2].replace("-", "")
    for ordinal in range(count.value):
        device, raw = ctypes.c_int(), (ctypes.c_ubyte * 16)()
        _check(driver.cuDeviceGet(ctypes.byref(device), ordinal), "cuDeviceGet")
        _check(driver.cuDeviceGetUuid_v2(raw, device), "cuDeviceGetUuid")
        if bytes(raw).hex() == wanted:
            return ordinal
    raise errors.NotFound(
        f"this process's CUDA does not see the GPU {uuid}; check "
        "CUDA_VISIBLE_DEVICES")


_contexts: Dict[int, int] = {}  # By device: the primary ones.


class _Context:
    """The device's primary context, made current for a while: frameworks work
    in it, and a thread may have another device's, or none."""

    def __init__(self, ordinal: int) -> None:
        self._ordinal = ordinal
        self._before = ctypes.c_void_p()
        self._is_other = False

    def __enter__(self) -> Any:
        driver = _get()
        _check(driver.cuCtxGetCurrent(ctypes.byref(self._before)),
               "cuCtxGetCurrent")
        wanted = _primary_context(self._ordinal)
        self._is_other = self._before.value != wanted
        if self._is_other:
            _check(driver.cuCtxSetCurrent(ctypes.c_void_p(wanted)),
                   "cuCtxSetCurrent")
        return driver

    def __exit__(self, *_: object) -> None:
        if self._is_other:
            _get().cuCtxSetCurrent(self._before)


def _primary_context(ordinal: int) -> int:
    """Retained for good: frameworks use it to the end, too."""
    if ordinal not in _contexts:
        driver, device = _get(), ctypes.c_int()
        _check(driver.cuDeviceGet(ctypes.byref(device), ordinal), "cuDeviceGet")
        context = ctypes.c_void_p()
        _check(driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device),
               "cuDevicePrimaryCtxRetain")
        _contexts[ordinal] = context.value or 0
    return _contexts[ordinal]


def order(producer: int, consumer: int, ordinal: int) -> None:
    """What `consumer` does from now on comes after what `producer` has to do.
    Streams are handles, or the numbers above."""
    if (producer or LEGACY_STREAM) == (consumer or LEGACY_STREAM):
        return
    with _Context(ordinal) as driver:
        event = ctypes.c_void_p()
        _check(driver.cuEventCreate(ctypes.byref(event), _NO_TIMING),
               "cuEventCreate")
        try:
            _check(driver.cuEventRecord(
                event, ctypes.c_void_p(producer or LEGACY_STREAM)),
                "cuEventRecord")
            _check(driver.cuStreamWaitEvent(
                ctypes.c_void_p(consumer or LEGACY_STREAM), event, 0),
                "cuStreamWaitEvent")
        finally:
            driver.cuEventDestroy_v2(event)


def bar_blocking_streams(ordinal: int) -> None:
    """What blocking streams do from now on comes after what any of them has to
    do: they wait for the legacy stream's work, and that for theirs."""
    legacy = ctypes.c_void_p(LEGACY_STREAM)
    with _Context(ordinal) as driver:
        event = ctypes.c_void_p()
        _check(driver.cuEventCreate(ctypes.byref(event), _NO_TIMING),
               "cuEventCreate")
        try:
            _check(driver.cuEventRecord(event, legacy), "cuEventRecord")
            _check(driver.cuStreamWaitEvent(legacy, event, 0),
                   "cuStreamWaitEvent")
        finally:
            driver.cuEventDestroy_v2(event)


def copy(to: int, source: int, nbytes: int, stream: int, ordinal: int) -> None:
    """Copies within a GPU behind the work on `stream`, and waits for it."""
    if nbytes == 0:  # The source may have no address.
        return
    with _Context(ordinal) as driver:
        handle = ctypes.c_void_p(stream or LEGACY_STREAM)
        _check(driver.cuMemcpyDtoDAsync_v2(
            ctypes.c_uint64(to), ctypes.c_uint64(source),
            ctypes.c_size_t(nbytes), handle), "cuMemcpyDtoDAsync")
        _check(driver.cuStreamSynchronize(handle), "cuStreamSynchronize")


class Strided(NamedTuple):
    """Elements of `size` bytes, each a step from the last."""

    size: int
    rows: int
    to: int
    to_step: int
    source: int
    from_step: int


class _Copy2D(ctypes.Structure):
    """CUDA_MEMCPY2D."""

    _fields_ = [
        ("from_x", ctypes.c_size_t), ("from_y", ctypes.c_size_t),
        ("from_type", ctypes.c_int), ("from_host", ctypes.c_void_p),
        ("from_device", ctypes.c_uint64), ("from_array", ctypes.c_void_p),
        ("from_pitch", ctypes.c_size_t),
        ("to_x", ctypes.c_size_t), ("to_y", ctypes.c_size_t),
        ("to_type", ctypes.c_int), ("to_host", ctypes.c_void_p),
        ("to_device", ctypes.c_uint64), ("to_array", ctypes.c_void_p),
        ("to_pitch", ctypes.c_size_t),
        ("width", ctypes.c_size_t), ("height", ctypes.c_size_t)]


_DEVICE_MEMORY = 2  # CU_MEMORYTYPE_DEVICE
_MOST_ROWS_2D = 1 << 30  # Of one copy.


def copy_strided(copies: List[Strided], stream: int, ordinal: int) -> None:
    """Copies within a GPU on a stream; nothing waits for it here."""
    with _Context(ordinal) as driver:
        for one in copies:
            for first in range(0, one.rows, _MOST_ROWS_2D):
                raw = _Copy2D(
                    from_type=_DEVICE_MEMORY, to_type=_DEVICE_MEMORY,
                    from_device=one.source + first * one.from_step,
                    to_device=one.to + first * one.to_step,
                    from_pitch=one.from_step, to_pitch=one.to_step,
                    width=one.size,
                    height=min(one.rows - first, _MOST_ROWS_2D))
                _check(driver.cuMemcpy2DAsync_v2(
                    ctypes.byref(raw), ctypes.c_void_p(stream)),
                    "cuMemcpy2DAsync")


def synchronize(stream: int, ordinal: int) -> None:
    """Waits until the work on a stream so far is done."""
    with _Context(ordinal) as driver:
        _check(driver.cuStreamSynchronize(ctypes.c_void_p(stream)),
               "cuStreamSynchronize")


_kept: Dict[int, Any] = {}  # By handle.


def kept_stream_handle(stream: Any) -> int:
    """The same, of a stream on which memory will be given back: by whoever has
    the last view, after everything else perhaps. So a stream that its object
    destroys (CuPy's, Numba's) is kept to the process's end. PyTorch's are never
    destroyed, and what stands for somebody else's stream keeps nothing."""
    handle = stream_handle(stream)
    is_owner = not (stream is None or isinstance(stream, int)
                    or hasattr(stream, "cuda_stream")
                    or type(stream).__name__.startswith("External"))
    if is_owner and handle > PER_THREAD_STREAM and handle not in _kept:
        _kept[handle] = stream
        # Also when the interpreter takes its modules down.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(stream))
    return handle


def stream_handle(stream: Any) -> int:
    """A stream's handle, of whatever a framework calls a stream: a number, an
    object with `__cuda_stream__`, or one of PyTorch, CuPy or Numba. None is the
    legacy default stream."""
    if stream is None:
        return 0
    if isinstance(stream, int):
        return stream
    protocol = getattr(stream, "__cuda_stream__", None)
    if protocol is not None:
        version, handle = protocol() if callable(protocol) else protocol
        del version
        return int(handle)
    for attribute in ("cuda_stream", "ptr"):  # PyTorch; CuPy.
        handle = getattr(stream, attribute, None)
        if isinstance(handle, int):
            return handle
    handle = getattr(stream, "handle", None)  # Numba: a ctypes value.
    if handle is not None:
        return int(getattr(handle, "value", handle) or 0)
    raise TypeError(f"{stream!r} is no CUDA stream that vrampool knows; give "
                    "its handle as an int")
