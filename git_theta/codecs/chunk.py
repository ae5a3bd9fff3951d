"""One chunk of a value and its payload: bytes enter, self-describing bytes leave, and the same bytes come back.

The first byte of a payload is its method. Methods are permanent: a payload written once must decode forever,
so a new way to compress gets a new number. What always holds: ``decode(encode(x), len(x)) == x`` for every
chunk and dtype, a payload is at most one byte longer than its chunk, and decoding allocates only after the
bounds were checked and writes only inside ``length`` bytes. Compressed bytes differ between versions of zstd:
identity is the digest of the value, never of a payload.

============  =====================================================================================
method        body
============  =====================================================================================
0  raw        the chunk
1  zstd       one zstd frame that declares the chunk's size
2  planes     byte planes, see :mod:`git_theta.codecs.planes`
============  =====================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from git_theta.codecs import planes
from git_theta.codecs.frames import CHUNK, FASTER, HUFFMAN, USUAL, DamagedChunk, compress, decompress_into
from git_theta.model import DTYPES

Buffer = bytes | bytearray | memoryview | NDArray[np.uint8]
"""What holds a chunk or a payload: any C-contiguous bytes."""

RAW, ZSTD, PLANES = 0, 1, 2

Coder = Callable[[memoryview], "list[bytes | memoryview] | None"]
"""The payload of a chunk as buffers, or None when the coder sees at once that nothing is to be gained."""

_TRIAL = 64 << 10
_TINY = 1 << 10

# Freeing one block this large (its pages are never touched) teaches glibc to keep freed memory instead of giving it
# back: fresh pages for every payload cost up to 40 % of encoding (1.4 against 2.4 GB/s). Other allocators ignore it.
np.empty(2 * CHUNK, np.uint8)


def encode(chunk: Buffer, dtype: str) -> list[bytes | memoryview]:
    """The payload of one chunk, at most :data:`CHUNK` bytes of values of ``dtype``, as buffers to write in order.

    ``dtype`` (a name in :data:`git_theta.model.DTYPES`) only chooses the coder; any length is good. No buffer is
    scratch, but one may be ``chunk`` itself: write them before changing it.
    """
    data = _flat(chunk)
    if len(data) > CHUNK:
        raise ValueError(f"a chunk of {len(data):,} bytes, at most {CHUNK:,} are allowed")
    payload = _choose(data, dtype)(data)
    # A gain below 2 % is not worth a decoding pass every time the value is read.
    if payload is None or _size(payload) > len(data) - len(data) // 50:
        return [bytes([RAW]), data]
    return payload


def decode(payload: Buffer, length: int, out: memoryview | None = None) -> memoryview:
    """The ``length`` bytes of a chunk, in ``out`` (writable, exactly that long) or in memory of its own.

    Without ``out`` the answer may be a view of ``payload``. Raises :class:`DamagedChunk` for anything
    :func:`encode` does not make; then the bytes of ``out`` are unspecified.
    """
    data = _flat(payload)
    if not 0 <= length <= CHUNK:
        raise DamagedChunk(f"a chunk of {length:,} bytes, expected 0 to {CHUNK:,}")
    if out is not None and out.nbytes != length:
        raise ValueError(f"a buffer of {out.nbytes:,} bytes for a chunk of {length:,}")
    if not data:
        raise DamagedChunk(f"the payload of a chunk of {length:,} bytes is empty")
    method, body = data[0], data[1:]
    if method not in _DECODERS:
        raise DamagedChunk(
            f"a chunk is stored with method {method}, this git-theta knows {RAW} to {PLANES}",
            hint="it was written by a newer git-theta (upgrade this one) or it is damaged (`git theta fsck` tells)",
        )
    if method == RAW and out is None and len(body) == length:
        return body
    target = np.empty(length, np.uint8).data if out is None else out.cast("B")
    _DECODERS[method](body, target)
    return target


def _flat(data: Buffer) -> memoryview:
    view = data.data if isinstance(data, np.ndarray) else memoryview(data)
    return view.cast("B")


def _size(payload: list[bytes | memoryview]) -> int:
    return sum(map(len, payload))


def _choose(data: memoryview, dtype: str) -> Coder:
    """The dtype's coder; where it has several, the one that makes the least of a piece from the middle."""
    if len(data) < _TINY:
        return _usual
    coders = _coders(dtype)
    if len(coders) == 1:
        return coders[0]
    start = max(0, len(data) - _TRIAL) // 16 * 8
    trial = data[start : start + _TRIAL]

    def trial_size(coder: Coder) -> int:
        payload = coder(trial)
        return len(trial) if payload is None else _size(payload)

    return min(coders, key=trial_size)


@cache
def _coders(dtype: str) -> tuple[Coder, ...]:
    """The coders worth trying for a dtype: one for floats, whose planes always win on weights."""
    known = DTYPES[dtype]
    split = partial(_encode_planes, word=known.word, rotate=known.rotate)
    if known.word > 1:
        return (split,) if dtype.startswith(("float", "bfloat", "complex")) else (_usual, split)
    if known.block > 1:
        return (_huffman, _faster)
    return (_usual,) if dtype == "opaque" else (_huffman, _usual)


def _encode_zstd(data: memoryview, profile: int) -> list[bytes | memoryview]:
    return [bytes([ZSTD]), compress(data, profile)]


def _encode_planes(data: memoryview, word: int, rotate: bool) -> list[bytes | memoryview] | None:
    body = planes.encode(data, word, rotate)
    return None if body is None else [bytes([PLANES]), *body]


_usual = partial(_encode_zstd, profile=USUAL)
_faster = partial(_encode_zstd, profile=FASTER)
_huffman = partial(_encode_zstd, profile=HUFFMAN)


def _decode_raw(body: memoryview, target: memoryview) -> None:
    if len(body) != len(target):
        raise DamagedChunk(f"a raw chunk of {len(body):,} bytes, expected {len(target):,}")
    target[:] = body


_DECODERS: dict[int, Callable[[memoryview, memoryview], None]] = {
    RAW: _decode_raw,
    ZSTD: decompress_into,
    PLANES: planes.decode,
}
