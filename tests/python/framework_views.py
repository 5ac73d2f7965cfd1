"""Each framework as the matrix of tests sees it: what it makes in the pool, what
it sees of others' tensors, and what it refuses. Imported by the interpreter that
has the framework. On a GPU (VRAMPOOL_TEST_DEVICE) each works on a stream of its
own that does not wait for the default one, where it has such.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
INTEGERS = ["int8", "uint8", "int16", "int32", "int64"]
UNSIGNED = ["uint16", "uint32", "uint64"]
FLOATS = ["float16", "float32", "float64"]
COMPLEX = ["complex64", "complex128"]
NUMBERS = ["bool", *INTEGERS, *UNSIGNED, *FLOATS, *COMPLEX]
ALL = [*NUMBERS, "bfloat16"]
FLOAT8 = ["float8_e5m2", "float8_e4m3fn"]
ON_GPU = os.environ.get("VRAMPOOL_TEST_DEVICE", "").startswith("cuda")


def fill(count, dtype):
    """What each test writes, as Python numbers."""
    return [i % 2 for i in range(count)] if dtype == "bool" else list(
        range(count))


class HostViews:
    """Where there are no streams."""

    stream = None  # That work is on, and to be given with tensors.

    def finish(self):
        """Waits for what the framework has to do."""


class NumpyViews(HostViews):
    makes = opens = [*ALL, *FLOAT8]
    layouts = ["C", "F", "gaps"]  # That it sees.
    is_writable = respects_readonly = True

    def __init__(self):
        import numpy
        import vrampool.numpy
        self.np, self.pool = numpy, vrampool.numpy

    def make(self, client, dtype, shape, strides):
        tensor = client.empty(shape, dtype, strides=strides)
        self.view(tensor)[...] = self.np.array(
            fill(tensor.size, dtype)).reshape(shape)
        return tensor

    def view(self, tensor):
        return self.pool.view(tensor)

    def address(self, view):
        return view.__array_interface__["data"][0]

    def content(self, view):
        return view.tobytes()

    def write(self, view, value):
        view[...] = value


class TorchViews(HostViews):
    layouts = ["C", "F", "gaps"]
    is_writable, respects_readonly = True, False

    def __init__(self):
        import torch
        import vrampool.torch
        self.torch, self.pool = torch, vrampool.torch
        self.makes = self.opens = [name for name in [*ALL, *FLOAT8]
                                   if hasattr(torch, name)]
        if ON_GPU:
            self.stream = torch.cuda.Stream()
            torch.cuda.set_stream(self.stream)

    def finish(self):
        if ON_GPU:
            self.stream.synchronize()

    def make(self, client, dtype, shape, strides):
        tensor = client.empty(shape, dtype, strides=strides,
                              stream=self.stream)
        values = self.torch.tensor(fill(tensor.size, dtype))
        self.view(tensor).copy_(values.reshape(shape))
        return tensor

    def view(self, tensor):
        return self.pool.view(tensor)

    def address(self, view):
        return view.data_ptr()

    def content(self, view):
        dense = view.contiguous().reshape(-1)
        if dense.numel() == 0:
            return b""
        return dense.view(self.torch.uint8).cpu().numpy().tobytes()

    def write(self, view, value):
        view.copy_(self.torch.tensor(value))  # Some types lack fill_().


class JaxViews:
    makes = opens = [*ALL, *FLOAT8]
    layouts = ["C", "F"]
    is_writable, respects_readonly = False, True

    def __init__(self):
        import jax
        jax.config.update("jax_enable_x64", True)
        import vrampool.jax
        self.jax, self.pool = jax, vrampool.jax
        self.stream = None
        if ON_GPU:  # The one on which JAX takes what others made.
            device = jax.devices("cuda")[0]
            self.stream = device.get_stream_for_external_ready_events()

    def finish(self):
        """What it computes is read where it is asked for."""

    def make(self, client, dtype, shape, strides):
        count = 1
        for extent in shape:
            count *= extent
        array = self.jax.numpy.array(fill(count, dtype)).astype(dtype)
        return self.pool.put(client, array.reshape(shape))

    def view(self, tensor):
        return self.pool.view(tensor)

    def address(self, view):
        return view.unsafe_buffer_pointer()

    def content(self, view):
        import numpy
        # Not of the view itself, whose bytes it may have kept from before.
        return numpy.asarray(self.jax.numpy.copy(view)).tobytes()


class TensorflowViews(HostViews):
    makes = opens = ALL
    layouts = ["C"]
    is_writable, respects_readonly = False, True

    def __init__(self):
        import tensorflow
        import vrampool.tensorflow
        self.tf, self.pool = tensorflow, vrampool.tensorflow

    def make(self, client, dtype, shape, strides):
        count = 1
        for extent in shape:
            count *= extent
        wide = self.tf.constant(fill(count, dtype), "int64")
        array = self.tf.reshape(self.tf.cast(wide, dtype), shape)
        return self.pool.put(client, array)

    def view(self, tensor):
        return self.pool.view(tensor)

    def address(self, view):
        return address_in(self.tf.experimental.dlpack.to_dlpack(view))

    def content(self, view):
        return view.numpy().tobytes()


class MxnetViews(HostViews):
    makes = opens = ["int8", "uint8", "int32", "int64", *FLOATS]
    layouts = ["C"]
    is_writable, respects_readonly = True, False

    def __init__(self):
        import mxnet
        import vrampool.mxnet
        mxnet.util.set_np_shape(True)  # Else no zeros in shapes, no scalars.
        self.mx, self.pool = mxnet, vrampool.mxnet

    def make(self, client, dtype, shape, strides):
        tensor = client.empty(shape, dtype)
        if tensor.size:
            view = self.view(tensor)
            view[:] = self.mx.nd.array(fill(tensor.size, dtype),
                                       dtype=dtype).reshape(shape)
            view.wait_to_read()
        return tensor

    def view(self, tensor):
        return self.pool.view(tensor)

    def address(self, view):
        return address_in(view.to_dlpack_for_read())

    def content(self, view):
        return view.asnumpy().tobytes()

    def write(self, view, value):
        view[:] = value
        view.wait_to_read()


class PyarrowViews(HostViews):
    """Columns of numbers. What it makes is a table of one column, "x"."""

    makes = opens = ["int8", "uint8", "int16", "int32", "int64", *UNSIGNED,
                     *FLOATS]
    layouts = ["C"]
    is_writable, respects_readonly = False, True

    def __init__(self):
        import pyarrow
        import vrampool.arrow
        self.pa, self.pool = pyarrow, vrampool.arrow

    def share(self, client, dtype, shape):
        kind = {"float16": "halffloat", "float32": "float",
                "float64": "double"}.get(dtype, dtype)
        column = self.pa.array(fill(shape[0], dtype), "int64")
        if dtype == "float16":  # Not cast to by pyarrow from integers.
            column = column.cast("float32")
        table = self.pa.table({"x": column.cast(kind)})
        return self.pool.share(client, table)

    def view(self, tensor):
        return self.pa.array(self.pool.array(tensor))

    def address(self, view):
        return view.buffers()[1].address

    def content(self, view):
        return view.buffers()[1].to_pybytes()


class CupyViews:
    layouts = ["C", "F", "gaps"]
    is_writable, respects_readonly = True, False

    def __init__(self):
        import cupy
        import vrampool.cupy
        self.cupy, self.pool = cupy, vrampool.cupy
        self.makes = NUMBERS
        self.opens = [*NUMBERS, "bfloat16"] if self.has_bfloat16() else NUMBERS
        self.stream = cupy.cuda.Stream(non_blocking=True)
        # Not use(): the end of any block `with` another stream would undo it.
        self.stream.__enter__()

    def has_bfloat16(self):
        import ml_dtypes
        try:
            return self.cupy.empty(1, ml_dtypes.bfloat16).nbytes == 2
        except (TypeError, ValueError, NotImplementedError):
            return False

    def finish(self):
        current = self.cupy.cuda.get_current_stream()
        if current != self.stream:
            raise AssertionError(f"CuPy works on {current}")
        self.stream.synchronize()
        if not self.cupy.cuda.Stream.null.done:
            raise AssertionError("CuPy works on the default stream")

    def make(self, client, dtype, shape, strides):
        tensor = client.empty(shape, dtype, strides=strides,
                              stream=self.stream)
        values = self.cupy.array(fill(tensor.size, dtype))
        self.view(tensor)[...] = values.astype(dtype).reshape(shape)
        return tensor

    def view(self, tensor):
        return self.pool.view(tensor)

    def address(self, view):
        return view.data.ptr

    def content(self, view):
        return self.cupy.asnumpy(view).tobytes()

    def write(self, view, value):
        view[...] = value


class NumbaViews:
    makes = opens = NUMBERS
    layouts = ["C", "F", "gaps"]
    is_writable, respects_readonly = True, False

    def __init__(self):
        import numpy
        if not hasattr(numpy, "row_stack"):
            # Gone in NumPy 2.5; numba-cuda 0.30 wants it to compile kernels.
            numpy.row_stack = numpy.vstack
        import numba.cuda
        import vrampool.numba
        self.cuda, self.np, self.pool = numba.cuda, numpy, vrampool.numba
        self.stream = numba.cuda.stream()

    def finish(self):
        self.cuda.synchronize()

    def make(self, client, dtype, shape, strides):
        tensor = client.empty(shape, dtype, strides=strides,
                              stream=self.stream)
        values = self.np.array(fill(tensor.size, dtype), dtype)
        self.view(tensor).copy_to_device(values.reshape(shape))
        return tensor

    def view(self, tensor):
        return self.pool.view(tensor)

    def address(self, view):
        return int(view.__cuda_array_interface__["data"][0])

    def content(self, view):
        host = view.copy_to_host()
        self.finish()
        return host.tobytes()

    def write(self, view, value):
        if view.is_c_contiguous() or view.is_f_contiguous():
            view.copy_to_device(self.np.full(view.shape, value, view.dtype))
        else:  # By a kernel.
            view[:] = self.np.array(value, view.dtype)


class RmmViews:
    """Buffers of RMM's, whose memory is always its own: it makes bytes in the
    pool, and others open them."""

    makes, opens = ["uint8"], []
    layouts = ["C"]
    is_writable, respects_readonly = False, True

    def __init__(self):
        import rmm
        import vrampool.rmm
        from rmm.pylibrmm.stream import Stream
        self.rmm, self.pool = rmm, vrampool.rmm
        self.stream = Stream()
        self.resource = None

    def finish(self):
        self.stream.synchronize()

    def make(self, client, dtype, shape, strides):
        if self.resource is None:
            self.resource = self.pool.resource(client)
        content = bytes(fill(shape[0], dtype))
        buffer = self.rmm.DeviceBuffer(size=len(content), stream=self.stream,
                                       mr=self.resource)
        buffer.copy_from_host(content, stream=self.stream)
        return buffer


HOST = {"numpy": NumpyViews, "torch": TorchViews, "jax": JaxViews,
        "tensorflow": TensorflowViews, "mxnet": MxnetViews,
        "pyarrow": PyarrowViews}
GPU = {"torch": TorchViews, "jax": JaxViews, "cupy": CupyViews,
       "numba": NumbaViews, "rmm": RmmViews}
MAKES_ONLY = {"rmm"}
VIEWS = GPU if ON_GPU else HOST


def address_in(capsule):
    from vrampool import _dlpack
    return _dlpack.look_into(_dlpack.Capsule(capsule)).address
