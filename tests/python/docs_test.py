#!/usr/bin/env python3
"""Every example in Python of docs/frameworks.md, and the README's, runs, each as
a program of its own with the interpreter that has its framework.

    docs_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL FRAMEWORKS
"""

import pathlib
import re
import subprocess
import sys

import case

ROOT = case.PACKAGE.parents[1]
# After "python" stands the framework; NumPy if nothing does.
EXAMPLE = re.compile(r"^```python *(\w*)\n(.*?)^```$", re.M | re.S)
INTERPRETERS = {}
# Where VRAMPOOL_TEST_DEVICE names one; those of them that FRAMEWORKS lists.
OF_A_GPU = {"cudf", "cupy", "numba", "rmm"}


class DocsTest(case.Case):
    config = {"pool_size": "256MiB"}

    def test_every_example_runs(self):
        pages = [(ROOT / page).read_text()
                 for page in ("README.md", "docs/frameworks.md")]
        examples = [(framework or "numpy", text) for page in pages
                    for framework, text in EXAMPLE.findall(page)]
        self.assertEqual(len(examples), sum(page.count("```python")
                                            for page in pages))
        examples = [one for one in examples
                    if (one[0] in OF_A_GPU and one[0] in INTERPRETERS
                        if self.device is not None
                        else one[0] not in OF_A_GPU)]
        self.assertEqual({framework for framework, _ in examples},
                         set(INTERPRETERS))
        self.environment.update(JAX_PLATFORMS="cpu", TF_CPP_MIN_LOG_LEVEL="3")
        started = [(framework, text, self.start(framework, text, number))
                   for number, (framework, text) in enumerate(examples)
                   if INTERPRETERS[framework] != "-"]
        for framework, text, process in started:
            with self.subTest(framework):
                out, _ = process.communicate(timeout=case.PATIENCE_SECONDS)
                self.assertEqual(process.returncode, 0, f"{text}\n{out}")
        self.assertEqual(self.operator("sessions")["sessions"], [])
        if self.device is None:  # Pools of frameworks keep blocks to the end.
            self.assertEqual(self.leaks_of_the_ended(), [])

    def start(self, framework, text, number):
        program = self.broker.directory / f"example_{number}.py"
        program.write_text(text)
        return subprocess.Popen(
            [INTERPRETERS[framework], program], env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


if __name__ == "__main__":
    for line in pathlib.Path(sys.argv.pop(4)).read_text().splitlines():
        name, interpreter, *_ = line.split()
        INTERPRETERS[name] = interpreter
    case.main()
