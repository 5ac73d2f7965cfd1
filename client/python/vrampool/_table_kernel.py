"""Turning a table on a GPU by one kernel (table_kernel.cu)."""

from __future__ import annotations

import ctypes
import pkgutil
import threading
from typing import Any, Dict, List, NamedTuple, Tuple

from . import _cuda

_NAME = b"vrampool_turn_table"
_MOST_FIELDS = 200
_THREADS = 256
_MOST_BLOCKS = 2048
_TILE_BYTES = 24 << 10  # Several blocks fit on a multiprocessor.
_PIECE = 16  # Bytes that a thread moves of structures.


class _Field(ctypes.Structure):
    _fields_ = [("column", ctypes.c_uint64), ("offset", ctypes.c_uint32),
                ("size", ctypes.c_uint32)]


class _Fields(ctypes.Structure):
    _fields_ = [("of", _Field * _MOST_FIELDS)]


class Turn(NamedTuple):
    """What to turn."""

    structures: int  # Addresses.
    arrays: int
    rows: int
    row_bytes: int  # Of a structure.
    fields: List[Tuple[int, int, int]]  # Offset of the array, in a row; size.
    to_arrays: bool


_lock = threading.Lock()
_functions: Dict[int, Any] = {}  # By device. Kept for good, as its context is.


def tile_of(row_bytes: int) -> Tuple[int, int]:
    """Rows of a tile, and bytes between them. No rows: they are too long."""
    pad = _PIECE if row_bytes % 32 == 0 else 0
    rows = min(_TILE_BYTES // (row_bytes + pad), 1024)
    return rows - rows % _PIECE, pad


def can(turn: Turn) -> bool:
    """Whether the kernel is for this."""
    return (len(turn.fields) <= _MOST_FIELDS
            and turn.structures % _PIECE == 0 and turn.arrays % _PIECE == 0
            and tile_of(turn.row_bytes)[0] > 0)


def launch(turn: Turn, stream: int, ordinal: int) -> None:
    """Enqueues it; nothing waits for it here. `can(turn)`, and some rows."""
    tile_rows, pad = tile_of(turn.row_bytes)
    fields = _Fields()
    for place, field in zip(fields.of, turn.fields):
        place.column, place.offset, place.size = field
    arguments: List[Any] = [
        ctypes.c_uint64(turn.structures), ctypes.c_uint64(turn.arrays),
        ctypes.c_uint64(turn.rows), ctypes.c_uint32(turn.row_bytes),
        ctypes.c_uint32(tile_rows), ctypes.c_uint32(pad),
        ctypes.c_uint32(turn.to_arrays), ctypes.c_uint32(len(turn.fields)),
        fields]
    parameters = (ctypes.c_void_p * len(arguments))(
        *[ctypes.addressof(one) for one in arguments])
    blocks = min(-(-turn.rows // tile_rows), _MOST_BLOCKS)
    with _cuda._Context(ordinal) as driver:
        _cuda._check(driver.cuLaunchKernel(
            _function(driver, ordinal), blocks, 1, 1, _THREADS, 1, 1,
            tile_rows * (turn.row_bytes + pad), ctypes.c_void_p(stream),
            parameters, None), "cuLaunchKernel")


def _function(driver: Any, ordinal: int) -> Any:
    with _lock:
        if ordinal not in _functions:
            text = pkgutil.get_data("vrampool", "table_kernel.ptx")
            assert text is not None
            module, function = ctypes.c_void_p(), ctypes.c_void_p()
            _cuda._check(driver.cuModuleLoadData(ctypes.byref(module), text),
                         "cuModuleLoadData")
            _cuda._check(driver.cuModuleGetFunction(
                ctypes.byref(function), module, _NAME), "cuModuleGetFunction")
            _functions[ordinal] = function
        return _functions[ordinal]
