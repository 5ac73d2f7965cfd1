"""What memory two processes have at most, for exchange.py: the sum of their
proportional sets (PSS), in which what both have mapped counts once.
"""

import json
import os
import re
import subprocess
import time

PERIOD_SECONDS = 0.005


def pss(pid):
    """Bytes by kind; nothing once the process has ended."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {kind.lower(): int(kib) << 10 for kind, kib in
            re.findall(r"^Pss_(Anon|File|Shmem): +(\d+) kB$", text,
                       re.MULTILINE)}


def held_by(path):
    """What a file takes: all of it is memory, whoever has mapped it."""
    try:
        return os.stat(path).st_blocks * 512
    except FileNotFoundError:
        return 0


def peak(words, environment):
    """Runs a producer, whose first line is its and its consumer's process and a
    file in memory that is theirs (""): the most that both have at a time, and
    that each has by itself."""
    process = subprocess.Popen(words, env=environment, text=True,
                               stdout=subprocess.PIPE)
    most = {"both": 0, "producer": 0, "consumer": 0, "samples": 0}
    try:
        first = json.loads(process.stdout.readline())
        while process.poll() is None:
            sides = [pss(pid) for pid in first["pids"]]
            if all(sides):
                note(most, sides, held_by(first["file"]))
            time.sleep(PERIOD_SECONDS)  # The rate of the samples.
    finally:
        process.kill()
        process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}")
    return most


def note(most, sides, file_bytes):
    shared = max(sum(side["shmem"] for side in sides), file_bytes)
    own = sum(side["anon"] + side["file"] for side in sides)
    most["both"] = max(most["both"], own + shared)
    most["samples"] += 1
    for name, side in zip(("producer", "consumer"), sides):
        most[name] = max(most[name], sum(side.values()))
