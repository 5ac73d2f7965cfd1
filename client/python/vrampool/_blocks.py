"""Blocks of a session, as buffers and tensors."""

from __future__ import annotations

from typing import Any, Optional, Sequence, Tuple

from . import _dlpack, _ref
from ._ref import Known, Ref, Session
from ._tensor import Buffer, Tensor, checked_shape
from .dtypes import DType, dtype as _dtype

BYTE = DType(1, 8)
ALIGNMENT = 256
_MOST = (1 << 64) - 1


# Of a slab's start.
_SLAB_ALIGNMENT = 4096


def allocate(session: Session, nbytes: int, alignment: int = ALIGNMENT,
             stream: Optional[int] = None, dedicated: bool = False) -> Buffer:
    """A block. One of zero bytes has an address, too: it takes one."""
    nbytes, alignment = int(nbytes), int(alignment)
    if not 0 <= nbytes <= _MOST or not 0 < alignment <= _MOST:
        raise ValueError("a size or alignment is negative or absurdly large")
    library, taken = session.library, max(nbytes, 1)
    if dedicated and alignment > _SLAB_ALIGNMENT:
        raise ValueError("dedicated memory is aligned to 4096")
    address = library.allocate(session.handle, taken, alignment, dedicated,
                               stream or 0)
    if not address:
        raise library.failure()
    pointer = library.ref_block(session.pointer, address, taken, stream or 0)
    if not pointer:
        error = library.failure()
        library.client_deallocate(session.handle, address, taken, stream or 0)
        raise error
    ref = Ref(library, pointer)
    _ref.note(Known(pointer, session.facts, address, taken))
    return Buffer(session, ref, _dlpack.Layout(
        address, BYTE, (nbytes,), (1,), session.facts.device, False), stream)


def empty(session: Session, shape: Any, dtype: Any, *,
          strides: Optional[Sequence[int]] = None, order: str = "C",
          alignment: int = ALIGNMENT, stream: Optional[int] = None,
          dedicated: bool = False) -> Tensor:
    """A tensor in a block of its own, whose contents are not defined."""
    kind, extents = _dtype(dtype), checked_shape(shape)
    if order not in ("C", "F"):
        raise ValueError(f"order is 'C' or 'F', not {order!r}")
    steps = _dlpack.row_major(extents)
    if order == "F":
        steps = _dlpack.row_major(extents[::-1])[::-1]
    if strides is not None:
        steps = tuple(int(step) for step in strides)
    low, high = _reach(extents, steps)
    if low < 0:
        raise ValueError("negative strides need a buffer, and an offset in it")
    buffer = allocate(session, high * kind.itemsize, alignment, stream,
                      dedicated)
    return buffer.tensor(kind, extents, strides=steps)


def _reach(shape: Tuple[int, ...], strides: Tuple[int, ...]) -> Tuple[int, int]:
    """The lowest element and one past the highest, from element zero."""
    if len(shape) != len(strides):
        raise ValueError("give one stride for each dimension")
    if 0 in shape:
        return 0, 0
    reaches = [(extent - 1) * step for extent, step in zip(shape, strides)]
    return (sum(min(reach, 0) for reach in reaches),
            1 + sum(max(reach, 0) for reach in reaches))
