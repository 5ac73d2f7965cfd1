#!/usr/bin/env python3
"""What an operator sees of the real daemon: metrics as Prometheus reads them,
events as they happen, and snapshots.

    observe_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL
"""

import json
import os
import pathlib
import pickle
import re
import subprocess
import sys
import unittest
import urllib.error
import urllib.request
import xml.etree.ElementTree

from prometheus_client.parser import text_string_to_metric_families

ROOT = pathlib.Path(__file__).resolve().parents[2]
for folder in ("python", "coexistence"):
    sys.path.insert(0, str(ROOT / "tests" / folder))
import broker  # noqa: E402
import library  # noqa: E402

DAEMON, TOOL, LIBRARY = (sys.argv.pop(1) for _ in range(3))
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
            self.check_names_elsewhere(text)

    def check_names_elsewhere(self, text):
        """Alerts and documentation name metrics that there are."""
        names = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
        for page in ("deploy/prometheus/vrampool.rules.yml",
                     "docs/observability.md"):
            found = set(re.findall(r"\bvrampool_\w+", (ROOT / page).read_text()))
            self.assertGreater(len(found), 8)
            for name in found:
                self.assertIn(name.removesuffix("_bucket"), names, page)

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


class Dead(unittest.TestCase):
    # A process that says when it has allocated, and waits to be killed.
    CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
import library
c = library.Library(sys.argv[2])
c.allocate(c.open_client(), 3 << 20)
print("ready", flush=True)
sys.stdin.read()
"""

    def test_call_sites_of_the_killed_are_told_by_file(self):
        with broker.Broker(DAEMON, TENANT, pool_size="64MiB") as server:
            folder = pathlib.Path(library.__file__).parent
            child = subprocess.Popen(
                [sys.executable, "-c", self.CHILD, folder, LIBRARY],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                env={**os.environ, "VRAMPOOL_DIR": str(server.directory),
                     "VRAMPOOL_TAG": "kept"})
            with child:
                self.assertEqual(child.stdout.readline(), "ready\n")
                watcher = subprocess.Popen(
                    [TOOL, "--directory", server.directory, "watch", "--json",
                     "--kind", "session-ended", "--count", "1"],
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                with watcher:
                    self.assertEqual(watcher.stderr.readline(), "watching\n")
                    child.kill()
                    child.wait()
                    ended = json.loads(watcher.stdout.read())
            self.assertEqual(int(ended["pid"]), child.pid)
            text = tool(server, "leaks").stdout
            while "died" not in text:  # Its manifest is read after its end.
                text = tool(server, "leaks").stdout
            # Python calls through libffi.
            self.assertRegex(text, r"kept +\S*ffi\S*\+0x[0-9a-f]+")


class LeakCheck(unittest.TestCase):
    """A process's own report at its exit: the program, its status, its words."""

    CHILD = """
import os
import sys
sys.path.insert(0, sys.argv[1])
import library
c = library.Library(sys.argv[2])
client = c.open_client()
block = c.allocate(client, 3 << 20)
sys.stdout.write("not flushed")
"""

    def run_child(self, server, end, check="1"):
        folder = pathlib.Path(library.__file__).parent
        done = subprocess.run(
            [sys.executable, "-c", self.CHILD + end, folder, LIBRARY],
            capture_output=True, text=True, timeout=60,
            env={**os.environ, "VRAMPOOL_DIR": str(server.directory),
                 "VRAMPOOL_TAG": "kept", "VRAMPOOL_LEAK_CHECK": check})
        return done

    def test_what_a_process_did_not_free_is_its_exit_status(self):
        free = "c.deallocate(client, block, 3 << 20)\n"
        share = "object = c.share(client, block, 3 << 20)\n"
        fork = ("child = os.fork()\n"
                "if child == 0: sys.exit(7)\n"
                "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7\n")
        with broker.Broker(DAEMON, TENANT, pool_size="64MiB") as server:
            for end, status in (("", 23), ("sys.exit(5)", 23), (free, 0),
                                ("c.close_client(client)", 23),
                                (free + "c.close_client(client)", 0),
                                (share, 0), (fork + free, 0),
                                (fork, 23), ("sys.stdout.flush()\n"
                                             "os._exit(3)", 3)):
                with self.subTest(end=end):
                    done = self.run_child(server, end)
                    self.assertEqual(done.returncode, status, done.stderr)
                    self.assertTrue(done.stdout.endswith("not flushed"))
                    if status != 23:
                        self.assertEqual(done.stderr, "")
                        continue
                    self.assertRegex(
                        done.stderr,
                        r"\Avrampool: this process ends with 1 blocks "
                        r"\(3\.0 MiB\) that it did not free:\n"
                        r"  3\.0 MiB in 1 blocks, tag kept, from \S*ffi\S*"
                        r"\+0x[0-9a-f]+.*\n"
                        r"(      called from .*\n){5,15}\Z")
            for check in ("", "0"):
                done = self.run_child(server, "", check)
                self.assertEqual((done.returncode, done.stderr), (0, ""))


class Pictures(unittest.TestCase):
    def test_the_pickle_is_what_memory_viz_reads(self):
        with broker.Broker(DAEMON, TENANT, pool_size="64MiB") as server:
            os.environ["VRAMPOOL_DIR"] = str(server.directory)
            os.environ["VRAMPOOL_TAG"] = "batch"
            c = library.Library(LIBRARY)
            client = c.open_client()
            sizes = [3 << 20, 1 << 20, 4096]
            addresses = [c.allocate(client, size) for size in sizes]
            path = server.directory / "viz.pickle"
            made = tool(server, "leaks", "--memory-viz", path)
            self.assertEqual((made.returncode, made.stderr), (0, ""))
            svg = server.directory / "leaks.svg"
            self.assertEqual(
                tool(server, "leaks", "--flamegraph", svg).returncode, 0)
            for address, size in zip(addresses, sizes):
                c.deallocate(client, address, size)
            c.close_client(client)
            self.check_pickle(pickle.loads(path.read_bytes()), sizes)
            root = xml.etree.ElementTree.parse(svg).getroot()
            self.assertEqual(root.tag, "{http://www.w3.org/2000/svg}svg")
            titles = [each.text for each in root.iter(
                "{http://www.w3.org/2000/svg}title")]
            self.assertIn("batch: 4.0 MiB in 3 blocks", titles)

    def check_pickle(self, snapshot, sizes):
        self.assertEqual(set(snapshot), {"segments", "device_traces"})
        [trace] = snapshot["device_traces"]
        events = {event["addr"]: event for event in trace}
        self.assertEqual(sorted(event["size"] for event in trace),
                         sorted(sizes))
        self.assertEqual([event["time_us"] for event in trace],
                         sorted(event["time_us"] for event in trace))
        active = {}
        for segment in snapshot["segments"]:
            address = segment["address"]
            for block in segment["blocks"]:  # As the page finds addresses.
                if block["state"] == "active_allocated":
                    active[address] = block["size"]
                    for frame in block["frames"]:
                        self.assertEqual(set(frame),
                                         {"filename", "line", "name"})
                address += block["size"]
            self.assertEqual(address,
                             segment["address"] + segment["total_size"])
        self.assertEqual(active, {address: event["size"]
                                  for address, event in events.items()})
        names = [frame["name"] for frame in trace[0]["frames"]]
        self.assertIn("batch", names)


if __name__ == "__main__":
    unittest.main()
