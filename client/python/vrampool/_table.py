"""Tables: rows of fields, as an array of structures or a structure of arrays."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Dict, Iterator, Optional, Type

from . import _abi, _blocks, _cuda, _table_copy, _table_layout, errors
from ._dlpack import Layout
from ._objects import Object
from ._ref import Session
from ._table_layout import (ARRAY_OF_STRUCTURES, STRUCTURE_OF_ARRAYS,
                            TableLayout)
from ._tensor import Buffer, Tensor
from .dtypes import DType


class Table:
    """Rows of named fields in one piece of memory. `table["x"]` is a field of
    all rows: a tensor of the same memory, whose elements lie side by side in a
    structure of arrays ("soa") and a structure apart in an array of structures
    ("aos").

    `client.table()` makes one; `client.share(table)` shares it with its layout
    and its fields' names; `client.open_table()` opens it in another process.
    Used as a context manager, it lets go of the memory at the block's end; as
    ever, views that others have of it keep that.
    """

    __slots__ = ("_memory", "_layout", "__weakref__")

    def __init__(self, memory: Tensor, layout: TableLayout) -> None:
        """Not for users. `memory` is bytes, as many as the layout has."""
        self._memory = memory
        self._layout = layout

    # ---- What it is ----------------------------------------------------------

    @property
    def fields(self) -> Dict[str, DType]:
        """Names and types, in their order."""
        return self._layout.fields

    @property
    def rows(self) -> int:
        return self._layout.rows

    def __len__(self) -> int:
        return self._layout.rows

    @property
    def layout(self) -> str:
        """"aos" or "soa"."""
        return self._layout.kind

    @property
    def row_bytes(self) -> int:
        """Of a structure with its padding; of all fields in a structure of
        arrays."""
        return self._layout.row_bytes

    @property
    def nbytes(self) -> int:
        """Of the table's memory, with all padding."""
        return self._layout.nbytes

    @property
    def readonly(self) -> bool:
        return self._memory.readonly

    @property
    def closed(self) -> bool:
        return self._memory.closed

    @property
    def address(self) -> int:
        """Where it begins."""
        return self._memory.address

    def offset(self, field: str) -> int:
        """Where a field's first element is, in bytes from the beginning."""
        return self._column(field).offset

    def __repr__(self) -> str:
        state = "closed " if self.closed else ""
        fields = ", ".join(f"{name}: {kind.name}"
                           for name, kind in self.fields.items())
        return (f"<{state}vrampool.Table {self.layout} of {self.rows} rows "
                f"({fields})>")

    # ---- Fields --------------------------------------------------------------

    def __getitem__(self, field: str) -> Tensor:
        column = self._column(field)
        return self._memory._derived(
            self._memory.address + column.offset, column.dtype, (self.rows,),
            (column.step // column.dtype.itemsize,))

    def __iter__(self) -> Iterator[str]:
        return iter(self._layout.columns)

    def __contains__(self, field: object) -> bool:
        return field in self._layout.columns

    def columns(self) -> Dict[str, Tensor]:
        """All fields as tensors."""
        return {name: self[name] for name in self}

    def numpy(self) -> Any:
        """An array of structures as NumPy's structured array of the same
        memory; on the host only."""
        import numpy as np

        from . import numpy
        if self.layout != ARRAY_OF_STRUCTURES:
            raise BufferError("a structure of arrays is no NumPy array; take "
                              "its fields by themselves, or to_aos()")
        columns = self._layout.columns
        return numpy.view(self._memory).view(np.dtype({
            "names": list(columns), "itemsize": self.row_bytes,
            "formats": [numpy.dtype_of(self[name]) for name in columns],
            "offsets": [one.offset for one in columns.values()]}))

    def as_readonly(self) -> "Table":
        """The same rows, not to be written to."""
        return Table(self._memory.as_readonly(), self._layout)

    # ---- The other layout ----------------------------------------------------

    def to_soa(self, stream: Any = None) -> "Table":
        """A structure of arrays of the same rows: this table if it is one,
        else a copy in the pool. On a GPU the copy is made on `stream` (None:
        the legacy default stream), and nothing waits for it here."""
        return self._to(STRUCTURE_OF_ARRAYS, stream)

    def to_aos(self, stream: Any = None) -> "Table":
        """As `to_soa`, an array of structures. Its padding is not defined."""
        return self._to(ARRAY_OF_STRUCTURES, stream)

    def _to(self, kind: str, stream: Any) -> "Table":
        kept = self._memory._held()  # Also if somebody closes it meanwhile.
        if kind == self.layout:
            return self
        session = self._memory._session
        on_host = session.facts.kind == _abi.Kind.HOST_FD
        handle = None if on_host else _cuda.kept_stream_handle(stream)
        made = new_table(session, self.fields, self.rows, kind, handle)
        _table_copy.copy_fields(made._memory, made._layout, self._memory,
                                self._layout, handle)
        del kept
        return made

    # ---- Lifetime ------------------------------------------------------------

    def close(self) -> None:
        """Lets go of the memory."""
        self._memory.close()

    def __enter__(self) -> "Table":
        self._memory._held()
        return self

    def __exit__(self, kind: Optional[Type[BaseException]],
                 value: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError("a table is not pickled: share it, and send the "
                        "object's token")

    # ---- For this package ----------------------------------------------------

    def _column(self, field: str) -> _table_layout.Column:
        column = self._layout.columns.get(field)
        if column is None:
            raise KeyError(f"there is no field {field!r}, only "
                           f"{list(self._layout.columns)}")
        return column


def new_table(session: Session, fields: Any, rows: int, layout: str,
              stream: Optional[int], dedicated: bool = False) -> Table:
    """A table in a block of its own, whose contents are not defined."""
    planned = _table_layout.plan(fields, rows, layout)
    return Table(_blocks.allocate(session, planned.nbytes, stream=stream,
                                  dedicated=dedicated), planned)


def table_of(object: Object) -> Table:
    """The table that an object is, which `client.share(table)` made. A table
    that is opened keeps the object's hold."""
    metadata = object.metadata
    if len(object) != 1:
        raise errors.InvalidArgument(
            f"this object has {len(object)} buffers and is no table")
    part = object[0]
    if part.dtype != _blocks.BYTE or part.ndim != 1 or not part.is_contiguous:
        raise errors.InvalidArgument("this object is no table, but a tensor")
    layout = _table_layout.unpacked(metadata, part.nbytes)
    return Table(Buffer(part._session, part._held(), Layout(
        part.address, _blocks.BYTE, (layout.nbytes,), (1,), part.device,
        part.readonly), part._stream), layout)
