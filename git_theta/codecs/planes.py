"""Weights as byte planes: the bytes of little-endian words enter, one stream per kind of byte leaves.

In trained weights the exponent bytes repeat themselves and the low mantissa bytes are noise. So the words are
cut into planes (all first bytes, all second bytes, ...), planes worth it become zstd frames, and neighbouring
planes of noise stay together, uncompressed, as streams of 2 or 4 bytes per word. ``rotate`` first turns the
top 16 bits of every word left by one: sign, 8 exponent bits, 7 mantissa bits become one byte of pure exponent
and one of mantissa and sign (MiniLM as float32: 1.216 becomes 1.220, as bfloat16 1.490 becomes 1.503).

The body, after the method byte that :mod:`git_theta.codecs.chunk` owns::

    1 byte          word size in bytes (2, 4 or 8), plus 0x80 when rotated
    5 bytes each    streams, lowest byte first, until they cover the word: width in bytes (1, 2 or 4) plus 0x10
                    when it is a zstd frame; stored size as a little-endian u32
    0 to 7 bytes    what was left of the chunk after the last whole word
    the streams     in the order of their records

Always one numpy pass over the whole chunk per step. Measured on 4 MiB chunks: shifts and narrowing casts run at
45 to 75 GB/s as numpy vectorises them, strided copies (``view(u1)[1::2]``) at 8, transposing at 4, shifts of
uint8 at 8. Working in blocks of 64 to 512 KiB instead was never faster and, by taking the GIL more often,
up to 50 % slower on two threads. All temporaries are the thread's own scratch; only what is returned is new.
"""

from __future__ import annotations

import struct
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from git_theta.codecs.frames import CHUNK, HUFFMAN, DamagedChunk, compress, decompress_into

Words = NDArray[np.unsignedinteger[Any]]
"""A contiguous array of ``<u1``, ``<u2``, ``<u4`` or ``<u8``."""

_ROTATED = 0x80
_FRAMED = 0x10
_RECORD = struct.Struct("<BI")

_SAMPLE = 4096
# 7.93 bits, less the 0.045 by which 4,096 samples of a byte underestimate its entropy (255 / (2 ln 2 * 4096)).
# zstd itself stores blocks that would not shrink by 1/64, which is 7.875 bits.
_NOISE = 7.93 - 0.045


@dataclass(frozen=True, slots=True)
class _Stream:
    """Bytes [offset, offset + width) of every word, as a zstd frame or as they are; ``size`` bytes stored."""

    offset: int
    width: int
    framed: bool
    size: int


class _Scratch(threading.local):
    """Two chunks of memory per thread, so that no pass pays for fresh pages."""

    def __init__(self) -> None:
        self.planes = np.empty(CHUNK, "u1")
        self.spare = np.empty(CHUNK, "u1")


_scratch = _Scratch()


