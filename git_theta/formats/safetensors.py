"""Safetensors: eight bytes of header length, a JSON header, then the tensors. A source enters, a layout leaves.

The rules are those of the reference validator: the tensors, sorted by offset, tile everything behind the header
with no gap and no overlap. Two things differ on purpose. A tensor of a dtype we do not know yet is an opaque group
of its extent, since its bytes are known all the same; and a name that appears twice is refused, since readers
disagree about which one counts. Of the header only one name or one description at a time is decoded, and metadata
are passed over, so memory never exceeds the header's bytes and the layout that comes of them, whatever they nest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from json import JSONDecodeError, JSONDecoder
from typing import TypeGuard

from git_theta.formats.pieces import CannotBuild, Leaves, Part, Piece, Side
from git_theta.formats.source import GROUP_LIMIT, MalformedCheckpoint, Source
from git_theta.model import DTYPES as MODEL_DTYPES
from git_theta.model import Group, Layout, Span

FORMAT = "safetensors"

HEADER_LIMIT = 100_000_000
"""The reference implementation refuses longer headers."""

INFO_LIMIT = 4096
"""Characters of one tensor's dtype, shape and offsets: 64 dimensions of 20 digits, with room for spaces."""

DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "F6_E2M3": "float6_e2m3fn",
    "F6_E3M2": "float6_e3m2fn",
    "F4": "float4_e2m1fn",
}
"""Names in the header to names in the model; shapes count logical elements, also below one byte."""

_NAMES = {name: text for text, name in DTYPES.items()}

METADATA = "__metadata__"
_PREFIX = len(METADATA + ".")  # of their paths

NAME_LIMIT = 1 << 20
"""Bytes of a tensor's name in the header: no name is long, and this many can still be shown and stored."""

_OPEN = re.compile(rb"\{[ \t\n\r]*(\}?)[ \t\n\r]*")
_COLON = re.compile(rb"[ \t\n\r]*:[ \t\n\r]*")
_QUOTE = re.compile(rb'["\\]')
_NEXT = re.compile(rb"[ \t\n\r]*(?:,|(\}))[ \t\n\r]*")
_DECODER = JSONDecoder(object_pairs_hook=list)


def sniff(source: Source) -> bool:
    """Whether a header length that fits the file is followed by an opening brace."""
    if source.size < 10:
        return False
    start = source.read(0, 9)
    return start[8:] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= min(source.size - 8, HEADER_LIMIT)


def scan(source: Source) -> Layout:
    """One span per tensor; raises :class:`MalformedCheckpoint` where the file breaks the rules above."""
    header = _read_header(source)
    end = 8 + len(header)
    try:
        spans = _spans(header, end)
    except UnicodeDecodeError as error:
        raise MalformedCheckpoint("the header is not UTF-8") from error
    except (JSONDecodeError, RecursionError) as error:
        raise MalformedCheckpoint(f"the header is not JSON ({error})") from error
    for span in spans:
        if span.start != end:
            raise MalformedCheckpoint(
                f"tensor {span.groups[0].name!r} starts at {span.start:,}, expected at {end:,} behind the one before"
            )
        end = span.end
    if end != source.size:
        raise MalformedCheckpoint(f"the tensors end at {end:,}, the file has {source.size:,} bytes")
    return Layout(FORMAT, source.size, tuple(spans))


def leaves(source: Source) -> dict[str, str]:
    """The free-form metadata, each under its path; raises :class:`MalformedCheckpoint`."""
    return {f"{METADATA}.{key}": value for key, value in _metadata(source).items()}


def write(sides: Sequence[Side], pieces: Sequence[Piece], leaves: Leaves) -> Iterator[Part]:
    """A new header before the tensors, as compact as the reference's; see :mod:`git_theta.formats.building`.

    Where a tensor would not lie at a multiple of its elements' size, which torch needs to load it, the tensors are put
    in the reference's order: wide elements first.
    """
    pieces = _aligned(pieces)
    header: dict[str, object] = {}
    if leaves:
        values = {at: _metadata(sides[at].frame) for at in {*leaves.values()}}
        header[METADATA] = {path[_PREFIX:]: values[at][path[_PREFIX:]] for path, at in leaves.items()}
    end = 0
    for piece in pieces:
        dtype, shape = _describe(sides, piece)
        header[piece.groups[0].name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + piece.length]}
        end += piece.length
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    yield from pieces


def _aligned(pieces: Sequence[Piece]) -> Sequence[Piece]:
    """The pieces in their order if each then lies at a multiple of its elements' size; else wide elements first."""
    at = 0
    for piece in pieces:
        if at % _width(piece):
            return sorted(pieces, key=_width, reverse=True)
        at += piece.length
    return pieces


