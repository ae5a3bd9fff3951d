"""Safetensors: eight bytes of header length, a JSON header, then the tensors. A source enters, a layout leaves.

The rules are those of the reference validator: the tensors, sorted by offset, tile everything behind the header
with no gap and no overlap. Two things differ on purpose. A tensor of a dtype we do not know yet is an opaque group
of its extent, since its bytes are known all the same; and a name that appears twice is refused, since readers
disagree about which one counts. Of the header only one name or one description at a time is decoded, and metadata
are passed over, so memory never exceeds the header's bytes and the layout that comes of them, whatever they nest.
"""

from __future__ import annotations

import re
from json import JSONDecodeError, JSONDecoder
from typing import TypeGuard

from git_theta.formats.source import GROUP_LIMIT, MalformedCheckpoint, Source
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

METADATA = "__metadata__"

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
    length = int.from_bytes(source.read(0, 8), "little")
    if length > HEADER_LIMIT:
        raise MalformedCheckpoint(f"the header claims {length:,} bytes, the limit is {HEADER_LIMIT:,}")
    try:
        spans = _spans(source.read(8, length), 8 + length)
    except UnicodeDecodeError as error:
        raise MalformedCheckpoint("the header is not UTF-8") from error
    except (JSONDecodeError, RecursionError) as error:
        raise MalformedCheckpoint(f"the header is not JSON ({error})") from error
    end = 8 + length
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
    length = int.from_bytes(source.read(0, 8), "little")
    header = source.read(8, min(length, HEADER_LIMIT))
    try:
        more, position = _step(_OPEN, header, 0)
        while more:
            name, position = _key(header, position)
            if name == METADATA:
                pairs, _ = _DECODER.raw_decode(header[position : _metadata_end(header, position)].decode())
                return {f"{METADATA}.{key}": value for key, value in pairs}
            more, position = _step(_NEXT, header, header.find(b"}", position) + 1)
    except (UnicodeDecodeError, JSONDecodeError, RecursionError) as error:
        raise MalformedCheckpoint(f"the header is not JSON ({error})") from error
    return {}


def _spans(header: bytes, data: int) -> list[Span]:
    """The tensors by offset; ``data`` is where the header's offsets count from."""
    spans: dict[str, Span] = {}
    more, position = _step(_OPEN, header, 0)
    while more:
        name, position = _key(header, position)
        if name == METADATA:
            position = _metadata_end(header, position)
        elif name in spans or len(spans) == GROUP_LIMIT:
            raise MalformedCheckpoint(f"tensor {name!r} appears twice, or after {GROUP_LIMIT:,} others")
        else:
            # No field of a tensor's description holds a brace, so it ends at the first one.
            end = header.find(b"}", position, position + INFO_LIMIT) + 1
            spans[name] = _span(name, header[position:end].decode(), data)
            position = end
        more, position = _step(_NEXT, header, position)
    if position != len(header):
        raise MalformedCheckpoint("the header goes on behind its JSON")
    return sorted(spans.values(), key=lambda span: (span.start, span.length))


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
