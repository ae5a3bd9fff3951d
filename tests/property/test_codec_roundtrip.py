"""For any bytes and any dtype: what is decoded is what was encoded, and damage is never something else."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from git_theta.codecs import DamagedChunk, decode, encode, planes
from git_theta.model import DTYPES

dtypes = st.sampled_from(sorted(DTYPES))


@st.composite
def chunks(draw: st.DrawFn) -> bytes:
    """Arbitrary bytes, or longer ones built from a few bytes, so that every method is met."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=3000))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = rng.integers(0, 256, (draw(st.integers(1, 20_000)), 8), dtype=np.uint8)
    rows &= np.array(draw(st.lists(st.sampled_from([0, 1, 15, 255]), min_size=8, max_size=8)), np.uint8)
    return rows.tobytes() + draw(st.binary(max_size=9))


@settings(max_examples=150, deadline=None)
@given(chunks(), dtypes)
def test_decode_undoes_encode(data: bytes, dtype: str) -> None:
    payload = b"".join(encode(data, dtype))
    assert decode(payload, len(data)) == data
    assert len(payload) <= len(data) + 1


@settings(max_examples=150, deadline=None)
@given(chunks(), st.sampled_from([2, 4, 8]), st.booleans())
def test_planes_undo_planes_for_every_word(data: bytes, word: int, rotate: bool) -> None:
    body = planes.encode(memoryview(data), word, rotate) if len(data) >= word else None
    if body is not None:
        out = memoryview(bytearray(len(data)))
        planes.decode(memoryview(b"".join(body)), out)
        assert out == data


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400))
def test_arbitrary_payloads_decode_to_length_or_are_damaged(payload: bytes, length: int) -> None:
    with suppress(DamagedChunk):
        assert len(decode(payload, length)) == length
