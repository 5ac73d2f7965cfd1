"""Tells the library which lines of Python an allocation is called from.

The library asks for them in the thread that allocates, while it holds no lock,
and only when it records the stack of that allocation (VRAMPOOL_STACKS). The
call that it is in has given Python's lock up; so to take it here cannot wait
for anybody who waits for this thread.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any, Callable

FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
"""vrampool_frames_fn."""
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


def teller(add: Callable[[Any, bytes], None]) -> Any:
    """A function to give to vrampool_client_allocate_from(), to be kept as long
    as that may call it. `add` is vrampool_frames_add()."""
    # Also after the end of this module, while the interpreter ends.
    frame_of, most, line, ours = sys._getframe, MOST, line_of, is_ours

    def tell(to: Any) -> None:
        frame = frame_of(1)
        while frame is not None and ours(frame):
            frame = frame.f_back  # type: ignore[assignment]
        for _ in range(most):
            if frame is None:
                return
            add(to, line(frame).encode(errors="replace"))
            frame = frame.f_back  # type: ignore[assignment]

    return FUNCTION(tell)
