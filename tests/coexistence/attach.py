"""A session, begun by what proto/attach/messages.h says and nothing else."""

import mmap
import select
import socket
import struct

MAGIC, VERSION = 0x31504D56, 3
HELLO, WELCOME, REFUSED, SLAB_HANDLE = 1, 101, 102, 103
MAX_PACKET_BYTES = 1024

_HEADER = struct.Struct("<IHH")
_HELLO = struct.Struct("<64s64s32s32s")
_WELCOME = struct.Struct("<QQ32s64s128sQQQQ4I")
_REFUSED = struct.Struct("<II256s")
_SLAB_HANDLE = struct.Struct("<QQII64s")


class Refused(Exception):
    """The daemon's reason."""


class Session:
    """Attached from its creation until close() or the end of the process."""

    def __init__(self, path, name):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(60)
        self._socket.connect(str(path))
        try:
            self._say_hello(_HEADER.pack(MAGIC, VERSION, HELLO) +
                            _HELLO.pack(name.encode(), b"", b"", b"test"))
            body, self._shared = self._receive(WELCOME, _WELCOME, 2, 3)
        except BaseException:
            self._socket.close()
            raise
        self.epoch, self.session_id, self.token = body[:3]
        self.tenant = body[4].rstrip(b"\0").decode()
        self.granule_bytes = body[5]

    def next_slab(self):
        """The id of the slab that was sent next, and its memory."""
        (slab, size, *_), [memory] = self._receive(
            SLAB_HANDLE, _SLAB_HANDLE, 1)
        with memory:
            return slab, mmap.mmap(memory.fileno(), size)

    def drop_slabs(self):
        """Closes the handles that have come, unused; how many there were."""
        count = 0
        while select.select([self._socket], [], [], 0)[0]:
            _, [memory] = self._receive(SLAB_HANDLE, _SLAB_HANDLE, 1)
            memory.close()
            count += 1
        return count

    def drop_shared(self):
        """Closes the manifest and the object table, which it can do without."""
        while self._shared:
            self._shared.pop().close()

    def close(self):
        self._socket.close()
        self.drop_shared()

    def _say_hello(self, hello):
        self._socket.send(hello)

    def _receive(self, kind, layout, descriptors, at_most=None):
        packet, received, _, _ = socket.recv_fds(
            self._socket, MAX_PACKET_BYTES, at_most or descriptors)
        files = [open(descriptor, "rb") for descriptor in received]
        header = _HEADER.unpack_from(packet)
        if header == (MAGIC, VERSION, REFUSED):
            _, _, text = _REFUSED.unpack_from(packet, _HEADER.size)
            raise Refused(text.rstrip(b"\0").decode())
        if header != (MAGIC, VERSION, kind) or len(files) < descriptors:
            raise ValueError(f"not a message {kind}: {packet!r}")
        return layout.unpack_from(packet, _HEADER.size), files
