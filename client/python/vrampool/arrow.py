"""Arrow: record batches in the pool, for every process and library.

    import vrampool.arrow
    shared = vrampool.arrow.share(client, table, name="orders")  # One copy in.

    view = vrampool.arrow.view(client.open(name="orders"))       # None out.
    pyarrow.record_batch(view)
    view["price"]                     # A column as a Tensor.

    vrampool.arrow.array(tensor)      # A tensor as an Arrow array, no copy.
    vrampool.arrow.table(table)       # A vrampool.Table as a record batch.

Schema and layout travel in the object's metadata, the buffers are one piece of
the pool. Whoever speaks the Arrow C data interface (`__arrow_c_array__`, and
`__arrow_c_device_array__` for a GPU) takes part; pyarrow is not needed.
"""

from __future__ import annotations

import ctypes
from typing import Any, List, Optional, Tuple

from . import (_abi, _arrow_check, _arrow_schema, _blocks, _cuda, _dlpack,
               errors)
from ._arrow_schema import Tree
from ._client import Client
from ._library import Library, address_of
from ._objects import Object
from ._ref import Ref
from ._table import Table
from ._table_layout import STRUCTURE_OF_ARRAYS
from ._tensor import Tensor
from .dtypes import BOOL, DType, dtype as _dtype

_MAGIC = b"vrampool.arrow.1\n"
_ALIGNMENT = 64  # What Arrow recommends for buffers.
_STRUCT = "+s"
# Formats of elements that tensors can have, too.
_DTYPES = {"c": "int8", "C": "uint8", "s": "int16", "S": "uint16", "i": "int32",
           "I": "uint32", "l": "int64", "L": "uint64", "e": "float16",
           "f": "float32", "g": "float64"}
_FORMATS = {_dtype(name): letter for letter, name in _DTYPES.items()}


def share(client: Client, data: Any, *, name: Optional[str] = None,
          stream: Any = None) -> Object:
    """Copies a record batch, a table or an array into the pool and shares it.
    `data` has `__arrow_c_array__`, or is a pyarrow table, whose chunks become
    one. On the host only."""
    if client._open().facts.kind != _abi.Kind.HOST_FD:
        raise BufferError("tables are put into memory of the host only")
    schema_capsule, array_capsule = _one_array_of(data).__arrow_c_array__()
    schema = _contents(schema_capsule, "arrow_schema", _abi.ArrowSchema)
    array = _contents(array_capsule, "arrow_array", _abi.ArrowArray)
    schema_tree = _arrow_schema.schema_tree(schema)
    packer = _Packer()
    array_tree = packer.plan(array, schema_tree)
    block = client.allocate(packer.size, alignment=_blocks.ALIGNMENT)
    for start, size, offset in packer.copies:
        ctypes.memmove(block.address + offset, start, size)
    return client.share(
        block, name=name, stream=stream,
        metadata=_MAGIC + _arrow_check.packed(schema_tree, array_tree))


def view(object: Object) -> "ArrowView":
    """What `share` made, opened: without a copy."""
    metadata = object.metadata
    if not metadata.startswith(_MAGIC):
        raise errors.InvalidArgument(
            "this object is no Arrow data; open it as tensors")
    memory = object[0]
    schema, array = _arrow_check.trees_of(metadata[len(_MAGIC):],
                                          memory.address if memory._is_host()
                                          else 0, memory.nbytes)
    return ArrowView(memory, schema, array)


def table(table: Table) -> "ArrowView":
    """A structure of arrays as an Arrow record batch of the same memory. Its
    fields are numbers of the types that Arrow has."""
    if table.layout != STRUCTURE_OF_ARRAYS:
        raise BufferError("Arrow has no arrays of structures; use to_soa()")
    fields = [{"format": _format_of(kind), "name": name, "flags": 0,
               "children": []} for name, kind in table.fields.items()]
    memory = table._memory
    # With a reference of its own: the table may be closed.
    return ArrowView(
        memory._derived(memory.address, memory.dtype, memory.shape,
                        memory.strides),
        {"format": _STRUCT, "name": "", "flags": 0, "children": fields},
        {"length": table.rows, "null_count": 0, "offset": 0, "buffers": [None],
         "children": [{"length": table.rows, "null_count": 0, "offset": 0,
                       "buffers": [None, table.offset(name)], "children": []}
                      for name in table]})


