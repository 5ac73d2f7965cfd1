#!/usr/bin/env python3
"""The client processes of the proofs: children of one process that has loaded
the library and used none of it, so that hundreds of them are there in a moment.

    workers.py SOCKET LIBVRAMPOOL [PRELOADED...]

Fleet (fleet.py) starts it and sends, over the descriptor SOCKET, one packet for
each process wanted: a JSON object {"role", "arguments", "environment", "uid"}
and the process's end of a connection of its own. The process says "pid" there
and then does what roles.py has under that name.
"""

import ctypes
import json
import os
import select
import signal
import socket
import sys
import traceback

MAX_ORDER_BYTES = 65536
DEEP = os.RTLD_NOW | os.RTLD_LOCAL | os.RTLD_DEEPBIND


class Line:
    """One JSON value a line, both ways."""

    def __init__(self, connection):
        self._connection = connection
        self._lines = connection.makefile("r")

    def say(self, value):
        self._connection.sendall(json.dumps(value).encode() + b"\n")

    def has_word(self):
        """Whether something waits to be heard, now."""
        return bool(select.select([self._connection], [], [], 0)[0])

    def hear(self):
        """EOFError when the other side has gone."""
        line = self._lines.readline()
        if not line:
            raise EOFError("the other side has gone")
        return json.loads(line)


def become(uid):
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def work(order, connection):
    import roles
    line = Line(connection)
    line.say(os.getpid())
    try:
        line.hear()  # By now somebody holds on to this process.
        os.environ.update(order["environment"])
        if order["uid"]:
            become(order["uid"])
        getattr(roles, order["role"])(line, **order["arguments"])
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # The test is over.
    except BaseException:
        line.say({"failed": traceback.format_exc()})
        raise


def main():
    orders = socket.socket(fileno=int(sys.argv[1]))
    os.environ["VRAMPOOL_LIBRARY"] = sys.argv[2]
    import roles
    roles.load()
    for path in sys.argv[3:]:
        ctypes.CDLL(path, mode=DEEP)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Nobody asks how they ended.
    while True:
        text, [*descriptors], _, _ = socket.recv_fds(
            orders, MAX_ORDER_BYTES, 1)
        if not text:
            return
        connection = socket.socket(fileno=descriptors[0])
        if os.fork() == 0:
            orders.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            work(json.loads(text), connection)
            sys.exit(0)  # In order: the package's clients are closed.
        connection.close()


if __name__ == "__main__":
    main()
