"""Arrow's trees in an object's metadata, which other processes wrote: nothing
there may lead a reader out of the object's memory."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any, Tuple

from . import errors
from ._arrow_schema import Tree, buffer_sizes

_MOST_PACKED = (64 << 10) - 64  # Of metadata, less what it begins with.
_MOST_BYTES = 16 << 20  # Of the trees, unpacked.
_MOST_DEPTH = 64
_MOST_LENGTH = 1 << 56  # No sum or product below comes near 2^63 then.


def packed(schema: Tree, array: Tree) -> bytes:
    """Both trees as metadata."""
    text = json.dumps([schema, array], separators=(",", ":"))
    data = zlib.compress(text.encode())
    if len(data) > _MOST_PACKED:
        raise errors.InvalidArgument(
            f"schema and layout take {len(data)} bytes packed, of "
            f"{_MOST_PACKED} that there are; share the columns in several "
            "tables")
    return data


def trees_of(data: bytes, start: int, size: int) -> Tuple[Tree, Tree]:
    """The trees in metadata, for memory of `size` bytes at `start`, or at 0
    where this process cannot read it. InvalidArgument if they do not fit."""
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(data, _MOST_BYTES)
        if not unpacker.eof:
            raise ValueError("the metadata is too long, or cut off")
        schema, array = json.loads(text)
        _check_schema(schema, 0)
        _check_array(array, schema, start, size)
        return schema, array
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError,
            zlib.error) as error:
        raise errors.InvalidArgument(
            "the object's metadata is not what vrampool.arrow.share() writes "
            f"({error!r}); ask its producer") from None


def _need(is_so: bool, what: str) -> None:
    if not is_so:
        raise ValueError(what)


def _number(value: Any, most: int) -> int:
    _need(type(value) is int and 0 <= value <= most, f"a number is {value!r}")
    return int(value)


def _check_schema(schema: Tree, depth: int) -> None:
    _need(depth <= _MOST_DEPTH, "types are nested too deep")
    for key in ("format", "name"):
        _need("\0" not in schema[key] and isinstance(schema[key], str),
              f"a {key} is {schema[key]!r}")
    _number(schema["flags"], 7)
    _check_pairs(base64.b64decode(schema.get("metadata", ""), validate=True))
    for child in schema["children"]:
        _check_schema(child, depth + 1)
    if "dictionary" in schema:
        _check_schema(schema["dictionary"], depth + 1)


def _check_pairs(data: bytes) -> None:
    """Keys and values of a field, as the C interface counts them."""
    if not data:
        return

    def number(offset: int) -> int:
        value = int.from_bytes(data[offset:offset + 4], "little", signed=True)
        _need(offset + 4 <= len(data) and value >= 0, "a field's metadata")
        return value
    end = 4
    for _ in range(2 * min(number(0), len(data))):
        end += 4 + number(end)
    _need(end == len(data), "a field's metadata has another size")


def _check_array(array: Tree, schema: Tree, start: int, size: int) -> None:
    length = _number(array["length"], _MOST_LENGTH)
    offset = _number(array["offset"], _MOST_LENGTH)
    nulls = array["null_count"]
    _need(type(nulls) is int and -1 <= nulls <= length, "a count of nulls")
    offsets = [None if one is None else _number(one, size)
               for one in array["buffers"]]
    pointers = [0 if one is None else start + one for one in offsets]
    _check_buffers(schema["format"], length + offset, offsets, pointers, start,
                   size)
    _need(len(array["children"]) == len(schema["children"]), "children")
    for child, kind in zip(array["children"], schema["children"]):
        _check_array(child, kind, start, size)
        _need(child["length"] >= _per_element(schema["format"]) *
              (length + offset), "a child is too short")
    _need(("dictionary" in array) == ("dictionary" in schema), "a dictionary")
    if "dictionary" in array:
        _check_array(array["dictionary"], schema["dictionary"], start, size)


def _per_element(layout: str) -> int:
    """How many elements of each child belong to one of the parent, where that
    is not said by offsets in its buffers."""
    if layout.startswith("+w:"):
        return _number(int(layout[3:]), _MOST_LENGTH)
    return 1 if layout.startswith(("+s", "+us:")) else 0


def _check_buffers(layout: str, length: int, offsets: Any, pointers: Any,
                   start: int, size: int) -> None:
    """Each buffer that is there lies inside. How long some are stands in
    others, which are looked at before they are read."""
    if layout in ("u", "z", "U", "Z"):
        _need(len(offsets) == 3, "buffers")
        width = (length + 1) * (8 if layout in ("U", "Z") else 4)
        _need(offsets[1] is None or offsets[1] + width <= size, "offsets")
        _need(length == 0 or offsets[1] is not None, "no offsets")
        if not start:
            return
    if layout in ("vu", "vz") and len(offsets) > 3:
        _need(offsets[-1] is not None and
              offsets[-1] + 8 * (len(offsets) - 3) <= size, "lengths")
        if not start:
            return
    sizes = buffer_sizes(layout, length, pointers)
    _need(len(sizes) == len(offsets), "the number of buffers")
    for index, (place, needed) in enumerate(zip(offsets, sizes)):
        if place is None:
            # Only the bits that say what is null may be left out.
            _need(needed == 0 or index == 0, "a buffer is missing")
        else:
            _need(0 <= needed <= size - place, "a buffer lies outside")
