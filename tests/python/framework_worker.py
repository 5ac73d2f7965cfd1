#!/usr/bin/env python3
"""A process with one framework, for matrix_test.py: it does what the lines of its
input say, each a JSON array of a method's name and arguments, and answers each
with a line of JSON.

    framework_worker.py FRAMEWORK
"""

import json
import sys

import framework_views
import vrampool
import vrampool.arrow


class Worker:
    def __init__(self, framework):
        self.views = framework_views.VIEWS[framework]()
        self.client = vrampool.connect(name=framework)
        self.made = self.view = None

    def version(self):
        module = sys.modules[sys.argv[1]]
        return module.__version__.partition("+")[0]

    def make(self, dtype, shape, strides):
        """Makes and shares a tensor; its token."""
        self.made = None
        if hasattr(self.views, "share"):
            self.made = self.views.share(self.client, dtype, shape)
        else:
            tensor = self.views.make(self.client, dtype, shape, strides)
            self.made = self.client.share(tensor)
        return self.made.token

    def open(self, token, readonly):
        """What this framework sees of a shared tensor, or the name of the error
        with which the package refuses to show it."""
        self.view = None
        tensor = tensor_of(self.client.open(token, readonly=readonly))
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
        return None

    def write_made(self, value):
        """Into what this process has made, through a view of this framework
        where it can be written to."""
        tensor = tensor_of(self.made)
        if self.views.is_writable:
            self.views.write(self.views.view(tensor), value)
        else:
            dtype = vrampool.dtype("uint8")
            tensor._derived(tensor.address, dtype, (tensor.nbytes,),
                            (1,)).memoryview()[:] = bytes(tensor.nbytes)
        return None

    def made_bytes(self):
        """The memory of what this process has made, as it lies there."""
        tensor = tensor_of(self.made)
        low, high = tensor._extent()
        return tensor._derived(low, vrampool.dtype("uint8"), (high - low,),
                               (1,)).memoryview().hex()

    def drop(self):
        """Lets go of everything; what is left of it."""
        self.view = self.made = None
        return self.client.usage().live_blocks


def tensor_of(shared):
    """The tensor in an object; of a table its column "x"."""
    if shared.metadata:
        return vrampool.arrow.view(shared)["x"]
    return shared[0]


def main():
    worker = Worker(sys.argv[1])
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        print(json.dumps(getattr(worker, method)(*arguments)), flush=True)


if __name__ == "__main__":
    main()
