#!/usr/bin/env python3
"""The wheel, installed into a fresh environment: one pure wheel with types, that
finds the library and shares an array.

    wheel_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL CMAKE_VERSION
"""

import pathlib
import subprocess
import sys
import tempfile
import zipfile

import case

CMAKE_VERSION = None


class WheelTest(case.Case):
    def test_it_is_built_installed_and_used(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            # A copy: setuptools writes beside what it builds.
            source = folder / "source"
            self.run_tool("cp", "-r", case.PACKAGE, source)
            self.run_tool(sys.executable, "-m", "pip", "wheel", "--quiet",
                          "--no-build-isolation", "--no-deps", "--wheel-dir",
                          folder, source)
            [wheel] = folder.glob("*.whl")
            self.assertEqual(wheel.name,
                             f"vrampool-{CMAKE_VERSION}-py3-none-any.whl")
            self.look_into(wheel)
            fresh = folder / "fresh"
            self.run_tool(sys.executable, "-m", "venv", "--without-pip", fresh)
            self.run_tool(sys.executable, "-m", "pip", "--quiet", "--python",
                          fresh / "bin" / "python", "install", "--no-index",
                          "--disable-pip-version-check", wheel)
            self.use(fresh / "bin" / "python")

    def look_into(self, wheel):
        with zipfile.ZipFile(wheel) as archive:
            packed = {name for name in archive.namelist()
                      if name.startswith("vrampool/")}
        self.assertEqual(packed, {
            f"vrampool/{path.name}"
            for path in (case.PACKAGE / "vrampool").iterdir() if path.is_file()})
        self.assertIn("vrampool/py.typed", packed)

    def use(self, python):
        del self.environment["PYTHONPATH"]
        out = self.run_python(
            "import vrampool, vrampool._library\n"
            "client = vrampool.connect()\n"
            "block = client.allocate(8)\n"
            "view = block.memoryview().cast('d')\n"
            "view[0] = 4.5\n"
            "shared = client.share(block.tensor('float64'))\n"
            "opened = vrampool.connect().open(shared.token)\n"
            "print(opened[0].memoryview()[0], vrampool.__version__,\n"
            "      vrampool._library.get().version().decode())\n",
            python=python)
        self.assertEqual(out.split(), ["4.5", CMAKE_VERSION, CMAKE_VERSION])

    def run_tool(self, *command):
        done = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    CMAKE_VERSION = sys.argv.pop(4)
    case.main()
