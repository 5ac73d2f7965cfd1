"""vrampool: memory of a GPU or of the host that processes share.

    import vrampool

    with vrampool.connect() as client:
        weights = client.empty((1024, 1024), "float32")
        array = weights.numpy()                   # The same memory.
        shared = client.share(weights, name="weights")

    # In any other process of the same tenant; no byte is copied:
    with vrampool.connect() as client:
        array = client.open(name="weights", wait=10)[0].numpy()

Memory lives until its last view has gone, whichever library has that. The
package needs libvrampool.so (VRAMPOOL_LIBRARY says where, if the loader does
not know), and no framework: vrampool.numpy, .torch, .jax, .tensorflow, .mxnet,
.arrow, .cupy, .numba and .rmm are imported by whoever uses them.
"""

from ._abi import Kind
from ._client import (BlockInfo, Budget, Client, Info, Usage, connect,
                      default_client, tag)
from ._library import why_no_frames
from ._objects import Object, view_of
from ._reservation import Reservation
from ._table import Table, table_of
from ._tensor import Buffer, Tensor
from ._version import __version__
from .dtypes import DType, dtype
from .errors import (AlreadyExists, Broken, Closed, DeviceLost, Ended, Error,
                     Forked, Internal, InvalidArgument, LibraryNotFound,
                     LimitReached, NotFound, NotShareable, OutOfPool,
                     OverQuota, PermissionDenied, RateLimited, Stale, Timeout,
                     Unavailable, VersionMismatch)

__all__ = [
    "AlreadyExists", "BlockInfo", "Broken", "Budget", "Buffer", "Client",
    "Closed", "DType", "DeviceLost", "Ended", "Error", "Forked", "Info",
    "Internal", "InvalidArgument", "Kind", "LibraryNotFound", "LimitReached",
    "NotFound", "NotShareable", "Object", "OutOfPool", "OverQuota",
    "PermissionDenied", "RateLimited", "Reservation", "Stale", "Table", "Tensor",
    "Timeout", "Unavailable", "Usage", "VersionMismatch", "__version__",
    "connect", "default_client", "dtype", "table_of", "tag", "view_of",
    "why_no_frames"]
