#!/usr/bin/env python3
"""A tensor to another process, which adds one to its first element, and back:
what that takes until the first process has read the element. For exchange.py; run
beside a daemon.

    exchange_tensor.py WAY [--gpu] [--quick] [--shm FOLDER]

WAY: "vrampool queue" and "vrampool pipe" (torch.multiprocessing's, by
share_by_token()), "vrampool token" (share, open, and the token as bytes), "torch
[STRATEGY] queue" or "... pipe" (PyTorch's own sharing), "bare" (memory that both
have from the start: a byte through a pipe, on a GPU an interprocess event too).

new      a tensor that was made and filled for this trip
again    the same tensor as in the trip before

PyTorch does not send a tensor of a GPU on that it has received: there the other
process answers without it.
"""

import statistics
import sys
import time
from multiprocessing import shared_memory

import torch
import torch.multiprocessing
from exchange_say import say

SPAWN = torch.multiprocessing.get_context("spawn")
ON_GPU = "--gpu" in sys.argv
ELEMENTS = (1 << 16 if "--quick" in sys.argv else 64 << 20) // 4
TRIPS = 2 if "--quick" in sys.argv else 20
WARM_UP = 1  # The other process starts meanwhile.
DEVICE = "cuda" if ON_GPU else "cpu"


class Link:
    """One side of a way. What it sends and receives are tensors."""

    def __init__(self, ends):
        self.ends = ends

    def make(self):
        return torch.empty(ELEMENTS, device=DEVICE)

    def answer(self, tensor):
        """To who sent it."""
        self.send(tensor)


class QueueLink(Link):
    def send(self, tensor):
        self.ends[0].put(tensor)

    def receive(self):
        return self.ends[1].get()


class PipeLink(Link):
    def send(self, tensor):
        self.ends[0].send(tensor)

    def receive(self):
        return self.ends[1].recv()


class TokenLink(Link):
    """Our own objects, and nothing of torch.multiprocessing."""

    def __init__(self, ends):
        super().__init__(ends)
        import vrampool
        import vrampool.torch
        self.pool = vrampool.torch
        self.client = vrampool.connect()
        self.shared = self.sent = None

    def make(self):
        return self.pool.empty(self.client, (ELEMENTS,))

    def send(self, tensor):
        if tensor is not self.sent:
            stream = torch.cuda.current_stream() if ON_GPU else None
            self.shared = self.client.share(tensor, stream=stream)
            self.sent = tensor
        self.ends[0].send_bytes(self.shared.token.encode())

    def receive(self):
        self.token = self.ends[1].recv_bytes()
        stream = torch.cuda.current_stream() if ON_GPU else None
        opened = self.client.open(self.token.decode(), stream=stream)
        return self.pool.view(opened[0])

    def answer(self, tensor):
        if ON_GPU:
            torch.cuda.synchronize()
        self.ends[0].send_bytes(self.token)


class BareLink(Link):
    """Memory of the host that both have mapped."""

    def __init__(self, ends):
        super().__init__(ends)
        if ends[2] is None:
            self.memory = shared_memory.SharedMemory(create=True,
                                                     size=ELEMENTS * 4)
            ends[0].send(self.memory.name)
        else:
            self.memory = shared_memory.SharedMemory(ends[1].recv())

    def make(self):
        return torch.frombuffer(self.memory.buf, dtype=torch.float32,
                                count=ELEMENTS)

    def send(self, tensor):
        self.ends[0].send_bytes(b"x")

    def receive(self):
        self.ends[1].recv_bytes()
        return self.make()

    def end(self):
        if self.ends[2] is None:
            self.memory.unlink()


class EventLink(Link):
    """Memory of a GPU that both have mapped, and an event of each."""

    def __init__(self, ends):
        super().__init__(ends)
        self.event = torch.cuda.Event(interprocess=True)
        self.event.record()
        handle = self.event.ipc_handle()
        if ends[2] is None:
            self.memory = torch.empty(ELEMENTS, device="cuda")
            ends[0].send((self.memory, handle))
            theirs = ends[1].recv()
        else:
            self.memory, theirs = ends[1].recv()
            ends[0].send(handle)
        self.theirs = torch.cuda.Event.from_ipc_handle(
            torch.device("cuda", torch.cuda.current_device()), theirs)

    def make(self):
        return self.memory

    def send(self, tensor):
        self.event.record()
        self.ends[0].send_bytes(b"x")

    def receive(self):
        self.ends[1].recv_bytes()
        self.theirs.wait()
        return self.memory


class TorchLink:
    """PyTorch's own sharing, through either."""

    def answer(self, tensor):
        if ON_GPU:
            torch.cuda.synchronize()
        self.send(None if ON_GPU else tensor)


class OursLink:
    """By token, through either."""

    def __init__(self, ends):
        super().__init__(ends)
        import vrampool
        import vrampool.torch
        vrampool.torch.share_by_token()
        self.pool, self.client = vrampool.torch, vrampool.connect()

    def make(self):
        return self.pool.empty(self.client, (ELEMENTS,))


class OursQueue(OursLink, QueueLink):
    pass


class OursPipe(OursLink, PipeLink):
    pass


class TorchQueue(TorchLink, QueueLink):
    pass


class TorchPipe(TorchLink, PipeLink):
    pass


def link_of(way, ends):
    words = way.split()
    if words[0] == "torch":
        if len(words) == 3:
            torch.multiprocessing.set_sharing_strategy(words[1])
        return (TorchQueue if words[-1] == "queue" else TorchPipe)(ends)
    if way == "bare":
        return (EventLink if ON_GPU else BareLink)(ends)
    return {"queue": OursQueue, "pipe": OursPipe,
            "token": TokenLink}[words[1]](ends)


def other(way, ends):
    link = link_of(way, ends)
    for _ in range(2 * (TRIPS + WARM_UP)):
        tensor = link.receive()
        tensor[0] += 1
        link.answer(tensor)
        del tensor
    ends[1].get() if way.endswith("queue") else ends[1].recv()  # It may end.


def trip(link, tensor, value):
    """What it took."""
    begin = time.perf_counter_ns()
    if tensor is None:
        tensor = link.make()
        tensor.fill_(value)
    link.send(tensor)
    back = link.receive()
    seen = float((tensor if back is None else back)[0])
    took = time.perf_counter_ns() - begin
    if seen != value + 1 or float(tensor[0]) != seen:
        raise SystemExit(f"{seen} came back, and not {value + 1}")
    return took, tensor


def measure(link):
    times = {"new": [], "again": []}
    for number in range(TRIPS + WARM_UP):
        new, tensor = trip(link, None, number)
        again, tensor = trip(link, tensor, number + 1)
        del tensor
        if number >= WARM_UP:
            times["new"].append(new)
            times["again"].append(again)
    for case, each in times.items():
        say(case, statistics.median(each), bytes=ELEMENTS * 4)


def main():
    way = sys.argv[1]
    if way.endswith("queue"):
        there, back = SPAWN.Queue(), SPAWN.Queue()
        ours, theirs = (there, back, None), (back, there, "theirs")
    else:
        (take, there), (get, back) = SPAWN.Pipe(False), SPAWN.Pipe(False)
        ours, theirs = (there, get, None), (back, take, "theirs")
    process = SPAWN.Process(target=other, args=(way, theirs))
    process.start()
    link = link_of(way, ours)
    measure(link)
    there.put(None) if way.endswith("queue") else there.send(None)
    process.join()
    if hasattr(link, "end"):
        link.end()
    return process.exitcode


if __name__ == "__main__":
    sys.exit(main())
