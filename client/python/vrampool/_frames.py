"""Lets the library read the lines that C++ code is called from.

PyTorch and RMM allocate from C++ code, mostly without the GIL. The library then
reads the thread's frames out of the interpreter's memory, where each version of
Python has them in places of its own. Here it is made to prove that it knows
those of this interpreter: it must read the same lines as Python tells, of a
stack with all that makes a difference; what the program has around it makes
none. It is stopped before the interpreter ends. The reading is the process's,
so only its main interpreter begins and ends it. VRAMPOOL_PYTHON_FRAMES=0 leaves
all that out.
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


def begin(library: Any, thread_state: int) -> Optional[str]:
    """None, or why stacks of C++ code have no lines of Python. `thread_state`:
    where PyGILState_GetThisThreadState begins."""
    if os.environ.get("VRAMPOOL_PYTHON_FRAMES") == "0":
        return "VRAMPOOL_PYTHON_FRAMES turns them off"
    if sys.implementation.name != "cpython" or "t" in sys.abiflags:
        return "only CPython with the GIL is known"
    try:
        if not is_main():
            return "the lines are the main interpreter's, and this is another"
        status = prove(library.python_begin, thread_state)
    except Exception as error:  # pylint: disable=broad-except
        return f"the proof failed: {error!r}"
    if status != 0:
        return str(library.message())
    atexit.register(library.python_end)
    return None


def is_main() -> bool:
    """Whether this is the process's main interpreter."""
    main = ctypes.PYFUNCTYPE(ctypes.c_void_p)(
        ("PyInterpreterState_Main", ctypes.pythonapi))
    this = ctypes.PYFUNCTYPE(ctypes.c_void_p)(
        ("PyInterpreterState_Get", ctypes.pythonapi))
    return bool(this() == main())


def prove(python_begin: Callable[..., int], thread_state: int) -> int:
    """The status of vrampool_python_begin()."""
    names: Any = {}
    exec(compile(_SOURCE, _PATH, "exec"), names)
    arguments = (sys.version_info.minor, thread_state, id(types.CodeType))
    last = prove.__code__

    def check() -> int:
        # In one line, which both of them see.
        return python_begin(*arguments, _stack.lines_from(sys._getframe(), last))

    [status] = names["step_\u0436"](check)
    return int(status)
