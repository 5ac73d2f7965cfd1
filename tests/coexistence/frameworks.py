"""What the frameworks do that bring a gRPC, Protocol Buffers and Abseil of
their own: each function uses one of them for real. All four are imported by
importing this.
"""

import concurrent.futures

import grpc
import numpy
import pyarrow
import pyarrow.flight
import tensorflow
from google.protobuf import wrappers_pb2

TEXT = wrappers_pb2.StringValue
PATIENCE_SECONDS = 60


class _Echo(grpc.GenericRpcHandler):
    def service(self, call):
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: TEXT(value=request.value + "!"),
            request_deserializer=TEXT.FromString,
            response_serializer=TEXT.SerializeToString)


def grpc_call(path):
    """What a gRPC server of this process on the socket `path` answers."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2),
                         handlers=[_Echo()])
    server.add_insecure_port(f"unix:{path}")
    server.start()
    try:
        with grpc.insecure_channel(f"unix:{path}") as channel:
            call = channel.unary_unary(
                "/test.Echo/Say", request_serializer=TEXT.SerializeToString,
                response_deserializer=TEXT.FromString)
            return call(TEXT(value="hello"), timeout=PATIENCE_SECONDS).value
    finally:
        server.stop(None).wait()


class _Flight(pyarrow.flight.FlightServerBase):
    def do_get(self, context, ticket):
        table = pyarrow.table({"x": [1, 2, int(ticket.ticket)]})
        return pyarrow.flight.RecordBatchStream(table)


def arrow_flight_sum(path):
    """Of a column that comes from a Flight server on the socket `path`."""
    location = f"grpc+unix://{path}"
    with _Flight(location), pyarrow.flight.connect(location) as client:
        table = client.do_get(pyarrow.flight.Ticket(b"39")).read_all()
        return sum(table["x"].to_pylist())


def arrow_sum(address, size, base):
    """Of memory as an Arrow array of 64-bit integers, without a copy."""
    buffer = pyarrow.foreign_buffer(address, size, base)
    array = pyarrow.Array.from_buffers(pyarrow.int64(), size // 8,
                                       [None, buffer])
    return array.sum().as_py()


def numpy_view(memory):
    """Memory as a NumPy array of 64-bit integers, without a copy."""
    return numpy.frombuffer(memory, dtype=numpy.int64)


def tensorflow_sum(array):
    return int(tensorflow.reduce_sum(tensorflow.constant(array)))


def tensorflow_served_sum(array):
    """By a TensorFlow server of this process, over its own gRPC."""
    server = tensorflow.distribute.Server.create_local_server()
    with tensorflow.Graph().as_default():
        total = tensorflow.reduce_sum(tensorflow.constant(array))
        with tensorflow.compat.v1.Session(server.target) as session:
            return int(session.run(total))
