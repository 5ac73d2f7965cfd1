#!/usr/bin/env python3
"""Counts the instructions that a pair of an allocation and its free takes.

    instructions.py [--pairs N] [--case NAME...] PROGRAM VRAMPOOLD [FAKE_DRIVER]

PROGRAM is vrampool_compare, whose workload `counted` is run under valgrind's
callgrind (the package `valgrind`) with N and with 2 N pairs: the difference,
divided by N, is free of everything that is done once. Instructions are counted
where they are executed, by the file that has them: libvrampool, the system's
libraries, the fake driver. On host memory; with FAKE_DRIVER
(libvrampool-fake-cuda.so) on a fake GPU's, too, where the stream's order is
kept.

Unlike times they are the same in every run but for what other threads of the
library do meanwhile, so that two versions can be compared on a busy machine.
"""

import argparse
import collections
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "python"))
import broker  # noqa: E402  Found by the line above.

CASES = ["warm", "row", "random1", "random64"]
GPU_CASES = [*CASES, "streams64"]
POOL = "4GiB"
COST = re.compile(r"^[+*\-0-9]\S* (\d+)$")
NAME = re.compile(r"^(\(\d+\))(?: (.*))?$")


def self_costs(text):
    """Instructions by the object file that they lie in. In callgrind's format
    a line of cost after `calls=` is what the callee took: not counted here."""
    names, costs = {}, collections.Counter()
    obj, is_call = "?", False
    for line in text.splitlines():
        if line.startswith("ob="):
            number, name = NAME.match(line[3:]).groups()
            obj = names.setdefault(number, name)
        elif line.startswith("cob="):
            number, name = NAME.match(line[4:]).groups()
            if name:
                names.setdefault(number, name)
        elif line.startswith("calls="):
            is_call = True
        elif found := COST.match(line):
            if not is_call:
                costs[pathlib.Path(obj).name] += int(found.group(1))
            is_call = False
    return costs


def kind_of(name):
    if name.startswith("libvrampool.so"):
        return "libvrampool"
    if name.startswith(("libc.", "libc-", "ld-linux", "libstdc++", "libm.",
                        "libgcc", "libpthread")):
        return "system"
    return "fake driver" if name.startswith("libvrampool-fake") else "others"


def count(options, words, environment):
    with tempfile.TemporaryDirectory(prefix="vrampool-count-") as folder:
        out = pathlib.Path(folder) / "out"
        subprocess.run(
            ["valgrind", "--tool=callgrind", "--callgrind-out-file=" + str(out),
             "--compress-pos=no", options.program, "vrampool", "counted",
             *words], check=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, env={**os.environ, **environment})
        return self_costs(out.read_text(errors="replace"))


def measure(options, case, environment, is_gpu):
    gpu = ["--gpu"] * is_gpu
    once, twice = (count(options, ["--case", case, "--count", str(pairs), *gpu],
                         environment)
                   for pairs in (options.pairs, 2 * options.pairs))
    row = collections.Counter()
    for name in twice:
        row[kind_of(name)] += (twice[name] - once[name]) / options.pairs
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=10240)
    parser.add_argument("--case", action="append")
    parser.add_argument("program")
    parser.add_argument("vrampoold")
    parser.add_argument("driver", nargs="?")
    options = parser.parse_args()
    print("memory  case       libvrampool   system   fake driver")
    for is_gpu in [False] + [True] * (options.driver is not None):
        driver = {"VRAMPOOL_CUDA_DRIVER": options.driver,
                  "VRAMPOOL_NVML": "/nonexistent"} if is_gpu else {}
        with tempfile.TemporaryDirectory(prefix="vrampool-fake-") as folder:
            if is_gpu:
                os.environ["VRAMPOOL_FAKE_CUDA_DIR"] = folder
            os.environ.update(driver)
            one = broker.Broker(options.vrampoold, pool_size=POOL,
                                default_limit=POOL)
            if is_gpu:
                one.device = "cuda:0"
            with one as daemon:
                for case in options.case or (GPU_CASES if is_gpu else CASES):
                    row = measure(options, case, {
                        "VRAMPOOL_DIR": str(daemon.directory),
                        "VRAMPOOL_IDLE_MS": "3600000"}, is_gpu)
                    print(f"{'GPU' if is_gpu else 'host':7} {case:10} "
                          f"{row['libvrampool']:11.0f} {row['system']:8.0f} "
                          f"{row['fake driver']:13.0f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
