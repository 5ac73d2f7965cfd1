"""Which lines of Python an allocation is called from, as the library records it.

The library asks for them only when it records the stack of an allocation
(VRAMPOOL_STACKS): it then answers without having allocated, and is called again
with the lines. So nothing of Python's runs inside of the library's calls.
"""

from __future__ import annotations

import sys
from typing import Any, List

MOST = 30  # Frames: the library keeps no more.
_PATH = 110  # Of a path: it keeps 183 bytes of all.


def line_of(frame: Any) -> str:
    """train.py:12 (step)"""
    code = frame.f_code
    return f"{code.co_filename[-_PATH:]}:{frame.f_lineno} ({code.co_name})"


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


def lines_from(frame: Any) -> bytes:
    """Those of that frame and its callers."""
    found: List[str] = []
    while frame is not None and len(found) < MOST:
        found.append(line_of(frame).replace("\n", " "))
        frame = frame.f_back
    return "\n".join(found).encode(errors="replace") or b"?"
