# cython: language_level=3
"""The resource, for RMM before 26.06: a subclass of RMM's base class."""

from libc.stdint cimport uintptr_t
from libcpp.memory cimport shared_ptr

from rmm.librmm.memory_resource cimport device_memory_resource
from rmm.pylibrmm.memory_resource cimport DeviceMemoryResource


cdef extern from "vrampool_rmm/session_resource.hpp" \
        namespace "vrampool_rmm" nogil:
    shared_ptr[device_memory_resource] MakeResource(
        uintptr_t client, uintptr_t session) except +


cdef class Resource(DeviceMemoryResource):
    """Made by vrampool_rmm.resource()."""

    def __cinit__(self, uintptr_t client, uintptr_t session):
        self.c_obj = MakeResource(client, session)
