"""What numba-cuda 0.30's tests want of other packages, in every process that
they start: on their PYTHONPATH."""

import importlib.util
import sys
import types
import unittest

import numpy

if not hasattr(numpy, "row_stack"):  # Gone in NumPy 2.5; to compile kernels.
    numpy.row_stack = numpy.vstack


def absent(*_, **__):
    raise unittest.SkipTest("filecheck is not installed")


# All of the tests import it, and few use it.
if importlib.util.find_spec("filecheck") is None:
    for name in ("filecheck", "filecheck.matcher", "filecheck.options",
                 "filecheck.parser", "filecheck.finput"):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__getattr__ = lambda name: absent
