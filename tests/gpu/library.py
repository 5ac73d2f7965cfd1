"""The few calls of libvrampool that the checks in this folder make."""

import ctypes
import functools

import gpu_broker


class BlockInfo(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t),
                ("address", ctypes.c_uint64),
                ("size_bytes", ctypes.c_uint64),
                ("slab_id", ctypes.c_uint64),
                ("slab_bytes", ctypes.c_uint64),
                ("kind", ctypes.c_int)]


class Usage(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t)] + [
        (name, ctypes.c_uint64) for name in
        ("leased_bytes", "slabs", "live_bytes", "live_blocks", "opened_bytes",
         "rpcs", "attachments")]


class Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_size_t)]


class ShareOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t),
                ("name", ctypes.c_char_p),
                ("tensors", ctypes.c_void_p),
                ("metadata", ctypes.c_void_p),
                ("metadata_size", ctypes.c_size_t),
                ("pending", ctypes.c_int),
                ("ordered", ctypes.c_int),
                ("stream", ctypes.c_void_p)]


@functools.cache
def load():
    lib = ctypes.CDLL(str(gpu_broker.LIBRARY))
    lib.vrampool_last_error_message.restype = ctypes.c_char_p
    lib.vrampool_device_client.restype = ctypes.c_void_p
    lib.vrampool_device_client.argtypes = [ctypes.c_int]
    lib.vrampool_describe.argtypes = [ctypes.c_void_p, ctypes.c_void_p,
                                      ctypes.POINTER(BlockInfo)]
    lib.vrampool_client_usage.argtypes = [ctypes.c_void_p,
                                          ctypes.POINTER(Usage)]
    lib.vrampool_share.argtypes = [ctypes.c_void_p, ctypes.POINTER(Buffer),
                                   ctypes.c_size_t, ctypes.c_void_p,
                                   ctypes.POINTER(ctypes.c_void_p)]
    return lib


def check(status):
    if status != 0:
        raise RuntimeError(load().vrampool_last_error_message().decode())


def device_client(device):
    client = load().vrampool_device_client(device)
    if not client:
        raise RuntimeError(load().vrampool_last_error_message().decode())
    return client


def describe(client, address):
    """The live block around the address, or None."""
    info = BlockInfo(struct_size=ctypes.sizeof(BlockInfo))
    status = load().vrampool_describe(client, address, ctypes.byref(info))
    return info if status == 0 else None


def usage(client):
    numbers = Usage(struct_size=ctypes.sizeof(Usage))
    check(load().vrampool_client_usage(client, ctypes.byref(numbers)))
    return {name: getattr(numbers, name) for name, _ in Usage._fields_[1:]}


def share(client, address, size, name):
    """Shares memory by name; the object lives at least as long as we do."""
    lib = load()
    options = ShareOptions()
    lib.vrampool_share_options_init_sized(ctypes.byref(options),
                                          ctypes.sizeof(options))
    options.name = name
    held = ctypes.c_void_p()
    buffer = Buffer(address, size)
    check(lib.vrampool_share(client, ctypes.byref(buffer), 1,
                             ctypes.byref(options), ctypes.byref(held)))
    return held, options
