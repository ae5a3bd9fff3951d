"""Statistics of a change equal plain NumPy on whole arrays, for every dtype, however the bytes are cut."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from git_theta.diff.finding import Statistics
from git_theta.diff.statistics import BLOCK, measure
from git_theta.model import DTYPES
from git_theta.tensors.elements import elements
from git_theta.tensors.feed import Feed

Array = np.ndarray[Any, np.dtype[Any]]

NUMPY: dict[str, np.dtype[Any]] = {
    "bool": np.dtype("u1"), "complex32": np.dtype("f2"), "qint8": np.dtype("i1"), "quint8": np.dtype("u1"),
    "qint32": np.dtype("i4"),
}  # fmt: skip
SEEDS = st.integers(0, 2**32 - 1)


def numpy_dtype(name: str) -> np.dtype[Any]:
    """What NumPy calls ``name``; words for what NumPy has no number for."""
    base = name.removesuffix("_be")
    found: np.dtype[Any] = NUMPY[base] if base in NUMPY else np.dtype(getattr(ml_dtypes, base, base))
    return found.newbyteorder(">") if name.endswith("_be") and base in ("float32", "int16", "float64") else found


def cut(data: bytes, size: int) -> Iterator[memoryview]:
    """Chunks of ``size`` bytes, as a reader gives them."""
    return (memoryview(data)[at : at + size] for at in range(0, len(data), size))


def run(old: bytes, new: bytes, dtype: str, count: int, chunk: int = 4096, **options: Any) -> Statistics:
    return measure(Feed(cut(old, chunk)), Feed(cut(new, chunk)), (dtype, dtype), count, **options)


def plain(old: Array, new: Array) -> tuple[float, float, float, float]:
    """Norms of old, new and change, and the largest change, over what is finite on both sides."""
    with np.errstate(all="ignore"):
        wide = np.complex128 if old.dtype.kind == "c" else np.float64
        a, b = old.astype(wide), new.astype(wide)
        finite = np.isfinite(a) & np.isfinite(b)
        a, b = a[finite], b[finite]
        return (
            float(np.linalg.norm(a)),
            float(np.linalg.norm(b)),
            float(np.linalg.norm(b - a)),
            float(np.abs(b - a).max(initial=0)),
        )


def close(found: float, expected: float) -> bool:
    return math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-300)


@pytest.mark.parametrize(
    "dtype",
    ["bool", "uint8", "int8", "int16", "int16_be", "uint32", "int32", "int64", "uint64", "float16", "bfloat16",
     "float32", "float32_be", "float64", "float64_be", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2",
     "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e4m3", "qint8", "qint32"],
)  # fmt: skip
@settings(deadline=None, max_examples=12)
@given(seed=SEEDS, count=st.integers(1, 3000), share=st.sampled_from([0.0, 0.01, 1.0]), chunk=st.integers(1, 9000))
def test_random_bits_of_every_dtype_agree_with_numpy(
    dtype: str, seed: int, count: int, share: float, chunk: int
) -> None:
    random = np.random.default_rng(seed)
    kind = numpy_dtype(dtype)
    old = np.frombuffer(random.bytes(count * kind.itemsize), kind)
    other = np.frombuffer(random.bytes(count * kind.itemsize), kind)
    chosen = random.random(count) < share
    new = old.copy()
    new[chosen] = other[chosen]
    found = run(old.tobytes(), new.tobytes(), dtype, count, chunk)
    words = [side.view(np.uint8).reshape(count, -1) for side in (old, new)]
    assert found.changed == int(np.count_nonzero((words[0] != words[1]).any(axis=1)))
    assert found.elements == count
    if kind.itemsize == 8 and kind.kind in "iu":
        return  # float64 cannot hold the difference of the sides; see the test below
    with np.errstate(all="ignore"):
        was_nan, is_nan = (
            np.isnan(side.astype(np.complex128 if kind.kind == "c" else np.float64)) for side in (old, new)
        )
        was_inf, is_inf = (
            np.isinf(side.astype(np.complex128 if kind.kind == "c" else np.float64)) for side in (old, new)
        )
    assert found.nan_in == int(np.count_nonzero(is_nan & ~was_nan))
    if kind.kind != "c":  # NumPy calls nan+infj infinite as well
        assert found.inf_in == int(np.count_nonzero(is_inf & ~was_inf))
    if kind.kind != "c" and kind.itemsize < 8:  # elsewhere plain NumPy overflows
        assert all(map(close, (found.old_norm, found.new_norm, found.delta_norm, found.largest), plain(old, new)))


@pytest.mark.parametrize("dtype", ["float64", "complex64", "complex128", "float32", "bfloat16", "float16"])
@settings(deadline=None, max_examples=8)
@given(seed=SEEDS, count=st.sampled_from([1, 7, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5]))
def test_ordinary_values_agree_with_numpy_across_blocks(dtype: str, seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    kind = numpy_dtype(dtype)
    parts = 2 if kind.kind == "c" else 1
    values = random.standard_normal((2, count * parts)) * [[1.0], [1e-3]]
    if parts == 2:
        old, new = (row.view(np.complex128).astype(kind) for row in (values[0], values[0] + values[1]))
    else:
        old, new = (row.astype(kind) for row in (values[0], values[0] + values[1]))
    found = run(old.tobytes(), new.tobytes(), dtype, count, 1 << 16)
    assert all(map(close, (found.old_norm, found.new_norm, found.delta_norm, found.largest), plain(old, new)))
    wide = np.complex128 if parts == 2 else np.float64
    cosine = np.vdot(old.astype(wide), new.astype(wide)).real / (found.old_norm * found.new_norm)
    assert found.cosine is not None
    assert math.isclose(found.cosine, cosine, rel_tol=1e-6)


@pytest.mark.parametrize("scale", [1e200, 1e-200, 1e-310, 1.0])
def test_squares_that_leave_the_range_of_float64_do_not_spoil_the_norms(scale: float) -> None:
    random = np.random.default_rng(3)
    old = random.standard_normal(100_000)
    new = old + 1e-3 * random.standard_normal(100_000)
    found = run((old * scale).tobytes(), (new * scale).tobytes(), "float64", old.size)
    reference = run(old.tobytes(), new.tobytes(), "float64", old.size)
    assert found.relative is not None
    assert reference.relative is not None
    tolerance = 1e-6 if scale > 1e-300 else 1e-2  # subnormal numbers have few digits
    assert math.isclose(found.relative, reference.relative, rel_tol=tolerance)
    assert math.isclose(found.old_norm / scale, reference.old_norm, rel_tol=tolerance)


@given(seed=SEEDS)
@settings(deadline=None, max_examples=25)
def test_differences_of_64_bit_integers_are_exact(seed: int) -> None:
    random = np.random.default_rng(seed)
    old = random.integers(-(2**63), 2**63 - 1, 50, dtype=np.int64)
    new = old.copy()
    new[3] = old[3] + 1 if old[3] < 2**63 - 1 else old[3] - 1
    found = run(old.tobytes(), new.tobytes(), "int64", 50)
    assert (found.changed, found.largest, found.delta_norm) == (1, 1.0, 1.0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_step_to_the_next_number_is_one_ulp(dtype: str) -> None:
    kind = numpy_dtype(dtype)
    old = np.random.default_rng(1).standard_normal(1000).astype(kind)
    words = old.view(f"u{kind.itemsize}").copy()
    words[::2] += 1
    words[1::4] -= 1
    found = run(old.tobytes(), words.tobytes(), dtype, 1000)
    assert found.changed == found.one_ulp == 750
    words[0] += 1
    assert run(old.tobytes(), words.tobytes(), dtype, 1000).one_ulp == 749


def test_zero_and_minus_zero_are_a_change_that_is_no_ulp() -> None:
    found = run(np.zeros(4, "f4").tobytes(), np.array([0, -0.0, 0, 0], "f4").tobytes(), "float32", 4)
    assert (found.changed, found.one_ulp, found.largest, found.relative) == (1, 0, 0.0, None)


def test_a_nan_with_another_payload_is_a_change_but_no_new_nan() -> None:
    old = np.array([0x7FC00000, 0x3F800000], "u4")
    new = np.array([0x7FC00001, 0x3F800000], "u4")
    found = run(old.tobytes(), new.tobytes(), "float32", 2)
    assert (found.changed, found.nan_in, found.delta_norm) == (1, 0, 0.0)


def test_everything_zero_now_is_said_only_when_it_was_not() -> None:
    zeros, ones = np.zeros(9, "f4").tobytes(), np.ones(9, "f4").tobytes()
    assert run(ones, zeros, "float32", 9).became_zero
    assert not run(zeros, zeros, "float32", 9).became_zero
    assert not run(zeros, ones, "float32", 9).became_zero


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_every_dtype_of_the_model_can_be_measured(dtype: str) -> None:
    size = elements(dtype).size
    old, new = bytes(64 * size), b"\1" * size + bytes(63 * size)
    found = run(old, new, dtype, 64)
    assert (found.elements, found.changed) == (64, 1)


@pytest.mark.parametrize("rank", [1, 4, 16])
def test_a_sum_of_low_rank_shows_its_rank_after_rounding(rank: int) -> None:
    random = np.random.default_rng(rank)
    old = random.standard_normal((300, 200)).astype("f4")
    change = random.standard_normal((300, rank)) @ random.standard_normal((rank, 200)) * 0.01
    new = (old + change).astype("f4")
    assert run(old.tobytes(), new.tobytes(), "float32", old.size, columns=200).rank == rank


def test_an_ordinary_change_has_no_low_rank() -> None:
    random = np.random.default_rng(0)
    old = random.standard_normal((300, 200)).astype("f4")
    new = (old + random.standard_normal((300, 200)) * 0.01).astype("f4")
    assert run(old.tobytes(), new.tobytes(), "float32", old.size, columns=200).rank is None


def test_a_cast_counts_what_is_the_old_value_rounded() -> None:
    old = np.random.default_rng(2).standard_normal(5000).astype("f4")
    new = old.astype(ml_dtypes.bfloat16)
    new[7] = 3
    feeds = Feed(cut(old.tobytes(), 1000)), Feed(cut(new.tobytes(), 777))
    found = measure(*feeds, ("float32", "bfloat16"), 5000)
    assert found.converted == 4999


def test_the_histogram_counts_every_finite_change_once() -> None:
    random = np.random.default_rng(5)
    old = random.standard_normal(70_000).astype("f4")
    new = old.copy()
    new[:1000] += np.float32(0.25)
    found = run(old.tobytes(), new.tobytes(), "float32", old.size, histogram=True)
    assert sum(found.histogram) == int(np.count_nonzero(old != new))


@pytest.mark.parametrize("exponent", [100, 165, 200, 307])
def test_a_number_that_exploded_spoils_no_other_norm(exponent: int) -> None:
    before = np.arange(1.0, 9.0)
    after = before.copy()
    after[3] = 10.0**exponent
    norm = math.sqrt(204.0)
    found = run(before.tobytes(), after.tobytes(), "float64", 8)
    assert found.old_norm == pytest.approx(norm)
    assert found.new_norm == pytest.approx(10.0**exponent)
    assert found.relative == pytest.approx(10.0**exponent / norm)
    assert found.cosine == pytest.approx(4.0 / norm)
    back = run(after.tobytes(), before.tobytes(), "float64", 8)
    assert back.new_norm == pytest.approx(norm)
    assert back.relative == pytest.approx(1.0)
    assert back.cosine == pytest.approx(4.0 / norm)


def test_a_change_that_is_no_number_has_no_rank() -> None:
    before = np.random.default_rng(0).standard_normal((64, 64)).astype("f4")
    after = before.copy()
    after[3, 4], after[5, 6] = np.nan, 2.0
    assert run(before.tobytes(), after.tobytes(), "float32", 4096, columns=64).rank is None
