#!/usr/bin/env python3
"""numba-cuda's own test suite on a GPU, with the memory manager that it has and
with ours, beside a daemon for each kind of handle:

    numba_suite.py VRAMPOOLD LIBVRAMPOOL [KIND...]

Every test that passes with the first has to pass with ours, or be named in
numba_suite/differs.txt, and those that are named there must fail. What fails is
tried once more by itself: the tests have short time limits, and after an error
of the GPU a process has nothing but errors. Needs numba-cuda with its tests,
pytest and pytest-xdist. Logs and what became of each test go to $OUT (default:
the current folder).
"""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests" / "python"))
import broker  # noqa: E402  Found by the line above.

SUITE = HERE / "numba_suite"
MODULES = "numba.cuda.tests"
KINDS = ("CUDA_IPC", "VMM_FD")
# What differs.txt says of a test.
FAILS, LEFT_OUT = "fails", "left-out"
# Of one run; the whole of the suite takes a minute or two on 16 cores.
LIMIT_SECONDS = int(os.environ.get("VRAMPOOL_SUITE_SECONDS", "240"))
WORKERS = os.environ.get("VRAMPOOL_SUITE_WORKERS") or str(
    min(os.cpu_count(), 16))
MOST_AGAIN, AGAIN_AT_ONCE, AGAIN_SECONDS = 150, 8, 60


def main(words):
    if len(words) < 2:
        sys.exit(__doc__)
    # What it has started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    daemon, library, kinds = words[0], words[1], words[2:] or KINDS
    out = pathlib.Path(os.environ.get("OUT", ".")).resolve()
    out.mkdir(parents=True, exist_ok=True)
    differs = read_differs((SUITE / "differs.txt").read_text())
    problems = []
    stock = Run(out, "numba-stock", environment())
    stock.whole()
    problems += stock.problems()
    if not any(became == "passed" for became in stock.results.values()):
        problems.append("no test passes with Numba's own memory manager: see "
                        f"{stock.log}")
    for kind in kinds:
        with daemon_of(daemon) as directory:
            ours = Run(out, f"numba-{kind.lower()}", environment(
                NUMBA_CUDA_MEMORY_MANAGER="vrampool.numba",
                VRAMPOOL_DIR=directory, VRAMPOOL_LIBRARY=library,
                VRAMPOOL_KIND=kind, VRAMPOOL_LEAVE_OUT="\n".join(
                    differs[LEFT_OUT])))
            ours.whole()
            ours.again([test for test in worse(stock.results, ours.results)
                        if test not in differs[FAILS] + differs[LEFT_OUT]])
        problems += ours.problems()
        problems += [f"{kind}: {line}" for line in
                     compared(stock.results, ours.results, differs)]
        skipped = sorted(test for test, became in stock.results.items()
                         if became == "passed"
                         and ours.results.get(test) == "skipped")
        print(f"{kind}: the suite itself skips {len(skipped)} that it runs "
              "with its own manager")
        print("".join(f"    {test}\n" for test in skipped), end="")
    print("\n".join(problems) or "nothing is worse with the pool")
    return 1 if problems else 0


@contextlib.contextmanager
def daemon_of(program):
    one = broker.Broker(program, pool_size=os.environ.get(
        "VRAMPOOL_SUITE_POOL", "24GiB"))
    one.device = os.environ.get("VRAMPOOL_TEST_DEVICE", "cuda:0")
    with one:
        yield str(one.directory)


