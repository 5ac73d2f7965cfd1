"""libvrampool by ctypes: as much of vrampool.h as the tests beside this need.

A call that fails raises an OSError with the library's own message.
"""

import ctypes

TOKEN_MAX = 512


class Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_size_t)]


class Library:
    def __init__(self, path):
        self._c = ctypes.CDLL(path)  # RTLD_LOCAL, as Python loads everything.
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        for name, result, arguments in (
                ("last_error_message", ctypes.c_char_p, []),
                ("client_open", ctypes.c_int,
                 [pointer, ctypes.POINTER(pointer)]),
                ("client_close", None, [pointer]),
                ("client_allocate", pointer, [pointer, size, pointer]),
                ("client_deallocate", None, [pointer, pointer, size, pointer]),
                ("share", ctypes.c_int,
                 [pointer, ctypes.POINTER(Buffer), size, pointer,
                  ctypes.POINTER(pointer)]),
                ("object_token", ctypes.c_int,
                 [pointer, ctypes.c_char_p, size]),
                ("open", ctypes.c_int,
                 [pointer, ctypes.c_char_p, ctypes.c_uint64,
                  ctypes.POINTER(pointer)]),
                ("object_data", pointer, [pointer, size]),
                ("object_size", size, [pointer, size]),
                ("object_close", None, [pointer, pointer])):
            function = getattr(self._c, f"vrampool_{name}")
            function.restype, function.argtypes = result, arguments

    def _check(self, ok):
        if not ok:
            raise OSError(self._c.vrampool_last_error_message().decode())

    def open_client(self):
        """A client of the daemon that the environment names."""
        client = ctypes.c_void_p()
        self._check(self._c.vrampool_client_open(
            None, ctypes.byref(client)) == 0)
        return client

    def close_client(self, client):
        self._c.vrampool_client_close(client)

    def allocate(self, client, size):
        """The address of a block."""
        address = self._c.vrampool_client_allocate(client, size, None)
        self._check(address is not None)
        return address

    def deallocate(self, client, address, size):
        self._c.vrampool_client_deallocate(client, address, size, None)

    def share(self, client, address, size):
        shared = ctypes.c_void_p()
        self._check(self._c.vrampool_share(
            client, Buffer(address, size), 1, None,
            ctypes.byref(shared)) == 0)
        return shared

    def token(self, shared):
        text = ctypes.create_string_buffer(TOKEN_MAX)
        self._check(self._c.vrampool_object_token(shared, text, TOKEN_MAX) == 0)
        return text.value

    def open(self, client, token):
        opened = ctypes.c_void_p()
        self._check(self._c.vrampool_open(
            client, token, 0, ctypes.byref(opened)) == 0)
        return opened

    def contents(self, opened):
        """The address and the size of an object's first buffer."""
        return (self._c.vrampool_object_data(opened, 0),
                self._c.vrampool_object_size(opened, 0))

    def close(self, opened):
        self._c.vrampool_object_close(opened, None)


def view(address, size):
    """The memory itself, for everything that takes a buffer."""
    return (ctypes.c_ubyte * size).from_address(address)
