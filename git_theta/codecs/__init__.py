"""Make chunks of values small, exactly: raw bytes enter, a self-describing payload leaves, and back.

Pure functions from bytes to bytes, safe to call from any number of threads; numpy and zstd release the GIL for
everything heavy. What always holds: decoding gives back the very bytes that were encoded, or raises
:class:`DamagedChunk`.
"""

from git_theta.codecs.chunk import Buffer, decode, encode
from git_theta.codecs.frames import CHUNK, DamagedChunk

__all__ = ["CHUNK", "Buffer", "DamagedChunk", "decode", "encode"]
