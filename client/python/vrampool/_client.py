"""Sessions with a daemon: where memory comes from."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import time
import weakref
from types import TracebackType
from typing import (Any, Callable, Iterator, List, NamedTuple, Optional,
                    Sequence, Set, Tuple, Type)

from . import (_abi, _blocks, _cuda, _debug, _library, _objects, _reclaims,
               _table, _table_layout, errors)
from ._ref import Session
from ._reservation import Reservation
from ._table import Table
from ._tensor import Buffer, Tensor

_SLICE_MS = 500  # How long a wait goes on before Ctrl-C is looked for.
_MOST_MS = (1 << 63) - 1


class Info(NamedTuple):
    """What a client is attached to."""

    device_uuid: str
    tenant: str
    epoch: int
    session_id: int
    granule_bytes: int
    kind: _abi.Kind


class Usage(NamedTuple):
    """What a client has, in bytes and numbers (vrampool_usage)."""

    leased_bytes: int
    slabs: int
    live_bytes: int
    live_blocks: int
    opened_bytes: int
    rpcs: int
    attachments: int
    parked_bytes: int
    cached_bytes: int
    pending_bytes: int


class Budget(NamedTuple):
    """What a tenant may have, in bytes."""

    free: int
    """What it could get now."""
    total: int
    """What it could have in all if nobody else went beyond guarantees."""
    used: int
    """What is charged to it."""
    guarantee: int
    """What it can always have in all."""
    guaranteed: int
    """Of `free`, what it gets whatever others do; the rest is burst."""


class BlockInfo(NamedTuple):
    """Where a block is (vrampool_block_info)."""

    address: int
    size_bytes: int
    slab_id: int
    slab_bytes: int
    kind: _abi.Kind


class Client:
    """A session with one device's daemon; made by `connect()`.

    Used as a context manager, it is closed at the block's end. Tensors and
    objects outlive that: the session ends when the last of them has gone.
    """

    def __init__(self, session: Session) -> None:
        """Not for users."""
        self._session: Optional[Session] = session
        self._watches: List[_reclaims.ReclaimWatch] = []
        _open_clients.add(self)

    # ---- Lifetime ------------------------------------------------------------

    def close(self) -> None:
        """Nothing more can be asked of the client. Its session ends when the
        last view of its memory has gone, and at once if there is none."""
        self._session = None
        watches, self._watches = self._watches, []
        for watch in watches:
            watch.end()
        for watch in watches:
            watch.close()

    @property
    def closed(self) -> bool:
        return self._session is None

    def __enter__(self) -> "Client":
        self._open()
        return self

    def __exit__(self, kind: Optional[Type[BaseException]],
                 value: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError("a client is not pickled: connect in each process")

    def __repr__(self) -> str:
        if self._session is None:
            return "<closed vrampool.Client>"
        facts = self._session.facts
        return f"<vrampool.Client of {facts.uuid}, kind {facts.kind.name}>"

    # ---- Memory --------------------------------------------------------------

    def allocate(self, nbytes: int, *, alignment: int = _blocks.ALIGNMENT,
                 stream: Any = None, dedicated: bool = False) -> Buffer:
        """A block of bytes. MemoryError (`OverQuota`, `OutOfPool`) if there is
        no room. On a GPU it may be used on `stream` at once (None: the legacy
        default stream), and is given back behind the work on that.
        `dedicated`: alone in its slab, to be granted to other tenants."""
        return _blocks.allocate(self._open(), nbytes, alignment,
                                self._stream(stream), dedicated)

    def empty(self, shape: Any, dtype: Any = "float32", *,
              strides: Optional[Sequence[int]] = None, order: str = "C",
              alignment: int = _blocks.ALIGNMENT,
              stream: Any = None, dedicated: bool = False) -> Tensor:
        """A tensor in a block of its own; what is in it is not defined.
        `strides` are in elements; `order` is "C" or "F"; `stream` and
        `dedicated` are as for `allocate`."""
        return _blocks.empty(self._open(), shape, dtype, strides=strides,
                             order=order, alignment=alignment,
                             stream=self._stream(stream), dedicated=dedicated)

    def table(self, fields: Any, rows: int, *, layout: str = "soa",
              stream: Any = None, dedicated: bool = False) -> Table:
        """A table in a block of its own; what is in it is not defined.
        `fields` are names and data types: a mapping, pairs, or a structured
        type of NumPy. `layout` is "soa", a structure of arrays, or "aos", an
        array of structures."""
        return _table.new_table(self._open(), fields, rows, layout,
                                self._stream(stream), dedicated)

    def _stream(self, stream: Any) -> Optional[int]:
        """None for the host, where contents are complete at once."""
        if self._open().facts.kind == _abi.Kind.HOST_FD:
            return None
        return _cuda.kept_stream_handle(stream)

    def describe(self, what: Any) -> BlockInfo:
        """The block that an address, a tensor or an array points into.
        `NotFound` if it is in none of this client's."""
        address = what if isinstance(what, int) else (
            _objects.view_of(what).address)
        raw = self._read(_abi.BlockInfo, self._open().library.describe, address)
        return BlockInfo(raw.address, raw.size_bytes, raw.slab_id,
                         raw.slab_bytes, _abi.Kind(raw.kind))

    # ---- Objects -------------------------------------------------------------

    def share(self, what: Any, *, name: Optional[str] = None,
              metadata: bytes = b"", pending: bool = False,
              stream: Any = None, sealed: bool = False,
              expires: Optional[float] = None,
              grants: Sequence[str] = ()) -> _objects.Object:
        """Makes an object of a buffer or tensor, or of a list of them. Arrays
        and tensors of other libraries serve, too, if their memory is this
        client's. So does a table, by itself and without metadata: it has its
        own.

        `name`: to look it up by within the tenant; it then lives until
        `unlink()`, whoever holds it. `pending`: nobody opens it before
        `Object.ready()`. `stream`: its contents are complete when the work on
        that stream so far is done (on the host: now). `sealed`: they do not
        change any more, and are for reading to those who open the object.
        `expires`: so many seconds from now the name goes by itself. `grants`:
        paths of other tenants ("root/team-b") that may open it, each with all
        below it; the memory must be `dedicated`."""
        session = self._open()
        if isinstance(what, Table):
            if metadata:
                raise TypeError("a table's metadata says what its fields are; "
                                "share other metadata by itself")
            what, metadata = what._memory, _table_layout.packed(what._layout)
        ordered = None if stream is None else _cuda.stream_handle(stream)
        return _objects.share(session, _objects.parts_of(what), name, metadata,
                              _objects.Manner(pending, ordered, sealed,
                                              expires, tuple(grants)))

    def open(self, token: Optional[str] = None, *, name: Optional[str] = None,
             tenant: Optional[str] = None, wait: float = 0.0,
             stream: Any = None, readonly: bool = False) -> _objects.Object:
        """Opens an object by its token or its name: its bytes appear here. By
        name also one that another `tenant` has granted; then its memory counts
        against this tenant's limit (`OverQuota`) while it is mapped here.

        Waits up to `wait` seconds for it to be ready, and for a name to appear.
        With `stream`, work on that waits instead (on a GPU): see
        vrampool_open_on. `readonly`: views say that they are not to be
        written to; those of a sealed object always do."""
        if (token is None) == (name is None):
            raise TypeError("give either a token or a name")
        if tenant is not None and name is None:
            raise TypeError("a token says whose it is; name a tenant with a "
                            "name only")
        session = self._open()
        library = session.library
        options = _abi.OpenOptions()
        options.struct_size = ctypes.sizeof(options)
        for field, text in (("token", token), ("name", name),
                            ("tenant", tenant)):
            setattr(options, field, None if text is None else text.encode())
        opener = None if stream is None else _cuda.kept_stream_handle(stream)
        options.ordered, options.stream = int(stream is not None), opener or 0
        handle = ctypes.c_void_p()

        def attempt(limit: int) -> int:
            options.wait_ms = limit
            return int(library.open_with(session.handle, options,
                                         ctypes.byref(handle)))

        # A name that is not there yet is no error while there is time.
        not_yet = {errors.Timeout.status}
        if name is not None:
            not_yet.add(errors.NotFound.status)
        self._wait(wait, not_yet, attempt)
        sealed = bool(library.object_is_sealed(handle))
        return _objects.Object(session, handle.value or 0, readonly or sealed,
                               opener)

    def open_table(self, token: Optional[str] = None, *,
                   name: Optional[str] = None, tenant: Optional[str] = None,
                   wait: float = 0.0, stream: Any = None,
                   readonly: bool = False) -> Table:
        """Opens a table that was shared, as `open` does. `InvalidArgument` if
        the object is none."""
        return _table.table_of(self.open(token, name=name, tenant=tenant,
                                         wait=wait, stream=stream,
                                         readonly=readonly))

    def unlink(self, name: str) -> None:
        """Takes the name off an object, which ends with its last hold."""
        self._check(self._open().library.unlink(self._open().handle,
                                                name.encode()))

    # ---- Accounts ------------------------------------------------------------

    @property
    def info(self) -> Info:
        """What the client is attached to now, or was last."""
        raw = self._read(_abi.Info, self._open().library.client_info)
        return Info(raw.device_uuid.decode(), raw.tenant.decode(), raw.epoch,
                    raw.session_id, raw.granule_bytes, _abi.Kind(raw.kind))

    def usage(self) -> Usage:
        """What this client has. Fast: asks nobody."""
        raw = self._read(_abi.Usage, self._open().library.client_usage)
        return Usage(*(getattr(raw, field) for field in Usage._fields))

    def budget(self) -> Budget:
        """What the tenant may have. Asks the daemon."""
        raw = self._read(_abi.Budget, self._open().library.client_budget)
        return Budget(raw.available_bytes, raw.total_bytes, raw.used_bytes,
                      raw.guarantee_bytes, raw.guaranteed_bytes)

    def trim(self) -> None:
        """Returns every slab without blocks to the daemon, now."""
        self._check(self._open().library.trim(self._open().handle))

    def quiesce(self) -> None:
        """As trim, and also closes mappings whose closing can stall a GPU."""
        self._check(self._open().library.quiesce(self._open().handle))

    def on_reclaim(self, function: Callable[[int], Any]
                   ) -> _reclaims.ReclaimWatch:
        """From now on `function(nbytes)` is called, in a thread of its own, when
        the daemon asks for memory, because somebody waits for room that this
        process could make: below a limit that both are under, or beyond its
        tenant's guarantee. Slabs without blocks go back by
        themselves; the function is to drop what the program could do without,
        a cache of its own, and what that leaves empty goes back right after.
        It ends with the client, or when what this gives is closed. Errors of
        the function go to threading.excepthook."""
        watch = _reclaims.ReclaimWatch(self._open(), function)
        self._watches.append(watch)
        return watch

    def wait_for_room(self, nbytes: int, timeout: float) -> None:
        """Waits until so much would be granted; reserves nothing. `Timeout`
        after so many seconds."""
        self._check(self._open().library.wait_for_room(
            self._open().handle, nbytes, _milliseconds(timeout)))

    def fits(self, nbytes: int) -> bool:
        """Whether a lease of so much would be granted now. Reserves nothing:
        the next moment may be another. `InvalidArgument` for more than the
        tenant's quota can ever admit."""
        answer = ctypes.c_int()
        self._check(self._open().library.fits(
            self._open().handle, _size(nbytes), ctypes.byref(answer)))
        return bool(answer.value)

    def reserve(self, nbytes: int, seconds: float) -> Reservation:
        """Has room held for this process: for so many seconds, an hour at most,
        until it is released, or until the session ends. It is charged at once;
        what the process allocates draws from it. Never waits: MemoryError
        (`OverQuota`, `OutOfPool`) if it cannot be had now, `RateLimited` and
        `LimitReached` as reserve.h says."""
        raw, held = _abi.Reservation(), _milliseconds(seconds)
        if held == 0:
            raise ValueError("room is reserved for some time")
        self._check(self._open().library.reserve(
            self._open().handle, _size(nbytes), held, ctypes.byref(raw)))
        return Reservation(self, int(nbytes), raw)

    # ---- Inside --------------------------------------------------------------

    def _open(self) -> Session:
        if self._session is None:
            raise errors.Closed("this client was closed; connect anew")
        return self._session

    def _check(self, status: int) -> None:
        self._open().library.check(status)

    def _read(self, structure: Any, call: Callable[..., int],
              *arguments: Any) -> Any:
        raw = structure()
        raw.struct_size = ctypes.sizeof(raw)
        self._check(call(self._open().handle, *arguments, raw))
        return raw

    def _wait(self, seconds: float, not_yet: Set[int],
              call: Callable[[int], int]) -> None:
        """Calls until a status comes back that is not one of `not_yet`, in
        slices, so that an interrupt is seen."""
        end = time.monotonic() + _milliseconds(seconds) / 1000
        while True:
            left = _milliseconds(end - time.monotonic())
            status = call(min(left, _SLICE_MS))
            is_late = left <= _SLICE_MS
            if status not in not_yet or is_late:
                self._check(status)
                return


