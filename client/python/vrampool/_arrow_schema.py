"""Arrow schemas and arrays as plain trees, to and from the C structures.

A tree can be put into an object's metadata as JSON, so that a reader needs
neither the producer's library nor its process.
"""

from __future__ import annotations

import base64
import ctypes
from typing import Any, Dict, List, Optional

from . import _abi
from ._library import Library, address_of

Tree = Dict[str, Any]
_MOST_DEPTH = 64


def schema_tree(schema: _abi.ArrowSchema, depth: int = 0) -> Tree:
    """{"format", "name", "flags", "metadata", "children", "dictionary"}."""
    if depth > _MOST_DEPTH:
        raise ValueError(f"a type is nested more than {_MOST_DEPTH} deep")
    metadata = _metadata_bytes(schema.metadata)
    tree: Tree = {"format": schema.format.decode(),
                  "name": (schema.name or b"").decode(), "flags": schema.flags,
                  "children": [schema_tree(schema.children[i].contents,
                                           depth + 1)
                               for i in range(schema.n_children)]}
    if metadata:
        tree["metadata"] = base64.b64encode(metadata).decode()
    if schema.dictionary:
        tree["dictionary"] = schema_tree(schema.dictionary.contents, depth + 1)
    return tree


def _metadata_bytes(address: Optional[int]) -> bytes:
    """Counted keys and values, as the C interface lays them out."""
    if not address:
        return b""

    def number(offset: int) -> int:
        return ctypes.c_int32.from_address(address + offset).value
    end = 4
    for _ in range(2 * number(0)):
        end += 4 + number(end)
    return ctypes.string_at(address, end)


def fill_schema(library: Library, schema: _abi.ArrowSchema, tree: Tree) -> None:
    """Makes an empty structure what the tree says; its release frees that."""
    texts = [tree["format"].encode() + b"\0", tree["name"].encode() + b"\0"]
    metadata = base64.b64decode(tree.get("metadata", ""))
    children, dictionary = tree["children"], tree.get("dictionary")
    size = ctypes.sizeof(_abi.ArrowSchema)
    nodes = len(children) + (dictionary is not None)
    start = 8 + 8 * len(children)  # The reference (none), the child pointers.
    chunk = library.allocate_chunk(
        start + nodes * size + sum(map(len, texts)) + len(metadata))
    place = chunk + start + nodes * size
    places: List[int] = []
    for text in [*texts, metadata]:
        ctypes.memmove(place, text, len(text))
        places.append(place)
        place += len(text)
    schema.format, schema.name = places[0], places[1]
    schema.metadata = places[2] if metadata else None
    schema.flags = tree["flags"]
    link_nodes(schema, _abi.ArrowSchema, chunk, len(children),
               dictionary is not None)
    # From here on the structure is whole, whatever becomes of its children.
    schema.release = address_of(library.arrow_release_schema)
    schema.private_data = chunk
    for index, child in enumerate(children):
        fill_schema(library, schema.children[index].contents, child)
    if dictionary is not None:
        fill_schema(library, schema.dictionary.contents, dictionary)


def link_nodes(node: Any, kind: Any, chunk: int, count: int,
               has_dictionary: bool) -> None:
    """Points a structure to its children and dictionary, which lie in `chunk`
    behind the reference and the child pointers."""
    size, first = ctypes.sizeof(kind), chunk + 8 + 8 * count
    pointers = (ctypes.c_void_p * count).from_address(chunk + 8)
    for index in range(count):
        pointers[index] = first + index * size
    node.n_children = count
    pointer = ctypes.POINTER(kind)
    node.children = ctypes.cast(chunk + 8, ctypes.POINTER(pointer))
    if has_dictionary:
        node.dictionary = ctypes.cast(first + count * size, pointer)


# Bytes of an element by format, and by its beginning. Booleans are bits.
_WIDTHS = {"c": 1, "C": 1, "s": 2, "S": 2, "i": 4, "I": 4, "l": 8, "L": 8,
           "e": 2, "f": 4, "g": 8, "tdD": 4, "tdm": 8, "tts": 4, "ttm": 4,
           "ttu": 8, "ttn": 8, "tDs": 8, "tDm": 8, "tDu": 8, "tDn": 8,
           "tiM": 4, "tiD": 8, "tin": 16}


def buffer_sizes(layout: str, length: int, pointers: List[int]) -> List[int]:
    """Bytes of each buffer of an array of `length` elements, its offset
    included. `pointers` are its buffers: some say how long others are."""
    bits = (length + 7) // 8
    if layout in ("n", ) or layout.startswith("+r"):
        return []
    if layout == "b":
        return [bits, bits]
    if layout in ("u", "z", "U", "Z"):
        wide = layout in ("U", "Z")
        return [bits, *_offsets(length, pointers, wide)]
    if layout in ("vu", "vz"):
        count = len(pointers) - 3  # Of buffers with the long texts.
        lengths: List[int] = list((ctypes.c_int64 * count).from_address(
            pointers[-1])) if count > 0 else []
        return [bits, 16 * length, *lengths, 8 * count]
    if layout in ("+l", "+m", "+L"):
        return [bits, (length + 1) * (8 if layout == "+L" else 4)]
    if layout in ("+vl", "+vL"):
        return [bits, *[length * (8 if layout == "+vL" else 4)] * 2]
    if layout.startswith(("+w:", "+s")):
        return [bits]
    if layout.startswith("+us:"):
        return [length]
    if layout.startswith("+ud:"):
        return [length, 4 * length]
    return [bits, length * element_width(layout)]


def element_width(layout: str) -> int:
    """Bytes of an element of fixed width; ValueError for other types."""
    if layout in _WIDTHS:
        return _WIDTHS[layout]
    if layout.startswith("ts"):
        return 8
    kind, _, detail = layout.partition(":")
    if kind == "w":
        return int(detail)
    if kind == "d":
        numbers = detail.split(",")
        return int(numbers[2]) // 8 if len(numbers) == 3 else 16
    raise ValueError(f"Arrow's format {layout!r} is unknown to vrampool")


def _offsets(length: int, pointers: List[int], wide: bool) -> List[int]:
    kind: Any = ctypes.c_int64 if wide else ctypes.c_int32
    width = ctypes.sizeof(kind)
    if not pointers[1]:  # Allowed for no elements.
        return [0, 0]
    last = kind.from_address(pointers[1] + length * width).value
    return [(length + 1) * width, last]
