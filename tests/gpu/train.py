"""A small transformer, trained on one GPU; says what happened as JSON.

    train.py plain|pool|process STEPS [share]

plain: PyTorch's own allocator. pool: segments through torch.cuda.MemPool, as
vrampool's documentation shows it. process: change_current_allocator. With
`share`, one tensor is shared as the object "weights" at the end, and the
process waits until its input ends.
"""

import ctypes
import json
import os
import random
import sys
import time

os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
import torch  # noqa: E402

import gpu_broker  # noqa: E402
import library  # noqa: E402

SEED = 7
VOCABULARY, LENGTH, WIDTH, BATCH = 256, 128, 256, 32


def allocator(malloc):
    return torch.cuda.memory.CUDAPluggableAllocator(
        str(gpu_broker.LIBRARY), malloc, "vrampool_torch_free")


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(VOCABULARY, WIDTH)
        self.place = torch.nn.Parameter(torch.randn(LENGTH, WIDTH) * 0.02)
        layer = torch.nn.TransformerEncoderLayer(
            WIDTH, nhead=4, dim_feedforward=4 * WIDTH, dropout=0.0,
            batch_first=True, norm_first=True)
        self.layers = torch.nn.TransformerEncoder(layer, 4,
                                                  enable_nested_tensor=False)
        self.head = torch.nn.Linear(WIDTH, VOCABULARY)

    def forward(self, tokens):
        place = self.place[:tokens.size(1)]
        return self.head(self.layers(self.embed(tokens) + place))


def train(steps, shortest=LENGTH):
    """The model and the losses of so many steps; each on sequences of another
    length, down to `shortest`."""
    torch.manual_seed(SEED)
    lengths = random.Random(SEED)
    torch.use_deterministic_algorithms(True)
    model = Model().cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    # A sequence that can be learnt: each token follows from the one before.
    start = torch.randint(VOCABULARY, (steps, BATCH, 1), device="cuda")
    tokens = (start + 3 * torch.arange(LENGTH + 1, device="cuda")) % VOCABULARY
    losses = []
    for step in range(steps):
        length = lengths.randint(shortest, LENGTH)
        logits = model(tokens[step, :, :length])
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), tokens[step, :, 1:length + 1].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return model, torch.stack(losses).cpu().tolist()


def segments(pool):
    """Of the native allocator: bytes inside broker slabs, and outside."""
    client = library.device_client(0)
    inside = outside = 0
    for segment in torch.cuda.memory_snapshot():
        block = library.describe(client, segment["address"])
        is_ours = tuple(segment["segment_pool_id"]) == tuple(pool.id)
        if is_ours and block is None:
            raise SystemExit(f"a segment of the pool lies in no slab: {segment}")
        if block is not None and block.size_bytes < segment["total_size"]:
            raise SystemExit(f"a segment is larger than its block: {segment}")
        if block is None:
            outside += segment["total_size"]
        else:
            inside += segment["total_size"]
    return {"inside_bytes": inside, "outside_bytes": outside}


def share(tensor):
    client = library.device_client(0)
    torch.cuda.synchronize()
    held = library.share(client, tensor.data_ptr(), tensor.numel() * 4,
                         b"weights")
    words = tensor.detach().view(torch.int32).flatten().long() & 0xFFFFFFFF
    places = torch.arange(1, words.numel() + 1, device="cuda")
    checksum = int((words * places).sum()) & 0xFFFFFFFFFFFFFFFF
    print(json.dumps({"checksum": checksum, "words": words.numel()}),
          flush=True)
    sys.stdin.read()
    return held


def main():
    mode, steps = sys.argv[1], int(sys.argv[2])
    report = {"mode": mode}
    began = time.monotonic()
    if mode == "plain":
        _, report["losses"] = train(steps)
    elif mode == "process":
        torch.cuda.memory.change_current_allocator(
            allocator("vrampool_torch_malloc_or_throw"))
        model, report["losses"] = train(steps)
    else:
        pool = torch.cuda.MemPool(allocator("vrampool_torch_malloc").allocator())
        with torch.cuda.use_mem_pool(pool):
            model, report["losses"] = train(steps)
        report["segments"] = segments(pool)
    report["seconds"] = time.monotonic() - began
    if mode != "plain":
        report["usage"] = library.usage(library.device_client(0))
    print(json.dumps(report), flush=True)
    if sys.argv[3:] == ["share"]:
        share(model.head.weight)


if __name__ == "__main__":
    main()