def environment(**more):
    """Of a run; what an outer one has of the variables in `more` is not for
    the run without them."""
    mine = {key: value for key, value in os.environ.items()
            if key not in ("NUMBA_CUDA_MEMORY_MANAGER", "VRAMPOOL_KIND",
                           "VRAMPOOL_DIR", "PYTEST_ADDOPTS")}
    path = [str(SUITE), str(ROOT / "client" / "python"),
            os.environ.get("PYTHONPATH", "")]
    return {**mine, "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "PYTHONDONTWRITEBYTECODE": "1", "PYTHONFAULTHANDLER": "1", **more}


class Run:
    """The suite with one memory manager."""

    def __init__(self, out, name, variables):
        self.name = name
        self.log, self._record = out / f"{name}.log", out / f"{name}.jsonl"
        self._variables = variables
        self.results = {}
        self._has_ended = True

    def whole(self):
        started = time.monotonic()
        self.results, self._has_ended = self._pytest(
            [MODULES, "-n", WORKERS, "--dist", "loadscope",
             "--continue-on-collection-errors"], self.log, self._record,
            LIMIT_SECONDS)
        counts = {}
        for became in self.results.values():
            counts[became] = counts.get(became, 0) + 1
        print(f"{self.name}: "
              + ", ".join(f"{counts[key]} {key}" for key in sorted(counts))
              + f" in {time.monotonic() - started:.0f} s", flush=True)

    def again(self, tests):
        """Each in a process of its own; what passes now has passed. Many that
        fail are no accident."""
        if not 0 < len(tests) <= MOST_AGAIN:
            return
        log = self.log.with_suffix(".again.log")
        log.unlink(missing_ok=True)

        def one(test):
            own = log.with_name(f"{log.name}.{tests.index(test)}")
            record = own.with_suffix(f"{own.suffix}.jsonl")
            results, _ = self._pytest([argument(test)], own, record,
                                      AGAIN_SECONDS)
            return test, own, record, results
        with concurrent.futures.ThreadPoolExecutor(AGAIN_AT_ONCE) as pool:
            for test, own, record, results in pool.map(one, tests):
                with open(log, "a") as whole:
                    whole.write(own.read_text(errors="replace"))
                own.unlink()
                record.unlink(missing_ok=True)
                # There is one, by a name that depends on what was asked for.
                if set(results.values()) == {"passed"}:
                    self.results[test] = "passed"
                    print(f"{self.name}: passes by itself: {test}")

    def problems(self):
        if self._has_ended:
            return []
        return [f"{self.name}: the run did not come to its end: see {self.log}"]

    def _pytest(self, arguments, log, record, limit):
        """What became of each test, and whether the run came to its end."""
        record.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", "-c",
                   str(SUITE / "pytest.ini"), "-p", "recorder",
                   "-p", "no:cacheprovider", "-q", "--disable-warnings",
                   "--tb", "short", "-rfE", "--pyargs", *arguments]
        with open(log, "w") as file:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file,
                stderr=subprocess.STDOUT, cwd=log.parent,
                env={**self._variables, "VRAMPOOL_RECORD": str(record)},
                start_new_session=True)
            try:
                process.wait(limit)
            except subprocess.TimeoutExpired:
                pass
            finally:  # Workers, and what tests have started, too.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        lines = record.read_text().splitlines() if record.exists() else []
        return read_record(lines)


def read_record(lines):
    """What became of each test, by the recorder's lines: "failed" if a part of
    it has, and else "skipped" if a part of it was; and whether they end."""
    results, has_ended = {}, False
    for line in lines:
        try:
            report = json.loads(line)
        except ValueError:  # Not written to its end.
            continue
        if report == "ended":
            has_ended = True
            continue
        before = results.get(report["test"], "passed")
        order = ("failed", "skipped", "passed")
        results[report["test"]] = min(before, report["outcome"],
                                      key=order.index)
    return results, has_ended


def argument(test):
    """What pytest --pyargs calls a test: the file's module, and the rest."""
    path, colons, rest = test.partition("::")
    module = path.removesuffix(".py").replace("/", ".")
    return f"{MODULES}.{module}{colons}{rest}"


def read_differs(text):
    """Tests by the word that they are named with; ValueError for one without a
    reason in a comment before it."""
    found, has_reason = {FAILS: [], LEFT_OUT: []}, False
    for line in text.splitlines():
        if line.startswith("#"):
            has_reason = True
        elif line.strip():
            word, _, test = line.partition(" ")
            if word not in found or not test or not has_reason:
                raise ValueError(f"a word, a test and a reason, not: {line}")
            found[word].append(test)
        else:
            has_reason = False
    return found


def worse(stock, ours):
    """What passes there, and here fails or is not run at all."""
    return sorted(test for test, became in stock.items()
                  if became == "passed"
                  and ours.get(test) not in ("passed", "skipped"))


def compared(stock, ours, differs):
    """What must not be, a line each."""
    named = differs[FAILS] + differs[LEFT_OUT]
    lines = [f"passes with Numba's own manager, and "
             f"{'fails' if test in ours else 'is not run'} with ours: {test}"
             for test in worse(stock, ours) if test not in named]
    lines += [f"differs.txt names what is no test: {test}"
              for test in named if test not in stock]
    lines += [f"differs.txt names what passes: {test}"
              for test in differs[FAILS] if ours.get(test) == "passed"]
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
