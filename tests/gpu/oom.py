"""Asks PyTorch for more than the tenant may have: oom.py pool|process."""

import json
import sys

import torch

import train


def grow():
    held = []
    while True:  # Ends by the limit.
        held.append(torch.full((64 << 20,), 7, dtype=torch.uint8,
                               device="cuda"))
        if int(held[0][0]) != 7:
            raise SystemExit("memory in hand has changed")


def main():
    error = None
    if sys.argv[1] == "process":
        torch.cuda.memory.change_current_allocator(
            train.allocator("vrampool_torch_malloc_or_throw"))
        try:
            grow()
        except Exception as raised:  # Which it is, is the question.
            error = raised
    else:
        pool = torch.cuda.MemPool(
            train.allocator("vrampool_torch_malloc").allocator())
        try:
            with torch.cuda.use_mem_pool(pool):
                grow()
        except Exception as raised:
            error = raised
    # The device is as well as before.
    still_works = int(torch.arange(10, device="cpu").sum()) == 45
    print(json.dumps({"type": f"{type(error).__module__}."
                              f"{type(error).__qualname__}",
                      "is_oom": isinstance(error, torch.OutOfMemoryError),
                      "text": str(error), "still_works": still_works}))


if __name__ == "__main__":
    main()
