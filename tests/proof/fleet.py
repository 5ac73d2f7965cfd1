"""Client processes by the hundred, and the daemon that they meet.

    with Fleet(places, broker.directory) as fleet:
        worker = fleet.start("servant", uid=1001, wait=0)
        worker.ask("attach")
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import tempfile
import uuid

HERE = pathlib.Path(__file__).resolve().parent
PATIENCE_SECONDS = 180  # Of a machine that has more to do than it can.

sys.path.insert(0, str(HERE.parent / "python"))
from broker import Broker  # noqa: E402  Found by the line above.
from workers import Line  # noqa: E402


@dataclasses.dataclass(frozen=True)
class Places:
    """Paths of what is tested, as CMake knows them."""

    vrampoold: str
    vrampool: str
    library: str
    rpc_module: str
    failpoint_module: str
    fake_driver: str

    @property
    def has_real_gpu(self):
        return self.fake_driver == "-"

    @classmethod
    def from_command_line(cls):
        places = cls(*sys.argv[1:7])
        del sys.argv[1:7]
        return places


class Served:
    """A daemon of one kind of memory, and what its clients need to find it."""

    def __init__(self, places, kind, text="", **config):
        self._fake = None
        self.environment = {"VRAMPOOL_KIND": kind}
        if kind != "HOST_FD" and places.has_real_gpu:
            config = {"device": "cuda:0", "kinds": kind, **config}
        elif kind != "HOST_FD":
            self._fake = fake_gpu()
            self.environment.update(
                VRAMPOOL_FAKE_CUDA_DIR=self._fake.name,
                VRAMPOOL_CUDA_DRIVER=places.fake_driver)
            config = {"device": "cuda:0", "kinds": kind, **config}
        self.broker = Broker(places.vrampoold, text, **config)
        # Users of all kinds come.
        self.broker.directory.chmod(0o755)
        self.environment["VRAMPOOL_DIR"] = str(self.broker.directory)

    def __enter__(self):
        # The daemon sees the environment of this process.
        before = dict(os.environ)
        os.environ.update(self.environment)
        try:
            self.broker.__enter__()
        except BaseException:
            self._clean_up()
            raise
        finally:
            os.environ.clear()
            os.environ.update(before)
        return self

    def __exit__(self, *error):
        try:
            self.broker.__exit__(*error)
        finally:
            self._clean_up()

    def _clean_up(self):
        if self._fake is not None:
            self._fake.cleanup()


def fake_gpu():
    """A folder that is one GPU of the fake driver, for every user."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = tempfile.TemporaryDirectory(prefix="vrampool-fake-", dir=memory)
    os.chmod(folder.name, 0o777)
    (pathlib.Path(folder.name) / "config").write_text(
        f"devices=1\nuuid0=GPU-{uuid.uuid4()}\n")
    return folder


class Worker:
    """One process, from its start to its end."""

    def __init__(self, connection):
        connection.settimeout(PATIENCE_SECONDS)
        self._connection = connection
        self._line = Line(connection)
        self.pid = self.hear()
        self._pidfd = os.pidfd_open(self.pid)
        self.say("begin")

    def hear(self):
        said = self._line.hear()
        if isinstance(said, dict) and "failed" in said:
            raise RuntimeError(f"a worker failed:\n{said['failed']}")
        return said

    def has_word(self):
        return self._line.has_word()

    def say(self, value):
        self._line.say(value)

    def ask(self, *order):
        """What a servant answers to an order."""
        self.say(order)
        return self.hear()

    def kill(self):
        """SIGKILL; returns when nothing of it is left."""
        signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        self.await_end()

    def await_end(self):
        ended, _, _ = select.select([self._pidfd], [], [], PATIENCE_SECONDS)
        if not ended:
            raise RuntimeError(f"process {self.pid} does not end")

    def is_running(self):
        return not select.select([self._pidfd], [], [], 0)[0]

    def dismiss(self):
        """It sees that, and ends."""
        self._connection.shutdown(socket.SHUT_RDWR)

    def close(self):
        """Dismisses it and returns when it has ended."""
        with contextlib.suppress(OSError):  # It may have gone already.
            self.dismiss()
        self._connection.close()
        self.await_end()
        os.close(self._pidfd)


class Fleet:
    def __init__(self, places, environment, preload=True):
        self._places = places
        self._environment = environment
        # Loaded before they fork: what is measured and killed is the
        # library's work, not the loader's.
        self._modules = [
            path for path in (places.rpc_module, places.failpoint_module,
                              places.fake_driver)
            if preload and path != "-"]
        self.workers = []

    def __enter__(self):
        self._orders, theirs = socket.socketpair(socket.AF_UNIX,
                                                 socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, HERE / "workers.py", str(theirs.fileno()),
                 self._places.library, *self._modules],
                pass_fds=[theirs.fileno()])
        return self

    def __exit__(self, kind, value, trace):
        self._orders.close()
        for worker in self.workers:
            with contextlib.suppress(OSError):  # Some have gone.
                worker.dismiss() if kind is None else worker.kill()
        for worker in self.workers:
            worker.close()
        self._process.wait(PATIENCE_SECONDS)

    def start(self, role, uid=0, environment=None, **arguments):
        ours, theirs = socket.socketpair()
        order = {"role": role, "arguments": arguments, "uid": uid,
                 "environment": {**self._environment, **(environment or {})}}
        with theirs:
            socket.send_fds(self._orders, [json.dumps(order).encode()],
                            [theirs.fileno()])
        worker = Worker(ours)
        self.workers.append(worker)
        return worker

    def forget(self, worker):
        """Closes a worker that has done its part."""
        self.workers.remove(worker)
        worker.close()