def array(tensor: Tensor, name: str = "") -> "ArrowView":
    """A vector of numbers as an Arrow array of the same memory."""
    if tensor.ndim != 1 or not tensor.is_contiguous:
        raise BufferError("an Arrow array has one dimension and no gaps")
    return ArrowView(
        tensor, {"format": _format_of(tensor.dtype), "name": name, "flags": 0,
                 "children": []},
        {"length": tensor.shape[0], "null_count": 0, "offset": 0,
         "buffers": [None, 0], "children": []})


def _format_of(kind: DType) -> str:
    if kind.code == BOOL:
        raise TypeError("booleans are bytes in a tensor and bits in Arrow")
    if kind not in _FORMATS:
        raise TypeError(f"Arrow has no {kind.name}")
    return _FORMATS[kind]


class ArrowView:
    """Arrow data in the pool, for everyone who speaks Arrow's C interface.
    It, and what is made of it, keeps the memory."""

    def __init__(self, memory: Tensor, schema: Tree, array: Tree) -> None:
        """Not for users. Offsets in `array` count from the memory's start."""
        self._memory = memory
        self._schema = schema
        self._array = array

    def __len__(self) -> int:
        return int(self._array["length"])

    @property
    def column_names(self) -> List[str]:
        return [child["name"] for child in self._schema["children"]]

    def __getitem__(self, column: str) -> Tensor:
        """A column of numbers without nulls as a tensor of the same memory."""
        names = self.column_names
        if column not in names:
            raise KeyError(f"there is no column {column!r}, only {names}")
        index = names.index(column)
        kind = self._schema["children"][index]["format"]
        data = self._array["children"][index]
        if kind not in _DTYPES or "dictionary" in self._schema[
                "children"][index]:
            raise TypeError(f"a column of Arrow's format {kind!r} is no tensor")
        if data["null_count"] != 0:
            raise TypeError(f"column {column!r} has nulls")
        dtype = _dtype(_DTYPES[kind])
        start = data["offset"] + self._array["offset"]
        return self._memory._derived(
            self._memory.address + (data["buffers"][1] or 0)
            + start * dtype.itemsize, dtype, (len(self),), (1,))

    def __arrow_c_schema__(self) -> Any:
        library = self._memory._held().library
        return _new_capsule(library, "arrow_schema", _abi.ArrowSchema,
                            lambda schema: _arrow_schema.fill_schema(
                                library, schema, self._schema))

    def __arrow_c_array__(self, requested_schema: Any = None) -> Tuple[Any,
                                                                       Any]:
        """As the C data interface has it. A requested schema is not cast to,
        which is the consumer's to do."""
        self._memory._must_be_host(
            "__arrow_c_array__; use the device interface")
        library = self._memory._held().library
        return self.__arrow_c_schema__(), _new_capsule(
            library, "arrow_array", _abi.ArrowArray, self._fill)

    def __arrow_c_device_array__(self, requested_schema: Any = None,
                                 **kwargs: Any) -> Tuple[Any, Any]:
        """The same for any device. Contents are complete: no event is given."""
        if any(value is not None for value in kwargs.values()):
            raise NotImplementedError(f"unknown arguments {sorted(kwargs)}")
        library = self._memory._held().library
        device_type, device_id = self._memory.device
        if device_type != 1 and self._memory._stream is not None:
            _cuda.synchronize(self._memory._stream or _cuda.LEGACY_STREAM,
                              device_id)

        def fill(device_array: _abi.ArrowDeviceArray) -> None:
            self._fill(device_array.array)
            device_array.device_type = device_type
            device_array.device_id = -1 if device_type == 1 else device_id
        return self.__arrow_c_schema__(), _new_capsule(
            library, "arrow_device_array", _abi.ArrowDeviceArray, fill)

    def _fill(self, array: _abi.ArrowArray) -> None:
        ref = self._memory._held()
        _fill_array(ref, array, self._array, self._memory.address)


