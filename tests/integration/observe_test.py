#!/usr/bin/env python3
"""What an operator sees of the real daemon: metrics as Prometheus reads them,
events as they happen, and snapshots.

    observe_test.py VRAMPOOLD VRAMPOOL
"""

import json
import pathlib
import re
import subprocess
import sys
import unittest
import urllib.error
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "python"))
import broker  # noqa: E402

DAEMON, TOOL = sys.argv.pop(1), sys.argv.pop(1)
TENANT = 'tenants { path: "root/a" limit: "8MiB" }\n'
# Of promtool's `check metrics`: units that are no base units.
BAD_UNITS = {"milliseconds", "microseconds", "minutes", "hours", "kilobytes",
             "megabytes", "kibibytes", "mebibytes", "bits", "ms", "kb", "mb"}


def tool(server, *arguments, **options):
    return subprocess.run([TOOL, "--directory", server.directory, *arguments],
                          capture_output=True, text=True, timeout=60, **options)


def scrape(server, path="/metrics"):
    port = re.search(r'event="metrics served" port=(\d+)', server.log())[1]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}",
                                timeout=30) as answer:
        return answer.read().decode()


def lint(family):
    """What promtool would find fault with."""
    problems = []
    if not family.documentation:
        problems.append("no help")
    for sample in family.samples:
        for label in sample.labels:
            if not re.fullmatch(r"[a-z][a-z_]*", label):
                problems.append(f"label {label}")
    words = family.name.split("_")
    if BAD_UNITS & set(words):
        problems.append("not in base units")
    for unit in ("bytes", "seconds"):
        if unit in words and words[-1] != unit:
            problems.append("the unit is not at the end")
    if family.type in ("counter", "gauge") and {"bucket", "count", "sum"} & set(
            words[-1:]):
        problems.append("named as a part of a histogram")
    if not family.name.islower():
        problems.append("capital letters")
    return problems


def misnamed_counters(text):
    """From the text itself: the parser mends these names."""
    return [name for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text,
                                              re.MULTILINE)
            if (kind == "counter") != name.endswith("_total")]


class Metrics(unittest.TestCase):
    def test_metrics_keep_to_the_conventions(self):
        with broker.Broker(DAEMON, TENANT, metrics_address="127.0.0.1:0",
                           pool_size="64MiB") as server:
            text = scrape(server)
            self.assertEqual(misnamed_counters(text), [])
            families = {family.name: family for family in
                        text_string_to_metric_families(text)}
            ours = [family for name, family in families.items()
                    if name.startswith("vrampool_")]
            self.assertGreater(len(ours), 25)
            for family in ours:
                self.assertEqual(lint(family), [], family.name)
            states = families["vrampool_pool_bytes"].samples
            self.assertEqual(sum(sample.value for sample in states), 64 << 20)
            self.assertEqual(len(states), 8)
            tenants = {sample.labels["tenant"]: sample.value for sample in
                       families["vrampool_tenant_limit_bytes"].samples}
            self.assertEqual(tenants["root/a"], 8 << 20)
            operations = {sample.labels["operation"] for sample in
                          families["vrampool_operation_duration_seconds"].samples}
            self.assertEqual(operations, {"lease", "return", "share", "open",
                                          "close", "wait", "create", "destroy"})
            with self.assertRaises(urllib.error.HTTPError):
                scrape(server, "/")

    def test_without_an_address_nothing_is_served(self):
        with broker.Broker(DAEMON, pool_size="64MiB") as server:
            self.assertNotIn("metrics served", server.log())

    def test_the_rules_that_lint_knows(self):
        def of(text):
            [family] = text_string_to_metric_families(text)
            return lint(family)
        good = "# HELP a_bytes Some.\n# TYPE a_bytes gauge\na_bytes 1\n"
        self.assertEqual(of(good), [])
        self.assertEqual(of(good.replace("# HELP a_bytes Some.\n", "")),
                         ["no help"])
        self.assertEqual(misnamed_counters(good), [])
        self.assertEqual(misnamed_counters(good.replace("gauge", "counter")),
                         ["a_bytes"])
        self.assertEqual(of(good.replace("a_bytes", "bytes_of_a")),
                         ["the unit is not at the end"])
        self.assertEqual(of(good.replace("a_bytes", "a_ms")),
                         ["not in base units"])


class Watch(unittest.TestCase):
    def test_a_changed_limit_is_seen_and_a_stop_ends_the_stream(self):
        with broker.Broker(DAEMON, TENANT, pool_size="64MiB") as server:
            watcher = subprocess.Popen(
                [TOOL, "--directory", server.directory, "watch", "--json",
                 "--kind", "quota-changed", "--tenant", "root/a"],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            with watcher:
                self.assertEqual(watcher.stderr.readline(), "watching\n")
                for size in ("16MiB", "4MiB"):
                    changed = tool(server, "quota", "set", "root/a", size)
                    self.assertEqual(changed.returncode, 0, changed.stderr)
                first = json.loads(watcher.stdout.readline())
                second = json.loads(watcher.stdout.readline())
                self.assertEqual(first["kind"], "KIND_QUOTA_CHANGED")
                self.assertEqual(int(first["bytes"]), 16 << 20)
                self.assertEqual(int(second["bytes"]), 4 << 20)
                self.assertEqual(second["tenant"], "root/a")
                self.assertGreater(int(second["number"]),
                                   int(first["number"]))
                server.stop()
                self.assertEqual(watcher.wait(60), 0)
                self.assertEqual(watcher.stderr.read(),
                                 "the daemon has stopped\n")


class Snapshots(unittest.TestCase):
    def test_the_same_state_is_no_change(self):
        with broker.Broker(DAEMON, TENANT, pool_size="64MiB") as server:
            path = str(server.directory / "snapshot.json")
            saved = tool(server, "snapshot", "save", path)
            self.assertEqual((saved.returncode, saved.stderr), (0, ""))
            snapshot = json.loads(pathlib.Path(path).read_text())
            self.assertEqual(
                {each["tenant"] for each in snapshot["tenants"]},
                {"root", "root/a"})
            same = tool(server, "snapshot", "diff", path, path, "--json")
            self.assertEqual(same.returncode, 0)
            self.assertEqual(json.loads(same.stdout)["changes"], [])


if __name__ == "__main__":
    unittest.main()
