"""One zstd frame of known size: bytes enter, an ordinary frame leaves, and back into a buffer of exactly that size.

Compressors and decompressors belong to the thread that uses them and live as long as it does; both release
the GIL while they work. What always holds: a frame is asked for the size it declares before anything is
decompressed, never writes past the buffer it was given, and never makes zstd allocate a window of more than
:data:`CHUNK` bytes.
"""

from __future__ import annotations

import threading

import zstandard

from git_theta.errors import Exit, ThetaError

CHUNK = 4 << 20
"""Largest chunk in bytes: large enough that per-chunk costs vanish, small enough that its passes stay in cache."""

HUFFMAN = 0
"""Profile of :func:`compress` that spends its time on literals; the others are zstd's own levels."""

FASTER, USUAL = 1, 3

# Strategy `fast` with the smallest hash table and the longest match nearly switches matching off: on planes of
# real weights every match found is an accident that costs more than the literals it replaces (float32: ratio
# 1.217 against 1.188 at level 3, at twice the speed). `target_length` must stay 0: from 1 on, zstd
# stops compressing literals in this strategy. `window_log` 17 is one full block, the span of a Huffman table.
_HUFFMAN_ONLY = zstandard.ZstdCompressionParameters(
    strategy=zstandard.STRATEGY_FAST,
    window_log=17,
    hash_log=6,
    chain_log=6,
    search_log=1,
    min_match=7,
    target_length=0,
    write_content_size=True,
    write_checksum=False,
    write_dict_id=False,
)


class DamagedChunk(ThetaError):
    """A payload is not one that :func:`git_theta.codecs.encode` makes, or not for a chunk of this length."""

    exit_code = Exit.DAMAGED


class _Coders(threading.local):
    """The compressors and the decompressor of one thread; zstd's contexts serve one call at a time."""

    def __init__(self) -> None:
        self.compressors = {
            HUFFMAN: zstandard.ZstdCompressor(compression_params=_HUFFMAN_ONLY),
            FASTER: zstandard.ZstdCompressor(level=FASTER),
            USUAL: zstandard.ZstdCompressor(level=USUAL),
        }
        self.decompressor = zstandard.ZstdDecompressor(max_window_size=CHUNK)


_coders = _Coders()


def compress(data: memoryview, profile: int) -> bytes:
    """One zstd frame that declares the size of ``data``."""
    return _coders.compressors[profile].compress(data)


def decompress_into(frame: memoryview, target: memoryview) -> None:
    """Fill ``target`` (bytes, writable) from a frame of exactly that size, or raise :class:`DamagedChunk`.

    After an error the bytes of ``target`` are unspecified. Bytes after the frame are ignored.
    """
    try:
        declared = zstandard.get_frame_parameters(frame).content_size
        if declared != len(target):
            raise DamagedChunk(f"zstd frame declares {declared:,} bytes, expected {len(target):,}")
        with _coders.decompressor.stream_reader(frame) as reader:
            filled = reader.readinto(target)
    except zstandard.ZstdError as error:
        raise DamagedChunk(f"zstd frame for {len(target):,} bytes cannot be read ({error})") from None
    if filled != len(target):
        raise DamagedChunk(f"zstd frame ends after {filled:,} bytes, expected {len(target):,}")