class _Packer:
    """Plans where the buffers of an array go in one piece of memory."""

    def __init__(self) -> None:
        self.size = 0
        self.copies: List[Tuple[int, int, int]] = []  # From, size, offset.

    def plan(self, array: _abi.ArrowArray, schema: Tree) -> Tree:
        pointers = [array.buffers[i] or 0 for i in range(array.n_buffers)]
        sizes = _arrow_schema.buffer_sizes(
            schema["format"], array.length + array.offset, pointers)
        if len(sizes) != len(pointers):
            raise errors.InvalidArgument(
                f"an array of Arrow's format {schema['format']!r} has "
                f"{len(pointers)} buffers instead of {len(sizes)}")
        tree: Tree = {
            "length": array.length, "null_count": array.null_count,
            "offset": array.offset,
            "buffers": [self._place(start, size)
                        for start, size in zip(pointers, sizes)],
            "children": [self.plan(array.children[i].contents, child)
                         for i, child in enumerate(schema["children"])]}
        if array.dictionary:
            tree["dictionary"] = self.plan(array.dictionary.contents,
                                           schema["dictionary"])
        return tree

    def _place(self, start: int, size: int) -> Optional[int]:
        if not start:
            return None
        offset = self.size
        self.copies.append((start, size, offset))
        self.size += -(-size // _ALIGNMENT) * _ALIGNMENT
        return offset


def _fill_array(ref: Ref, array: _abi.ArrowArray, tree: Tree,
                start: int) -> None:
    """Makes an empty structure what the tree says. It keeps the memory, and so
    does each of its children, which may be moved out."""
    library = ref.library
    children, dictionary = tree["children"], tree.get("dictionary")
    nodes = len(children) + (dictionary is not None)
    head = 8 + 8 * len(children) + nodes * ctypes.sizeof(_abi.ArrowArray)
    buffers = tree["buffers"]
    chunk = library.allocate_chunk(head + 8 * len(buffers))
    pointers = (ctypes.c_void_p * len(buffers)).from_address(chunk + head)
    for index, offset in enumerate(buffers):
        pointers[index] = None if offset is None else start + offset
    array.length, array.null_count = tree["length"], tree["null_count"]
    array.offset, array.n_buffers = tree["offset"], len(buffers)
    array.buffers = ctypes.cast(chunk + head, ctypes.POINTER(ctypes.c_void_p))
    _arrow_schema.link_nodes(array, _abi.ArrowArray, chunk, len(children),
                             dictionary is not None)
    ctypes.c_void_p.from_address(chunk).value = ref.retained()
    array.private_data = chunk
    array.release = address_of(library.arrow_release_array)
    for index, child in enumerate(children):
        _fill_array(ref, array.children[index].contents, child, start)
    if dictionary is not None:
        _fill_array(ref, array.dictionary.contents, dictionary, start)


def _new_capsule(library: Library, name: str, kind: Any, fill: Any) -> Any:
    """A capsule with a structure of its own, which `fill` fills."""
    chunk = library.allocate_chunk(ctypes.sizeof(kind))
    capsule = _dlpack.new_capsule(library, chunk, _dlpack.NAMES[name])
    fill(kind.from_address(chunk))  # What it has done the capsule undoes.
    return capsule


def _contents(capsule: Any, name: str, kind: Any) -> Any:
    address = _dlpack.capsule_contents(capsule, _dlpack.NAMES[name])
    if address is None:
        raise errors.InvalidArgument(f"{capsule!r} is no capsule of {name}")
    return kind.from_address(address)


def _one_array_of(data: Any) -> Any:
    """What has `__arrow_c_array__`: the data, or a table as one batch."""
    if hasattr(data, "__arrow_c_array__"):
        return data
    if not hasattr(data, "combine_chunks"):
        raise TypeError(f"{type(data).__name__} has no __arrow_c_array__; give "
                        "a record batch, an array or a pyarrow table")
    combined = data.combine_chunks()
    if hasattr(combined, "__arrow_c_array__"):
        return combined
    batches = combined.to_batches()
    if batches:
        return batches[0]
    import pyarrow
    return pyarrow.RecordBatch.from_arrays(
        [column.combine_chunks() for column in combined.columns],
        schema=data.schema)
