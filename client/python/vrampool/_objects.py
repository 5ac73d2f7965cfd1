"""Objects: the same bytes in several processes."""

from __future__ import annotations

import ctypes
import sys
from types import TracebackType
from typing import (Any, Iterator, List, NamedTuple, Optional, Sequence, Tuple,
                    Type, Union)

from . import _abi, _cuda, _dlpack, _ref, errors
from ._blocks import BYTE
from ._ref import Known, Ref, Session
from ._tensor import Buffer, Tensor, extent_of
from .dtypes import DType, dtype as dtype_of


class Object:
    """One or several pieces of memory that this process shared or opened, and
    its hold on them.

    `len()` and indexes give its parts: tensors where the producer gave a
    layout, else buffers. Parts keep the hold: `close()` ends it when the last
    view of a part has gone, and at once if there is none. So does the end of
    this Python object: keep it until others have opened what has no name.
    """

    __slots__ = ("_session", "_ref", "_handle", "_readonly", "_sealed",
                 "_stream", "_count", "__weakref__")

    def __init__(self, session: Session, handle: int, readonly: bool,
                 stream: Optional[int]) -> None:
        """Not for users: a client makes objects. Takes over `handle`."""
        library = session.library
        pointer = library.ref_object(session.pointer, handle, stream or 0)
        if not pointer:
            error = library.failure()
            library.object_close(handle, stream or 0)
            raise error
        self._session = session
        self._ref: Optional[Ref] = Ref(library, pointer)
        self._handle = handle
        self._readonly = readonly
        self._sealed = bool(library.object_is_sealed(handle))
        self._stream = stream
        self._count = int(library.object_buffer_count(handle))
        for index in range(self._count):
            _ref.note(Known(pointer, session.facts,
                            library.object_data(handle, index) or 0,
                            library.object_size(handle, index), handle, index))

    @property
    def token(self) -> str:
        """Text to pass on by any channel: who knows it and is of the same
        tenant can open the object. A secret."""
        self._held()
        return token_of(self._session, self._handle)

    @property
    def name(self) -> str:
        """To look it up by; "" when it has none."""
        self._held()
        text = self._session.library.object_name(self._handle)
        if text is None:
            raise self._session.library.failure()
        return str(text.decode())

    @property
    def owner(self) -> str:
        """The tenant whose object it is, if that is another one; else ""."""
        self._held()
        text = self._session.library.object_owner(self._handle)
        if text is None:
            raise self._session.library.failure()
        return str(text.decode())

    @property
    def metadata(self) -> bytes:
        """What the producer gave with it."""
        self._held()
        data, size = ctypes.c_void_p(), ctypes.c_size_t()
        self._session.library.check(self._session.library.object_metadata(
            self._handle, ctypes.byref(data), ctypes.byref(size)))
        return ctypes.string_at(data.value or 0, size.value)

    @property
    def sealed(self) -> bool:
        """Its contents do not change any more."""
        return self._sealed

    @property
    def closed(self) -> bool:
        return self._ref is None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Tensor]:
        return (self[index] for index in range(self._count))

    def __getitem__(self, index: int) -> Tensor:
        buffer = self._bytes(index)
        library = self._session.library
        raw = _abi.TensorLayout()
        status = library.object_tensor(self._handle, index % self._count, raw)
        if status == errors.NotFound.status:  # No layout.
            return buffer
        library.check(status)
        return Tensor(self._session, buffer._held(),
                      self._layout(buffer.address, raw), self._stream)

    def _bytes(self, index: int) -> Buffer:
        """A part without its layout, which may take a call to the daemon."""
        ref = self._held()
        if not -self._count <= index < self._count:
            raise IndexError(f"the object has {self._count} buffers")
        index %= self._count
        library = self._session.library
        start = library.object_data(self._handle, index) or 0
        size = int(library.object_size(self._handle, index))
        return Buffer(self._session, ref, _dlpack.Layout(
            start, BYTE, (size,), (1,), self._session.facts.device,
            self._readonly), self._stream)

    def _layout(self, start: int, raw: _abi.TensorLayout) -> _dlpack.Layout:
        shape = tuple(raw.shape[i] for i in range(raw.ndim))
        strides = (tuple(raw.strides[i] for i in range(raw.ndim))
                   if raw.strides else _dlpack.row_major(shape))
        try:
            kind = dtype_of((raw.dtype_code, raw.dtype_bits,
                             raw.dtype_lanes or 1))
        except TypeError as error:  # Parts of bytes, say.
            raise errors.InvalidArgument(
                f"the object's layout: {error}") from None
        return _dlpack.Layout(start + raw.byte_offset, kind, shape, strides,
                              self._session.facts.device, self._readonly)

    def ready(self) -> None:
        """The contents of a pending object are complete."""
        self._held()
        self._session.library.check(self._session.library.ready(self._handle))

    def check(self) -> None:
        """Raises `Broken` or `Unavailable` if the contents are not, and cannot
        become, what the producer meant (vrampool_object_status)."""
        self._held()
        self._session.library.check(
            self._session.library.object_status(self._handle))

    def close(self, stream: Any = None) -> None:
        """Ends this hold: when the last view has gone, and the work on `stream`
        so far is done."""
        ref, self._ref = self._ref, None
        if ref is not None and stream is not None:
            ref.library.ref_set_stream(ref.pointer,
                                       _cuda.kept_stream_handle(stream))

    def __enter__(self) -> "Object":
        self._held()
        return self

    def __exit__(self, kind: Optional[Type[BaseException]],
                 value: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError("an object is not pickled: send its token")

    def __repr__(self) -> str:
        state = "closed " if self.closed else ""
        return (f"<{state}vrampool.Object with {self._count} buffers of kind "
                f"{self._session.facts.kind.name}>")

    def _held(self) -> Ref:
        if self._ref is None:
            raise errors.Closed("this object was closed; open it again")
        return self._ref


def token_of(session: Session, handle: int) -> str:
    """The token of an object that is held."""
    text = ctypes.create_string_buffer(_abi.TOKEN_MAX)
    session.library.check(
        session.library.object_token(handle, text, len(text)))
    return text.value.decode()


class Piece(NamedTuple):
    """A buffer to share, and the layout in it."""

    start: int
    size: int
    layout: Optional[_dlpack.Layout]


class Manner(NamedTuple):
    """How an object is shared, besides its name and metadata."""

    pending: bool
    stream: Optional[int]
    sealed: bool
    expires: Optional[float]
    grants: Tuple[str, ...] = ()


# Complete, to be written, and there until its name, if any, is taken off.
LASTING = Manner(False, None, False, None)


def share(session: Session, what: Sequence[Any], name: Optional[str],
          metadata: bytes, manner: Manner) -> Object:
    """Makes an object of tensors, buffers, what `view_of` understands, and
    memory that other code of this process has from the session."""
    # They live until the call is done.
    views = [_view_to_share(session, one) for one in what]
    pieces = [_piece_of(session, view) for view in views]
    if any(piece.layout is not None for piece in pieces):
        pieces = [piece._replace(layout=view._layout)
                  for piece, view in zip(pieces, views)]
    made = share_pieces(session, pieces, name, metadata, manner)
    del views
    return made


def share_pieces(session: Session, pieces: List[Piece], name: Optional[str],
                 metadata: bytes, manner: Manner) -> Object:
    """The same of memory of which the caller knows that it stays."""
    options, kept = _share_options(pieces, name, metadata)
    options.pending, options.sealed = int(manner.pending), int(manner.sealed)
    options.ordered = int(manner.stream is not None)
    options.stream = manner.stream or 0
    if manner.expires is not None:
        if not 0 < manner.expires < 3e9:
            raise ValueError("a name expires after 0 to 3e9 seconds")
        options.expires_ms = max(1, round(manner.expires * 1000))
    options.grants = (ctypes.c_char_p * len(manner.grants))(
        *[grant.encode() for grant in manner.grants])
    options.grant_count = len(manner.grants)
    buffers = (_abi.BufferPiece * len(pieces))(
        *[_abi.BufferPiece(piece.start, piece.size) for piece in pieces])
    handle = ctypes.c_void_p()
    session.library.check(session.library.share(
        session.handle, buffers, len(pieces), options, ctypes.byref(handle)))
    del kept
    return Object(session, handle.value or 0, False, None)


def _piece_of(session: Session, view: Tensor) -> Piece:
    if view._session.handle != session.handle:
        raise errors.InvalidArgument(
            "the memory is another client's: share it with that one")
    low, high = view._extent()
    # One without bytes has a layout to say so: a piece has at least one.
    is_bytes = isinstance(view, Buffer) and view.nbytes > 0
    return Piece(low, view.nbytes if is_bytes else high - low,
                 None if is_bytes else view._layout)


def _share_options(pieces: List[Piece], name: Optional[str],
                   metadata: bytes) -> Tuple[_abi.ShareOptions, List[Any]]:
    """The options, and what they point to."""
    options = _abi.ShareOptions()
    kept: List[Any] = []
    options.struct_size = ctypes.sizeof(options)
    options.name = None if name is None else name.encode()
    held = ctypes.create_string_buffer(bytes(metadata), len(metadata))
    if metadata:
        options.metadata = ctypes.addressof(held)
        options.metadata_size = len(metadata)
    kept.append(held)
    if pieces and pieces[0].layout is not None:
        tensors = (_abi.TensorLayout * len(pieces))()
        for raw, piece in zip(tensors, pieces):
            kept += _fill(raw, piece)
        options.tensors = tensors
        kept.append(tensors)
    return options, kept


def _fill(raw: _abi.TensorLayout, piece: Piece) -> List[Any]:
    layout = piece.layout
    assert layout is not None
    ndim = len(layout.shape)
    shape = (ctypes.c_int64 * ndim)(*layout.shape)
    strides = (ctypes.c_int64 * ndim)(*layout.strides)
    raw.dtype_code, raw.dtype_bits, raw.dtype_lanes = layout.dtype
    raw.ndim = ndim
    raw.byte_offset = layout.address - piece.start
    pointer = ctypes.POINTER(ctypes.c_int64)
    raw.shape = ctypes.cast(shape, pointer)
    raw.strides = ctypes.cast(strides, pointer)
    return [shape, strides]


def view_of(what: Any) -> Tensor:
    """A tensor of ours for somebody else's view of memory of ours: an array of
    NumPy, CuPy, a tensor of PyTorch and so on. `InvalidArgument` if its memory
    is not from here."""
    if isinstance(what, Tensor):
        what._held()
        return what
    view = _find_view(layout_of(what))
    if view is None:
        raise errors.InvalidArgument(
            f"the memory of this {type(what).__name__} is not vrampool's, or "
            "others allocated it (RMM, say) and cannot keep it for a view; "
            "client.share() it if it is the client's, or copy it into a tensor "
            "of client.empty()")
    return view


def _find_view(layout: _dlpack.Layout) -> Optional[Tensor]:
    """Of memory that something of this package holds."""
    low, high = extent_of(layout.address, layout)
    found = _ref.find(low, high - low) if layout.address else None
    if found is None:
        return None
    return Tensor(found.session, found.ref,
                  layout._replace(device=found.session.facts.device), None)


def _view_to_share(session: Session, what: Any) -> Tensor:
    """As `view_of`; of a block that code in C++ allocated, too. That view keeps
    the session and not the block, which is for its owner to keep meanwhile.
    PyTorch's tensors are not such: its allocator cuts blocks up, and would use
    the place again."""
    if isinstance(what, Tensor) or callable(getattr(what, "data_ptr", None)):
        return view_of(what)
    layout = layout_of(what)
    low, high = extent_of(layout.address, layout)
    block = _abi.BlockInfo()
    block.struct_size = ctypes.sizeof(block)
    library = session.library
    view = _find_view(layout)
    if view is None and library.describe(session.handle, low, block) == 0 and (
            high <= block.address + block.size_bytes):
        view = Tensor(session, session.ref, layout._replace(
            device=session.facts.device), None)
    return view_of(what) if view is None else view


def layout_of(what: Any) -> _dlpack.Layout:
    """Where the memory of somebody's array or tensor is."""
    pointer = getattr(what, "data_ptr", None)
    if callable(pointer):  # PyTorch, whose DLPack lacks types that it has.
        if getattr(what, "is_conj", bool)() or getattr(what, "is_neg", bool)():
            raise errors.InvalidArgument(
                "the tensor is lazily conjugated or negated; resolve_conj() "
                "and resolve_neg() first")
        return _dlpack.Layout(pointer(), dtype_of(what.dtype),
                              tuple(what.shape), tuple(what.stride()),
                              _ref.HOST_DEVICE, False)
    interface, device = _interface_of(what)
    if interface is None:
        if not hasattr(what, "__dlpack__"):
            raise TypeError(
                f"{type(what).__name__} speaks neither DLPack nor an array "
                "interface; give a tensor or an array")
        return _dlpack.look_into(what)
    kind = _dtype_of_interface(interface["typestr"], what)
    size, shape = kind.itemsize, tuple(interface["shape"])
    steps = interface.get("strides")
    if steps is not None and any(step % size for step in steps):
        raise errors.InvalidArgument(
            "the strides are no multiples of the element's size")
    strides = (_dlpack.row_major(shape) if steps is None
               else tuple(step // size for step in steps))
    address, readonly = interface["data"]
    return _dlpack.Layout(address or 0, kind, shape, strides, device,
                          bool(readonly))


def refuse_masked(what: Any) -> None:
    """For who takes the elements of an array alone."""
    try:
        _interface_of(what)
    except errors.InvalidArgument:
        raise
    except Exception:  # Some say so, each in a way of its own, that they
        pass           # have no interface; then there is no mask in it.


def _interface_of(what: Any) -> Tuple[Any, Tuple[int, int]]:
    """An array interface, None if there is none, and its device.
    `InvalidArgument` if a mask says which of the elements are there: memory
    alone does not."""
    interface = getattr(what, "__cuda_array_interface__", None)
    device = (_cuda.DEVICE_TYPE, 0)
    if interface is None:
        interface = getattr(what, "__array_interface__", None)
        device = _ref.HOST_DEVICE
    if interface is not None and (interface.get("mask") is not None
                                  or _has_numpy_mask(what)):
        raise errors.InvalidArgument(
            f"this {type(what).__name__} has a mask, which would be lost, and "
            "with it what is missing; fill that first (fillna() in cuDF, "
            "filled() in NumPy), or share cuDF's frame by its "
            "device_serialize(), as docs/frameworks.md shows")
    return interface, device


def _has_numpy_mask(what: Any) -> bool:
    """Of a numpy.ma.MaskedArray, whose interface has no word of its mask."""
    ma: Any = sys.modules.get("numpy.ma")  # Not there: `what` is none.
    return (ma is not None and isinstance(what, ma.MaskedArray)
            and ma.getmask(what) is not ma.nomask)


def _dtype_of_interface(typestr: str, what: Any) -> DType:
    """The type in an array interface, which calls what it does not know "V":
    that is asked of the array itself."""
    order, letter, size = typestr[0], typestr[1], int(typestr[2:])
    if order == (">" if sys.byteorder == "little" else "<"):
        raise TypeError(f"{typestr} is not in this machine's byte order")
    name = {"i": "int", "u": "uint", "f": "float", "c": "complex"}.get(letter)
    if letter == "b":
        return dtype_of("bool")
    return dtype_of(f"{name}{8 * size}" if name else
                    getattr(what, "dtype", typestr))


def parts_of(what: Union[Any, Sequence[Any]]) -> List[Any]:
    """What to share, as a list: a list or tuple has several parts."""
    return list(what) if isinstance(what, (list, tuple)) else [what]
