# cython: language_level=3
"""The resource, for RMM from 26.06 on: what models cuda::mr::resource."""

from cython.operator cimport dereference
from libc.stdint cimport uintptr_t
from libcpp.memory cimport unique_ptr
from libcpp.optional cimport optional

from rmm.librmm.memory_resource cimport device_async_resource_ref
from rmm.pylibrmm.memory_resource cimport DeviceMemoryResource


cdef extern from "vrampool_rmm/session_resource.hpp" \
        namespace "vrampool_rmm" nogil:
    cdef cppclass SessionResource:
        pass

    unique_ptr[SessionResource] MakeResource(
        uintptr_t client, uintptr_t session) except +


# RMM's own template, for a type that RMM does not know.
cdef extern from * nogil:
    optional[device_async_resource_ref] make_device_async_resource_ref(
        SessionResource& resource) except +


cdef class Resource(DeviceMemoryResource):
    """Made by vrampool_rmm.resource()."""

    cdef unique_ptr[SessionResource] c_obj

    def __cinit__(self, uintptr_t client, uintptr_t session):
        self.c_obj = MakeResource(client, session)
        self.c_ref = make_device_async_resource_ref(dereference(self.c_obj))
