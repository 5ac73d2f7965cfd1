#!/usr/bin/env python3
"""Waits until a daemon says that it is ready, the way a service manager does.

    await_ready.py SOCKET [TIMEOUT_SECONDS]

Binds SOCKET, prints "bound", and reads the daemon's process id from standard
input: its caller starts the daemon with NOTIFY_SOCKET=SOCKET in between. Exits
0 and prints "ready" on READY=1; exits 1 and says why when the process ends
first or the time is up. Waits for events only; nothing is polled.
"""

import os
import select
import socket
import sys
import time


def main():
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    path = sys.argv[1]
    deadline = time.monotonic() + float(sys.argv[2] if len(sys.argv) == 3 else 30)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(path)
        print("bound", flush=True)
        pid = int(sys.stdin.readline())
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            print("the daemon ended before it was ready", flush=True)
            return 1
        poller = select.poll()
        poller.register(notify, select.POLLIN)
        poller.register(process, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            ready = {fd for fd, _ in poller.poll(left * 1000)}
            if notify.fileno() in ready:
                if b"READY=1" in notify.recv(65536).split(b"\n"):
                    print("ready", flush=True)
                    return 0
            elif process in ready:
                print("the daemon ended before it was ready", flush=True)
                return 1
        print("the daemon was not ready in time", flush=True)
        return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    finally:
        if len(sys.argv) > 1 and os.path.exists(sys.argv[1]):
            os.unlink(sys.argv[1])
