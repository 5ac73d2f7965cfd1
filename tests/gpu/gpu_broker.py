"""The daemon of the bundle (see bundle.sh) on this machine's GPU."""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "python"))
import broker  # noqa: E402  Found by the line above.

BUNDLE = pathlib.Path(os.environ.get("VRAMPOOL_BUNDLE",
                                     ROOT / "build" / "gpu-bundle"))
LIBRARY = BUNDLE / "lib" / "libvrampool.so.0"


def program(name):
    return str(BUNDLE / "bin" / name)


class GpuBroker(broker.Broker):
    def __init__(self, kinds=(), pool="24GiB", text="", device="cuda:0"):
        super().__init__(program("vrampoold"), text=text, pool_size=pool,
                         kinds=list(kinds))
        self.device = device

    @property
    def environment(self):
        return {**os.environ, "VRAMPOOL_DIR": str(self.directory)}

    def cli(self, *words):
        """What `vrampool WORDS --json` says."""
        return json.loads(self.tell(*words, "--json"))

    def tell(self, *words):
        """What `vrampool WORDS` prints."""
        return subprocess.run([program("vrampool"), *words],
                              env=self.environment, capture_output=True,
                              text=True, check=True).stdout

    def run(self, *words, **more):
        """A program, to its end."""
        env = {**self.environment, **more.pop("env", {})}
        return subprocess.run(words, env=env, capture_output=True, text=True,
                              **more)

    def start(self, *words, **more):
        env = {**self.environment, **more.pop("env", {})}
        return subprocess.Popen(words, env=env, text=True,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                **more)
