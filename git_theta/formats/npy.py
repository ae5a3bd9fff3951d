"""NumPy's .npy: a short header, then one array. A source enters, a layout leaves.

``np.save`` may append arrays to an open file, so a file is one array after another; bytes behind the last one
are skeleton. The header is a Python literal, read here with a pattern for the three keys it has and never
evaluated. Arrays whose elements are not plain numbers (structured, object, text, dates) are one opaque group that
reaches to the end of the file, since their size is not ours to compute. NEP 1 and numpy.lib.format are the
references.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod

from git_theta.formats.pieces import Leaves, Part, Piece, Side, skeleton_parts
from git_theta.formats.source import GROUP_LIMIT, MalformedCheckpoint, Source
from git_theta.model import DTYPES, Group, Layout, Span, View

FORMAT = "npy"

ARRAY_NAME = "array"
"""What the only array of a file is called: the format has no place for a name."""

HEADER_LIMIT = 1 << 16
"""Bytes of a header we look into; only structured dtypes, which are opaque anyway, need more."""

_MAGIC = b"\x93NUMPY"
_LENGTH_BYTES = {(1, 0): 2, (2, 0): 4, (3, 0): 4}

_NAMES = {
    "b1": "bool",
    "u1": "uint8",
    "i1": "int8",
    "u2": "uint16",
    "i2": "int16",
    "u4": "uint32",
    "i4": "int32",
    "u8": "uint64",
    "i8": "int64",
    "f2": "float16",
    "f4": "float32",
    "f8": "float64",
    "c8": "complex64",
    "c16": "complex128",
}
DESCRS = {
    order + code: name + suffix
    for code, name in _NAMES.items()
    for order, suffix in ((("|", ""),) if code[1:] == "1" else (("<", ""), (">", "_be")))
}
"""Type strings with a byte order to names in the model."""

_START = re.compile(r"""\{\s*["'](?:descr|fortran_order|shape)["']""")
_PAIR = re.compile(
    r"""\s*["'](?:
      descr["']\s*:\s*["'](?P<descr>[^"']*)["']
    | fortran_order["']\s*:\s*(?P<fortran>True|False)
    | shape["']\s*:\s*\((?P<shape>[\d\sL,]*)\)
    )\s*(?:,|(?=\}))\s*""",
    re.VERBOSE | re.ASCII,
)
_SIDE = re.compile(r"\s*(\d{1,19})L?\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Header:
    """What a plain array's header says, with the dtype's name in the model."""

    dtype: str
    fortran: bool
    shape: tuple[int, ...]


def sniff(source: Source) -> bool:
    """Whether the file starts with the magic string of .npy."""
    return source.size >= 10 and source.read(0, 6) == _MAGIC


def scan(source: Source) -> Layout:
    """One span per array; raises :class:`MalformedCheckpoint` where a header breaks the rules."""
    spans = [read_array(source, 0, source.size, ARRAY_NAME)]
    while source.size - spans[-1].end >= 10 and source.read(spans[-1].end, 6) == _MAGIC:
        if len(spans) == GROUP_LIMIT:
            raise MalformedCheckpoint(f"more than {GROUP_LIMIT:,} arrays in one file")
        spans.append(read_array(source, spans[-1].end, source.size, ARRAY_NAME))
    return Layout(FORMAT, source.size, tuple(spans))


def write(sides: Sequence[Side], pieces: Sequence[Piece], _leaves: Leaves) -> Iterator[Part]:
    """Each array behind the header it has on its side, then what the side of the last one has behind all arrays."""
    gaps = cache(lambda at: list(skeleton_parts(sides[at])))
    for piece in pieces:
        yield gaps(piece.side)[piece.span]
        yield piece
    yield gaps(pieces[-1].side if pieces else 0)[-1]


def read_array(source: Source, start: int, end: int, name: str) -> Span:
    """The span of the array whose header starts at ``start`` and which ends at or before ``end``.

    Raises :class:`MalformedCheckpoint` when there is no such header or the array does not end there.
    """
    data, header = _read_header(source, start)
    if data > end:
        raise MalformedCheckpoint(f"the header of array {name!r} ends at {data:,}, expected before {end:,}")
    if header is None:
        return Span(data, end - data, (Group(name, "opaque", (end - data,)),))
    length = prod(header.shape) * DTYPES[header.dtype].bits // 8
    if length > end - data:
        raise MalformedCheckpoint(
            f"array {name!r} of {header.dtype} and shape {list(header.shape)} needs {length:,} bytes, "
            f"{end - data:,} are left"
        )
    return Span(data, length, (Group(name, header.dtype, header.shape, _view(header)),))


def _view(header: Header) -> View | None:
    """How a Fortran-ordered array looks into its span; None where the order makes no difference."""
    if not header.fortran or len(header.shape) < 2 or 0 in header.shape:
        return None
    strides = [1]
    for side in header.shape[:-1]:
        strides.append(strides[-1] * side)
    return View(0, tuple(strides))


def _read_header(source: Source, start: int) -> tuple[int, Header | None]:
    """Where the array's data start, and what the header says; None for elements that are not plain numbers."""
    magic = source.read(start, 8)
    width = _LENGTH_BYTES.get((magic[6], magic[7]))
    if magic[:6] != _MAGIC or width is None:
        raise MalformedCheckpoint(f"no header of .npy version 1, 2 or 3 at {start:,}")
    length = int.from_bytes(source.read(start + 8, width), "little")
    data = start + 8 + width + length
    if data > source.size:
        raise MalformedCheckpoint(f"the .npy header at {start:,} ends at {data:,}, the file at {source.size:,}")
    if length > HEADER_LIMIT:
        return data, None
    # Latin-1 reads any byte; where version 3 means UTF-8 it is a field's name, which is not looked at.
    return data, _parse(source.read(start + 8 + width, length).decode("latin-1"))


def _parse(text: str) -> Header | None:
    """The header's three values; None when the dtype is not a plain number."""
    if not _START.match(text):
        raise MalformedCheckpoint(f"the .npy header is {text[:100]!r}, expected a dictionary")
    fields: dict[str, str] = {}
    position = 1
    while found := _PAIR.match(text, position):
        fields[str(found.lastgroup)] = found[str(found.lastgroup)]
        position = found.end()
    dtype = DESCRS.get(fields.get("descr", ""))
    if dtype is None or text[position:].strip() != "}":
        return None
    if len(fields) != 3:
        raise MalformedCheckpoint(f"the .npy header has only {', '.join(fields)}")
    return Header(dtype, fields["fortran"] == "True", _shape(fields["shape"]))


def _shape(text: str) -> tuple[int, ...]:
    """The sides in a tuple's text."""
    parts = text.split(",")
    if not parts[-1].strip():
        parts.pop()
    sides = [_SIDE.fullmatch(part) for part in parts]
    if len(sides) > 64 or None in sides:
        raise MalformedCheckpoint(f"the .npy header has the shape ({text[:100]})")
    return tuple(int(side[1]) for side in sides if side)