def _width(piece: Piece) -> int:
    """Bytes of one element, at least one."""
    return max(MODEL_DTYPES[piece.groups[0].dtype].bits // 8, 1)


def _describe(sides: Sequence[Side], piece: Piece) -> tuple[str, list[int]]:
    """Dtype and shape in the words of the format; those of a dtype unknown to us are in the header of its side."""
    group = piece.groups[0]
    if group.dtype in _NAMES:
        return _NAMES[group.dtype], list(group.shape)
    side = sides[piece.side]
    header, name = _read_header(side.frame), side.layout.spans[piece.span].groups[0].name
    for found, start, end in _members(header):
        if found == name:
            fields = dict(_DECODER.raw_decode(header[start:end].decode())[0])
            return fields["dtype"], fields["shape"]
    raise CannotBuild(f"safetensors has no word for {group.dtype}, the dtype of {name!r}")


def _read_header(source: Source) -> bytes:
    """The JSON text."""
    length = int.from_bytes(source.read(0, 8), "little")
    if length > HEADER_LIMIT:
        raise MalformedCheckpoint(f"the header claims {length:,} bytes, the limit is {HEADER_LIMIT:,}")
    return source.read(8, length)


def _spans(header: bytes, data: int) -> list[Span]:
    """The tensors by offset; ``data`` is where the header's offsets count from."""
    spans: dict[str, Span] = {}
    for name, start, end in _members(header):
        if name == METADATA:
            continue
        if name in spans or len(spans) == GROUP_LIMIT:
            raise MalformedCheckpoint(f"tensor {name!r} appears twice, or after {GROUP_LIMIT:,} others")
        spans[name] = _span(name, header[start:end].decode(), data)
    return sorted(spans.values(), key=lambda span: (span.start, span.length))


def _metadata(source: Source) -> dict[str, str]:
    """The free-form metadata."""
    header = _read_header(source)
    try:
        for name, start, end in _members(header):
            if name == METADATA:
                return dict(_DECODER.raw_decode(header[start:end].decode())[0])
    except (UnicodeDecodeError, JSONDecodeError, RecursionError) as error:
        raise MalformedCheckpoint(f"the header is not JSON ({error})") from error
    return {}


def _members(header: bytes) -> Iterator[tuple[str, int, int]]:
    """The members of the header's object: name, and where its value starts and ends."""
    more, position = _step(_OPEN, header, 0)
    while more:
        name, position = _key(header, position)
        if name == METADATA:
            end = _metadata_end(header, position)
        else:
            # No field of a tensor's description holds a brace, so it ends at the first one.
            end = header.find(b"}", position, position + INFO_LIMIT) + 1
        yield name, position, end
        more, position = _step(_NEXT, header, end)
    if position != len(header):
        raise MalformedCheckpoint("the header goes on behind its JSON")


def _metadata_end(header: bytes, position: int) -> int:
    """Where the free-form metadata end, which are strings to strings."""
    more, position = _step(_OPEN, header, position)
    while more:
        position = _step(_COLON, header, _string_end(header, position))[1]
        more, position = _step(_NEXT, header, _string_end(header, position))
    return position


def _step(pattern: re.Pattern[bytes], header: bytes, position: int) -> tuple[bool, int]:
    """Pass the punctuation at ``position``: whether another member of the object follows, and where."""
    found = pattern.match(header, position)
    if found is None:
        raise MalformedCheckpoint(f"unexpected text at byte {position:,} of the header")
    return not (found.lastindex and found[1]), found.end()


def _key(header: bytes, position: int) -> tuple[str, int]:
    """The member's name at ``position``, and where its value starts."""
    end = _string_end(header, position)
    if end - position > NAME_LIMIT:
        raise MalformedCheckpoint(f"a name of {end - position:,} bytes, the limit is {NAME_LIMIT:,}")
    name, _ = _DECODER.raw_decode(header[position:end].decode())
    return name, _step(_COLON, header, end)[1]


def _string_end(header: bytes, position: int) -> int:
    """Where the string at ``position`` ends; what it says stays undecoded."""
    if not header.startswith(b'"', position):
        raise MalformedCheckpoint(f"expected a string at byte {position:,} of the header")
    while found := _QUOTE.search(header, position + 1):
        if found[0] == b'"':
            return found.end()
        position = found.end()  # the escaped character, whatever it is
    raise MalformedCheckpoint("the header ends inside a string")


def _span(name: str, description: str, data: int) -> Span:
    """The span that a tensor's description, the text of one JSON object, stands for."""
    pairs, _ = _DECODER.raw_decode(description)
    fields = dict(pairs) if description.startswith("{") else {}
    dtype, shape, offsets = (fields.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or not _counts(shape) or not _counts(offsets) or len(fields) != len(pairs):
        raise MalformedCheckpoint(f"tensor {name!r} is described as {description!r}")
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise MalformedCheckpoint(f"tensor {name!r} has offsets {offsets}")
    start, length = data + offsets[0], offsets[1] - offsets[0]
    known = DTYPES.get(dtype)
    group = Group(name, known, tuple(shape)) if known else Group(name, "opaque", (length,))
    return Span(start, length, (group,))


def _counts(value: object) -> TypeGuard[list[int]]:
    """Whether a decoded value is a list of whole numbers, none below zero (JSON's true is no number)."""
    return isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)
