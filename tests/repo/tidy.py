#!/usr/bin/env python3
"""Runs clang-tidy over our own sources, and only where something changed.

    tidy.py BUILD_DIR [--jobs N] [--cache DIR] [PATH...]

BUILD_DIR holds compile_commands.json and the generated headers. A file that
was clean is looked at again only when its preprocessed text, its command line,
the checks or clang-tidy itself have changed: a file that includes gRPC costs
half a minute, its preprocessed text a second. PATH limits the run to sources
below it. Exits 1 when anything is found.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time

import repo_files


def command_of(entry):
    """The compile command as a list, without a launcher and without output."""
    words = shlex.split(entry["command"])
    if pathlib.PurePath(words[0]).name == "ccache":
        words = words[1:]
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word in ("-o", "-MF", "-MT", "-MQ"):
            skip = True
        elif word not in ("-c", "-MD", "-MMD"):
            kept.append(word)
    return kept


def fingerprint(entry, version):
    """What the outcome depends on, as one hash."""
    command = command_of(entry)
    # With the comments (-C), because those carry NOLINT.
    text = subprocess.run(command + ["-E", "-C", "-o", "-"],
                          cwd=entry["directory"], capture_output=True)
    if text.returncode != 0:
        return None
    root = str(repo_files.ROOT).encode()
    digest = hashlib.sha256()
    for part in (version, (repo_files.ROOT / ".clang-tidy").read_bytes(),
                 " ".join(command).encode().replace(root, b""),
                 text.stdout.replace(root, b"")):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def tidy(entry, build, cache, version):
    """(file, seconds, output or None when clean, whether it was looked at)."""
    started = time.monotonic()
    key = fingerprint(entry, version)
    mark = cache / key if key else None
    if mark and mark.exists():
        mark.touch()
        return entry["file"], time.monotonic() - started, None, False
    done = subprocess.run(
        ["clang-tidy", "--quiet", "-p", str(build), entry["file"]],
        capture_output=True, text=True)
    clean = done.returncode == 0
    if clean and mark:
        mark.touch()
    return (entry["file"], time.monotonic() - started,
            None if clean else done.stdout + done.stderr, True)


def forget_old(cache, days=30):
    for mark in cache.iterdir():
        if time.time() - mark.stat().st_mtime > days * 86400:
            mark.unlink(missing_ok=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    default = pathlib.Path(os.environ.get("XDG_CACHE_HOME",
                                          pathlib.Path.home() / ".cache"))
    parser.add_argument("--cache", type=pathlib.Path,
                        default=default / "vrampool" / "tidy")
    parser.add_argument("paths", nargs="*")
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    forget_old(args.cache)

    ours = {str(repo_files.ROOT / path) for path in repo_files.tracked()}
    entries = [entry for entry in
               json.loads((args.build / "compile_commands.json").read_text())
               if entry["file"] in ours]
    if args.paths:
        within = tuple(str(repo_files.ROOT / path) for path in args.paths)
        entries = [entry for entry in entries
                   if entry["file"].startswith(within)]
    version = subprocess.run(["clang-tidy", "--version"], check=True,
                             capture_output=True).stdout

    looked_at, dirty = [], []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for future in concurrent.futures.as_completed(
                pool.submit(tidy, entry, args.build, args.cache, version)
                for entry in entries):
            file, seconds, output, looked = future.result()
            if looked:
                looked_at.append((seconds, os.path.relpath(file)))
            if output is not None:
                dirty.append(file)
                print(output, flush=True)
    for seconds, file in sorted(looked_at, reverse=True)[:5]:
        print(f"slow: {seconds:5.1f} s {file}")
    print(f"{len(entries)} files, {len(looked_at)} of them looked at anew, "
          f"{len(dirty)} with findings")
    sys.exit(1 if dirty or not entries else 0)


if __name__ == "__main__":
    main()
