"""The real daemon for the time of a test, on host memory unless `device` says
otherwise. Arguments are keys of its configuration; `text` is added to it as it
is.

    with Broker(vrampoold, pool_size="64MiB") as broker:
        ... clients with VRAMPOOL_DIR=broker.directory ...

It is ready when the block begins, and has ended, with status 0, when the block
is left without an exception.
"""

import os
import pathlib
import select
import signal
import socket
import subprocess
import tempfile
import time

PATIENCE_SECONDS = 60


class Broker:
    def __init__(self, program, text="", **config):
        self._program = program
        self._text = text
        self._config = config
        self._folder = tempfile.TemporaryDirectory(prefix="vrampool-test-")
        self.directory = pathlib.Path(self._folder.name)
        self.device = f"host:{self.directory.name}"
        self._process = None

    def __enter__(self):
        config = {"device": self.device, "directory": str(self.directory),
                  **self._config}
        path = self.directory / "config"
        path.write_text(self._text + "".join(
            f'{key}: "{each}"\n' for key, value in config.items()
            for each in (value if isinstance(value, list) else [value])))
        notify = self.directory / "notify"
        notify.unlink(missing_ok=True)
        with (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready,
              open(self.directory / "log", "wb") as log):
            ready.bind(str(notify))
            self._process = subprocess.Popen(
                [self._program, "--config", path], stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "NOTIFY_SOCKET": str(notify)})
            try:
                self._await_ready(ready)
            except BaseException:
                self._end()
                raise
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self._process.send_signal(signal.SIGTERM)
            status = self._process.wait(PATIENCE_SECONDS)
            log = self.log()
            self._end()
            if status != 0:
                raise RuntimeError(f"vrampoold ended with {status}:\n{log}")
        else:
            self._end()

    def stop(self):
        """Asks it to stop; the block's end waits for that."""
        self._process.send_signal(signal.SIGTERM)

    def restart(self):
        """Ends it, and starts it anew on the same device and folder."""
        self.stop()
        status = self._process.wait(PATIENCE_SECONDS)
        if status != 0:
            raise RuntimeError(f"vrampoold ended with {status}:\n{self.log()}")
        self.__enter__()

    def log(self):
        return (self.directory / "log").read_text(errors="replace")

    def socket_path(self, name):
        """The path of attach.sock or broker.sock of the one device."""
        [path] = {path.resolve() for path in self.directory.glob(f"*/{name}")}
        return path

    def _await_ready(self, ready):
        process = os.pidfd_open(self._process.pid)
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while (left := deadline - time.monotonic()) > 0:
                readable, _, _ = select.select([ready, process], [], [], left)
                if ready in readable:
                    if b"READY=1" in ready.recv(65536).split(b"\n"):
                        return
                elif process in readable:
                    raise RuntimeError(f"vrampoold ended:\n{self.log()}")
        finally:
            os.close(process)
        raise RuntimeError(f"vrampoold is not ready:\n{self.log()}")

    def _end(self):
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()
