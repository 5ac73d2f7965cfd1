"""What vrampool.h and its parts declare, for ctypes: the one place of it.

tests/python/abi_test.py compares every structure, constant and function here
with what a C compiler makes of the headers.
"""

from __future__ import annotations

import ctypes
import enum
from ctypes import (CFUNCTYPE, POINTER, Structure, c_char, c_char_p, c_int,
                    c_int64, c_size_t, c_uint32, c_uint64, c_void_p)
from typing import Any, Dict, Tuple

TOKEN_MAX = 512
MAX_DIMENSIONS = 16
WANTS_FRAMES = 1  # An address that is no block's.


class Kind(enum.IntEnum):
    """How a device's memory travels between processes (vrampool_kind)."""

    NONE = 0
    CUDA_IPC = 1
    VMM_FD = 2
    HOST_FD = 3


class Options(Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("directory", c_char_p),
        ("device", c_char_p), ("name", c_char_p), ("tag", c_char_p),
        ("framework", c_char_p), ("slab_bytes", c_uint64),
        ("wait_ms", c_int64), ("idle_ms", c_int64), ("kind", c_int),
        ("detect_captures", c_int), ("reserve_bytes", c_uint64),
        ("lease_ahead", c_int), ("debug", c_char_p),
        ("debug_quarantine_bytes", c_uint64), ("stacks", c_char_p)]


class Info(Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("device_uuid", c_char * 64),
        ("tenant", c_char * 128), ("epoch", c_uint64),
        ("session_id", c_uint64), ("granule_bytes", c_uint64),
        ("kind", c_int)]


class Usage(Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("leased_bytes", c_uint64),
        ("slabs", c_uint64), ("live_bytes", c_uint64),
        ("live_blocks", c_uint64), ("opened_bytes", c_uint64),
        ("rpcs", c_uint64), ("attachments", c_uint64),
        ("parked_bytes", c_uint64), ("cached_bytes", c_uint64),
        ("pending_bytes", c_uint64)]


class BlockInfo(Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("address", c_uint64),
        ("size_bytes", c_uint64), ("slab_id", c_uint64),
        ("slab_bytes", c_uint64), ("kind", c_int)]


class Budget(Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("used_bytes", c_uint64),
        ("limit_bytes", c_uint64), ("available_bytes", c_uint64),
        ("guarantee_bytes", c_uint64), ("guaranteed_bytes", c_uint64),
        ("total_bytes", c_uint64)]


class Reservation(Structure):
    _fields_ = [("epoch", c_uint64), ("id", c_uint64)]


class BufferPiece(Structure):
    _fields_ = [("data", c_void_p), ("size", c_size_t)]


class TensorLayout(Structure):
    _fields_ = [
        ("dtype_code", c_uint32), ("dtype_bits", c_uint32),
        ("dtype_lanes", c_uint32), ("ndim", c_uint32),
        ("shape", POINTER(c_int64)), ("strides", POINTER(c_int64)),
        ("byte_offset", c_uint64)]


class ShareOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("name", c_char_p),
        ("tensors", POINTER(TensorLayout)), ("metadata", c_void_p),
        ("metadata_size", c_size_t), ("pending", c_int), ("ordered", c_int),
        ("stream", c_void_p), ("sealed", c_int), ("expires_ms", c_uint64),
        ("grants", POINTER(c_char_p)), ("grant_count", c_size_t)]


class OpenOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("token", c_char_p), ("name", c_char_p),
        ("tenant", c_char_p), ("wait_ms", c_uint64), ("ordered", c_int),
        ("stream", c_void_p)]


STRUCTURES: Dict[str, Any] = {
    "vrampool_options": Options, "vrampool_info": Info,
    "vrampool_usage": Usage, "vrampool_block_info": BlockInfo,
    "vrampool_budget": Budget, "vrampool_reservation": Reservation,
    "vrampool_buffer": BufferPiece,
    "vrampool_tensor": TensorLayout, "vrampool_share_options": ShareOptions,
    "vrampool_open_options": OpenOptions}

