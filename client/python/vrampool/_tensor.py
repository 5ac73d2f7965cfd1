"""Memory as Python and other libraries see it: `Buffer` and `Tensor`.

A view keeps its memory: close the client, drop the object, end the producer -
the bytes stay until the last view of them has gone, whichever library has it.
"""

from __future__ import annotations

import ctypes
import sys
from types import TracebackType
from typing import Any, Dict, Optional, Sequence, Tuple, Type, TypeVar

from . import _abi, _cuda, _dlpack, errors
from ._ref import Ref, Session
from .dtypes import DType, dtype as _dtype

_Self = TypeVar("_Self", bound="Tensor")


class Tensor:
    """Elements of one type at a place in shared memory.

    It speaks DLPack, the array interfaces of host (`__array_interface__`) and
    CUDA (`__cuda_array_interface__`), and on the host the buffer protocol; so
    `numpy.asarray`, `torch.from_dlpack` and the like take it without a copy.
    Python before 3.12 lets only C code offer the buffer protocol: there
    `memoryview()` gives the same.

    Used as a context manager, it lets go of the memory at the block's end.
    """

    __slots__ = ("_session", "_ref", "_layout", "_stream", "__weakref__")

    def __init__(self, session: Session, ref: Ref, layout: _dlpack.Layout,
                 stream: Optional[int]) -> None:
        """Not for users: a client or an object makes tensors."""
        self._session = session
        self._ref: Optional[Ref] = ref
        self._layout = layout
        self._stream = stream  # Its contents come on it; None: they are there.

    # ---- What it is ----------------------------------------------------------

    @property
    def shape(self) -> Tuple[int, ...]:
        return self._layout.shape

    @property
    def strides(self) -> Tuple[int, ...]:
        """In elements, not in bytes."""
        return self._layout.strides

    @property
    def dtype(self) -> DType:
        return self._layout.dtype

    @property
    def ndim(self) -> int:
        return len(self._layout.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        count = 1
        for extent in self._layout.shape:
            count *= extent
        return count

    @property
    def nbytes(self) -> int:
        """Bytes of the elements; gaps do not count."""
        return self.size * self.dtype.itemsize

    @property
    def device(self) -> Tuple[int, int]:
        """As in DLPack: (1, 0) is the host, (2, n) is GPU n of this process."""
        return self._layout.device

    @property
    def kind(self) -> _abi.Kind:
        return self._session.facts.kind

    @property
    def readonly(self) -> bool:
        """Views of it say that they must not be written to. Nothing enforces
        it against code that writes all the same."""
        return self._layout.readonly

    @property
    def is_contiguous(self) -> bool:
        """Row-major without gaps."""
        return self.size == 0 or all(
            extent == 1 or stride == expected for extent, stride, expected in
            zip(self.shape, self.strides, _dlpack.row_major(self.shape)))

    @property
    def closed(self) -> bool:
        return self._ref is None

    @property
    def address(self) -> int:
        """Where element zero is."""
        self._held()
        return self._layout.address

    def __repr__(self) -> str:
        state = "closed " if self.closed else ""
        return (f"<{state}vrampool.{type(self).__name__} {self.dtype.name}"
                f"{list(self.shape)} of kind {self.kind.name}>")

    # ---- Lifetime ------------------------------------------------------------

    def close(self) -> None:
        """Lets go of the memory. Views that others made of it keep it."""
        self._ref = None

    def __enter__(self: _Self) -> _Self:
        self._held()
        return self

    def __exit__(self, kind: Optional[Type[BaseException]],
                 value: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError(
            "a vrampool tensor is not pickled: share it, send the object's "
            "token, and keep the object until it was opened; or use "
            "vrampool.torch for torch.multiprocessing")

    # ---- Other views of the same memory --------------------------------------

    def as_readonly(self) -> "Tensor":
        """The same elements, not to be written to."""
        return Tensor(self._session, self._held(),
                      self._layout._replace(readonly=True), self._stream)

    def _derived(self, address: int, dtype: DType, shape: Tuple[int, ...],
                 strides: Tuple[int, ...]) -> "Tensor":
        return Tensor(self._session, self._held(), self._layout._replace(
            address=address, dtype=dtype, shape=shape, strides=strides),
            self._stream)

    def numpy(self) -> Any:
        """A NumPy array of the same memory (vrampool.numpy.view)."""
        from . import numpy
        return numpy.view(self)

    def memoryview(self) -> memoryview:
        """The memory itself, on the host and without gaps. A format is given
        for the types that Python's `struct` knows, else it is bytes."""
        view: Any = memoryview(self._bytes()).cast("B")
        if self.readonly:
            view = view.toreadonly()
        letter = self.dtype.struct_format
        if letter is not None and self.size == 0:
            view = view.cast(letter)  # Shapes with zeros it cannot have.
        elif letter is not None:
            view = view.cast(letter, self.shape)
        result: memoryview = view
        return result

    def _bytes(self) -> Any:
        """A ctypes array of the memory, which keeps it."""
        self._must_be_host("the buffer protocol")
        if not self.is_contiguous:
            raise BufferError("the elements have gaps between them; go through "
                              "DLPack or numpy.asarray")
        array: Any = (ctypes.c_ubyte * self.nbytes).from_address(self.address)
        array._vrampool = self._held()
        return array

    # ---- Protocols -----------------------------------------------------------

    def __dlpack_device__(self) -> Tuple[int, int]:
        return self._layout.device

    def __dlpack__(self, *, stream: Any = None,
                   max_version: Optional[Tuple[int, int]] = None,
                   dl_device: Optional[Tuple[int, int]] = None,
                   copy: Optional[bool] = None) -> Any:
        """As the Array API standard has it; BufferError for what cannot be."""
        ref = self._held()
        versioned = max_version is not None and max_version[0] >= 1
        if dl_device is not None and tuple(dl_device) != self.device:
            raise BufferError(f"the memory is on device {self.device} and "
                              f"cannot be given out on {tuple(dl_device)}")
        if self.readonly and not versioned and copy is not True:
            raise BufferError(
                "this tensor is read-only, which DLPack before version 1.0 "
                "cannot say; ask for max_version=(1, 0)")
        self._make_ready_for(stream)
        if copy is True:
            from . import _copy
            copied = _copy.clone(self)
            return _dlpack.export(copied._held(), copied._layout, versioned,
                                  _dlpack.IS_COPIED)
        return _dlpack.export(ref, self._layout, versioned)

    def _make_ready_for(self, stream: Any) -> None:
        """The rules for `stream` of `__dlpack__`."""
        if self._session.facts.kind == _abi.Kind.HOST_FD:
            if stream is not None and stream != -1:
                raise BufferError("memory of the host has no streams")
            return
        if stream == 0:
            raise BufferError("stream 0 is ambiguous: 1 is the legacy default "
                              "stream, 2 the per-thread default stream")
        if self._stream is None or stream == -1:
            return
        _cuda.order(self._stream, _cuda.stream_handle(stream), self.device[1])

    @property
    def __array_interface__(self) -> Dict[str, Any]:
        if not self._is_host():
            raise AttributeError("memory of a GPU has no __array_interface__")
        return self._interface()

    @property
    def __cuda_array_interface__(self) -> Dict[str, Any]:
        if self._is_host():
            raise AttributeError(
                "memory of the host has no __cuda_array_interface__")
        stream = None
        if self._stream is not None:
            stream = self._stream or _cuda.LEGACY_STREAM
        return {**self._interface(), "stream": stream}

    def _interface(self) -> Dict[str, Any]:
        typestr = self.dtype.typestr
        if typestr is None:
            raise AttributeError(
                f"the array interfaces have no {self.dtype.name}; go through "
                "DLPack or tensor.numpy()")
        strides = None if self.is_contiguous else tuple(
            stride * self.dtype.itemsize for stride in self.strides)
        return {"shape": self.shape, "typestr": typestr, "version": 3,
                "data": (self.address, self.readonly), "strides": strides}

    if sys.version_info >= (3, 12):
        def __buffer__(self, flags: int) -> memoryview:
            if flags & 1 and self.readonly:  # PyBUF_WRITABLE
                raise BufferError("this tensor is read-only")
            if self.dtype.struct_format is None or (
                    self.size == 0 and self.ndim != 1):
                raise BufferError("the buffer protocol has no such elements")
            return self.memoryview()

    # ---- For this package ----------------------------------------------------

    def _held(self) -> Ref:
        if self._ref is None:
            raise errors.Closed("this tensor was closed; its memory may be "
                                "somebody else's by now")
        return self._ref

    def _is_host(self) -> bool:
        return self._session.facts.kind == _abi.Kind.HOST_FD

    def _must_be_host(self, what: str) -> None:
        if not self._is_host():
            raise BufferError(f"memory of a GPU cannot be reached by {what}")

    def _extent(self) -> Tuple[int, int]:
        """From where to where its elements reach; at least one byte."""
        return extent_of(self.address, self._layout)


class Buffer(Tensor):
    """Bytes without a layout; `tensor()` gives them one."""

    __slots__ = ()

    def tensor(self, dtype: Any, shape: Optional[Sequence[int]] = None, *,
               strides: Optional[Sequence[int]] = None,
               offset: int = 0) -> Tensor:
        """Elements in this buffer. `offset` is that of element zero, in bytes;
        strides are in elements and default to row-major without gaps; without
        a shape it is a vector of all that fits."""
        kind = _dtype(dtype)
        if shape is None:
            shape = ((self.nbytes - offset) // kind.itemsize,)
        extents = checked_shape(shape)
        steps = (_dlpack.row_major(extents) if strides is None
                 else tuple(int(step) for step in strides))
        if len(steps) != len(extents):
            raise ValueError("give one stride for each dimension")
        made = self._derived(self.address + offset, kind, extents, steps)
        low, high = made._extent() if made.size else (made.address,
                                                      made.address)
        if low < self.address or high > self.address + self.nbytes:
            raise ValueError(
                f"elements lie from byte {low - self.address} to "
                f"{high - self.address} of a buffer of {self.nbytes} bytes")
        return made


def extent_of(address: int, layout: _dlpack.Layout) -> Tuple[int, int]:
    """From where to where elements reach; at least one byte."""
    low = high = 0
    for extent, stride in zip(layout.shape, layout.strides):
        if extent == 0:
            return address, address + 1
        reach = (extent - 1) * stride
        low, high = low + min(reach, 0), high + max(reach, 0)
    size = layout.dtype.itemsize
    return address + low * size, address + (high + 1) * size


def checked_shape(shape: Any) -> Tuple[int, ...]:
    """A shape as a tuple; ValueError if it is none."""
    if isinstance(shape, int):
        shape = (shape,)
    extents = tuple(int(extent) for extent in shape)
    if len(extents) > _abi.MAX_DIMENSIONS:
        raise ValueError(f"a tensor has at most {_abi.MAX_DIMENSIONS} "
                         f"dimensions, not {len(extents)}")
    if any(extent < 0 for extent in extents):
        raise ValueError(f"the shape {extents} has a negative extent")
    return extents
