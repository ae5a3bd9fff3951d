"""GGUF, the format of ggml and llama.cpp: key-values, tensor descriptions, then the tensors. A source enters, a
layout leaves.

Versions 2 and 3, little- and big-endian (docs/gguf.md in the ggml repository is the specification). Key-values
are only stepped over, in blocks, whatever they claim to hold; they stay skeleton. ggml counts dimensions fastest
first, a group's shape is slowest first, as everywhere else. A tensor of a type unknown to us, and a quantised
one in a big-endian file, is an opaque group up to the next tensor.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from git_theta.formats.pieces import CannotBuild, Leaves, Part, Piece, Side, sides_of
from git_theta.formats.source import GROUP_LIMIT, BytesSource, MalformedCheckpoint, Source
from git_theta.model import DTYPES, Group, Layout, Span, nbytes

FORMAT = "gguf"

METADATA_LIMIT = 32 << 20
"""Bytes of key-values and descriptions we read through: several times the largest tokenizer, seconds at worst."""

BLOCK = 1 << 16
"""Bytes per read: small, because the last one may reach into the tensors."""

NAME_LIMIT = 0xFFFF
"""Bytes of a key, as the specification has it; tensor names are shorter still."""

ARRAY_DEPTH = 4
"""Arrays of arrays are allowed by the specification, and used by nobody."""

TYPES = {
    0: "float32", 1: "float16", 2: "gguf_q4_0", 3: "gguf_q4_1", 6: "gguf_q5_0", 7: "gguf_q5_1", 8: "gguf_q8_0",
    9: "gguf_q8_1", 10: "gguf_q2_k", 11: "gguf_q3_k", 12: "gguf_q4_k", 13: "gguf_q5_k", 14: "gguf_q6_k",
    15: "gguf_q8_k", 16: "gguf_iq2_xxs", 17: "gguf_iq2_xs", 18: "gguf_iq3_xxs", 19: "gguf_iq1_s", 20: "gguf_iq4_nl",
    21: "gguf_iq3_s", 22: "gguf_iq2_s", 23: "gguf_iq4_xs", 24: "int8", 25: "int16", 26: "int32", 27: "int64",
    28: "float64", 29: "gguf_iq1_m", 30: "bfloat16", 34: "gguf_tq1_0", 35: "gguf_tq2_0", 39: "gguf_mxfp4",
    40: "gguf_nvfp4",
}  # fmt: skip
"""ggml type ids to names in the model. The ids left out were withdrawn, or are newer than this table."""

_VALUE_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_VALUE_CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_UINT32 = 4
_STRING = 8
_ARRAY = 9

_ALIGNMENT_KEY = b"general.alignment"
_ALIGNMENT = 32
_HEADER = 24  # bytes before the first key-value


@dataclass(frozen=True, slots=True)
class _Tensor:
    """One description; ``offset`` counts from where the tensors start."""

    name: str
    shape: tuple[int, ...]
    type_id: int
    offset: int


@dataclass(frozen=True, slots=True)
class _Pair:
    """One key-value: ``data`` are all of its bytes, of which the value starts at ``value``."""

    key: str
    type_id: int
    data: bytes
    value: int


@dataclass(frozen=True, slots=True)
class _Head:
    """What stands before the tensors: the byte order, and key-values as bytes and descriptions by name."""

    order: str
    pairs: dict[str, bytes]
    tensors: dict[str, _Tensor]


class _Reader:
    """The numbers and strings of the metadata, one after the other, read in blocks and bounded together."""

    def __init__(self, source: Source, position: int, order: str) -> None:
        self._source = source
        self._limit = min(source.size, METADATA_LIMIT)
        self._block = b""
        self._start = position  # where in the file the block starts
        self._offset = 0  # where in the block the next value starts
        self._uint32 = struct.Struct(order + "I")
        self._uint64 = struct.Struct(order + "Q")

    @property
    def position(self) -> int:
        return self._start + self._offset

    def uint32(self) -> int:
        return int(self._uint32.unpack(self.bytes(4))[0])

    def uint64(self) -> int:
        return int(self._uint64.unpack(self.bytes(8))[0])

    def bytes(self, length: int) -> bytes:
        """The next ``length`` bytes."""
        if self._offset + length > len(self._block):
            self._load(length)
        start, self._offset = self._offset, self._offset + length
        return self._block[start : self._offset]

    def skip(self, length: int) -> None:
        """Step over ``length`` bytes, without reading them."""
        self._check(length)
        self._offset += length

    def skip_strings(self, count: int) -> None:
        """Step over ``count`` strings: one addition each, since a vocabulary has half a million."""
        unpack = self._uint64.unpack_from
        for _ in range(count):
            if self._offset + 8 > len(self._block):
                self._load(8)
            self._offset += 8 + unpack(self._block, self._offset)[0]
        self._check(0)

    def _load(self, length: int) -> None:
        """Make the next ``length`` bytes available."""
        self._check(length)
        self._start, self._offset = self.position, 0
        self._block = self._source.read(self._start, min(max(length, BLOCK), self._limit - self._start))

    def _check(self, length: int) -> None:
        if self.position + length > self._limit:
            raise MalformedCheckpoint(f"the metadata go on beyond {self.position:,}, expected within {self._limit:,}")


def sniff(source: Source) -> bool:
    """Whether the file starts with the magic string of GGUF."""
    return source.size >= 24 and source.read(0, 4) == b"GGUF"


def scan(source: Source) -> Layout:
    """One span per tensor; raises :class:`MalformedCheckpoint` where the metadata break the rules."""
    order = _byte_order(source)
    reader = _Reader(source, 8, order)
    tensor_count, pair_count = reader.uint64(), reader.uint64()
    alignment = _skip_pairs(reader, pair_count)
    tensors = _read_tensors(reader, tensor_count)
    data = -(-reader.position // alignment) * alignment
    return Layout(FORMAT, source.size, tuple(_spans(tensors, data, source.size, order == ">")))


def leaves(source: Source) -> dict[str, int | float | bool | str | bytes]:
    """The key-values, arrays as their bytes; raises :class:`MalformedCheckpoint`."""
    order = _byte_order(source)
    return {pair.key: _value(pair, order) for pair in _read_pairs(source, _Reader(source, 16, order))}


def write(sides: Sequence[Side], pieces: Sequence[Piece], leaves: Leaves) -> Iterator[Part]:
    """Key-values and descriptions as their sides have them, then the tensors, each at a multiple of the alignment."""
    heads = cache(lambda at: _read_head(sides[at].frame))
    order = heads(0).order
    if any(heads(at).order != order for at in sides_of(pieces, leaves)):
        raise CannotBuild("the two sides are GGUF files of different byte order")
    counts = struct.pack(order + "2Q", len(pieces), len(leaves))
    start = sides[0].frame.read(0, 8) + counts + b"".join(heads(at).pairs[path] for path, at in leaves.items())
    alignment = _skip_pairs(_Reader(BytesSource(start), _HEADER, order), len(leaves))
    descriptions, at = [], 0
    for piece in pieces:
        name = sides[piece.side].layout.spans[piece.span].groups[0].name
        if name not in heads(piece.side).tensors:
            raise CannotBuild(f"{name!r} is one of several tensors of the same name")
        descriptions.append(_describe(heads(piece.side).tensors[name], at, order))
        at += piece.length + -piece.length % alignment
    head = start + b"".join(descriptions)
    yield head + bytes(-len(head) % alignment)
    for piece in pieces:
        yield piece
        yield bytes(-piece.length % alignment)


def _byte_order(source: Source) -> str:
    """How the file's numbers are stored, as :mod:`struct` writes it; refuses versions we do not know."""
    start = source.read(0, 8)
    order = "<" if start[4:6] != b"\0\0" else ">"
    (version,) = struct.unpack_from(order + "I", start, 4)
    if start[:4] != b"GGUF" or version not in (2, 3):
        raise MalformedCheckpoint(f"starts with {start!r}, expected GGUF version 2 or 3")
    return order


