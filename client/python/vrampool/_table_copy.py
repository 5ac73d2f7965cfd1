"""Copying a table's fields from one layout to the other."""

from __future__ import annotations

import ctypes
from typing import Any, Callable, List, NamedTuple, Optional

from . import _cuda, _table_kernel
from ._table_layout import STRUCTURE_OF_ARRAYS, Column, TableLayout
from ._tensor import Tensor

# Of the rows that are moved field by field before the next ones are: they stay
# in a core's cache.
_CHUNK_BYTES = 512 << 10
_LETTERS = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Move(NamedTuple):
    """A field, as bits: element `i` from one place and step to others."""

    size: int
    to_offset: int
    to_step: int
    from_offset: int
    from_step: int


def copy_fields(to: Tensor, to_layout: TableLayout, source: Tensor,
                from_layout: TableLayout, stream: Optional[int]) -> None:
    """All fields of a table of bytes `source` to one of the same fields and
    rows. On a GPU on `stream`, which waits for the source's contents."""
    rows = to_layout.rows
    if rows == 0:
        return
    moves = _moves(to_layout, from_layout)
    if to._is_host():
        most = max(to_layout.row_bytes, from_layout.row_bytes)
        _copy_on_host(to, source, moves, rows, max(1, _CHUNK_BYTES // most))
        return
    handle, ordinal = stream or _cuda.LEGACY_STREAM, to.device[1]
    if source._stream is not None:
        _cuda.order(source._stream, handle, ordinal)
    turn = _turn_of(to, to_layout, source, from_layout)
    try:
        if _table_kernel.can(turn):
            _table_kernel.launch(turn, handle, ordinal)
            return
        _cuda.copy_strided(
            [_cuda.Strided(move.size, rows, to.address + move.to_offset,
                           move.to_step, source.address + move.from_offset,
                           move.from_step) for move in moves], handle, ordinal)
    finally:
        # The source may be let go of at once, and is given back on its stream.
        _cuda.order(handle, source._stream or _cuda.LEGACY_STREAM, ordinal)


def _turn_of(to: Tensor, to_layout: TableLayout, source: Tensor,
             from_layout: TableLayout) -> _table_kernel.Turn:
    to_arrays = to_layout.kind == STRUCTURE_OF_ARRAYS
    arrays = to_layout if to_arrays else from_layout
    structures = from_layout if to_arrays else to_layout
    return _table_kernel.Turn(
        source.address if to_arrays else to.address,
        to.address if to_arrays else source.address, arrays.rows,
        structures.row_bytes,
        [(array.offset, structures.columns[name].offset, array.dtype.itemsize)
         for name, array in arrays.columns.items()], to_arrays)


def _moves(to: TableLayout, source: TableLayout) -> List[Move]:
    moves = []
    for name, column in to.columns.items():
        other: Column = source.columns[name]
        moves.append(Move(column.dtype.itemsize, column.offset, column.step,
                          other.offset, other.step))
    return moves


def _copy_on_host(to: Tensor, source: Tensor, moves: List[Move], rows: int,
                  chunk: int) -> None:
    as_elements: Callable[..., Any] = _as_numpy
    try:
        import numpy  # noqa: F401
    except ImportError:
        as_elements, moves = _as_memoryview, _without_wide(moves)
    target_bytes, source_bytes = _bytes_of(to), _bytes_of(source)
    pairs = [(as_elements(target_bytes, move.size, move.to_offset,
                          move.to_step, rows),
              as_elements(source_bytes, move.size, move.from_offset,
                          move.from_step, rows)) for move in moves]
    for start in range(0, rows, chunk):
        part = slice(start, start + chunk)
        for target, origin in pairs:
            target[part] = origin[part]


def _bytes_of(memory: Tensor) -> Any:
    # Not of the tensor, which may be read-only: the source is only read.
    return (ctypes.c_ubyte * memory.nbytes).from_address(memory.address)


def _as_numpy(memory: Any, size: int, offset: int, step: int,
              rows: int) -> Any:
    import numpy
    kind = numpy.dtype(f"u{size}") if size <= 8 else numpy.dtype("c16")
    return numpy.ndarray((rows,), kind, memory, offset, (step,))


# ---- Without NumPy -----------------------------------------------------------


def _without_wide(moves: List[Move]) -> List[Move]:
    """Python's memory views have no elements of 16 bytes: those go as halves."""
    split = []
    for move in moves:
        if move.size <= 8:
            split.append(move)
            continue
        for half in (0, 8):
            split.append(move._replace(
                size=8, to_offset=move.to_offset + half,
                from_offset=move.from_offset + half))
    return split


def _as_memoryview(memory: Any, size: int, offset: int, step: int,
                   rows: int) -> Any:
    view: Any = memoryview(memory).cast("B")
    # All that begins with an element and ends with a step, as far as it goes.
    end = min(offset + rows * step, len(view))
    end -= (end - offset) % size
    return view[offset:end].cast(_LETTERS[size])[::step // size]
