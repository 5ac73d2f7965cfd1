#!/usr/bin/env python3
"""Prints the figures of a benchmark run, each with its ratio and its bar.

    ratios.py RESULT.json

RESULT.json is Google Benchmark's own output; medians of repetitions are used
where there are any. All ratios are within the one run. What makes no system
call is compared by the processor time of its thread, which other programs on
the machine disturb least; everything else by the time on the clock.
"""

import json
import re
import sys

IN_PROCESS = ("AllocateWarm", "MallocFree", "MapUnmap", "OpenMapped")
NANOSECONDS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


def medians(report):
    """Nanoseconds by benchmark name (without the suffixes of its timing)."""
    times = {}
    for run in report["benchmarks"]:
        if run.get("error_occurred"):
            raise SystemExit(f"{run['name']}: {run['error_message']}")
        is_median = run.get("aggregate_name") == "median"
        if run["run_type"] == "aggregate" and not is_median:
            continue
        name = re.sub(r"/(real_time|manual_time|iterations:\d+)", "",
                      run["run_name"])
        clock = "cpu_time" if name.split("/")[0] in IN_PROCESS else "real_time"
        value = run[clock] * NANOSECONDS[run["time_unit"]]
        if is_median or name not in times:
            times[name] = value
    return times


def human(nanoseconds):
    for unit, size in (("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.2f} {unit}"
    return f"{nanoseconds:.1f} ns"


def figures():
    """(what, its benchmark, against what, those benchmarks, bar)."""
    rpc = ("empty RPC", ["EmptyRpc"])
    yield "empty RPC", "EmptyRpc", "", [], ""
    for size, text in ((2 << 20, "2 MiB"), (64 << 20, "64 MiB")):
        yield (f"cold lease {text}", f"ColdLease/{size}", "empty RPC + raw map",
               ["EmptyRpc", f"RawMap/{size}"], "<= 2 x")
        yield f"return {text}", f"ReturnLease/{size}", *rpc, ""
    yield "share", "Share", *rpc, ""
    yield "open, first", "OpenFirst", *rpc, ""
    yield "open, mapped", "OpenMapped", *rpc, "<= 1 us"
    yield "attach and close", "Attach", *rpc, ""
    for count in (1, 100):
        yield f"status, {count} sessions", f"QueryStatus/{count}", *rpc, "10 ms"
        yield f"list {count} sessions", f"QuerySessions/{count}", *rpc, "10 ms"
        yield (f"leaks of {count},000 blocks", f"QueryBlocks/leaks/{count}",
               *rpc, "")
        yield (f"snapshot of {count},000 blocks",
               f"QueryBlocks/snapshot/{count}", *rpc, "")
    for size in (256, 4096, 65536, 1 << 20, 16 << 20):
        what, name = f"allocate + free {size} B", f"AllocateWarm/{size}"
        yield what, name, "malloc + free", [f"MallocFree/{size}"], "30 ns"
        yield what, name, "mmap + munmap", [f"MapUnmap/{size}"], ""
    for threads in (1, 4):
        yield (f"allocate + free, {threads} threads",
               f"AllocateWarmThreads/threads:{threads}", "1 thread",
               ["AllocateWarmThreads/threads:1"], "")


def row(times, what, name, against, floors, bar):
    """Cells; none where a benchmark was left out of the run."""
    if any(benchmark not in times for benchmark in [name, *floors]):
        return None
    value, floor = times[name], sum(times[floor] for floor in floors)
    if not floors:
        return (what, human(value), "", "", "", bar)
    return (what, human(value), against, human(floor), f"{value / floor:.3g}",
            bar)


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    with open(sys.argv[1], encoding="utf-8") as file:
        times = medians(json.load(file))
    rows = [("FIGURE", "TIME", "AGAINST", "ITS TIME", "RATIO", "BAR")]
    rows += filter(None, (row(times, *figure) for figure in figures()))
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(rows[0]))]
    for cells in rows:
        cells = [cell.rjust(width) if i in (1, 3, 4) else cell.ljust(width)
                 for i, (cell, width) in enumerate(zip(cells, widths))]
        print("  ".join(cells).rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
