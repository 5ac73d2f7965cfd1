#!/usr/bin/env python3
"""The daemon through the eyes of a program that has none of our code.

    foreign_client_test.py VRAMPOOLD

Python's grpcio, the schema as server reflection tells it, the public health
protocol, and the public google.rpc messages: what any gRPC user has.
"""

import os
import sys
import unittest

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import proto_reflection_descriptor_database

from attach import Session

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "python"))
from broker import Broker  # noqa: E402  Found by the line above.

MIB = 1 << 20
PATIENCE_SECONDS = 60
KNOWN = {message.DESCRIPTOR.full_name: message
         for message in (error_details_pb2.ErrorInfo,
                         error_details_pb2.QuotaFailure,
                         error_details_pb2.RetryInfo)}


def details_of(error):
    """The details of a refused call, by the name of their message. ValueError
    for one that is unknown, or that has a field which the public message does
    not have."""
    [value] = [value for key, value in error.trailing_metadata()
               if key == "grpc-status-details-bin"]
    status = status_pb2.Status.FromString(value)
    if (status.code, status.message) != (error.code().value[0],
                                         error.details()):
        raise ValueError(f"another status than the call's: {status}")
    details = {}
    for detail in status.details:
        host, _, name = detail.type_url.rpartition("/")
        if host != "type.googleapis.com" or name not in KNOWN:
            raise ValueError(f"unknown detail {detail.type_url}")
        message = KNOWN[name].FromString(detail.value)
        message.DiscardUnknownFields()  # These would survive as bytes.
        if message.ByteSize() != len(detail.value):
            raise ValueError(f"{name} has fields that the public one lacks")
        details[message.DESCRIPTOR.name] = message
    return details


class ForeignClientTest(unittest.TestCase):
    vrampoold = None  # Set by the command line.

    def setUp(self):
        self.broker = self.enterContext(
            Broker(self.vrampoold, pool_size="64MiB", default_limit="16MiB"))
        path = self.broker.socket_path("broker.sock")
        self.channel = self.enterContext(grpc.insecure_channel(f"unix:{path}"))
        self.schema = proto_reflection_descriptor_database
        self.schema = self.schema.ProtoReflectionDescriptorDatabase(
            self.channel)
        self.pool = descriptor_pool.DescriptorPool(self.schema)

    def call(self, service, method, request=None, token=None):
        """The reply to a call of which only reflection has told anything."""
        service = self.pool.FindServiceByName(f"vrampool.v1.{service}")
        method = service.methods_by_name[method]
        make = message_factory.GetMessageClass(method.input_type)
        reply = message_factory.GetMessageClass(method.output_type)
        metadata = [] if token is None else [("vrampool-session-bin", token)]
        return self.channel.unary_unary(
            f"/{service.full_name}/{method.name}",
            request_serializer=make.SerializeToString,
            response_deserializer=reply.FromString,
        )(make(**(request or {})), metadata=metadata, timeout=PATIENCE_SECONDS)

    def refusal(self, *args, **kwargs):
        """The code and the details of a call that must be refused."""
        with self.assertRaises(grpc.RpcError) as raised:
            self.call(*args, **kwargs)
        details = details_of(raised.exception)
        self.assertEqual(details["ErrorInfo"].domain, "vrampool")
        return raised.exception.code(), details

    def attach(self):
        session = Session(self.broker.socket_path("attach.sock"), "foreigner")
        self.addCleanup(session.close)
        return session

    def lease(self, session, size):
        return self.call("Broker", "Lease", token=session.token, request={
            "size_bytes": size, "idempotency_key": os.urandom(16)})

    def refused_lease(self, session, size):
        return self.refusal("Broker", "Lease", token=session.token, request={
            "size_bytes": size, "idempotency_key": os.urandom(16)})

    def test_reflection_lists_every_service(self):
        self.assertLessEqual(
            {"vrampool.v1.Broker", "vrampool.v1.Admin",
             "grpc.health.v1.Health"}, set(self.schema.get_services()))

    def test_health_is_serving(self):
        health = health_pb2_grpc.HealthStub(self.channel)
        answer = health.Check(health_pb2.HealthCheckRequest(),
                              timeout=PATIENCE_SECONDS)
        self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING)

    def test_an_operator_sees_the_sessions_and_the_pool(self):
        session = self.attach()
        [listed] = self.call("Admin", "ListSessions").sessions
        self.assertEqual((listed.session_id, listed.name, listed.process.pid),
                         (session.session_id, "foreigner", os.getpid()))
        status = self.call("Admin", "GetStatus")
        self.assertEqual(status.pool.capacity_bytes, 64 * MIB)

    def test_memory_comes_with_a_lease(self):
        session = self.attach()
        lease = self.lease(session, 4 * MIB)
        slab, memory = session.next_slab()
        self.assertEqual((slab, len(memory)), (lease.slab.slab_id, 4 * MIB))
        self.assertEqual(memory[:16], bytes(16))
        memory[:5] = b"bytes"
        memory.close()
        self.call("Broker", "Return", token=session.token, request={
            "epoch": session.epoch, "lease_id": lease.lease_id, "mapping": 1})

    def test_a_call_without_a_session_is_unauthenticated(self):
        code, details = self.refusal("Broker", "Budget")
        self.assertEqual(code, grpc.StatusCode.UNAUTHENTICATED)
        self.assertEqual(details["ErrorInfo"].reason, "SESSION_UNKNOWN")

    def test_a_refusal_by_quota_carries_its_numbers(self):
        session = self.attach()
        self.lease(session, 10 * MIB)
        code, details = self.refused_lease(session, 8 * MIB)
        self.assertEqual(code, grpc.StatusCode.RESOURCE_EXHAUSTED)
        info = details["ErrorInfo"]
        self.assertEqual(info.reason, "QUOTA_EXCEEDED")
        self.assertLessEqual(
            {"asked_bytes": str(8 * MIB), "charged_bytes": str(8 * MIB),
             "used_bytes": str(10 * MIB), "limit_bytes": str(16 * MIB),
             "largest_holder": f"session {session.session_id} "
                               f"(pid {os.getpid()}) with 10.0 MiB"}.items(),
            dict(info.metadata).items())
        [violation] = details["QuotaFailure"].violations
        self.assertEqual(violation.subject, f"tenant:{session.tenant}")
        self.assertIn("at 10.0 MiB of 16.0 MiB", violation.description)

    def test_a_refusal_that_passes_says_when_to_ask_again(self):
        session = self.attach()
        self.call("Admin", "SetQuota", {"tenant": session.tenant,
                                        "limit_bytes": 128 * MIB})
        self.lease(session, 60 * MIB)
        code, details = self.refused_lease(session, 8 * MIB)
        self.assertEqual(code, grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertEqual(details["ErrorInfo"].reason, "POOL_EXHAUSTED")
        self.assertGreater(details["RetryInfo"].retry_delay.ToMilliseconds(), 0)

    def test_a_tenant_that_is_none_is_not_found(self):
        code, details = self.refusal("Admin", "GetQuota",
                                     {"tenant": "root/nobody"})
        self.assertEqual(code, grpc.StatusCode.NOT_FOUND)
        self.assertEqual(details["ErrorInfo"].reason, "TENANT_UNKNOWN")


if __name__ == "__main__":
    ForeignClientTest.vrampoold = sys.argv[1]
    unittest.main(argv=sys.argv[:1] + sys.argv[2:], verbosity=2)
