"""What the bytes of a group mean as numbers: a dtype's name enters, a reader of blocks leaves.

Elements come as unsigned words of native byte order, so that equality is equality of bits, and as float64 values.
A complex number is two values. What always holds: every dtype of the model has a reader; those without one number
per byte-aligned element (block-quantised, below one byte, opaque) are read as bytes, and count as no numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from git_theta.model import Entry

Words = NDArray[np.unsignedinteger[Any]]
Floats = NDArray[np.float64]

_NUMPY = {
    "bool": "u1", "uint8": "u1", "int8": "i1", "uint16": "u2", "int16": "i2", "uint32": "u4", "int32": "i4",
    "uint64": "u8", "int64": "i8", "float16": "f2", "float32": "f4", "float64": "f8", "complex32": "f2",
    "complex64": "f4", "complex128": "f8", "qint8": "i1", "quint8": "u1", "qint32": "i4",
}  # fmt: skip
_ML_DTYPES = {
    "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e4m3", "float8_e8m0fnu",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Elements:
    """How to read one dtype. ``stored`` is its word in the file, ``native`` what a word in memory is.

    ``parts`` words make one element. ``numeric`` is False for bytes that stand for no number by themselves;
    ``floating`` says that words are floating-point numbers.
    """

    stored: np.dtype[Any]
    native: np.dtype[Any]
    parts: int
    numeric: bool
    floating: bool

    @property
    def writable(self) -> bool:
        """Whether any number has a nearest element: not so for integers, and for scales that are powers of two."""
        return self.floating and self.native.name != "float8_e8m0fnu"

    @property
    def size(self) -> int:
        """Bytes of one element in the file."""
        return self.stored.itemsize * self.parts

    def words(self, data: bytes | memoryview) -> Words:
        """The words in ``data``, in native byte order."""
        words: Words = np.frombuffer(data, self.stored)
        return words if self.stored.isnative else words.astype(self.stored.newbyteorder("="))

    def values(self, words: Words) -> Floats:
        """The words as numbers; 64-bit integers are rounded."""
        with np.errstate(invalid="ignore"):  # a signalling NaN is a number as good as others
            return words.view(self.native).astype(np.float64)

    def encode(self, values: Floats) -> bytes:
        """The bytes of float64 ``values`` in the file, each rounded once, to the nearest, ties to even.

        Every NaN becomes the dtype's positive quiet one, whatever machine made it. What is too large becomes what the
        dtype has for it: infinity; NaN for ``float8_e4m3fn`` and the ``fnuz`` dtypes, which have no infinity. Raises
        :class:`ValueError` for a dtype that is not :attr:`writable`.
        """
        if not self.writable:
            raise ValueError(f"{self.native.name} has no nearest element to a number")
        nan = np.isnan(values)
        numbers = np.where(nan, np.nan, values) if nan.any() else values
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            # ml_dtypes goes by way of float32 and would round twice.
            narrow = numbers if self.native.kind == "f" and self.native.isbuiltin == 1 else _to_odd(numbers)
            native = narrow.astype(self.native)
        return native.view(self.stored.newbyteorder("=")).astype(self.stored).tobytes()


def _to_odd(values: Floats) -> NDArray[np.float32]:
    """``values`` cut to float32, the last bit set where something was lost.

    Rounding that to a dtype with at least two bits less is rounding ``values`` to it (Boldo and Melquiond, 2008): no
    number looks like the middle between two elements that was not.
    """
    narrow: NDArray[np.float32] = values.astype(np.float32)
    bits = narrow.view(np.uint32)
    wide = narrow.astype(np.float64)
    bits -= np.abs(wide) > np.abs(values)
    bits |= wide != values
    return narrow


@cache
def elements(dtype: str) -> Elements:
    """The reader of ``dtype``."""
    name = dtype.removesuffix("_be")
    big = name != dtype
    native = _native(name)
    numeric = native is not None
    native = native if native is not None else np.dtype("u1")
    stored = np.dtype(f"{'>' if big else '<'}u{native.itemsize}")
    parts = 2 if name.startswith("complex") else 1
    floating = numeric and native.kind not in "iu"
    return Elements(stored, native, parts, numeric, floating)


def numbers(entry: Entry) -> int:
    """How many numbers the bytes of a span are: its elements, twice that for complex ones."""
    return entry.length // elements(entry.groups[0].dtype).stored.itemsize


def _native(name: str) -> np.dtype[Any] | None:
    """What a word of the dtype is in memory; None for what is no number."""
    if name in _ML_DTYPES:
        import ml_dtypes

        found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return found
    return np.dtype(_NUMPY[name]) if name in _NUMPY else None
