#!/usr/bin/env python3
"""Writes a log of allocations in the shape of a training loop, to replay:

    training_log.py [--steps N] [--layers N] [--hidden N] [--tokens MIN MAX]
                    [--seed N] [--even] LOG.csv

A transformer's: weights and the optimizer's state stay; each step draws the
length of its sequences (--even: always the longest), allocates what each layer
keeps for the backward pass and what it needs for a moment, and frees in
reverse, with gradients beside. Every size that depends on the length is another
in each step, as in training on text. In RMM's CSV format, on one stream; the
same for the same arguments. A log of a real program says more
(tests/gpu/record_log.py).
"""

import argparse
import random
import sys

BATCH = 8
HEADS = 8
VOCABULARY = 8192
FLOAT = 4


class Log:
    def __init__(self, out):
        self.out, self.next, self.sizes, self.lines = out, 1 << 32, {}, 0
        out.write("Thread,Time,Action,Pointer,Size,Stream\n")

    def allocate(self, count):
        size = max(int(count), 1) * FLOAT
        self.next += size
        self.sizes[self.next] = size
        self.line("allocate", self.next, size)
        return self.next

    def free(self, pointer):
        self.line("free", pointer, self.sizes.pop(pointer))

    def moment(self, count):
        self.free(self.allocate(count))

    def line(self, action, pointer, size):
        self.lines += 1
        self.out.write(f"1,00:00:00:{self.lines:06},{action},{pointer:#x},"
                       f"{size},0x1\n")


class Training:
    def __init__(self, log, layers, hidden):
        self.log, self.layers, self.hidden = log, layers, hidden
        self.weights = [hidden * 3 * hidden, 3 * hidden, hidden * hidden,
                        hidden, 4 * hidden * hidden, 4 * hidden,
                        4 * hidden * hidden, hidden, hidden, hidden, hidden,
                        hidden]
        self.head = VOCABULARY * hidden
        self.state = []

    def begin(self):
        for _ in range(self.layers):
            for size in self.weights:
                self.log.allocate(size)
        self.log.allocate(self.head)

    def forward(self, length):
        """What one layer keeps."""
        wide = BATCH * length * self.hidden
        scores = BATCH * HEADS * length * length
        log, kept = self.log, []
        kept += [log.allocate(wide), log.allocate(2 * BATCH * length)]
        kept.append(log.allocate(3 * wide))
        before = log.allocate(scores)
        kept.append(log.allocate(scores))
        log.free(before)
        kept.append(log.allocate(scores / 4))  # A mask of bytes.
        log.moment(scores)
        kept += [log.allocate(wide), log.allocate(wide)]
        log.moment(wide)
        kept += [log.allocate(wide), log.allocate(2 * BATCH * length)]
        kept += [log.allocate(4 * wide), log.allocate(4 * wide)]
        log.moment(wide)
        return kept

    def backward(self, kept, length):
        log = self.log
        passing = log.allocate(BATCH * length * self.hidden)
        gradients = []
        for pointer in reversed(kept):
            size = log.sizes[pointer] // FLOAT
            gradient = log.allocate(size)
            log.free(pointer)
            log.free(passing)
            passing = gradient
        for size in self.weights:
            gradients.append(log.allocate(size))
            log.moment(size)
        log.free(passing)
        return gradients

    def step(self, length):
        log = self.log
        words = log.allocate(2 * BATCH * length)
        kept = [self.forward(length) for _ in range(self.layers)]
        logits = [log.allocate(BATCH * length * VOCABULARY) for _ in range(2)]
        gradients = [log.allocate(self.head)]
        for pointer in reversed(logits):
            log.free(pointer)
        for layer in reversed(kept):
            gradients += self.backward(layer, length)
        log.free(words)
        if not self.state:
            self.state = [log.allocate(log.sizes[one] / FLOAT)
                          for one in gradients for _ in range(2)]
        for pointer in gradients:
            log.moment(log.sizes[pointer] / FLOAT)
        for pointer in gradients:
            log.free(pointer)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--tokens", type=int, nargs=2, default=[32, 256])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--even", action="store_true")
    parser.add_argument("log")
    options = parser.parse_args()
    shortest, longest = options.tokens
    lengths = random.Random(options.seed)
    with open(options.log, "w", encoding="ascii") as out:
        training = Training(Log(out), options.layers, options.hidden)
        training.begin()
        for _ in range(options.steps):
            training.step(longest if options.even
                          else lengths.randint(shortest, longest))
    return 0


if __name__ == "__main__":
    sys.exit(main())
