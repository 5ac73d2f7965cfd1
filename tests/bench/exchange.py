#!/usr/bin/env python3
"""Measures how memory passes from one process to another, beside other ways of
doing it, and prints one table of it.

    exchange.py [--gpu] [--rounds N] [--out RESULT.json] [--quick]
                [--bench VRAMPOOL_BENCH] FRAMEWORKS VRAMPOOLD LIBVRAMPOOL

FRAMEWORKS is the list of interpreters that tests/python/make_venv.sh writes:
lines of "NAME PYTHON", or "NAME - REASON". In each round every way is measured
in turn, in processes of its own:

objects   share and open through the Python package (exchange_objects.py), and
          through C++ where VRAMPOOL_BENCH is given
tensor    a tensor of 64 MiB to another process and back (exchange_tensor.py)
table     an Arrow table of 1 GiB to another process (exchange_table.py), and
          once more for the memory that both processes have at most
adapters  an allocation and its free by each adapter (exchange_adapters.py)

A figure is the median of the rounds, its ratio the median of the ratios within a
round to the first way of ours. With --gpu all is done on the first GPU with both
kinds of handle, but for tables, which are the host's. All numbers, and what could
not be measured, are in RESULT.json (exchange.json). --quick only tries everything
out. Fails when what is ours could not be measured.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path += [str(ROOT / "tests" / "python"), str(ROOT / "tests" / "cuda")]
import broker  # noqa: E402  Found by the line above.
import exchange_memory  # noqa: E402
import with_daemon  # noqa: E402
from ratios import NANOSECONDS  # noqa: E402

POOL = "6GiB"
BENCH_FIGURES = {"EmptyRpc": "empty RPC", "Share": "share",
                 "OpenFirst": "open, first", "OpenMapped": "open, mapped"}
TENSOR_WAYS = {
    False: ["vrampool queue", "vrampool pipe", "vrampool token",
            "torch file_descriptor queue", "torch file_descriptor pipe",
            "torch file_system queue", "torch file_system pipe", "bare"],
    True: ["vrampool queue", "vrampool pipe", "vrampool token", "torch queue",
           "torch pipe", "bare"]}
TABLE_WAYS = ["vrampool", "vrampool in place", "pickle pipe", "pickle queue",
              "IPC file"]
# By framework: the ways of each, in processes of their own.
ADAPTERS = {
    False: {"numpy": ["vrampool", "vrampool allocate", "own"],
            "torch": ["vrampool", "own"], "pyarrow": ["vrampool", "own"],
            "mxnet": ["vrampool", "own"]},
    True: {"torch": ["vrampool enable", "vrampool", "own"],
           "cupy": ["vrampool", "vrampool under its pool", "own"],
           "numba": ["vrampool", "own"]}}


class Exchange:
    def __init__(self, options):
        self.options = options
        self.facts = {"cpus": os.cpu_count(), "machine": platform.processor()
                      or platform.machine(), "rounds": options.rounds,
                      "shared_memory": options.shm,
                      "shared_memory_free": free_bytes(options.shm)}
        self.records = []
        self.interpreters, self.absent = interpreters(options.frameworks)

    def run(self):
        self.bench()
        for number in range(self.options.rounds):
            for kind in ["CUDA_IPC", "VMM_FD"] if self.options.gpu else [""]:
                self.objects(number, kind)
                self.tensors(number, kind)
                if not self.options.gpu:
                    self.tables(number)
                self.adapters(number, kind)
        if not self.options.gpu:
            self.memory()

    def objects(self, number, kind):
        self.measure(number, kind, "python", "exchange_objects.py", "objects",
                     "vrampool")

    def tensors(self, number, kind):
        for way in TENSOR_WAYS[self.options.gpu]:
            if kind != "VMM_FD" or way.startswith("vrampool"):
                self.measure(number, kind, "torch", "exchange_tensor.py",
                             "tensor", way)

    def tables(self, number):
        for way in TABLE_WAYS:
            self.measure(number, "", "pyarrow", "exchange_table.py", "table",
                         way)

    def adapters(self, number, kind):
        for framework, ways in ADAPTERS[self.options.gpu].items():
            for way in ways:
                if kind != "VMM_FD" or way != "own":
                    self.measure(number, kind, framework,
                                 "exchange_adapters.py", "adapters", way,
                                 framework)

    def bench(self):
        """The calls of C++, by Google Benchmark, which has rounds itself."""
        if not self.options.bench:
            return
        with tempfile.NamedTemporaryFile("r", suffix=".json") as file:
            words = [self.options.bench, f"--benchmark_out={file.name}",
                     "--benchmark_filter=^(" + "|".join(BENCH_FIGURES)
                     + ")($|/)",
                     f"--benchmark_repetitions={self.options.rounds}"]
            words += ["--benchmark_min_time=0.001"] * self.options.quick
            subprocess.run(
                words, stdout=subprocess.DEVNULL, check=True,
                env={**os.environ,
                     "VRAMPOOL_DAEMON": self.options.vrampoold})
            benchmarks = json.load(file)["benchmarks"]
        for each in benchmarks:
            if each["run_type"] == "aggregate":
                continue
            name = each["name"].split("/")[0]
            self.note(each.get("repetition_index", 0), "", {
                "workload": "objects", "case": BENCH_FIGURES[name],
                "way": "vrampool C++",
                "ns": each["real_time"] * NANOSECONDS[each["time_unit"]]})

    def memory(self):
        for way in TABLE_WAYS:
            with self.daemon("") as daemon:
                words = self.words("pyarrow", "exchange_table.py", way)
                if words is None:
                    return
                self.note(0, "", {
                    "workload": "memory", "case": "table", "way": way,
                    **exchange_memory.peak([*words, "--memory"],
                                           self.environment(daemon, ""))})

    def measure(self, number, kind, framework, program, workload, way,
                *arguments):
        words = self.words(framework, program, way, *arguments)
        if words is None:
            self.note(number, kind, {
                "workload": workload, "case": framework, "way": way,
                "absent": self.absent.get(framework, "not in the list")})
            return
        with self.daemon(kind) as daemon:
            done = subprocess.run(words, env=self.environment(daemon, kind),
                                  stdout=subprocess.PIPE, text=True,
                                  check=False)
        if done.returncode != 0:
            self.note(number, kind, {
                "workload": workload, "case": framework, "way": way,
                "missing": f"ended with {done.returncode}"})
        for line in done.stdout.splitlines():
            self.note(number, kind, {"workload": workload, "way": way,
                                     **json.loads(line)})

    def words(self, framework, program, way, *arguments):
        """A command; None where nobody has the framework."""
        python = (sys.executable if framework == "python"
                  else self.interpreters.get(framework))
        if python is None:
            return None
        return [python, "-B", str(HERE / program), way, *arguments,
                "--shm", self.options.shm,
                *["--gpu"] * self.options.gpu,
                *["--quick"] * self.options.quick]

    def environment(self, daemon, kind):
        return {**os.environ, "VRAMPOOL_DIR": str(daemon.directory),
                "VRAMPOOL_LIBRARY": self.options.library,
                "PYTHONPATH": str(ROOT / "client" / "python"),
                **({"VRAMPOOL_KIND": kind} if kind else {})}

    def daemon(self, kind):
        config = {"pool_size": POOL, "default_limit": POOL}
        if kind:
            config["kinds"] = [kind]
        daemon = broker.Broker(self.options.vrampoold, **config)
        if self.options.gpu:
            daemon.device = self.options.device
        return daemon

    def note(self, number, kind, record):
        if kind and record["way"].startswith("vrampool"):
            record["way"] += f" {kind}"
        self.records.append({**record, "round": number})


def interpreters(path):
    """By framework: interpreters, and reasons why there is none."""
    found, absent = {}, {}
    for line in pathlib.Path(path).read_text().splitlines():
        name, python, *reason = line.split(" ", 2)
        if python == "-":
            absent[name] = " ".join(reason)
        else:
            found[name] = python
    return found, absent


def free_bytes(folder):
    facts = os.statvfs(folder)
    return facts.f_bavail * facts.f_frsize


def rows_of(records):
    """(workload, case, way, median, median ratio to ours), in the order in which
    they were measured first."""
    times = {}
    for record in records:
        if "ns" in record:
            ways = times.setdefault((record["workload"], record["case"]), {})
            ways.setdefault(record["way"], {}).setdefault(
                record["round"], []).append(record["ns"])
    for (workload, case), ways in times.items():
        medians = {way: {number: statistics.median(values)
                         for number, values in rounds.items()}
                   for way, rounds in ways.items()}
        ours = next((rounds for way, rounds in medians.items()
                     if way.startswith("vrampool")), {})
        for way, rounds in medians.items():
            ratios = [time / ours[number] for number, time in rounds.items()
                      if number in ours]
            yield (workload, case, way, statistics.median(rounds.values()),
                   statistics.median(ratios) if ratios else None)


def human(nanoseconds):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"


def table(records):
    lines = ["| workload | case | way | time | ratio |",
             "| --- | --- | --- | ---: | ---: |"]
    for workload, case, way, time, ratio in rows_of(records):
        lines.append(f"| {workload} | {case} | {way} | {human(time)} | "
                     + ("" if ratio is None else f"{ratio:.3g}") + " |")
    return "\n".join(lines)


def memory_table(records):
    """MiB that both processes had at most."""
    lines = ["| way | both | producer | consumer |",
             "| --- | ---: | ---: | ---: |"]
    for record in records:
        if record["workload"] == "memory":
            lines.append("| {} | {:.0f} | {:.0f} | {:.0f} |".format(
                record["way"], *(record[name] / 2**20 for name in
                                 ("both", "producer", "consumer"))))
    return "\n".join(lines) if len(lines) > 2 else ""


def is_failure(record):
    """Ours, and it could not be measured. What no interpreter here has is only
    said."""
    return record["way"].startswith("vrampool") and "missing" in record


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shm", default="/dev/shm",
                        help="where files in memory are")
    parser.add_argument("--bench", help="vrampool_bench")
    parser.add_argument("--out", default="exchange.json")
    parser.add_argument("frameworks")
    parser.add_argument("vrampoold")
    parser.add_argument("library")
    exchange = Exchange(parser.parse_args())
    with with_daemon.fake_devices(1):  # Where the driver is the tests' fake.
        exchange.run()
    records = exchange.records
    pathlib.Path(exchange.options.out).write_text(json.dumps(
        {"facts": exchange.facts, "records": records}, indent=1))
    print(table(records), memory_table(records), sep="\n\n")
    for what, why in sorted({
            (f"{each['workload']} {each['case']}, {each['way']}",
             each.get("missing") or each.get("absent"))
            for each in records if "missing" in each or "absent" in each}):
        print(f"not measured: {what}: {why}")
    return 1 if any(map(is_failure, records)) else 0


if __name__ == "__main__":
    sys.exit(main())