def _size(nbytes: int) -> int:
    nbytes = int(nbytes)
    if not 0 <= nbytes < 1 << 64:
        raise ValueError("a size is negative or absurdly large")
    return nbytes


def _milliseconds(seconds: float) -> int:
    if seconds != seconds:
        raise ValueError("a time is no number")
    return int(min(max(seconds, 0.0) * 1000, float(_MOST_MS)) + 0.999)


_open_clients: "weakref.WeakSet[Client]" = weakref.WeakSet()


def connect(directory: Optional[str] = None, device: Optional[str] = None, *,
            name: Optional[str] = None, tag: Optional[str] = None,
            framework: Optional[str] = None, slab_bytes: int = 0,
            wait: Optional[float] = None, idle: Optional[float] = None,
            kind: Optional[_abi.Kind] = None,
            debug: Optional[str] = None,
            stacks: Optional[str] = None) -> Client:
    """Attaches to a daemon. What is left out is taken from the environment
    (VRAMPOOL_DIR, VRAMPOOL_DEVICE, ...: see vrampool_options in vrampool.h).

    `wait`: how many seconds an allocation may wait for room, or for a daemon
    that restarts. `idle`: after how many seconds a slab without blocks goes
    back. `debug`: "1" looks for misuse of memory; `stacks`: "all" records of
    each allocation which lines it comes from, "off" of none (docs/leaks.md)."""
    library = _library.get()
    options = _abi.Options()
    library.options_init_sized(options, ctypes.sizeof(options))
    for field, value in (("directory", directory), ("device", device),
                         ("name", name), ("tag", tag),
                         ("framework", framework), ("debug", debug),
                         ("stacks", stacks)):
        if value is not None:
            setattr(options, field, str(value).encode())
    if debug is not None and _debug.is_wanted(debug):
        library.place_calls()
    options.slab_bytes = slab_bytes
    if wait is not None:
        options.wait_ms = _milliseconds(wait)
    if idle is not None:
        options.idle_ms = _milliseconds(idle)
    options.kind = int(kind or 0)
    handle = ctypes.c_void_p()
    library.check(library.client_open(options, ctypes.byref(handle)))
    pointer = library.ref_client(handle)
    if not pointer:
        error = library.failure()
        library.client_close(handle)
        raise error
    return Client(Session.take(library, pointer, handle.value or 0,
                               str(directory or "")))


