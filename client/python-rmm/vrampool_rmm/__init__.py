"""vrampool's memory as a resource of RMM's, compiled: RMM's C++ code calls the
library's, and Python is not asked.

    mr = vrampool.rmm.resource(client)    # This package's, if it is installed.
    rmm.mr.set_current_device_resource(mr)

A wheel is for one release of RMM, and refuses to be imported with another.
"""

import rmm
import vrampool
from vrampool import _library

from . import _built

__all__ = ["__version__", "resource"]
__version__ = _built.VERSION


def _must_fit():
    year, month = rmm.__version__.split(".")[:2]
    found = (int(year), int(month))
    if found != _built.RMM:
        built, there = ("%d.%02d" % one for one in (_built.RMM, found))
        raise ImportError(
            f"vrampool-rmm {_built.VERSION} is for RMM {built}, and RMM {there} "
            "is installed; build it anew (see its README), or use "
            "vrampool.rmm.callback_resource(), which goes with every RMM")
    if _built.VERSION.partition("+")[0] != vrampool.__version__:
        raise ImportError(
            f"vrampool-rmm {_built.VERSION} and vrampool {vrampool.__version__} "
            "are of different versions; install the same of both")


_must_fit()
# The extension wants a library of this name, which is there from here on,
# wherever it was found.
_library.get()
from . import _resource  # noqa: E402


def resource(client=None):
    """See vrampool.rmm.resource()."""
    session = (client or vrampool.default_client())._open()
    return _resource.Resource(session.handle, session.pointer)
