#!/usr/bin/env python3
"""Records what PyTorch allocates in a training run, as a log for compare.sh.

    record_log.py STEPS LOG.csv

Trains the model of train.py on sequences of many lengths with PyTorch's own allocator and writes each
allocation and free of it (not of its segments) in the form of RMM's
logging_resource_adaptor: Thread,Time,Action,Pointer,Size,Stream. All of it is
one thread's. Needs a GPU and PyTorch, and no daemon.
"""

import pathlib
import sys

HEADER = "Thread,Time,Action,Pointer,Size,Stream"
ENTRIES = 10_000_000
SHORTEST = 16  # Of 128 tokens.
# A block is the stream's again when its free is complete.
ACTIONS = {"alloc": "allocate", "free_completed": "free"}


def lines(trace):
    """Of one device's events, in their order."""
    yield HEADER
    for event in trace:
        action = ACTIONS.get(event["action"])
        if action is not None:
            yield (f"1,{event.get('time_us', 0)},{action},"
                   f"{event['addr']:#x},{event['size']},{event['stream']:#x}")


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    import torch
    import train
    torch.cuda.memory._record_memory_history(context=None,
                                             max_entries=ENTRIES)
    train.train(int(sys.argv[1]), SHORTEST)
    torch.cuda.synchronize()
    snapshot = torch.cuda.memory._snapshot()
    written = list(lines(snapshot["device_traces"][0]))
    pathlib.Path(sys.argv[2]).write_text("\n".join(written) + "\n")
    print(f"{len(written) - 1} operations")
    return 0


if __name__ == "__main__":
    sys.exit(main())
