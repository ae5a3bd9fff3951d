"""The frozen values every room speaks in: dtypes, spans, layouts, entries, manifests.

Nothing here reads, writes or decides. A :class:`Layout` says where the parameter groups of one file are; a
:class:`Manifest` says what they are and where their values are stored. Everything that holds a number taken
from a file is checked by the room that read it, before it gets here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import NewType

Digest = NewType("Digest", str)
"""sha256, 64 lowercase hex digits, of a span's bytes exactly as the file holds them."""

Oid = NewType("Oid", str)
"""sha256, 64 lowercase hex digits, of a stored object's payload: the name Git LFS knows it by."""

EMPTY_DIGEST = Digest("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")


@dataclass(frozen=True, slots=True)
class DType:
    """How elements are laid out: ``bits`` per block of ``block`` elements.

    ``word`` is the width in bytes of the integer view that codecs use; ``rotate`` says that rotating that
    integer left by one bit gathers the exponent in the top byte (float32, bfloat16, float64).
    """

    name: str
    bits: int
    word: int = 1
    block: int = 1
    rotate: bool = False


def _table() -> dict[str, DType]:
    plain = [
        DType("bool", 8),
        DType("uint8", 8),
        DType("int8", 8),
        DType("uint16", 16, 2),
        DType("int16", 16, 2),
        DType("uint32", 32, 4),
        DType("int32", 32, 4),
        DType("uint64", 64, 8),
        DType("int64", 64, 8),
        DType("float16", 16, 2),
        DType("bfloat16", 16, 2, rotate=True),
        DType("float32", 32, 4, rotate=True),
        DType("float64", 64, 8, rotate=True),
        DType("complex32", 32, 2),
        DType("complex64", 64, 4, rotate=True),
        DType("complex128", 128, 8, rotate=True),
        DType("float8_e4m3fn", 8),
        DType("float8_e5m2", 8),
        DType("float8_e4m3fnuz", 8),
        DType("float8_e5m2fnuz", 8),
        DType("float8_e4m3", 8),
        DType("float8_e8m0fnu", 8),
        DType("float6_e2m3fn", 6),
        DType("float6_e3m2fn", 6),
        DType("float4_e2m1fn", 4),
        DType("qint8", 8),
        DType("quint8", 8),
        DType("qint32", 32, 4),
        DType("quint4x2", 8),
        DType("quint2x4", 8),
        DType("opaque", 8),
    ]
    # Big-endian twins (NumPy files and safetensors never mix the two inside one group).
    swapped = [DType(d.name + "_be", d.bits, d.word) for d in plain if d.word > 1]
    # GGUF block types: (elements per block, bytes per block), from the ggml specification.
    blocks = {
        "q4_0": (32, 18), "q4_1": (32, 20), "q5_0": (32, 22), "q5_1": (32, 24), "q8_0": (32, 34),
        "q8_1": (32, 36), "q2_k": (256, 84), "q3_k": (256, 110), "q4_k": (256, 144), "q5_k": (256, 176),
        "q6_k": (256, 210), "q8_k": (256, 292), "iq2_xxs": (256, 66), "iq2_xs": (256, 74),
        "iq3_xxs": (256, 98), "iq1_s": (256, 50), "iq4_nl": (32, 18), "iq3_s": (256, 110),
        "iq2_s": (256, 82), "iq4_xs": (256, 136), "iq1_m": (256, 56), "tq1_0": (256, 54),
        "tq2_0": (256, 66), "mxfp4": (32, 17), "nvfp4": (64, 36),
    }  # fmt: skip
    quantised = [DType("gguf_" + n, bits=size * 8, block=block) for n, (block, size) in blocks.items()]
    return {d.name: d for d in [*plain, *swapped, *quantised]}


DTYPES: dict[str, DType] = _table()
"""Every dtype a format plug-in may name. Names are written into manifests, so they are permanent."""


