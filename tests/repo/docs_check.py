#!/usr/bin/env python3
"""Checks that the paths which the documentation names exist.

Looks at every `text in backticks`, link target and script called in a fenced
block of README.md and docs/**/*.md. What has a slash or one of our suffixes
and no blank is taken for a path, relative to the repository or the page.

Let through: absolute paths and those with a variable (they belong to an
installation), build results, and patterns, which must match something.

    docs_check.py --self-test     checks the checker on invented pages
"""

import pathlib
import posixpath
import re
import sys

import repo_files

SUFFIXES = (".cc", ".h", ".c", ".py", ".sh", ".md", ".proto", ".cmake", ".txt",
            ".service", ".textproto", ".json", ".yaml", ".yml")
# Beginnings of what looks like a path and is none of this repository: build
# results, cgroups of tenants, headers and packages of others, git branches.
FOREIGN = ("build/", "root/", "vrampool/", "vrampool.v1", "absl/", "grpc/",
           "grpcpp/", "google/", "origin/", "libvrampool", "proc/", "nvidia/")
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CALLED = re.compile(r"(?:^|\s)(?:\./)?((?:deploy|tests|docs|\.ci)/[\w./-]+)")


def looks_like_path(text):
    if re.search(r"[\s<>|=(){}$:;,\"'\\@~]", text) or text.startswith(("/", "-")):
        return False
    if text.startswith(FOREIGN):
        return False
    return text.endswith(SUFFIXES) or (
        "/" in text and re.fullmatch(r"[\w.*/+-]+", text) is not None
        and re.search(r"[a-z]", text) is not None
        and not re.fullmatch(r"[\d./]+\w*", text))


def known_names(paths):
    """Every file and folder, and every ending of their paths: docs may name
    `ledger.h` or `core/ledger.h` for daemon/core/ledger.h."""
    known = set()
    for path in paths:
        for whole in [path, *path.parents]:
            parts = whole.parts
            known.update("/".join(parts[i:]) for i in range(len(parts)))
    return known


def exists(name, page, known):
    name = name.removeprefix("./").rstrip("/")
    beside = posixpath.normpath(posixpath.join(posixpath.dirname(page), name))
    if "*" in name:
        pattern = re.escape(name).replace(r"\*\*", ".*").replace(r"\*", "[^/]*")
        return any(re.fullmatch(pattern, one) for one in known)
    return name in known or beside in known


def check_page(page, text, known):
    problems = []
    fences = "\n".join(FENCE.findall(text))
    prose = FENCE.sub("", text)
    named = [name for name in SPAN.findall(prose) if looks_like_path(name)]
    named += [link for link in LINK.findall(prose)
              if not re.match(r"[a-z]+:", link)]
    named += CALLED.findall(fences)
    for name in sorted(set(named)):
        if not exists(name.rstrip("."), page, known):
            problems.append(f"{page}: names {name}, which does not exist")
    return problems


def self_test():
    known = known_names([pathlib.PurePosixPath(p) for p in
                         ("daemon/core/ledger.h", "docs/a.md", "deploy/x.sh")])
    good = ("`daemon/core/ledger.h` `ledger.h` `daemon/core/` `docs/*.md` "
            "`root/team-a` `/etc/x` `a b/c` `3/4` [a](a.md) [w](https://x/y)\n"
            "```\ndeploy/x.sh --now\n```\n")
    assert check_page("docs/b.md", good, known) == [], check_page(
        "docs/b.md", good, known)
    for bad in ("`daemon/core/gone.h`", "`gone.h`", "`daemon/gone/`",
                "[a](gone.md)", "`docs/*.html`",
                "```\n./deploy/gone.sh\n```"):
        assert check_page("docs/b.md", bad + "\n", known), bad
    print("6 planted mistakes found")


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return
    paths = repo_files.tracked()
    known = known_names(paths)
    pages = [str(p) for p in paths
             if str(p) == "README.md"
             or (p.suffix == ".md" and p.parts[0] == "docs")]
    problems = []
    for page in pages:
        text = (repo_files.ROOT / page).read_text()
        problems += check_page(page, text, known)
    repo_files.report(problems, len(pages))


if __name__ == "__main__":
    main()