def encode(data: memoryview, word: int, rotate: bool) -> list[bytes | memoryview] | None:
    """The body as buffers that own their memory, or None when every plane looks like noise.

    ``data`` holds at least one word and at most :data:`CHUNK` bytes.
    """
    words = _aligned(np.frombuffer(data, f"<u{word}", count=len(data) // word))
    noise = _noise(words, rotate)
    if all(noise):
        return None
    head, parts, offset = bytearray([word | _ROTATED * rotate]), [], 0
    while offset < word:
        width = _width(noise, offset, word - 2 * rotate)
        part = _part(words, offset, width, rotate, framed=not noise[offset])
        head += _RECORD.pack(width | _FRAMED * isinstance(part, bytes), len(part))
        parts.append(part)
        offset += width
    return [bytes(head) + data[len(words) * word :], *parts]


def decode(body: memoryview, target: memoryview) -> None:
    """Fill ``target`` (bytes, writable) from a body, or raise :class:`DamagedChunk`."""
    word, rotate = (body[0] & ~_ROTATED, bool(body[0] & _ROTATED)) if body else (0, False)
    if word not in (2, 4, 8) or len(target) < word:
        raise DamagedChunk(f"byte planes of words of {word} bytes for a chunk of {len(target):,}, expected 2, 4 or 8")
    count, tail = divmod(len(target), word)
    streams, start = _records(body, word, rotate, count)
    end = start + tail + sum(stream.size for stream in streams)
    if end != len(body):
        raise DamagedChunk(f"byte planes fill {end:,} bytes, the payload has {len(body):,}")
    target[count * word :] = body[start : start + tail]
    _join(streams, body[start + tail :], np.frombuffer(target, f"<u{word}", count=count), rotate)


def _aligned(words: Words) -> Words:
    """The same words; copied to scratch when misaligned, as one copy beats realigning in every pass."""
    if words.flags.aligned:
        return words
    copy = _scratch.spare[: words.nbytes].view(words.dtype)
    np.copyto(copy, words)
    return copy


def _noise(words: Words, rotate: bool) -> list[bool]:
    """For each byte of the word, lowest first, whether a sample of it is too random to compress."""
    word = words.itemsize
    if len(words) < 4 * _SAMPLE:
        return [False] * word
    # An odd step, so that rows whose length is a power of two are not sampled in one column.
    sample = words[:: len(words) // _SAMPLE | 1][:_SAMPLE].copy()
    if rotate:
        top = sample.view("<u2")[word // 2 - 1 :: word // 2]
        top[:] = top << 1 | top >> 15
    keys = sample.view("u1").reshape(-1, word) + np.arange(0, 256 * word, 256, dtype=np.intp)
    counts = np.bincount(keys.ravel(), minlength=256 * word).reshape(word, 256)
    entropy = np.log2(len(sample)) - (counts * np.log2(np.maximum(counts, 1))).sum(axis=1) / len(sample)
    return [bool(bits > _NOISE) for bits in entropy]


def _width(noise: list[bool], offset: int, end: int) -> int:
    """Bytes of the stream at ``offset``: as many planes of noise as make an aligned integer before ``end``."""
    return next((v for v in (4, 2) if offset % v == 0 and offset + v <= end and all(noise[offset : offset + v])), 1)


def _part(words: Words, offset: int, width: int, rotate: bool, framed: bool) -> bytes | memoryview:
    """One stream: a zstd frame as bytes, when wanted and smaller, or else a memoryview of the plain bytes."""
    if not framed:
        return _cut(words, offset, rotate, np.empty(len(words), f"<u{width}"))
    plane = _cut(words, offset, rotate, _scratch.planes[: len(words)])
    frame = compress(plane, HUFFMAN)
    return frame if len(frame) < len(plane) else memoryview(bytes(plane))


def _cut(words: Words, offset: int, rotate: bool, out: Words) -> memoryview:
    """Write the bytes of every word from ``offset`` on, as wide as ``out``, and return them as bytes.

    The rotation costs no pass of its own: the exponent is a shift by one less, the byte below it a doubling
    plus the sign.
    """
    bits = 8 * words.itemsize
    if rotate and offset == words.itemsize - 1:
        np.right_shift(words, bits - 9, out=out, casting="unsafe")
    elif rotate and offset == words.itemsize - 2:
        sign = _scratch.planes[CHUNK // 2 :][: len(words)]
        np.right_shift(words, bits - 1, out=sign, casting="unsafe")
        np.right_shift(words, bits - 16, out=out, casting="unsafe")
        np.add(out, out, out=out)
        np.bitwise_or(out, sign, out=out)
    else:
        np.right_shift(words, 8 * offset, out=out, casting="unsafe")
    return out.data.cast("B")


def _records(body: memoryview, word: int, rotate: bool, count: int) -> tuple[list[_Stream], int]:
    """The streams a body announces and where their records end; sizes are checked, not yet their sum."""
    streams: list[_Stream] = []
    at, offset = 1, 0
    while offset < word:
        if at + _RECORD.size > len(body):
            raise DamagedChunk(f"byte planes end after {len(streams)} streams, which cover {offset} of {word} bytes")
        kind, size = _RECORD.unpack_from(body, at)
        width, framed = kind & ~_FRAMED, bool(kind & _FRAMED)
        end = word - 2 if rotate and width > 1 else word
        if width not in (1, 2, 4) or offset % width or offset + width > end:
            raise DamagedChunk(f"stream of kind {kind:#x} at byte {offset} of a word of {word} bytes")
        if not framed and size != count * width:
            raise DamagedChunk(f"plain stream of {size:,} bytes, expected {count * width:,}")
        streams.append(_Stream(offset, width, framed, size))
        at, offset = at + _RECORD.size, offset + width
    return streams, at


def _join(streams: list[_Stream], data: memoryview, words: Words, rotate: bool) -> None:
    """Put the streams, which follow each other in ``data``, back into ``words``."""
    planes = []
    for stream in streams:
        plane = _plane(stream, data[: stream.size], len(words))
        planes.append((8 * stream.offset, plane))
        data = data[stream.size :]
    if rotate:
        (_, high), (_, low) = planes.pop(), planes.pop()
        half = 2 * len(words)
        top = words if words.itemsize == 2 else _scratch.spare[half:][:half].view("<u2")
        planes.append((8 * words.itemsize - 16, _turn_back(high, low, top)))
    shift, plane = planes.pop()
    if plane is not words:
        np.left_shift(plane, shift, out=words, dtype=words.dtype)
    for shift, plane in planes:
        _or_shifted(words, plane, shift)


def _plane(stream: _Stream, stored: memoryview, count: int) -> Words:
    """The stream as one integer per word: a view of the payload, or decompressed into scratch."""
    dtype = f"<u{stream.width}"
    if not stream.framed:
        return np.frombuffer(stored, dtype)
    plane = _scratch.planes[stream.offset * count :][: stream.width * count]
    decompress_into(stored, plane.data)
    return plane.view(dtype)


def _turn_back(high: Words, low: Words, top: Words) -> Words:
    """Fill ``top`` with the 16-bit integers whose rotated bytes are ``high`` and ``low``."""
    turned = _scratch.spare[: 2 * len(top)].view("<u2")
    np.left_shift(high, 8, out=top, dtype=top.dtype)
    np.bitwise_or(top, low, out=top)
    np.left_shift(top, 15, out=turned)
    np.right_shift(top, 1, out=top)
    np.bitwise_or(top, turned, out=top)
    return top


def _or_shifted(words: Words, plane: Words, shift: int) -> None:
    """Or ``plane << shift`` into ``words``; widening happens inside the passes."""
    if shift:
        shifted = _scratch.spare[: words.nbytes].view(words.dtype)
        plane = np.left_shift(plane, shift, out=shifted, dtype=words.dtype)
    np.bitwise_or(words, plane, out=words)
