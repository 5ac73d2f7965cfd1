"""A plugin of pytest that writes what becomes of each test to the file of
VRAMPOOL_RECORD, a line of JSON for each report, so that a run which is ended
has left something; and has what numba-cuda's own conftest.py has. The tests
that VRAMPOOL_LEAVE_OUT names, a line each, are not run."""

import json
import os

import pytest

_PACKAGE = "numba/cuda/tests/"
_MOST_REASON = 1000


def pytest_addoption(parser):
    parser.addoption("--dump-failed-filechecks", action="store_true")


@pytest.fixture(scope="class")
def initialize_from_pytest_config(request):
    request.cls._dump_failed_filechecks = request.config.getoption(
        "dump_failed_filechecks")


def pytest_collection_modifyitems(config, items):
    names = os.environ.get("VRAMPOOL_LEAVE_OUT", "").splitlines()
    left_out = [item for item in items if name_of(item) in names]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def name_of(item):
    """Its file below the folder of all tests, and its place in that."""
    return item.nodeid.split(_PACKAGE)[-1]


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # Of pytest-xdist.
        config.pluginmanager.register(Recorder(os.environ["VRAMPOOL_RECORD"]))


class Recorder:
    def __init__(self, path):
        self._file = open(path, "w")

    def pytest_runtest_logreport(self, report):
        self._write(report, report.when)

    def pytest_collectreport(self, report):
        if report.outcome == "failed":
            self._write(report, "collect")

    def pytest_sessionfinish(self):
        self._file.write('"ended"\n')
        self._file.close()

    def _write(self, report, when):
        line = {"test": name_of(report), "when": when,
                "outcome": report.outcome,
                "seconds": round(getattr(report, "duration", 0), 3)}
        if report.outcome == "failed":
            line["why"] = report.longreprtext[-_MOST_REASON:]
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
