"""Roles that share memory between tenants."""

import vrampool
from roles import NEVER, MIB


class Sharer:
    """Does what it is told, one order after the other; an order is the name of
    a method and its arguments, and the answer what that returns. An error is
    answered by its class's name, in a list of its own."""

    def __init__(self):
        self.client = vrampool.connect(slab_bytes=2 * MIB, idle=NEVER)
        self.memory = None
        self.object = None

    def tenant(self):
        return self.client.info.tenant

    def take(self, nbytes, dedicated):
        self.memory = self.client.allocate(nbytes, dedicated=dedicated)

    def share(self, grants, name=None):
        self.object = self.client.share(self.memory, grants=grants, name=name)
        return self.object.token

    def open(self, token=None, name=None, tenant=None, wait=0.0):
        self.object = self.client.open(token, name=name, tenant=tenant,
                                       wait=wait)
        return self.object.owner

    def open_again(self, token):
        """What is mapped already is opened by a call all the same."""
        again = self.client.open(token)
        again.close()
        return again.closed

    def write(self, byte):
        """Memory of the host only."""
        view = self.memory.memoryview()
        view[:] = bytes([byte]) * len(view)

    def reads(self, byte):
        view = self.object[0].memoryview()
        return bytes(view) == bytes([byte]) * len(view)

    def close(self):
        self.object.close()
        self.object = None

    def free(self):
        self.memory.close()
        self.memory = None

    def unlink(self, name):
        self.client.unlink(name)

    def tidy(self):
        """Unmaps what is not in use."""
        self.client.quiesce()


def sharer(line):
    me = Sharer()
    while True:
        order, *arguments = line.hear()
        try:
            line.say(getattr(me, order)(*arguments))
        except vrampool.Error as error:
            line.say([type(error).__name__, str(error)])
