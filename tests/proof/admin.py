"""An operator's questions, by gRPC and what server reflection tells: no process
for each of them, and no code of ours."""

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha import proto_reflection_descriptor_database

PATIENCE_SECONDS = 60


class Service:
    """Calls of one service of a daemon."""

    def __init__(self, socket_path, service):
        self._channel = grpc.insecure_channel(f"unix:{socket_path}")
        database = (proto_reflection_descriptor_database.
                    ProtoReflectionDescriptorDatabase(self._channel))
        pool = descriptor_pool.DescriptorPool(database)
        self._calls = {}
        found = pool.FindServiceByName(f"vrampool.v1.{service}")
        for method in found.methods:
            if method.server_streaming:
                continue
            make = message_factory.GetMessageClass(method.input_type)
            reply = message_factory.GetMessageClass(method.output_type)
            self._calls[method.name] = make, self._channel.unary_unary(
                f"/{found.full_name}/{method.name}",
                request_serializer=make.SerializeToString,
                response_deserializer=reply.FromString)

    def call(self, method, token=None, timeout=PATIENCE_SECONDS, **request):
        make, call = self._calls[method]
        metadata = [] if token is None else [("vrampool-session-bin", token)]
        return call(make(**request), timeout=timeout, metadata=metadata)

    def close(self):
        self._channel.close()


class Admin(Service):
    def __init__(self, broker):
        super().__init__(broker.socket_path("broker.sock"), "Admin")

    def books(self):
        """Everything that must be as before when somebody has gone. Clean
        memory is as good as free; which of it is which is nobody's right."""
        status = self.call("GetStatus")
        pool = status.pool
        return {
            "sessions": status.sessions, "leases": status.leases,
            "objects": status.objects, "waiting": status.waiting,
            "ghosts": status.ghost_bytes, "adds_up": status.conservation_holds,
            "unused": pool.free_bytes + pool.clean_bytes,
            "leased": pool.leased_bytes, "parked": pool.parked_bytes,
            "kept": pool.kept_bytes, "lingering": pool.lingering_bytes,
            "on_the_way": pool.creating_bytes + pool.destroying_bytes,
            "reservations": len(self.call("ListReservations").reservations),
            "used": {tenant.tenant: tenant.used_bytes for tenant in
                     self.call("ListTenants").tenants if tenant.used_bytes}}

    def tenant(self, path):
        return self.call("GetQuota", tenant=path).tenant
