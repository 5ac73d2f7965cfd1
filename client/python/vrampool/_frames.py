"""Lets the library read the lines that C++ code is called from.

PyTorch and RMM allocate from C++ code, mostly without the GIL. The library then
reads the thread's frames out of the interpreter's memory, where each version of
Python has them in places of its own. Here it is made to prove that it knows
those of this interpreter: it must read the same lines as Python tells, of a
stack with all that makes a difference. It is stopped before the interpreter
ends. VRAMPOOL_PYTHON_FRAMES=0 leaves all that out.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
import types
from typing import Any, Callable, Optional

from . import _stack

# A generator, called by C code, called by a lambda in a comprehension; the call
# is not on the statement's first line; names and path of one, two and four
# bytes a letter.
_SOURCE = """\
def step_\u0436(check):
    def prove_\u00e9():
        yield (
            1,
            check(),
        )
    return [
        found
        for _ in range(1)
        for found in map(lambda \u00e9: next(prove_\u00e9())[1], "1")
    ]
"""
_PATH = "<vrampool/" + "a" * 110 + "/\U0001f40d.py>"


def begin(library: Any) -> Optional[str]:
    """None, or why stacks of C++ code have no lines of Python."""
    if os.environ.get("VRAMPOOL_PYTHON_FRAMES", "1") in ("", "0"):
        return "VRAMPOOL_PYTHON_FRAMES turns them off"
    if sys.implementation.name != "cpython" or "t" in sys.abiflags:
        return "only CPython with the GIL is known"
    try:
        status = prove(library.python_begin)
    except Exception as error:  # pylint: disable=broad-except
        return f"the proof failed: {error!r}"
    if status != 0:
        return str(library.message())
    atexit.register(library.python_end)
    return None


def prove(python_begin: Callable[..., int]) -> int:
    """The status of vrampool_python_begin()."""
    names: Any = {}
    exec(compile(_SOURCE, _PATH, "exec"), names)
    state = ctypes.cast(ctypes.pythonapi.PyGILState_GetThisThreadState,
                        ctypes.c_void_p).value
    arguments = (sys.version_info.minor, state, id(types.CodeType))

    def check() -> int:
        # In one line, which both of them see.
        return python_begin(*arguments, _stack.lines_from(sys._getframe(0)))

    [status] = names["step_\u0436"](check)
    return int(status)
