"""Where the fields of a table's rows lie, and how another process is told.

Both layouts follow from the fields and the number of rows alone, so what stands
in an object's metadata cannot point out of its memory.
"""

from __future__ import annotations

import json
import operator
from typing import (Any, Dict, Iterable, List, Mapping, NamedTuple, Sequence,
                    Tuple, Union)

from . import errors
from .dtypes import DType, dtype as _dtype, is_named

ARRAY_OF_STRUCTURES, STRUCTURE_OF_ARRAYS = "aos", "soa"
Fields = Union[Mapping[str, Any], Iterable[Sequence[Any]], Any]

_MAGIC = b"vrampool.table.1\n"
_MOST_METADATA = 64 << 10
_MOST_ROWS = 1 << 56
_COLUMN_ALIGNMENT = 256  # Of each column; enough for every framework.


class Column(NamedTuple):
    """Where one field is: row `i` at `offset + i * step` bytes."""

    dtype: DType
    offset: int
    step: int


class TableLayout(NamedTuple):
    """What a table is like, without its memory."""

    kind: str  # "aos" or "soa".
    rows: int
    columns: Dict[str, Column]
    row_bytes: int  # Of a structure, or of all fields of a row.
    nbytes: int

    @property
    def fields(self) -> Dict[str, DType]:
        return {name: one.dtype for name, one in self.columns.items()}


def plan(fields: Fields, rows: int, kind: str) -> TableLayout:
    """ValueError or TypeError for what is no table.

    In an array of structures each field is aligned to its size, and the
    structure to the largest: as C, CUDA and NumPy's `align=True` do it, but
    that complex numbers are aligned as CUDA's, to the whole: else no library
    could step over them."""
    types = _fields(fields)
    rows = operator.index(rows)
    if not 0 <= rows <= _MOST_ROWS:
        raise ValueError(f"a table cannot have {rows} rows")
    if kind == ARRAY_OF_STRUCTURES:
        columns, row_bytes = _structure(types)
        return TableLayout(kind, rows, columns, row_bytes, rows * row_bytes)
    if kind != STRUCTURE_OF_ARRAYS:
        raise ValueError(f"a table's layout is 'aos' or 'soa', not {kind!r}")
    columns, end = {}, 0
    for name, one in types.items():
        start = _aligned(end, _COLUMN_ALIGNMENT)
        columns[name] = Column(one, start, one.itemsize)
        end = start + rows * one.itemsize
    return TableLayout(kind, rows, columns,
                       sum(one.itemsize for one in types.values()), end)


def _structure(types: Dict[str, DType]) -> Tuple[Dict[str, Column], int]:
    offsets, end = {}, 0
    for name, one in types.items():
        offsets[name] = _aligned(end, one.itemsize)
        end = offsets[name] + one.itemsize
    size = _aligned(end, max(one.itemsize for one in types.values()))
    return {name: Column(one, offsets[name], size)
            for name, one in types.items()}, size


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


def _fields(fields: Fields) -> Dict[str, DType]:
    """From a mapping, from pairs, or from NumPy's structured types."""
    pairs: List[Any]
    names, parts = (getattr(fields, one, None) for one in ("names", "fields"))
    if isinstance(names, tuple) and parts is not None:
        pairs = [(name, parts[name][0]) for name in names]
    elif isinstance(fields, Mapping):
        pairs = list(fields.items())
    else:
        pairs = [tuple(one) for one in fields]
    types: Dict[str, DType] = {}
    for pair in pairs:
        if len(pair) != 2:
            raise ValueError(f"{pair!r} is not a field's name and data type")
        name, kind = pair[0], _dtype(pair[1])
        if not isinstance(name, str) or not name or "\0" in name:
            raise ValueError(f"{name!r} is no name for a field")
        name.encode()  # ValueError if it is no Unicode.
        if name in types:
            raise ValueError(f"there are two fields {name!r}")
        if not is_named(kind):
            raise TypeError(f"a field cannot be of type {kind.name}; give one "
                            "field for each of its numbers")
        types[name] = kind
    if not types:
        raise ValueError("a table has at least one field")
    return types


# ---- As metadata -------------------------------------------------------------


def packed(layout: TableLayout) -> bytes:
    """For the metadata of an object."""
    text = json.dumps(
        [layout.kind, layout.rows,
         [[name, kind.code, kind.bits] for name, kind in
          layout.fields.items()]], separators=(",", ":"))
    data = _MAGIC + text.encode()
    if len(data) > _MOST_METADATA:
        raise errors.InvalidArgument(
            f"the names of the fields take {len(data)} bytes of metadata, of "
            f"{_MOST_METADATA} that there are; use shorter ones")
    return data


def unpacked(metadata: bytes, size: int) -> TableLayout:
    """The layout of a table in memory of `size` bytes, as another process
    says. InvalidArgument if that cannot be."""
    if not metadata.startswith(_MAGIC):
        raise errors.InvalidArgument(
            "this object is no table; open it as tensors")
    try:
        kind, rows, fields = json.loads(metadata[len(_MAGIC):])
        if type(rows) is not int:
            raise ValueError(f"{rows!r} rows")
        layout = plan([(name, _numbers(code, bits))
                       for name, code, bits in fields], rows, kind)
        if layout.nbytes > size:
            raise ValueError(f"{layout.nbytes} bytes in {size}")
        return layout
    except (ValueError, TypeError, RecursionError) as error:
        raise errors.InvalidArgument(
            "the object's metadata is not that of a table which fits in its "
            f"memory ({error}); ask its producer") from None


def _numbers(code: Any, bits: Any) -> DType:
    if type(code) is not int or type(bits) is not int:
        raise ValueError(f"a type is {code!r}, {bits!r}")
    return DType(code, bits)
