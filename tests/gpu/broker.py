"""A vrampoold on a GPU, for the checks in this folder."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUNDLE = pathlib.Path(os.environ.get("VRAMPOOL_BUNDLE",
                                     ROOT / "build" / "gpu-bundle"))
LIBRARY = BUNDLE / "lib" / "libvrampool.so.0"


def program(name):
    return str(BUNDLE / "bin" / name)


class Broker:
    """Runs for as long as the `with` lasts; must stop in order at its end."""

    def __init__(self, kinds=(), pool="24GiB", config="", device="cuda:0"):
        self.scratch = tempfile.TemporaryDirectory(prefix="vrampool-gpu-")
        self.folder = pathlib.Path(self.scratch.name)
        self.directory = self.folder / "run"
        self.directory.mkdir(mode=0o700)
        lines = [f'device: "{device}"', f'directory: "{self.directory}"',
                 f'pool_size: "{pool}"', f"admin_uids: {os.getuid()}"]
        lines += [f'kinds: "{kind}"' for kind in kinds]
        self.config = self.folder / "vrampoold.textproto"
        self.config.write_text("\n".join(lines) + "\n" + config)
        self.log_path = self.folder / "log"
        self.process = None

    @property
    def environment(self):
        return {**os.environ, "VRAMPOOL_DIR": str(self.directory)}

    def __enter__(self):
        socket = str(self.folder / "notify")
        ready = subprocess.Popen(
            ["python3", str(ROOT / "deploy" / "await_ready.py"), socket, "60"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert ready.stdout.readline().strip() == "bound"
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen(
                [program("vrampoold"), "--config", str(self.config)],
                stdout=log, stderr=log,
                env={**os.environ, "NOTIFY_SOCKET": socket})
        said, _ = ready.communicate(f"{self.process.pid}\n")
        if said.strip() != "ready":
            self.process.kill()
            raise RuntimeError(f"{said}; its log:\n{self.log()}")
        return self

    def __exit__(self, kind, value, trace):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30)
        log = self.log()
        self.scratch.cleanup()
        if kind is None and status != 0:
            raise RuntimeError(f"the daemon ended with {status}:\n{log}")

    def log(self):
        return self.log_path.read_text()

    def cli(self, *words):
        """What `vrampool WORDS --json` says."""
        done = subprocess.run([program("vrampool"), *words, "--json"],
                              env=self.environment, capture_output=True,
                              text=True, check=True)
        return json.loads(done.stdout)

    def tell(self, *words):
        """What it prints for people."""
        return subprocess.run([program("vrampool"), *words],
                              env=self.environment, capture_output=True,
                              text=True, check=True).stdout

    def run(self, *words, **more):
        """A program of the bundle, or python3, with this broker."""
        env = {**self.environment, **more.pop("env", {})}
        return subprocess.run(words, env=env, capture_output=True, text=True,
                              **more)

    def start(self, *words, **more):
        env = {**self.environment, **more.pop("env", {})}
        return subprocess.Popen(words, env=env, text=True,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                **more)
