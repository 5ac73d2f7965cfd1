#!/usr/bin/env python3
"""A process with one framework, for matrix_test.py: it does what the lines of its
input say, each a JSON array of a method's name and arguments, and answers each
with a line of JSON: {"is": RESULT}, or {"raised": TRACEBACK}.

    framework_worker.py FRAMEWORK
"""

import ctypes
import json
import sys
import traceback

import framework_views
import vrampool
import vrampool.arrow


class Worker:
    def __init__(self, framework):
        self.views = framework_views.VIEWS[framework]()
        self.client = vrampool.connect(name=framework)
        self.made = self.view = self.opened = None

    def describe(self):
        """What the framework does, as framework_views.py says."""
        module = sys.modules[sys.argv[1]]
        return {"version": module.__version__.partition("+")[0],
                **{name: getattr(self.views, name) for name in
                   ("makes", "opens", "layouts", "is_writable",
                    "respects_readonly")}}

    def make(self, dtype, shape, strides):
        """Makes and shares a tensor; its token."""
        self.made = None
        if hasattr(self.views, "share"):
            self.made = self.views.share(self.client, dtype, shape)
        else:
            tensor = self.views.make(self.client, dtype, shape, strides)
            self.made = self.client.share(tensor, stream=self.views.stream)
        return self.made.token

    def open(self, token, readonly):
        """What this framework sees of a shared tensor, or the name of the error
        with which the package refuses to show it."""
        self.view = self.opened = None
        tensor = self.opened = tensor_of(self.client.open(
            token, readonly=readonly, stream=self.views.stream))
        try:
            self.view = self.views.view(tensor)
        except (BufferError, TypeError) as error:
            return {"refused": type(error).__name__}
        return {"content": self.content(),
                "is_same": tensor.size == 0 or
                self.views.address(self.view) == tensor.address,
                "shape": list(self.view.shape)
                if hasattr(self.view, "shape") else [len(self.view)]}

    def content(self):
        """The bytes that the framework sees, in row-major order."""
        return self.views.content(self.view).hex()

    def write(self, value):
        """Through the framework's view."""
        self.views.write(self.view, value)
        self.views.finish()

    def write_made(self, value):
        """Into what this process has made, through a view of this framework
        where it can be written to."""
        tensor = tensor_of(self.made)
        if self.views.is_writable:
            self.views.write(self.views.view(tensor), value)
            self.views.finish()
        else:
            write_bytes(tensor, bytes([value]) * tensor.nbytes)

    def made_bytes(self):
        """The memory of what this process has made, as it lies there."""
        return bytes_of(tensor_of(self.made)).hex()

    def view_bytes(self):
        """The memory of what this process has opened, as it lies there."""
        return bytes_of(self.opened).hex()

    def drop(self):
        """Lets go of everything; what is left of it."""
        self.view = self.made = self.opened = None
        return self.client.usage().live_blocks


def tensor_of(shared):
    """The tensor in an object; of a table its column "x"."""
    if shared.metadata:
        return vrampool.arrow.view(shared)["x"]
    return shared[0]


def write_bytes(tensor, data):
    """By no framework."""
    if tensor.device[0] == 1:
        ctypes.memmove(tensor.address, data, len(data))
        return
    with vrampool._cuda._Context(tensor.device[1]) as driver:
        check(driver.cuMemcpyHtoD_v2(ctypes.c_uint64(tensor.address), data,
                                     ctypes.c_size_t(len(data))))
        check(driver.cuStreamSynchronize(
            ctypes.c_void_p(vrampool._cuda.LEGACY_STREAM)))


def bytes_of(tensor):
    """From its first element to its last, by no framework."""
    low, high = tensor._extent()
    if tensor.device[0] == 1:
        return ctypes.string_at(low, high - low)
    data = ctypes.create_string_buffer(high - low)
    with vrampool._cuda._Context(tensor.device[1]) as driver:
        check(driver.cuMemcpyDtoH_v2(data, ctypes.c_uint64(low),
                                     ctypes.c_size_t(high - low)))
    return data.raw


def check(status):
    if status != 0:
        raise RuntimeError(f"CUDA's driver says {status}")


def main():
    worker = Worker(sys.argv[1])
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        try:
            answer = {"is": getattr(worker, method)(*arguments)}
        except Exception:
            answer = {"raised": traceback.format_exc()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