def nbytes(dtype: str, shape: tuple[int, ...]) -> int | None:
    """Bytes of a C-contiguous array, or None when the elements do not fill whole bytes or blocks."""
    known = DTYPES[dtype]
    elements = prod(shape)
    if elements % known.block:
        return None
    bits = elements // known.block * known.bits
    return bits // 8 if bits % 8 == 0 else None


@dataclass(frozen=True, slots=True)
class View:
    """How a group looks into its span when it does not simply fill it: offset and strides in elements."""

    offset: int
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A named tensor: the unit of change. ``view`` is None when it fills its span, C-contiguous."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    view: View | None = None


def misfit(group: Group, length: int) -> str | None:
    """Why ``group`` cannot live in a span of ``length`` bytes, as the end of a sentence; None when it can.

    Checks every number before it is multiplied: sides and strides below 2^63, at most 64 dimensions, a
    view inside its span, and without a view exactly ``length`` bytes.
    """
    if group.dtype not in DTYPES:
        return f"has unknown dtype {group.dtype!r}"
    if len(group.shape) > 64 or any(side < 0 or side >= 1 << 63 for side in group.shape):
        return "has an impossible shape"
    if group.view is None:
        if nbytes(group.dtype, group.shape) == length:
            return None
        return f"of {group.dtype} and shape {list(group.shape)} does not fill its {length:,} bytes"
    view = group.view
    if len(view.strides) != len(group.shape) or any(n < 0 or n >= 1 << 63 for n in (view.offset, *view.strides)):
        return "has an impossible view"
    last = view.offset + sum((side - 1) * stride for side, stride in zip(group.shape, view.strides, strict=True))
    known = DTYPES[group.dtype]
    if 0 not in group.shape and (last + 1) * known.bits > 8 * length * known.block:
        return f"looks past the end of its {length:,} bytes"
    return None


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes [start, start + length) of one file, and the groups that live there.

    ``groups`` is never empty; more than one means tied weights or views that share the bytes. The first is
    the one the span goes by.
    """

    start: int
    length: int
    groups: tuple[Group, ...]

    @property
    def end(self) -> int:
        """First byte after the span."""
        return self.start + self.length


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parameter groups of one file are. Spans are sorted, do not overlap and lie inside ``size``.

    ``format`` is the permanent name of the container format that was recognised.
    """

    format: str
    size: int
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Slot:
    """One encoded part inside an object: the ``index``-th of object ``oid``."""

    oid: Oid
    index: int


@dataclass(frozen=True, slots=True)
class Inline:
    """A value so small that the manifest itself holds it."""

    data: bytes


Where = Inline | tuple[Slot, ...]
"""Where a value is stored: in the manifest, or in consecutive parts that concatenate to it (never empty)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One span as the manifest records it. ``gap`` counts the skeleton bytes between the previous span and it."""

    groups: tuple[Group, ...]
    gap: int
    length: int
    digest: Digest
    where: Where

    @property
    def name(self) -> str:
        """The name the span goes by."""
        return self.groups[0].name


SKELETON_NAME = "(skeleton)"
"""What messages call the skeleton; no quotes, so that it is not taken for a group."""


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Every byte no span covers, concatenated in file order."""

    length: int
    digest: Digest
    where: Where


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object the manifest needs: its name, its size in bytes, and the objects its parts are based on."""

    oid: Oid
    size: int
    bases: tuple[Oid, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """The text Git tracks for one checkpoint, as a value. ``objects`` is sorted by oid and closed over bases."""

    format: str
    size: int
    skeleton: Skeleton
    entries: tuple[Entry, ...]
    objects: tuple[StoredObject, ...]

    def values(self) -> Iterator[tuple[str, Entry | Skeleton]]:
        """Everything that is stored, with the name to show for it: the skeleton first, then the entries."""
        yield SKELETON_NAME, self.skeleton
        for entry in self.entries:
            yield entry.name, entry
