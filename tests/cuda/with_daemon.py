#!/usr/bin/env python3
"""Runs a program beside the real daemon of a GPU, and gives its status:

    with_daemon.py VRAMPOOLD [KEY=VALUE...] -- PROGRAM [ARGUMENT...]

KEY=VALUE are keys of the daemon's configuration; `device` (default: cuda:0) can
be given several times, for one daemon each, all in one directory. The program
finds them by VRAMPOOL_DIR. With the fake driver they all share fake devices of
their own, as many as there are daemons.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "python"))
import broker  # noqa: E402  Found by the line above.


@contextlib.contextmanager
def fake_devices(count):
    """The driver reads it when it starts; a real one ignores it."""
    if "VRAMPOOL_FAKE_CUDA_DIR" in os.environ:
        yield
        return
    memory = pathlib.Path("/dev/shm")
    where = str(memory) if os.access(memory, os.W_OK) else None
    folder = tempfile.mkdtemp(prefix="vrampool-fake-", dir=where)
    try:
        # Names of their own: a GPU has one daemon on the whole machine.
        (pathlib.Path(folder) / "config").write_text(
            f"devices={count}\n" + "".join(
                f"uuid{i}=GPU-{uuid.uuid4()}\n" for i in range(count)))
        os.environ["VRAMPOOL_FAKE_CUDA_DIR"] = folder
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(words):
    split = words.index("--")
    daemon, settings, program = words[0], words[1:split], words[split + 1:]
    pairs = [setting.split("=", 1) for setting in settings]
    devices = [value for key, value in pairs if key == "device"] or ["cuda:0"]
    config = {key: value for key, value in pairs if key != "device"}
    with fake_devices(len(devices)), contextlib.ExitStack() as running:
        for device in devices:
            one = broker.Broker(daemon, **config)
            one.device = device
            running.enter_context(one)
            config.setdefault("directory", str(one.directory))
        return subprocess.run(
            program, check=False,
            env={**os.environ, "VRAMPOOL_DIR": config["directory"]}).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