def _read_head(source: Source) -> _Head:
    """Everything before the tensors."""
    order = _byte_order(source)
    reader = _Reader(source, 8, order)
    count = reader.uint64()
    pairs = {pair.key: pair.data for pair in _read_pairs(source, reader)}
    return _Head(order, pairs, {tensor.name: tensor for tensor in _read_tensors(reader, count)})


def _read_pairs(source: Source, reader: _Reader) -> Iterator[_Pair]:
    """The key-values, whose number comes first."""
    for _ in range(reader.uint64()):
        start = reader.position
        key = reader.bytes(_name_length(reader)).decode("utf-8", "replace")
        type_id = reader.uint32()
        value = reader.position - start
        _skip_value(reader, type_id, ARRAY_DEPTH)
        yield _Pair(key, type_id, source.read(start, reader.position - start), value)


def _value(pair: _Pair, order: str) -> int | float | bool | str | bytes:
    """What a pair says; an array as its bytes."""
    data = pair.data[pair.value :]
    if pair.type_id == _STRING:
        return data[8:].decode("utf-8", "replace")
    code = _VALUE_CODES.get(pair.type_id)
    found: int | float | bool | bytes = struct.unpack(order + code, data)[0] if code else data
    return found


def _skip_pairs(reader: _Reader, count: int) -> int:
    """Step over the key-values; the alignment of the tensors, which one of them may set."""
    alignment = _ALIGNMENT
    for _ in range(count):
        key = reader.bytes(_name_length(reader))
        type_id = reader.uint32()
        if key == _ALIGNMENT_KEY and type_id == _UINT32:
            alignment = reader.uint32()
        else:
            _skip_value(reader, type_id, ARRAY_DEPTH)
    if not alignment:
        raise MalformedCheckpoint("the tensors are aligned to 0 bytes")
    return alignment


