"""Data types, by the codes of DLPack.

    vrampool.dtype("float32")            by name
    vrampool.dtype(numpy.int16)          of NumPy, ml_dtypes
    vrampool.dtype(torch.bfloat16)       of frameworks that name them alike
    vrampool.dtype((4, 16, 1))           code, bits and lanes
"""

from __future__ import annotations

import sys
from typing import Any, Dict, NamedTuple, Optional, Tuple

INT, UINT, FLOAT, BFLOAT, COMPLEX, BOOL = 0, 1, 2, 4, 5, 6


class DType(NamedTuple):
    """What an element is."""

    code: int
    bits: int
    lanes: int = 1

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return (self.bits * self.lanes + 7) // 8

    @property
    def name(self) -> str:
        """As NumPy and the frameworks call it, or "code:bits:lanes"."""
        return _NAMES.get(self, f"{self.code}:{self.bits}:{self.lanes}")

    @property
    def typestr(self) -> Optional[str]:
        """As in the array interfaces; None where they have none."""
        letter = {INT: "i", UINT: "u", FLOAT: "f", COMPLEX: "c",
                  BOOL: "b"}.get(self.code)
        if letter is None or self.lanes != 1 or self not in _NAMES or (
                self.code == COMPLEX and self.bits == 32):
            return None
        order = "|" if self.itemsize == 1 else (
            "<" if sys.byteorder == "little" else ">")
        return f"{order}{letter}{self.itemsize}"

    @property
    def struct_format(self) -> Optional[str]:
        """As `memoryview` casts to it; None where it cannot."""
        return _FORMATS.get(self)

    def __str__(self) -> str:
        return self.name


_TYPES: Dict[str, DType] = {
    "bool": DType(BOOL, 8), "bfloat16": DType(BFLOAT, 16),
    "int8": DType(INT, 8), "int16": DType(INT, 16), "int32": DType(INT, 32),
    "int64": DType(INT, 64), "uint8": DType(UINT, 8),
    "uint16": DType(UINT, 16), "uint32": DType(UINT, 32),
    "uint64": DType(UINT, 64), "float16": DType(FLOAT, 16),
    "float32": DType(FLOAT, 32), "float64": DType(FLOAT, 64),
    "complex32": DType(COMPLEX, 32), "complex64": DType(COMPLEX, 64),
    "complex128": DType(COMPLEX, 128), "float8_e3m4": DType(7, 8),
    "float8_e4m3": DType(8, 8), "float8_e4m3b11fnuz": DType(9, 8),
    "float8_e4m3fn": DType(10, 8), "float8_e4m3fnuz": DType(11, 8),
    "float8_e5m2": DType(12, 8), "float8_e5m2fnuz": DType(13, 8),
    "float8_e8m0fnu": DType(14, 8)}
_NAMES = {dtype: name for name, dtype in _TYPES.items()}
_OTHER_NAMES = {"half": "float16", "float": "float32", "double": "float64",
                "short": "int16", "int": "int32", "long": "int64",
                "bool_": "bool", "cfloat": "complex64", "chalf": "complex32",
                "cdouble": "complex128"}
_PYTHONS = {bool: "bool", int: "int64", float: "float64",
            complex: "complex128"}
_FORMATS = {
    _TYPES[name]: letter
    for name, letter in (
        ("bool", "?"), ("int8", "b"), ("uint8", "B"), ("int16", "h"),
        ("uint16", "H"), ("int32", "i"), ("uint32", "I"), ("int64", "q"),
        ("uint64", "Q"), ("float32", "f"), ("float64", "d"))}


def dtype(what: Any) -> DType:
    """The data type that `what` names; TypeError if it names none."""
    if isinstance(what, DType):
        return what
    if isinstance(what, tuple):
        return _of_numbers(what)
    name = what if isinstance(what, str) else _name_of(what)
    name = _OTHER_NAMES.get(name, name)
    if name not in _TYPES:
        raise TypeError(
            f"{what!r} is no data type that vrampool knows; give one of "
            f"{', '.join(_TYPES)}, or (code, bits, lanes) as in DLPack")
    return _TYPES[name]


def is_named(what: DType) -> bool:
    """Whether it is one of the types above, of one number each."""
    return what in _NAMES


def _of_numbers(numbers: Tuple[Any, ...]) -> DType:
    if not 2 <= len(numbers) <= 3:
        raise TypeError(f"{numbers!r} is not (code, bits[, lanes])")
    given = DType(*(int(number) for number in numbers))
    if not (0 <= given.code <= 255 and 0 < given.bits <= 255 and
            0 < given.lanes <= 65535):
        raise TypeError(f"{numbers!r} is none of DLPack's data types")
    if given.bits * given.lanes % 8 != 0:
        raise TypeError(f"{numbers!r} has elements that are no whole bytes")
    return given


def _name_of(what: Any) -> str:
    if isinstance(what, type) and what in _PYTHONS:
        return _PYTHONS[what]
    order = getattr(what, "byteorder", "=")
    if order not in ("=", "|", "<" if sys.byteorder == "little" else ">"):
        raise TypeError(f"{what!r} is not in this machine's byte order")
    # numpy.dtype and TensorFlow have `name`, classes `__name__`; "torch.int8".
    for attribute in ("name", "__name__"):
        name = getattr(what, attribute, None)
        if isinstance(name, str):
            return name
    return str(what).rpartition(".")[2]