# The client, object and reference pointers are plain addresses here. What is
# not here of the headers is of no use to Python: captures of graphs and the
# hooks of allocators are called by frameworks, in C.
_CLIENT = _OBJECT = _REF = _STREAM = c_void_p
_OUT = POINTER(c_void_p)
FUNCTIONS: Dict[str, Tuple[Any, ...]] = {
    # name: (result, arguments...)
    "vrampool_status_name": (c_char_p, c_int),
    "vrampool_last_status": (c_int,),
    "vrampool_last_error_message": (c_char_p,),
    "vrampool_version": (c_char_p,),
    "vrampool_options_init_sized": (None, POINTER(Options), c_size_t),
    "vrampool_client_open": (c_int, POINTER(Options), _OUT),
    "vrampool_client_close": (None, _CLIENT),
    "vrampool_default_client": (_CLIENT,),
    "vrampool_device_client": (_CLIENT, c_int),
    "vrampool_torch_lead": (c_int, c_int),
    "vrampool_torch_leave": (None, c_int),
    "vrampool_torch_await_no_capture": (c_int, c_uint64),
    "vrampool_torch_refusal": (c_size_t, c_char_p, c_size_t),
    "vrampool_client_info": (c_int, _CLIENT, POINTER(Info)),
    "vrampool_client_allocate": (c_void_p, _CLIENT, c_size_t, _STREAM),
    "vrampool_client_deallocate": (None, _CLIENT, c_void_p, c_size_t, _STREAM),
    "vrampool_client_allocate_aligned":
        (c_void_p, _CLIENT, c_size_t, c_size_t, _STREAM),
    "vrampool_client_allocate_dedicated":
        (c_void_p, _CLIENT, c_size_t, _STREAM),
    "vrampool_client_allocate_from":
        (c_void_p, _CLIENT, c_size_t, c_size_t, c_int, _STREAM, c_char_p),
    "vrampool_python_begin": (c_int, c_int, c_void_p, c_void_p, c_char_p),
    "vrampool_python_end": (None,),
    "vrampool_set_tag": (c_int, c_char_p),
    "vrampool_tag": (c_char_p,),
    "vrampool_debug_place": (None, c_char_p),
    "vrampool_debug_describe": (None, c_void_p),
    "vrampool_record_stream": (c_int, _CLIENT, c_void_p, _STREAM),
    "vrampool_trim": (c_int, _CLIENT),
    "vrampool_quiesce": (c_int, _CLIENT),
    "vrampool_await_reclaim":
        (c_int, _CLIENT, c_uint64, c_uint64, POINTER(c_uint64),
         POINTER(c_uint64)),
    "vrampool_client_usage": (c_int, _CLIENT, POINTER(Usage)),
    "vrampool_describe": (c_int, _CLIENT, c_void_p, POINTER(BlockInfo)),
    "vrampool_client_budget": (c_int, _CLIENT, POINTER(Budget)),
    "vrampool_wait_for_room": (c_int, _CLIENT, c_size_t, c_uint64),
    "vrampool_fits": (c_int, _CLIENT, c_size_t, POINTER(c_int)),
    "vrampool_reserve":
        (c_int, _CLIENT, c_size_t, c_uint64, POINTER(Reservation)),
    "vrampool_reservation_release": (c_int, _CLIENT, Reservation),
    "vrampool_share_options_init_sized":
        (None, POINTER(ShareOptions), c_size_t),
    "vrampool_share":
        (c_int, _CLIENT, POINTER(BufferPiece), c_size_t, POINTER(ShareOptions),
         _OUT),
    "vrampool_ready": (c_int, _OBJECT),
    "vrampool_object_token": (c_int, _OBJECT, c_char_p, c_size_t),
    "vrampool_open": (c_int, _CLIENT, c_char_p, c_uint64, _OUT),
    "vrampool_open_name": (c_int, _CLIENT, c_char_p, c_uint64, _OUT),
    "vrampool_open_on": (c_int, _CLIENT, c_char_p, _STREAM, c_uint64, _OUT),
    "vrampool_open_name_on":
        (c_int, _CLIENT, c_char_p, _STREAM, c_uint64, _OUT),
    "vrampool_open_options_init_sized":
        (None, POINTER(OpenOptions), c_size_t),
    "vrampool_open_with": (c_int, _CLIENT, POINTER(OpenOptions), _OUT),
    "vrampool_object_status": (c_int, _OBJECT),
    "vrampool_object_is_sealed": (c_int, _OBJECT),
    "vrampool_object_buffer_count": (c_size_t, _OBJECT),
    "vrampool_object_data": (c_void_p, _OBJECT, c_size_t),
    "vrampool_object_size": (c_size_t, _OBJECT, c_size_t),
    "vrampool_object_tensor":
        (c_int, _OBJECT, c_size_t, POINTER(TensorLayout)),
    "vrampool_object_metadata":
        (c_int, _OBJECT, POINTER(c_void_p), POINTER(c_size_t)),
    "vrampool_object_name": (c_char_p, _OBJECT),
    "vrampool_object_owner": (c_char_p, _OBJECT),
    "vrampool_object_close": (c_int, _OBJECT, _STREAM),
    "vrampool_unlink": (c_int, _CLIENT, c_char_p),
    "vrampool_await_ends":
        (c_int, _CLIENT, c_uint64, c_uint64, POINTER(c_uint64)),
    "vrampool_shared_status": (c_int, _CLIENT, c_char_p),
    "vrampool_ref_client": (_REF, _CLIENT),
    "vrampool_ref_default_client": (_REF,),
    "vrampool_ref_device_client": (_REF, c_int),
    "vrampool_ref_block": (_REF, _REF, c_void_p, c_size_t, _STREAM),
    "vrampool_ref_object": (_REF, _REF, _OBJECT, _STREAM),
    "vrampool_ref_retain": (None, _REF),
    "vrampool_ref_release": (None, _REF),
    "vrampool_ref_set_stream": (None, _REF, _STREAM),
    "vrampool_ref_watch": (None, _REF),
    "vrampool_ref_try_retain": (c_int, _REF),
    "vrampool_ref_unwatch": (None, _REF),
    "vrampool_dlpack_delete": (None, c_void_p),
    "vrampool_dlpack_delete_versioned": (None, c_void_p),
    "vrampool_arrow_release_array": (None, c_void_p),
    "vrampool_arrow_release_schema": (None, c_void_p),
    "vrampool_capsule_use": (None, c_void_p, c_void_p),
    "vrampool_capsule_delete": (None, c_void_p),
}


