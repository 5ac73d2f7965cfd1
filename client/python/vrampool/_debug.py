"""Tells the library which line of Python its calls come from, in debug mode.

A call site of Python's is an address in libffi, the same for all. So, with
VRAMPOOL_DEBUG or `connect(debug=...)`, calls about memory are made between two
of vrampool_debug_place(): what frameworks do in between in C is not taken for
that line. Without the debug mode nothing is wrapped.
"""

from __future__ import annotations

import sys
from typing import Any, Callable

from . import _stack

CALLS = (
    "client_allocate", "client_allocate_aligned", "client_allocate_dedicated",
    "client_allocate_from", "client_deallocate", "client_close",
    "record_stream", "share", "open_with", "object_close", "ref_block",
    "ref_object", "ref_release")


def is_wanted(mode: str) -> bool:
    """Of what VRAMPOOL_DEBUG is set to."""
    return mode not in ("", "0")


def placed(function: Callable[..., Any],
           place: Callable[[Any], None]) -> Callable[..., Any]:
    """The same function, with its caller's line told to the library."""
    # Also after the end of this module, while the interpreter ends.
    frame_of, line, ours = sys._getframe, _stack.line_of, _stack.is_ours

    def call(*arguments: Any) -> Any:
        frame = frame_of(1)
        while frame is not None and ours(frame):
            frame = frame.f_back  # type: ignore[assignment]
        if frame is None:
            return function(*arguments)
        place(line(frame).encode(errors="replace"))
        try:
            return function(*arguments)
        finally:
            place(None)

    return call
