#!/usr/bin/env python3
"""Alerts of the real daemon's tenants: raised, shown everywhere, and ended.

    alert_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL
"""

import contextlib
import json
import os
import pathlib
import re
import select
import subprocess
import sys
import unittest
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
for folder in ("python", "coexistence"):
    sys.path.insert(0, str(ROOT / "tests" / folder))
import broker  # noqa: E402
import library  # noqa: E402

DAEMON, TOOL, LIBRARY = (sys.argv.pop(1) for _ in range(3))
MIB = 1 << 20
PATIENCE = 60

# A process that keeps so many bytes until its input ends.
CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
import library
c = library.Library(sys.argv[2])
client = c.open_client()
size = int(sys.argv[3])
block = c.allocate(client, size)
print("ready", flush=True)
sys.stdin.read()
c.deallocate(client, block, size)
c.close_client(client)
"""


def rules(keys, limit="16MiB"):
    clear = "alert_clear_seconds: 0" if keys else ""
    return f'tenants {{ path: "root/default" limit: "{limit}" {keys} {clear} }}\n'


class Watcher:
    """The events of alerts, as `vrampool watch` tells them."""

    def __init__(self, process):
        self._out = process.stdout.fileno()
        self._read = b""

    def next(self, patience=PATIENCE):
        """The next one, or None if nothing comes for so many seconds."""
        while b"\n" not in self._read:
            readable, _, _ = select.select([self._out], [], [], patience)
            more = os.read(self._out, 65536) if readable else b""
            if not more:
                return None
            self._read += more
        line, self._read = self._read.split(b"\n", 1)
        return json.loads(line)


class AlertTest(unittest.TestCase):
    def start(self, keys, **options):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.server = stack.enter_context(broker.Broker(
            DAEMON, rules(keys, **options), metrics_address="127.0.0.1:0",
            pool_size="64MiB"))
        process = stack.enter_context(subprocess.Popen(
            [TOOL, "--directory", self.server.directory, "watch", "--json",
             "--kind", "alert-raised", "--kind", "alert-ended"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        stack.callback(process.terminate)
        self.assertEqual(process.stderr.readline(), b"watching\n")
        self.watcher = Watcher(process)
        self.environment = {"VRAMPOOL_DIR": str(self.server.directory),
                            "VRAMPOOL_SLAB_SIZE": "2MiB",
                            "VRAMPOOL_IDLE_MS": "0"}

    def child(self, size, **options):
        folder = pathlib.Path(library.__file__).parent
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, folder, LIBRARY, str(size)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **self.environment}, **options)
        self.addCleanup(child.stdout.close)
        return child

    def tool(self, *arguments):
        done = subprocess.run(
            [TOOL, "--directory", self.server.directory, *arguments],
            capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def metric(self, alert):
        """Of the tenant's alert: 0 or 1; None without a series."""
        port = re.search(r'event="metrics served" port=(\d+)',
                         self.server.log())[1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics",
                                    timeout=PATIENCE) as answer:
            text = answer.read().decode()
        found = re.search(
            r'^vrampool_tenant_alert\{tenant="root/default",'
            rf'alert="{alert}"\}} (\d)$', text, re.MULTILINE)
        return found and int(found[1])

    def expect(self, kind, alert):
        event = self.watcher.next()
        self.assertIsNotNone(event, self.server.log())
        self.assertEqual((event["kind"], event["alert"], event["tenant"]),
                         (f"KIND_ALERT_{kind}", alert, "root/default"))
        self.assertEqual(self.metric(alert), int(kind == "RAISED"))
        self.assertRegex(self.server.log(),
                         f'event="alert {kind.lower()}" tenant=root/default '
                         f'alert={alert} ')
        return event["text"]

    def test_use_above_a_share_of_the_limit(self):
        self.start('alert_used: "50%"')
        self.assertEqual(self.metric("used"), 0)
        self.assertIn("alerts   none raised\n", self.tool("status"))
        with self.child(10 * MIB) as child:
            self.assertEqual(child.stdout.readline(), "ready\n")
            self.assertRegex(self.expect("RAISED", "used"),
                             r"^uses 1\d\.0 MiB; the threshold is 8\.0 MiB$")
            self.assertIn("alerts   1 RAISED; ", self.tool("status"))
            self.assertRegex(self.tool("tenants"),
                             r"root/default .* used 1\d\.0 MiB\n")
            tenants = json.loads(self.tool("tenants", "--json"))["tenants"]
            [alerts] = [each["alerts"] for each in tenants if each["alerts"]]
            self.assertEqual(
                [(each["name"], each["raised"], int(each["threshold"]))
                 for each in alerts], [("used", True, 8 * MIB)])
            child.stdin.close()
        self.expect("ENDED", "used")
        self.assertIn("alerts   none raised\n", self.tool("status"))

    def test_a_reload_sets_and_lifts_alerts(self):
        self.start("")
        self.assertIsNone(self.metric("used"))
        path = self.server.directory / "config"
        before = path.read_text()
        with self.child(10 * MIB) as child:
            self.assertEqual(child.stdout.readline(), "ready\n")
            path.write_text(before.replace(
                rules(""), rules('alert_used: "4MiB"')))
            self.assertIn("root/default: alerts used 4.0 MiB; clear after 0 "
                          "(was none)", self.tool("reload"))
            self.expect("RAISED", "used")
            path.write_text(before.replace(
                rules(""), rules('alert_used: "40MiB"')))
            refused = subprocess.run(
                [TOOL, "--directory", self.server.directory, "reload"],
                capture_output=True, text=True, timeout=PATIENCE)
            self.assertIn("tenants.alert_used: root/default: 40.0 MiB is more "
                          "than its limit", refused.stderr)
            path.write_text(before)
            self.tool("reload")
            event = self.watcher.next()
            self.assertEqual(event["kind"], "KIND_ALERT_ENDED")
            self.assertEqual(event["text"], "it is not looked for any more")
            self.assertIsNone(self.metric("used"))
            child.stdin.close()

    def test_refusals_and_leaks_within_a_window(self):
        self.start("alert_refusals: 1 alert_refusals_window_seconds: 10 "
                   "alert_leaks: 1 alert_leaks_window_seconds: 10")
        with self.child(10 * MIB) as child:
            self.assertEqual(child.stdout.readline(), "ready\n")
            with self.child(10 * MIB,
                            stderr=subprocess.DEVNULL) as refused:
                self.assertEqual(refused.stdout.readline(), "")
            self.expect("RAISED", "refusals")
            child.kill()
        events = [self.watcher.next() for _ in range(3)]
        self.assertEqual(
            [event["kind"] for event in events if event["alert"] == "leaks"],
            ["KIND_ALERT_RAISED", "KIND_ALERT_ENDED"])
        self.assertEqual(
            [event["kind"] for event in events if event["alert"] == "refusals"],
            ["KIND_ALERT_ENDED"])

    def test_blocks_that_go_on_growing(self):
        self.start('alert_growth: "1MiB" alert_growth_window_seconds: 10',
                   limit="64MiB")
        os.environ.update(self.environment)
        c = library.Library(LIBRARY)
        client = c.open_client()
        blocks = []
        event = None
        while event is None and len(blocks) < 800:
            blocks.append(c.allocate(client, 64 << 10))
            event = self.watcher.next(patience=0.1)
        self.assertEqual((event["kind"], event["alert"]),
                         ("KIND_ALERT_RAISED", "growth"))
        self.assertRegex(event["text"], r"^live blocks grew by .* in 10s; ")
        for address in blocks:
            c.deallocate(client, address, 64 << 10)
        self.expect("ENDED", "growth")
        c.close_client(client)


if __name__ == "__main__":
    unittest.main()
