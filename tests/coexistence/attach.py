"""A session, begun by what proto/attach/messages.h says and nothing else."""

import mmap
import select
import socket
import struct

MAGIC, VERSION = 0x31504D56, 1
HELLO, WELCOME, SLAB_HANDLE = 1, 101, 103
MAX_PACKET_BYTES = 1024

_HEADER = struct.Struct("<IHH")
_HELLO = struct.Struct("<64s64s32s32s")
_WELCOME = struct.Struct("<QQ32s64s128sQQQ4I")
_SLAB_HANDLE = struct.Struct("<QQII64s")


class Session:
    """Attached from its creation until close() or the end of the process."""

    def __init__(self, path, name):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(60)
        self._socket.connect(str(path))
        self._socket.send(_HEADER.pack(MAGIC, VERSION, HELLO) +
                          _HELLO.pack(name.encode(), b"", b"", b"test"))
        body, self._shared = self._receive(WELCOME, _WELCOME, 2)
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

    def close(self):
        self._socket.close()
        for shared in self._shared:
            shared.close()

    def _receive(self, kind, layout, descriptors):
        packet, received, _, _ = socket.recv_fds(
            self._socket, MAX_PACKET_BYTES, descriptors)
        files = [open(descriptor, "rb") for descriptor in received]
        header = _HEADER.unpack_from(packet)
        if header != (MAGIC, VERSION, kind) or len(files) != descriptors:
            raise ValueError(f"not a message {kind}: {packet!r}")
        return layout.unpack_from(packet, _HEADER.size), files
