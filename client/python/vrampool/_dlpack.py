"""DLPack, both versions of it: views out of memory, and who is in a capsule.

What consumers get is deleted by C code (vrampool_dlpack_delete), never by
Python: they do that on any thread, and after the interpreter has ended.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple, Optional, Tuple

from . import _abi
from ._library import Library, address_of
from ._ref import Ref
from .dtypes import DType

READ_ONLY, IS_COPIED = 1, 2
_VERSION = (1, 0)


def _immortal(text: bytes) -> Any:
    """Text that capsules can point to as long as there are any."""
    buffer = ctypes.create_string_buffer(text)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(buffer))
    return ctypes.cast(buffer, ctypes.c_void_p)


_UNVERSIONED, _VERSIONED = _immortal(b"dltensor"), _immortal(
    b"dltensor_versioned")
NAMES = {name: _immortal(name.encode()) for name in (
    "arrow_schema", "arrow_array", "arrow_device_array")}

# Prototypes of our own: pythonapi's functions are everybody's.
_new_capsule = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(
        ("PyCapsule_New", ctypes.pythonapi))
_capsule_is_valid = ctypes.PYFUNCTYPE(
    ctypes.c_int, ctypes.py_object, ctypes.c_void_p)(
        ("PyCapsule_IsValid", ctypes.pythonapi))
_capsule_pointer = ctypes.PYFUNCTYPE(
    ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi))


def new_capsule(library: Library, address: int, name: Any) -> Any:
    """A capsule that deletes the structure if nobody takes it."""
    return _new_capsule(address, name, address_of(library.capsule_delete))


def capsule_contents(capsule: Any, name: Any) -> Optional[int]:
    """The structure in a capsule of that name; None in any other."""
    if not _capsule_is_valid(capsule, name):
        return None
    return int(_capsule_pointer(capsule, name))


class Layout(NamedTuple):
    """Where a tensor's elements are."""

    address: int  # Of element zero.
    dtype: DType
    shape: Tuple[int, ...]
    strides: Tuple[int, ...]  # In elements.
    device: Tuple[int, int]
    readonly: bool


def export(ref: Ref, layout: Layout, versioned: bool, flags: int = 0,
           compact: bool = False) -> Any:
    """A capsule with a view of its own: it keeps what `ref` keeps. `compact`:
    for old consumers of row-major elements without gaps, which take strides
    for gaps where an extent is 0 or 1."""
    library = ref.library
    kind = _abi.DLManagedTensorVersioned if versioned else _abi.DLManagedTensor
    size, ndim = ctypes.sizeof(kind), len(layout.shape)
    chunk = library.allocate_chunk(size + 16 * ndim)
    managed = kind.from_address(chunk)
    extents = (ctypes.c_int64 * (2 * ndim)).from_address(chunk + size)
    extents[:] = list(layout.shape + layout.strides)
    tensor = managed.dl_tensor
    tensor.data = layout.address
    tensor.device_type, tensor.device_id = layout.device
    tensor.ndim = ndim
    tensor.code, tensor.bits, tensor.lanes = layout.dtype
    pointer = ctypes.POINTER(ctypes.c_int64)
    tensor.shape = ctypes.cast(chunk + size, pointer)
    if not compact:
        tensor.strides = ctypes.cast(chunk + size + 8 * ndim, pointer)
    if versioned:
        managed.major, managed.minor = _VERSION
        managed.flags = flags | (READ_ONLY if layout.readonly else 0)
    managed.deleter = address_of(
        library.dlpack_delete_versioned if versioned else library.dlpack_delete)
    managed.manager_ctx = ref.retained()
    return new_capsule(library, chunk,
                       _VERSIONED if versioned else _UNVERSIONED)


def look_into(producer: Any) -> Layout:
    """Where the memory of somebody's tensor is. Nothing is taken over: the
    producer must live on, and its memory be of ours to be of use."""
    try:
        capsule = producer.__dlpack__(max_version=_VERSION)
    except TypeError:  # A producer of before DLPack 1.0.
        capsule = producer.__dlpack__()
    versioned = capsule_contents(capsule, _VERSIONED)
    flags, managed = 0, None  # type: int, Any
    if versioned is not None:
        managed = _abi.DLManagedTensorVersioned.from_address(versioned)
        if managed.major != _VERSION[0]:
            raise BufferError(f"DLPack {managed.major} is unknown to vrampool")
        flags = managed.flags
    else:
        plain = capsule_contents(capsule, _UNVERSIONED)
        if plain is None:
            raise BufferError(f"{producer!r} gave no DLPack capsule")
        managed = _abi.DLManagedTensor.from_address(plain)
    tensor = managed.dl_tensor
    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    strides = (tuple(tensor.strides[i] for i in range(tensor.ndim))
               if tensor.strides else row_major(shape))
    return Layout((tensor.data or 0) + tensor.byte_offset,
                  DType(tensor.code, tensor.bits, tensor.lanes), shape, strides,
                  (tensor.device_type, tensor.device_id),
                  bool(flags & READ_ONLY))


class Capsule:
    """A producer of one given capsule, for `look_into`."""

    def __init__(self, capsule: Any) -> None:
        self._capsule = capsule

    def __dlpack__(self) -> Any:
        return self._capsule


def row_major(shape: Tuple[int, ...]) -> Tuple[int, ...]:
    """The strides of a tensor without gaps, in elements."""
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(step)
        step *= max(extent, 1)
    return tuple(reversed(strides))
