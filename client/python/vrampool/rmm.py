"""RMM, and so cuDF and what else is on RMM: the pool as RMM's memory resource.

    mr = vrampool.rmm.resource(client)
    rmm.mr.set_current_device_resource(mr)         # All of RMM's allocations.
    buffer = rmm.DeviceBuffer(size=1000, mr=mr)    # Or one.
    shared = client.share(buffer)

Memory of a GPU only.
"""

from __future__ import annotations

from typing import Any, Optional

import rmm

from . import _abi, _cuda
from ._client import Client, default_client
from ._ref import Session


def resource(client: Optional[Client] = None) -> Any:
    """A memory resource of RMM's that draws from a client's pool, by default the
    process-wide client's, and keeps its session open. RMM calls the library
    itself: it is compiled, in the package vrampool-rmm (ImportError without
    that). What finds no room is a MemoryError that says what to do."""
    client = client or default_client()
    _session_of(client)
    try:
        import vrampool_rmm
    except ModuleNotFoundError as error:
        if error.name != "vrampool_rmm":
            raise
        raise ImportError(
            f"the package vrampool-rmm for RMM {rmm.__version__} is not installed;"
            " install it, or use vrampool.rmm.callback_resource(), which is "
            "Python and slower") from None
    return vrampool_rmm.resource(client)


def callback_resource(client: Optional[Client] = None) -> Any:
    """The same in Python, for any RMM: each allocation asks for Python's lock,
    and takes microseconds."""
    session = _session_of(client or default_client())
    library, handle = session.library, session.handle

    def allocate(nbytes: int, stream: Any) -> int:
        address = library.allocate(handle, nbytes, 256, False,
                                   _cuda.stream_handle(stream))
        if not address and library.last_status() != 0:
            raise library.failure()
        return address or 0

    def deallocate(address: int, nbytes: int, stream: Any) -> None:
        session.library.client_deallocate(handle, address, nbytes,
                                          _cuda.stream_handle(stream))
    return rmm.mr.CallbackMemoryResource(allocate, deallocate)


def _session_of(client: Client) -> Session:
    session = client._open()
    if session.facts.kind == _abi.Kind.HOST_FD:
        raise ValueError("RMM is for memory of a GPU, and this client's is the "
                         "host's")
    return session
