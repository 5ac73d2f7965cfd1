#!/usr/bin/env python3
"""Lines of Python in the stacks of what PyTorch allocates, on the thread of the
program and on that of the backward pass.

    VRAMPOOL_TEST_DEVICE=cuda:0 torch_lines_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL
"""

import case

PROGRAM = """
import sys
import torch
import vrampool, vrampool.torch

assert vrampool.why_no_frames() is None, vrampool.why_no_frames()
vrampool.torch.enable()

def repeated(x):
    return x.repeat(64)

class Half(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 0.5

    @staticmethod
    def backward(ctx, grad):
        ctx.kept = torch.empty(96 << 20, dtype=torch.uint8, device="cuda")
        kept.append(ctx.kept)
        return grad * 0.5

kept = []
def main():
    x = torch.ones(1 << 20, device="cuda", requires_grad=True)
    kept.append(repeated(x))
    Half.apply(x).sum().backward()

main()
print("ready", flush=True)
sys.stdin.read()
"""


class LinesTest(case.Case):
    config = {"pool_size": "2GiB"}

    def stacks(self):
        """Of each its bytes, the files of its frames, and its lines."""
        [report] = self.operator("leaks")["reports"]
        def file_of(address):
            return [module["path"] for module in report["modules"]
                    if int(module["begin"]) <= address < int(module["end"])]
        for stack in report["stacks"]:
            frames = stack["frames"]
            yield (int(stack["estimated_bytes"]),
                   [path for frame in frames
                    for path in file_of(int(frame.get("address", 0)))],
                   [frame["text"] for frame in frames if frame.get("text")])

    def test_segments_tell_the_line_that_made_them(self):
        self.environment["VRAMPOOL_STACKS"] = "all"
        child = self.start_python(PROGRAM)
        self.assertEqual(child.stdout.readline(), "ready\n")
        found = {}
        for size, files, lines in self.stacks():
            self.assertTrue(any("torch" in file or "c10" in file
                                for file in files), (files, lines))
            for name in ("repeated", "backward"):
                if lines and f"({name})" in lines[0]:
                    found[name] = (size, lines)
        self.assertIn("repeated", found)
        size, lines = found["repeated"]
        self.assertGreaterEqual(size, 256 << 20)
        self.assertEqual(lines, ["<string>:10 (repeated)", "<string>:26 (main)",
                                 "<string>:29 (<module>)"])
        # A thread of PyTorch's that runs a function of the program's.
        self.assertIn("backward", found)
        size, lines = found["backward"]
        self.assertGreaterEqual(size, 96 << 20)
        self.assertEqual(lines[0], "<string>:19 (backward)")


if __name__ == "__main__":
    case.main()
