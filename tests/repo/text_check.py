#!/usr/bin/env python3
"""Checks the text of every file: nothing left to do, nothing too long, nothing
that only makes sense on the machine where it was written.

    text_check.py --self-test     checks the checker on invented files
"""

import re
import sys

import repo_files

MOST_LINES = 500
SOURCES = {".h", ".cc", ".c", ".py", ".sh", ".proto", ".cmake"}
# Texts of others, and data.
EXEMPT = ("LICENSE", "tests/fuzz/corpus/")

# Each written so that this file passes its own check.
FORBIDDEN = {
    r"\b(?:TO[D]O|FIX[M]E|X[X]X|HA[C]K)\b":
        "do it, or write the limit down where a user reads it",
    r"(?<![\w.$}*-])/(?:home|work|Users)/\w": "a path of somebody's machine",
    r"(?<![\w.$}*-])/root/\.": "a path of somebody's machine",
    r"(?i)\b(?:issue|ticket)\s+#?\d+\b": "says nothing to a reader of the code",
    r"^(?:<{7}|>{7}) ": "a merge conflict",
    r"[ \t]+$": "blanks at the end of a line",
    "\t(?=.*)": "a tab",
}
TABS_ALLOWED = ("Makefile", ".mk", ".tsv", ".diff", ".patch")


def check_file(path, data, executable):
    if path.startswith(EXEMPT) or b"\0" in data[:8192]:
        return []
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return [f"{path}: is not UTF-8"]
    problems = []
    suffix = path[path.rfind("."):] if "." in path else ""
    lines = text.split("\n")
    if suffix in SOURCES and len(lines) - 1 > MOST_LINES:
        problems.append(f"{path}: {len(lines) - 1} lines; split it "
                        f"(at most {MOST_LINES})")
    for pattern, why in FORBIDDEN.items():
        if pattern.startswith("\t") and path.endswith(TABS_ALLOWED):
            continue
        for number, line in enumerate(lines, 1):
            found = re.search(pattern, line)
            if found:
                problems.append(f"{path}:{number}: {found.group(0)!r}: {why}")
    if text and not text.endswith("\n"):
        problems.append(f"{path}: does not end in a newline")
    if text.startswith("#!") != executable:
        problems.append(f"{path}: " + (
            "is executable but names no interpreter" if executable
            else "names an interpreter but is not executable"))
    return problems


def self_test():
    good = "#!/bin/sh\n# Reads /etc/x, ${d}/work/x and the issue of 2 files.\n"
    assert check_file("a.sh", good.encode(), True) == []
    bad = {
        "a.cc": "// TO" "DO: later\n",
        "b.cc": "x\n" * 501,
        "c.cc": "// see /ho" "me/someone/x\n",
        "d.cc": "// as in is" "sue 12\n",
        "e.cc": "int x; \n",
        "f.cc": "int x;",
        "g.sh": "#!/bin/sh\n",
        "h.cc": "\tint x;\n",
    }
    for path, text in bad.items():
        assert check_file(path, text.encode(), False), path
    assert check_file("i.sh", b"echo\n", True)
    assert check_file("j.cc", b"\xff\xfe\n", False)
    print(f"{len(bad) + 2} planted mistakes found")


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return
    paths = repo_files.tracked()
    problems = []
    for path in paths:
        full = repo_files.ROOT / path
        problems += check_file(str(path), full.read_bytes(),
                               bool(full.stat().st_mode & 0o111))
    repo_files.report(problems, len(paths))


if __name__ == "__main__":
    main()
