"""Which lines of Python an allocation is called from, as the library records it.

The library asks for them only when it records the stack of an allocation
(VRAMPOOL_STACKS): it then answers without having allocated, and is called again
with the lines. So nothing of Python's runs inside of the library's calls.
"""

from __future__ import annotations

import sys
from typing import Any, List

MOST = 30  # Frames: the library keeps no more.
_PATH = 110  # Letters of a path: it keeps 183 bytes of all.
_NAME = 128
_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7f, 0xa0)), " ")


def line_of(frame: Any) -> str:
    """train.py:12 (step), as client/session/python_reader.cc tells it."""
    code = frame.f_code
    line = "?" if frame.f_lineno is None else frame.f_lineno
    told = f"{code.co_filename[-_PATH:]}:{line} ({code.co_name[:_NAME]})"
    return told.translate(_CONTROLS)


def is_ours(frame: Any) -> bool:
    """Whether it is code of this package."""
    name = frame.f_globals.get("__name__") or ""
    return bool(name.split(".")[0] == "vrampool")


def lines() -> bytes:
    """Those of the caller's stack outside of this package, the innermost
    first."""
    frame = sys._getframe(1)
    while frame is not None and is_ours(frame):
        frame = frame.f_back  # type: ignore[assignment]
    return lines_from(frame)


def lines_from(frame: Any, last: Any = None) -> bytes:
    """Those of that frame and its callers, as far as the code `last`."""
    found: List[str] = []
    while frame is not None and len(found) < MOST:
        found.append(line_of(frame))
        frame = None if frame.f_code is last else frame.f_back
    return "\n".join(found).encode(errors="replace") or b"?"
