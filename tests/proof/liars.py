"""Processes that say of themselves what is not true, or come too often."""

import array
import ctypes
import os
import pathlib
import resource
import socket
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] /
                       "coexistence"))
import attach  # noqa: E402  Found by the line above.

PR_SET_NAME = 15


def pretend(claims):
    """In the places where others look: the process's name, its words, and the
    variables that a pod has."""
    ctypes.CDLL(None).prctl(PR_SET_NAME, claims["tenant"].encode(), 0, 0, 0)
    os.environ.update(
        POD_NAME=claims["pod"], POD_UID=claims["pod"], HOSTNAME=claims["pod"],
        USER="root", LOGNAME="root", UID=str(claims["uid"]),
        VRAMPOOL_NAME=claims["tenant"], VRAMPOOL_TAG=claims["cgroup"],
        VRAMPOOL_FRAMEWORK=f"uid={claims['uid']} pid={claims['pid']}")


def liar(line, claims, nbytes):
    """Attaches with the library and takes what it can; what it got."""
    from roles import Servant
    pretend(claims)
    servant = Servant(wait=0)
    tenant = servant.attach()
    line.say({"tenant": tenant, "taken": servant.fill(nbytes)})
    line.hear()


def say_credentials(descriptor, hello, claims):
    """Sends a Hello with the identity of another process beside it."""
    credentials = struct.pack("iII", claims["pid"], claims["uid"],
                              claims["uid"])
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        connection.sendmsg([hello], [(
            socket.SOL_SOCKET, socket.SCM_CREDENTIALS,
            array.array("b", credentials))])


class ForgedSession(attach.Session):
    """One that says whose it is, and then becomes that user."""

    def __init__(self, path, claims):
        self._claims = claims
        super().__init__(path, claims["tenant"])

    def _say_hello(self, hello):
        say_credentials(self._socket.fileno(), hello, self._claims)


def forger(line, path, claims):
    """Only root may say that it is another process. The kernel passes it on to
    those who ask for it."""
    from workers import become
    session = ForgedSession(path, claims)
    become(claims["uid"])
    line.say(session.tenant)
    line.hear()
    session.close()


def flooder(line, path, attempts):
    """Begins sessions without end, and keeps them; how many it has, and what it
    was told when it got no more. Then it ends them all."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    sessions, refusals = [], {}
    for _ in range(attempts):
        try:
            sessions.append(attach.Session(path, "flooder"))
            sessions[-1].drop_shared()
        except attach.Refused as error:
            refusals[str(error)] = refusals.get(str(error), 0) + 1
    line.say({"sessions": len(sessions), "refusals": refusals})
    line.hear()
    for session in sessions:
        session.close()
    line.say("closed")
    line.hear()