# ---- Structures of the exchange standards ------------------------------------


class DLTensor(Structure):
    """DLTensor of dlpack.h; device and data type are taken apart."""

    _fields_ = [
        ("data", c_void_p), ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32), ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16), ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)), ("byte_offset", c_uint64)]


class DLManagedTensor(Structure):
    _fields_ = [("dl_tensor", DLTensor), ("manager_ctx", c_void_p),
                ("deleter", c_void_p)]


class DLManagedTensorVersioned(Structure):
    _fields_ = [
        ("major", c_uint32), ("minor", c_uint32), ("manager_ctx", c_void_p),
        ("deleter", c_void_p), ("flags", c_uint64), ("dl_tensor", DLTensor)]


class ArrowSchema(Structure):
    pass


class ArrowArray(Structure):
    pass


ArrowSchema._fields_ = [
    ("format", c_char_p), ("name", c_char_p), ("metadata", c_void_p),
    ("flags", c_int64), ("n_children", c_int64),
    ("children", POINTER(POINTER(ArrowSchema))),
    ("dictionary", POINTER(ArrowSchema)), ("release", c_void_p),
    ("private_data", c_void_p)]
ArrowArray._fields_ = [
    ("length", c_int64), ("null_count", c_int64), ("offset", c_int64),
    ("n_buffers", c_int64), ("n_children", c_int64),
    ("buffers", POINTER(c_void_p)), ("children", POINTER(POINTER(ArrowArray))),
    ("dictionary", POINTER(ArrowArray)), ("release", c_void_p),
    ("private_data", c_void_p)]


class ArrowDeviceArray(Structure):
    _fields_ = [
        ("array", ArrowArray), ("device_id", c_int64),
        ("device_type", ctypes.c_int32), ("sync_event", c_void_p),
        ("reserved", c_int64 * 3)]


RELEASE_FUNCTION = CFUNCTYPE(None, c_void_p)
"""The type of `release` and of `deleter`, to call those of others."""