def _skip_value(reader: _Reader, type_id: int, depth: int) -> None:
    """Step over one value; ``depth`` is how many arrays it may nest."""
    if type_id in _VALUE_BYTES:
        reader.skip(_VALUE_BYTES[type_id])
    elif type_id == _STRING:
        reader.skip_strings(1)
    elif type_id == _ARRAY and depth:
        _skip_elements(reader, reader.uint32(), reader.uint64(), depth)
    else:
        raise MalformedCheckpoint(f"a value before {reader.position:,} has the type {type_id}, which nothing has")


def _skip_elements(reader: _Reader, type_id: int, count: int, depth: int) -> None:
    """Step over the elements of an array: at once where their size is known."""
    if type_id in _VALUE_BYTES:
        reader.skip(count * _VALUE_BYTES[type_id])
    elif type_id == _STRING:
        reader.skip_strings(count)
    else:
        for _ in range(count):
            _skip_value(reader, type_id, depth - 1)


def _read_tensors(reader: _Reader, count: int) -> list[_Tensor]:
    """The descriptions of all tensors."""
    if count > GROUP_LIMIT:
        raise MalformedCheckpoint(f"claims {count:,} tensors, the limit is {GROUP_LIMIT:,}")
    return [_read_tensor(reader) for _ in range(count)]


def _describe(tensor: _Tensor, offset: int, order: str) -> bytes:
    """The description of a tensor that is now at ``offset``."""
    name = tensor.name.encode("utf-8", "surrogateescape")
    sides = tensor.shape[::-1]
    numbers = (len(sides), *sides, tensor.type_id, offset)
    return struct.pack(order + "Q", len(name)) + name + struct.pack(f"{order}I{len(sides)}QIQ", *numbers)


def _read_tensor(reader: _Reader) -> _Tensor:
    """The next tensor's description."""
    name = reader.bytes(_name_length(reader)).decode("utf-8", "surrogateescape")
    dimensions = reader.uint32()
    if dimensions > 64:
        raise MalformedCheckpoint(f"tensor {name!r} has {dimensions:,} dimensions")
    shape = tuple(reader.uint64() for _ in range(dimensions))[::-1]
    return _Tensor(name, shape, reader.uint32(), reader.uint64())


def _name_length(reader: _Reader) -> int:
    """The length of a key or of a tensor's name, in bytes."""
    length = reader.uint64()
    if length > NAME_LIMIT:
        raise MalformedCheckpoint(
            f"a name before {reader.position:,} has {length:,} bytes, the limit is {NAME_LIMIT:,}"
        )
    return length


def _spans(tensors: list[_Tensor], data: int, size: int, big_endian: bool) -> list[Span]:
    """The tensors by offset; ``data`` is where their offsets count from."""
    starts = sorted({data + tensor.offset for tensor in tensors} | {size})
    if starts[-1] > size:
        raise MalformedCheckpoint(f"a tensor starts at {starts[-1]:,}, the file has {size:,} bytes")
    spans = []
    for tensor in tensors:
        start = data + tensor.offset
        following = starts[bisect_right(starts, start, hi=len(starts) - 1)]
        spans.append(_span(tensor, start, following - start, big_endian))
    return sorted(spans, key=lambda span: (span.start, span.length))


def _span(tensor: _Tensor, start: int, extent: int, big_endian: bool) -> Span:
    """Where one tensor is; ``extent`` is how far it may reach before the next one starts."""
    dtype = _dtype(tensor, big_endian)
    if dtype is None:
        return Span(start, extent, (Group(tensor.name, "opaque", (extent,)),))
    length = nbytes(dtype, tensor.shape)
    # ggml stores a tensor row by row, so blocks must not reach across rows.
    if length is None or any(side % DTYPES[dtype].block for side in tensor.shape[-1:]):
        raise MalformedCheckpoint(f"tensor {tensor.name!r} of shape {list(tensor.shape)} has broken blocks of {dtype}")
    return Span(start, length, (Group(tensor.name, dtype, tensor.shape),))


def _dtype(tensor: _Tensor, big_endian: bool) -> str | None:
    """The name in the model; None for a type whose layout we do not know."""
    dtype = TYPES.get(tensor.type_id)
    if dtype is None or not big_endian or DTYPES[dtype].word == 1 == DTYPES[dtype].block:
        return dtype
    # Tools disagree whether the scales inside a quantised block are swapped.
    return dtype + "_be" if DTYPES[dtype].block == 1 else None
