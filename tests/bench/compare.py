#!/usr/bin/env python3
"""Measures our allocator beside others, and prints one table of it.

    compare.py [--gpu] [--rounds N] [--log FILE] [--out RESULT.json] [--quick]
               PROGRAM VRAMPOOLD

PROGRAM is vrampool_compare. In each round every allocator does every workload
in turn, in a process of its own; random allocations, logs and the work of
several processes at once (compare_processes.py) are done in the first round only. A figure is the median of the rounds. With --gpu all
of it is done on the first GPU, by its own daemon and with both kinds of handle,
else on host memory. --log adds the replay of a log of RMM's, any number of times.

The last column is our time divided by that of the fastest other allocator. All
numbers, and what could not be measured, are in RESULT.json (compare.json).
--quick only tries everything out. Fails when ours could not be measured.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "python"))
import broker  # noqa: E402  Found by the line above.
import compare_processes  # noqa: E402

HOST_ALLOCATORS = ["vrampool", "malloc", "mimalloc", "empty"]
GPU_ALLOCATORS = ["vrampool CUDA_IPC", "vrampool VMM_FD", "cuMemAlloc",
                  "cuMemAllocAsync", "rmm_pool", "rmm_arena",
                  "rmm_cuda_async", "torch", "empty"]
# The host's pages are not touched: this is address space.
HOST_MIB = {"pool": 4096, "usage": 1024}
# What RMM's own benchmark uses at most.
GPU_USAGE_MIB = 16000
# What several processes show of these, the others show as well.
ALIKE = ["cuMemAlloc", "rmm_arena", "rmm_cuda_async"]
# Where several processes are at it, each begins with that much of its own.
SHARED_POOL_MIB = 256
QUICK_BUSY_MIB = 80
HOST_BUSY_MIB = 256  # All of them at once fit in HOST_MIB.


def gpu_facts(mib):
    if mib:
        return {"gpu": "not asked", "gpu_mib": mib}
    said = subprocess.run(
        ["nvidia-smi", "--query-gpu=name,driver_version,memory.total",
         "--format=csv,noheader,nounits"], capture_output=True, text=True,
        check=True).stdout.splitlines()[0]
    name, driver, total = (word.strip() for word in said.split(","))
    return {"gpu": name, "driver": driver, "gpu_mib": int(total)}


class Comparison:
    def __init__(self, options):
        self.options = options
        self.facts = {"cpus": os.cpu_count(), "machine": platform.processor()
                      or platform.machine(), "rounds": options.rounds}
        self.sizes = dict(HOST_MIB)
        if options.gpu:
            self.facts |= gpu_facts(options.gpu_mib)
            half = self.facts["gpu_mib"] // 2
            self.sizes = {"pool": half, "usage": min(GPU_USAGE_MIB, half // 2)}
        self.records = []

    def run(self):
        for number in range(self.options.rounds):
            for allocator in (GPU_ALLOCATORS if self.options.gpu
                              else HOST_ALLOCATORS):
                is_empty = allocator == "empty"
                self.measure(number, allocator, "pairs,threads,streams"
                             + ",calls" * is_empty)
                if number > 0 or is_empty:
                    continue
                # What was reserved must stay.
                self.measure(number, allocator, "random",
                             VRAMPOOL_IDLE_MS="3600000")
                for log in self.options.log:
                    self.measure(number, allocator, "replay", log=log)
                if allocator not in ALIKE:
                    self.measure(number, allocator, "processes")

    def measure(self, number, allocator, workloads, log=None, **environment):
        name, _, kind = allocator.partition(" ")
        if name != "vrampool":
            self.start(number, allocator, workloads, log, environment)
            return
        with self.daemon(kind) as daemon:
            self.start(number, allocator, workloads, log, {
                "VRAMPOOL_DIR": str(daemon.directory), **environment})

    def daemon(self, kind):
        # More than is reserved: a slab that does not fit there is still to be
        # had.
        limit = f"{self.sizes['pool'] * 5 // 4}MiB"
        config = {"pool_size": limit, "default_limit": limit}
        if kind:
            config["kinds"] = [kind]
        daemon = broker.Broker(self.options.vrampoold, **config)
        if self.options.gpu:
            daemon.device = self.options.device
        return daemon

    def start(self, number, allocator, workloads, log, environment):
        several = workloads == "processes"
        pool = SHARED_POOL_MIB if several else self.sizes["pool"]
        words = [self.options.program, allocator.split()[0], workloads,
                 "--pool", str(pool), "--usage", str(self.sizes["usage"])]
        words += ["--gpu"] * self.options.gpu + ["--quick"] * self.options.quick
        words += ["--log", log] if log else []
        environment = {**os.environ, **environment}
        if several:
            self.start_several(number, allocator, words, environment)
            return
        done = subprocess.run(words, env=environment, stdout=subprocess.PIPE,
                              text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(words)} ended with {done.returncode}")
        for line in done.stdout.splitlines():
            self.note(number, allocator, json.loads(line))

    def start_several(self, number, allocator, words, environment):
        busy = (QUICK_BUSY_MIB if self.options.quick
                else compare_processes.BUSY_MIB if self.options.gpu
                else HOST_BUSY_MIB)
        for count in compare_processes.COUNTS:
            self.note(number, allocator, compare_processes.run(
                words, environment, count, busy))

    def note(self, number, allocator, record):
        self.records.append({**record, "allocator": allocator,
                             "round": number})


def medians(records):
    """Nanoseconds by (workload, case) and allocator; in the order measured."""
    times = {}
    for record in records:
        if "ns" in record:
            case = (record["workload"], record["case"])
            times.setdefault(case, {}).setdefault(
                record["allocator"], []).append(record["ns"])
    return {case: {allocator: statistics.median(values)
                   for allocator, values in row.items()}
            for case, row in times.items()}


def human(nanoseconds):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.1f} ns"


def ratio(row):
    ours = [time for name, time in row.items() if name.startswith("vrampool")]
    others = [time for name, time in row.items()
              if not name.startswith("vrampool") and name != "empty"]
    return f"{ours[0] / min(others):.3g}" if ours and others else ""


def table(times, allocators):
    rows = [["WORKLOAD", "CASE", *allocators, "RATIO"]]
    for (workload, case), row in times.items():
        rows.append([workload, case,
                     *(human(row[name]) if name in row else "-"
                       for name in allocators), ratio(row)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) if i < 2 else cell.rjust(width)
                  for i, (cell, width) in enumerate(zip(row, widths))).rstrip()
        for row in rows)


def held(records):
    """Bytes held over bytes alive, where allocators differ in it."""
    lines = []
    for record in records:
        if record.get("peak_held") and record["peak_live"]:
            lines.append(
                "{workload} {case}, {allocator}: ".format(**record)
                + f"{record['peak_held'] / 2**20:.0f} MiB held, "
                + f"{record['peak_live'] / 2**20:.0f} MiB alive: "
                + f"{record['peak_held'] / record['peak_live']:.2f}")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--gpu-mib", type=int,
                        help="its memory, where nvidia-smi is not to be asked")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--log", action="append", default=[])
    parser.add_argument("--out", default="compare.json")
    parser.add_argument("program")
    parser.add_argument("vrampoold")
    comparison = Comparison(parser.parse_args())
    comparison.run()
    pathlib.Path(comparison.options.out).write_text(json.dumps(
        {"facts": comparison.facts, "records": comparison.records}, indent=1))
    allocators = list(dict.fromkeys(
        record["allocator"] for record in comparison.records
        if "ns" in record))
    print(table(medians(comparison.records), allocators))
    missing = {(record["allocator"], record["missing"])
               for record in comparison.records
               if record.get("case") == "all" and "missing" in record}
    print(held(comparison.records))
    for allocator, why in sorted(missing):
        print(f"not measured: {allocator}: {why}")
    for record in comparison.records:
        if record.get("refused", 0) > 0:
            print("refused: {allocator}, {workload} {case}: {refused}"
                  .format(**record))
    return 1 if any(is_failure(each) for each in comparison.records) else 0


def is_failure(record):
    """Ours, and something of it is missing. (Where sizes are random, a pool may
    have no piece that is large enough: that is a figure.)"""
    return record["allocator"].startswith("vrampool") and (
        "missing" in record
        or record["workload"] in ("replay", "processes")
        and record["refused"] > 0)


if __name__ == "__main__":
    sys.exit(main())
