#!/usr/bin/env python3
"""vrampool/_abi.py says what the headers say, as a C compiler sees them.

    abi_test.py COMPILER INCLUDE_FOLDER

A generated C file asserts every size, offset, constant and signature; it must
compile. Planted mistakes must not.
"""

import ctypes
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "client" / "python"))
from vrampool import _abi, errors  # noqa: E402

# A signature's types by what they are to a caller: ctypes has one class for
# size_t and uint64_t.
C_TYPES = {None: "void", ctypes.c_int: "int", ctypes.c_uint64: "64 bits",
           **{kind: name for name, kind in _abi.STRUCTURES.items()}}
WIDTHS = {"vrampool_status": "int", "vrampool_kind": "int",
          "size_t": "64 bits", "uint64_t": "64 bits"}
# Of the headers, what Python has no use for: it is called from C.
NOT_BOUND = {
    "vrampool_allocate", "vrampool_deallocate", "vrampool_capture_begin",
    "vrampool_capture_end", "vrampool_torch_malloc",
    "vrampool_torch_malloc_or_throw", "vrampool_torch_free",
    "vrampool_torch_record_stream"}


def declarations(text):
    """Name to (result, arguments) of every function of a header."""
    found = {}
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    for result, name, arguments in re.findall(
            r"VRAMPOOL_API\s+([\w\s*]+?)\s*\b(vrampool_\w+)\s*\(([^)]*)\)",
            text):
        found[name] = (result, [] if arguments.strip() == "void" else
                       [one.strip() for one in arguments.split(",")])
    return found


def kind_of(c_text):
    """What a C type is to a caller: a width, or a pointer."""
    words = c_text.replace("*", " * ").split()
    if "*" in words or "cudaStream_t" in words:
        return "pointer"
    [first, *_] = [word for word in words if word != "const"]
    return WIDTHS.get(first, first)


def kind_of_ctypes(kind):
    return C_TYPES.get(kind, "pointer")


class AbiTest(unittest.TestCase):
    compiler = include = None  # Set by the command line.

    def headers(self):
        folder = pathlib.Path(self.include) / "vrampool"
        return "".join((folder / name).read_text()
                       for name in ("vrampool.h", "errors.h", "objects.h",
                                    "ref.h", "reserve.h"))

    def compiles(self, lines):
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder) / "check.c"
            source.write_text("\n".join(
                ['#include "vrampool/ref.h"', '#include "vrampool/reserve.h"',
                 *lines, ""]))
            done = subprocess.run(
                [self.compiler, "-std=c11", "-fsyntax-only", "-I",
                 self.include, source], capture_output=True, text=True)
        return done.returncode == 0, done.stderr

    def assertions(self):
        def claim(text):
            return f'_Static_assert({text}, "{text}");'
        lines = [claim(f"VRAMPOOL_TOKEN_MAX == {_abi.TOKEN_MAX}")]
        for name, structure in _abi.STRUCTURES.items():
            lines.append(claim(
                f"sizeof({name}) == {ctypes.sizeof(structure)}"))
            for field, kind in structure._fields_:
                place = getattr(structure, field)
                lines.append(claim(
                    f"offsetof({name}, {field}) == {place.offset}"))
                lines.append(claim(f"sizeof((({name}*)0)->{field}) == "
                                   f"{ctypes.sizeof(kind)}"))
        for kind in _abi.Kind:
            lines.append(claim(
                f"VRAMPOOL_KIND_{kind.name} == {kind.value}"))
        for status, error in errors.BY_STATUS.items():
            name = {"LIMIT_REACHED": "LIMIT",
                    "PERMISSION_DENIED": "PERMISSION",
                    "ALREADY_EXISTS": "EXISTS"}
            words = re.sub(r"(?<!^)(?=[A-Z])", "_", error.__name__).upper()
            lines.append(claim(
                f"VRAMPOOL_{name.get(words, words)} == {status}"))
        return lines

    def test_sizes_offsets_and_constants_are_the_compilers(self):
        self.assertEqual(self.compiles(self.assertions()), (True, ""))

    def test_a_wrong_offset_is_noticed(self):
        lines = self.assertions()
        for planted in ("_Static_assert(offsetof(vrampool_info, epoch) == 0,"
                        ' "");', '_Static_assert(VRAMPOOL_STALE == 11, "");'):
            self.assertFalse(self.compiles(lines + [planted])[0], planted)

    def test_every_structure_and_status_of_the_headers_is_here(self):
        text = re.sub(r"/\*.*?\*/", " ", self.headers(), flags=re.S)
        self.assertEqual(set(re.findall(r"typedef struct (vrampool_\w+) \{",
                                        text)), set(_abi.STRUCTURES))
        [statuses] = re.findall(r"enum vrampool_status \{(.*?)\}", text, re.S)
        numbers = {int(n) for n in re.findall(r"= (\d+)", statuses)}
        self.assertEqual(numbers, {0, *errors.BY_STATUS})
        [kinds] = re.findall(r"enum vrampool_kind \{(.*?)\}", text, re.S)
        self.assertEqual({int(n) for n in re.findall(r"= (\d+)", kinds)},
                         {kind.value for kind in _abi.Kind})
        for name, structure in _abi.STRUCTURES.items():
            [body] = re.findall(
                r"typedef struct %s \{(.*?)\} %s;" % (name, name), text, re.S)
            self.assertEqual(len(re.findall(";", body)),
                             len(structure._fields_), name)

    def test_every_function_is_bound_as_it_is_declared(self):
        declared = declarations(self.headers())
        self.assertEqual(set(declared) - NOT_BOUND, set(_abi.FUNCTIONS))
        self.assertLessEqual(NOT_BOUND, set(declared))
        for name, (result, *arguments) in _abi.FUNCTIONS.items():
            self.assertEqual(
                (kind_of_ctypes(result),
                 [kind_of_ctypes(kind) for kind in arguments]),
                (kind_of(declared[name][0]),
                 [kind_of(one) for one in declared[name][1]]), name)

    def test_the_comparison_of_signatures_sees_differences(self):
        found = declarations("VRAMPOOL_API int vrampool_x(size_t a,\n"
                             "  const char* b, uint64_t c);")
        self.assertEqual(found["vrampool_x"][0], "int")
        self.assertEqual([kind_of(one) for one in found["vrampool_x"][1]],
                         ["64 bits", "pointer", "64 bits"])


if __name__ == "__main__":
    AbiTest.compiler, AbiTest.include = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