def open_client_of(device: str) -> Optional[Client]:
    """A client of this process that is attached to a device, if there is one
    that is open."""
    for client in list(_open_clients):
        session = client._session
        if session is not None and session.facts.uuid == device:
            return client
    return None


def default_client() -> Client:
    """The process-wide client, which code in C in this process uses, too. The
    end of the process closes it."""
    library = _library.get()
    handle = library.default_client()
    pointer = library.ref_default_client() if handle else None
    if not pointer:
        raise library.failure()
    return Client(Session.take(library, pointer, handle))


def device_client(ordinal: int) -> Client:
    """The process-wide client of the GPU that this process's CUDA calls so,
    from which hooks of allocators draw."""
    library = _library.get()
    handle = library.device_client(ordinal)
    pointer = library.ref_device_client(ordinal) if handle else None
    if not pointer:
        raise library.failure()
    return Client(Session.take(library, pointer, handle))


@contextlib.contextmanager
def tag(text: str) -> Iterator[None]:
    """Labels the blocks that this thread allocates within, for reports; at most
    55 bytes of it. Scopes nest; the inner one counts."""
    library = _library.get()
    before = library.tag()
    before = None if before is None else bytes(before)
    library.set_tag(text.encode())
    try:
        yield
    finally:
        library.set_tag(before)


@atexit.register
def _close_clients() -> None:
    """Sessions whose memory nobody has any more end in order; others when the
    interpreter, or whoever holds the memory, lets go of it."""
    for client in list(_open_clients):
        client.close()
