"""The k largest magnitudes are those a full sort finds, however the numbers come in blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from git_theta.merge.strategies import select
from git_theta.merge.strategies.select import at_least, at_most, largest
from tests.unit.merge.operands import Array, Numbers

few = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1.5, 2.0, -2.0, np.inf, -np.inf, np.nan, 5e-324])
numbers = arrays.arrays(np.float64, st.integers(0, 60), elements=st.floats() | few)


def taken(values: Array, k: int, block: int) -> Array:
    """Which are among the k largest, as :func:`largest` says."""
    operand = Numbers(values, block)
    (cut,) = largest(operand.blocks, [k])
    masks = cut.masks()
    return np.concatenate([np.empty(0, bool), *(masks.of(part) for part in operand.blocks())])


def by_sorting(values: Array, k: int) -> Array:
    """The same by a stable sort of everything; NaN first."""
    magnitudes = np.where(np.isnan(values), np.inf, np.abs(values))
    order = sorted(range(len(values)), key=lambda at: (not np.isnan(values[at]), -magnitudes[at]))
    mask = np.zeros(len(values), bool)
    mask[order[:k]] = True
    return mask


@pytest.mark.parametrize("candidates", [0, 3, 1 << 20], ids="held at most {}".format)
@settings(max_examples=60, deadline=None)
@given(values=numbers, part=st.floats(0, 1), block=st.integers(1, 70))
def test_exactly_the_k_largest_are_taken_and_of_equal_ones_the_first(
    candidates: int, values: Array, part: float, block: int
) -> None:
    k = round(part * len(values))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(select, "CANDIDATES", candidates)
        np.testing.assert_array_equal(taken(values, k, block), by_sorting(values, k))


def test_among_many_numbers_the_edge_is_the_kth_largest() -> None:
    values = np.random.default_rng(0).normal(size=200_000)
    counts = [1, 17, 100_000, 199_999, 200_000]
    cuts = largest(Numbers(values).blocks, counts)
    assert [cut.magnitude for cut in cuts] == [np.partition(np.abs(values), -k)[-k] for k in counts]


def test_few_candidates_take_two_passes_and_many_equal_numbers_four() -> None:
    spread, alike = Numbers(np.random.default_rng(0).normal(size=5000)), Numbers(np.full(5000, 0.1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(select, "CANDIDATES", 1000)
        largest(spread.blocks, [100])
        largest(alike.blocks, [100])
    assert (spread.reads, alike.reads) == (2, 4)


def test_a_part_of_a_count_is_taken_as_the_decimal_number_it_was_written_as() -> None:
    assert [at_least(part, 100) for part in (0.55, 0.57, 0.001, 1.0)] == [55, 57, 1, 100]
    assert [at_most(part, 100) for part in (0.29, 0.57, 0.001, 1.0)] == [29, 57, 0, 100]
    assert (at_least(0.1, 0), at_least(1e-9, 3)) == (0, 1)
