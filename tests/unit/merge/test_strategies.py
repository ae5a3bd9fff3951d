"""Every strategy is what its paper says, computed here once more with whole arrays; and it keeps its promises."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import combinations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from git_theta.errors import ThetaError
from git_theta.merge.registry import BUILT_IN, find, parse
from git_theta.merge.strategies import rows
from git_theta.merge.task import BLOCK, Task
from tests.unit.merge.operands import Array, Numbers, merge, task


@dataclass(frozen=True)
class Versions:
    """What is merged, as arrays."""

    base: Array
    models: list[Array]
    fisher: list[Array]

    def task(self, block: int = BLOCK) -> Task:
        return task(self.base, self.models, block=block, fisher=self.fisher, seed=5)

    @property
    def deltas(self) -> list[Array]:
        return [model - self.base for model in self.models]


def versions(shape: tuple[int, ...], count: int = 2, seed: int = 0) -> Versions:
    """Fine-tunes of a base: float32 numbers, and one in ten of them the same in every version."""
    rng = np.random.default_rng(seed)
    base = rng.normal(0, 0.05, shape).astype("f4")
    moved = rng.random(shape) < 0.9
    models = [(base + moved * rng.normal(0, 0.01, shape)).astype("f4").astype("f8") for _ in range(count)]
    return Versions(base.astype("f8"), models, [rng.random(shape) for _ in range(count)])


# The definitions.


def share_of(weight: Sequence[float], arrays: Sequence[Array] | Array) -> Array:
    return np.asarray(np.tensordot(np.array(weight), np.array(arrays), 1))


def elected(deltas: Sequence[Array], votes: Sequence[float], weight: Sequence[float]) -> Array:
    """The weighted mean of those that have the sign of the sum of the votes; 0 where that sum is 0."""
    stack = np.stack(deltas)
    sign = np.sign(share_of(votes, stack))
    shares = np.where((np.sign(stack) == sign) & (sign != 0), np.reshape(weight, (-1, *[1] * sign.ndim)), 0.0)
    return np.asarray(np.sum(shares * stack, axis=0)) / np.where(shares.any(axis=0), shares.sum(axis=0), 1.0)


def band(delta: Array, first: int, last: int) -> Array:
    """The magnitudes ranked from ``first`` up to ``last``, the largest being 0; of equal ones the first in front."""
    order = np.argsort(-np.abs(delta).ravel(), kind="stable")
    kept = np.zeros(delta.size)
    kept[order[first:last]] = delta.ravel()[order[first:last]]
    return kept.reshape(delta.shape)


def uniform(given: Versions, at: int, seed: int) -> Array:
    """The documented random numbers: NumPy's own doubles from a Philox generator with the documented key."""
    digests = [Numbers(array).digest for array in (given.base, given.models[at])]
    key = sha256(json.dumps([5, seed, "layer.weight", *digests]).encode()).digest()[:16]
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))
    return generator.random(given.base.size).reshape(given.base.shape)


def dropped(given: Versions, density: float, seed: int = 0) -> list[Array]:
    return [np.where(uniform(given, at, seed) < density, delta / density, 0.0) for at, delta in enumerate(given.deltas)]


def magpruned(given: Versions, density: float, epsilon: float) -> list[Array]:
    pruned = []
    for at, delta in enumerate(given.deltas):
        lines = delta.reshape(delta.shape[0], -1) if delta.ndim > 1 else delta.reshape(1, -1)
        odds = np.empty_like(lines)
        for line, odd in zip(lines, odds, strict=True):
            for rank, place in enumerate(sorted(range(len(line)), key=np.abs(line).tolist().__getitem__)):
                odd[place] = density - epsilon + 2 * epsilon * rank / (len(line) - 1) if len(line) > 1 else density
        probability = odds.reshape(delta.shape)
        pruned.append(np.where(uniform(given, at, 0) < probability, delta / probability, 0.0))
    return pruned


def unit(vector: Array) -> Array:
    length = np.linalg.norm(vector)
    return np.asarray(vector / length) if length else vector


def arc(t: float, first: Array, second: Array) -> Array:
    angle = np.arccos(np.clip(np.sum(unit(first) * unit(second)), -1, 1))
    if np.sin(angle) < 1e-7 or not (first.any() and second.any()):
        return (1 - t) * first + t * second
    return np.asarray((np.sin((1 - t) * angle) * first + np.sin(t * angle) * second) / np.sin(angle))


def by_rows(function: Callable[..., Array], *arrays: Array) -> Array:
    """``function`` of what belongs to each place of the first axis."""
    if arrays[0].ndim < 2:
        return function(*arrays)
    return np.array([function(*parts) for parts in zip(*arrays, strict=True)])


def multislerp(vectors: Sequence[Array], weight: Sequence[float]) -> Array:
    """As published: by way of the tangent space at the weighted mean."""
    units = [unit(vector) for vector in vectors]
    mean = unit(share_of(weight, units))
    tangents = [u - np.sum(u * mean) * mean for u in units]
    result = share_of(weight, tangents)
    length = np.linalg.norm(result) + 1e-30
    place = mean * np.cos(length) + result * np.sin(length) / length
    return np.asarray(place) * sum(w * np.linalg.norm(v) for w, v in zip(weight, vectors, strict=True))


def karcher(vectors: Sequence[Array], weight: Sequence[float], steps: int, tolerance: float) -> Array:
    units = [unit(vector) for vector in vectors]
    mean = unit(share_of(weight, units))
    for _ in range(steps):
        tangent = np.zeros(mean.shape)
        for w, u in zip(weight, units, strict=True):
            angle = np.arccos(np.clip(np.sum(mean * u), -1, 1))
            if angle:
                tangent += w * angle / np.sin(angle) * (u - np.cos(angle) * mean)
        length = np.linalg.norm(tangent)
        if length <= tolerance:
            break
        mean = unit(np.cos(length) * mean + np.sin(length) * tangent / length)
    return mean * sum(w * np.linalg.norm(v) for w, v in zip(weight, vectors, strict=True))


def stock(base: Array, *models: Array) -> Array:
    cosines = [np.sum(unit(a - base) * unit(b - base)) for a, b in combinations(models, 2)]
    cosine = max(float(np.mean(cosines)), 0.0)
    t = len(models) * cosine / (1 + (len(models) - 1) * cosine)
    return np.asarray(t * np.mean(models, axis=0) + (1 - t) * base)


def sce(given: Versions, density: float) -> Array:
    variance = np.var(given.deltas, axis=0)
    kept = band(variance, 0, math.ceil(density * variance.size)) > 0
    deltas = [np.where(kept, delta, 0.0) for delta in given.deltas]
    squares = [float(np.sum(delta**2)) for delta in deltas]
    return given.base + elected(deltas, [1.0] * len(deltas), [square / sum(squares) for square in squares])


def fusion(ours: Array, theirs: Array) -> Array:
    def softmax(array: Array) -> Array:
        powers = np.exp(array - array.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))

    p, q = softmax(np.atleast_1d(theirs)), softmax(np.atleast_1d(ours))
    divergence = np.sum(p * np.log(p / q), axis=-1, keepdims=True)
    importance = np.abs(theirs - ours) * np.maximum(divergence, 0)
    low, middle, high = (np.sort(importance, axis=None)[int(q * (importance.size - 1))] for q in (0.25, 0.5, 0.75))
    return np.where(importance >= middle + 1.5 * (high - low), theirs, ours).reshape(ours.shape)


def kept(given: Versions, density: float) -> int:
    return math.ceil(density * given.base.size - 1e-9)


PAIRS: dict[str, Callable[[Versions], Array]] = {
    "ours": lambda v: v.models[0],
    "theirs": lambda v: v.models[1],
    "base": lambda v: v.base,
    "average": lambda v: (v.models[0] + v.models[1]) / 2,
    "average:weight=0.3": lambda v: 0.7 * v.models[0] + 0.3 * v.models[1],
    "average:weight=1/3": lambda v: 0.25 * v.models[0] + 0.75 * v.models[1],
    "linear:weight=1/3": lambda v: 0.25 * v.models[0] + 0.75 * v.models[1],
    "linear:weight=1/3,normalize=false": lambda v: v.models[0] + 3 * v.models[1],
    "slerp": lambda v: arc(0.5, *v.models),
    "slerp:t=0.2": lambda v: arc(0.2, *v.models),
    "nuslerp": lambda v: v.base + arc(0.5, *v.deltas),
    "nuslerp:weight=1/3,base=false": lambda v: arc(0.75, *v.models),
    "nuslerp:weight=0.2,rows=true": lambda v: v.base + by_rows(lambda a, b: arc(0.2, a, b), *v.deltas),
    "nuslerp:rows=true,base=false": lambda v: by_rows(lambda a, b: arc(0.5, a, b), *v.models),
    "nearswap": lambda v: v.models[0] + np.clip(v.models[1] - v.models[0], -1e-4, 1e-4),
    "nearswap:t=0.01": lambda v: v.models[0] + np.clip(v.models[1] - v.models[0], -0.01, 0.01),
    "arcee-fusion": lambda v: fusion(*v.models),
}
"""For two versions."""

ANY: dict[str, Callable[[Versions], Array]] = {
    "average": lambda v: np.sum(v.models, axis=0) / len(v.models),
    "linear:normalize=false": lambda v: np.sum(v.models, axis=0),
    "task-arithmetic": lambda v: v.base + np.sum(v.deltas, axis=0),
    "task-arithmetic:lambda=0.4": lambda v: v.base + 0.4 * np.sum(v.deltas, axis=0),
    "task-arithmetic:normalize=true": lambda v: v.base + np.mean(v.deltas, axis=0),
    "ties": lambda v: v.base + elected([band(d, 0, kept(v, 0.2)) for d in v.deltas], *[[1.0] * len(v.deltas)] * 2),
    "ties:density=1,lambda=0.7": lambda v: v.base + 0.7 * elected(v.deltas, *[[1.0] * len(v.deltas)] * 2),
    "dare": lambda v: v.base + np.sum(dropped(v, 0.5), axis=0),
    "dare:density=0.1,seed=3,lambda=0.5": lambda v: v.base + 0.5 * np.sum(dropped(v, 0.1, seed=3), axis=0),
    "dare:density=0.3,ties=true": lambda v: v.base + elected(dropped(v, 0.3), *[[1.0] * len(v.deltas)] * 2),
    "dare:density=1": lambda v: v.base + np.sum(v.deltas, axis=0),
    "della": lambda v: v.base + elected(magpruned(v, 0.5, 0.15), *[[1.0] * len(v.deltas)] * 2),
    "della:density=0.9,ties=false": lambda v: v.base + np.sum(magpruned(v, 0.9, 0.1), axis=0),
    "della:density=1,ties=false": lambda v: v.base + np.sum(v.deltas, axis=0),
    "breadcrumbs": lambda v: v.base + sum(band(d, d.size // 100, d.size // 100 + kept(v, 0.15)) for d in v.deltas),
    "breadcrumbs:density=1": lambda v: v.base + np.sum(v.deltas, axis=0),
    "breadcrumbs:density=0.6,gamma=0.2,ties=true": lambda v: (
        v.base
        + elected(
            [band(d, d.size // 5, d.size // 5 + kept(v, 0.6)) if d.size > 1 else d for d in v.deltas],
            *[[1.0] * len(v.deltas)] * 2,
        )
    ),
    "multislerp": lambda v: v.base + multislerp(v.deltas, [1 / len(v.deltas)] * len(v.deltas)),
    "multislerp:base=false": lambda v: multislerp(v.models, [1 / len(v.models)] * len(v.models)),
    "karcher": lambda v: karcher(v.models, [1 / len(v.models)] * len(v.models), 10, 1e-5),
    "karcher:max_iter=1,tol=0": lambda v: karcher(v.models, [1 / len(v.models)] * len(v.models), 1, 0),
    "model-stock": lambda v: stock(v.base, *v.models),
    "model-stock:rows=true": lambda v: by_rows(stock, v.base, *v.models),
    "sce": lambda v: sce(v, 1.0),
    "sce:density=0.25": lambda v: sce(v, 0.25),
    "fisher": lambda v: (
        np.sum([f * m for f, m in zip(v.fisher, v.models, strict=True)], axis=0) / np.sum(v.fisher, axis=0)
    ),
    "fisher:epsilon=0.5": lambda v: (
        np.sum([np.maximum(f, 0.5) * m for f, m in zip(v.fisher, v.models, strict=True)], axis=0)
        / np.sum(np.maximum(v.fisher, 0.5), axis=0)
    ),
}
"""For any number of versions."""

WEIGHTED: dict[str, Callable[[Versions], Array]] = {
    "average:weight=1/2/5": lambda v: share_of([0.125, 0.25, 0.625], v.models),
    "average:weight=0.2": lambda v: share_of([0.8, 0.1, 0.1], v.models),
    "linear:weight=1/2/5,normalize=false": lambda v: share_of([1, 2, 5], v.models),
    "task-arithmetic:weight=1/2/5": lambda v: v.base + share_of([1, 2, 5], v.deltas),
    "task-arithmetic:weight=1/2/5,normalize=true": lambda v: v.base + share_of([0.125, 0.25, 0.625], v.deltas),
    "ties:weight=1/2/5,density=1": lambda v: v.base + elected(v.deltas, [1, 2, 5], [1, 2, 5]),
    "dare:weight=1/2/5": lambda v: v.base + share_of([1, 2, 5], dropped(v, 0.5)),
    "della:weight=1/2/5": lambda v: v.base + elected(magpruned(v, 0.5, 0.15), [1, 2, 5], [1, 2, 5]),
    "multislerp:weight=1/2/5": lambda v: v.base + multislerp(v.deltas, [0.125, 0.25, 0.625]),
    "karcher:weight=1/2/5": lambda v: karcher(v.models, [0.125, 0.25, 0.625], 10, 1e-5),
    "fisher:weight=1/2/5": lambda v: (
        share_of([1, 2, 5], [f * m for f, m in zip(v.fisher, v.models, strict=True)]) / share_of([1, 2, 5], v.fisher)
    ),
}
"""For three versions with weights."""

SHAPES: list[tuple[int, ...]] = [(), (1,), (2,), (7, 1), (1, 9), (31,), (12, 33), (6, 2, 3, 3)]


@pytest.mark.parametrize("text", PAIRS)
def test_a_strategy_for_two_versions_equals_its_definition(text: str) -> None:
    for shape in SHAPES:
        given = versions(shape)
        assert_allclose(merge(text, given.task()), PAIRS[text](given), rtol=1e-9, atol=1e-12, err_msg=str(shape))


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("text", ANY)
def test_a_strategy_for_any_number_of_versions_equals_its_definition(text: str, count: int) -> None:
    for shape in SHAPES:
        given = versions(shape, count)
        assert_allclose(merge(text, given.task()), ANY[text](given), rtol=1e-9, atol=1e-12, err_msg=str(shape))


@pytest.mark.parametrize("text", PAIRS | ANY)
def test_a_group_of_several_blocks_equals_the_definition(text: str) -> None:
    given = versions((257, 511))
    assert given.base.size > 2 * BLOCK
    assert_allclose(merge(text, given.task()), (PAIRS | ANY)[text](given), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("text", WEIGHTED)
def test_weights_go_into_a_strategy_as_its_definition_says(text: str) -> None:
    given = versions((12, 33), 3)
    assert_allclose(merge(text, given.task()), WEIGHTED[text](given), rtol=1e-9, atol=1e-12)
    if "weight=1/2/5" in text:
        plain = text.replace("weight=1/2/5,", "").replace(":weight=1/2/5", "")
        assert_array_equal(merge(plain, replace(given.task(), weights=(1.0, 2.0, 5.0))), merge(text, given.task()))


def test_every_built_in_strategy_is_compared_with_its_definition() -> None:
    assert {parse(text).strategy.name for text in [*PAIRS, *ANY]} == set(BUILT_IN)


# What holds for all of them.

EXACT_IN_BLOCKS = set(BUILT_IN) - {"slerp", "nuslerp", "multislerp", "karcher", "sce", "model-stock"}
"""Those that sum up nothing over blocks; the sums of others depend on what is summed first."""


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_rerun_gives_the_same_bits(name: str) -> None:
    given = versions((12, 33))
    assert merge(name, given.task()).tobytes() == merge(name, given.task()).tobytes()


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_size_of_blocks_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = versions((12, 33))
    expected = merge(name, given.task())
    for block in (7, 33, 64, 395, 396, 397):
        monkeypatch.setattr(rows, "BLOCK", block)
        found = merge(name, given.task(block))
        if name in EXACT_IN_BLOCKS:
            assert found.tobytes() == expected.tobytes()
        assert_allclose(found, expected, rtol=1e-13, atol=1e-16, err_msg=str(block))


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_group_without_numbers_stays_without(name: str) -> None:
    nothing = np.zeros((0, 4))
    given = task(nothing, [nothing, nothing], fisher=[nothing, nothing])
    assert merge(name, given).shape == (0, 4)


@pytest.mark.parametrize("shape", [(1,), (3, 4)], ids=str)
@pytest.mark.parametrize("name", BUILT_IN)
def test_versions_of_zeros_give_zeros(name: str, shape: tuple[int, ...]) -> None:
    zeros = np.zeros(shape)
    assert_array_equal(merge(name, task(zeros, [zeros, zeros], fisher=[zeros, zeros])), zeros)


MEANS = [
    "average",
    "average:weight=0.3",
    "linear",
    "linear:weight=1/6",
    "fisher",
    "nearswap",
    "arcee-fusion",
    "slerp:t=0.3",
]


@pytest.mark.parametrize("text", MEANS)
def test_what_is_alike_in_all_versions_stays_to_the_bit(text: str) -> None:
    """Negative zero, infinities (masks of attention) and numbers that 0.3 a + 0.7 a would miss."""
    values = np.array([0.1, -0.0, 0.0, np.inf, -np.inf, 1e308, 5e-324, 3.3333333333333333, 1 / 3])
    given = task(None, [values, values], fisher=[np.full(9, 0.1), np.full(9, 0.3)])
    found = merge(text, given)
    assert found.tobytes() == values.tobytes()


@pytest.mark.parametrize("name", [name for name in BUILT_IN if find(name).needs_base])
def test_what_nobody_changed_stays_to_the_bit(name: str) -> None:
    base = np.array([0.1, -0.0, 0.0, np.inf, -np.inf, 1e308, 5e-324, 3.3333333333333333, 2.0])
    changed = [base.copy(), base.copy()]
    changed[0][8], changed[1][8] = 2.5, 2.25
    found = merge(name, task(base, changed))
    assert found[:8].tobytes() == base[:8].tobytes()


@pytest.mark.parametrize("name", BUILT_IN)
def test_numbers_that_are_none_neither_stop_nor_crash_a_strategy(name: str) -> None:
    given = versions((12, 33))
    for poison in (np.nan, np.inf, -np.inf, 1e308, 1e-310):
        models = [model.copy() for model in given.models]
        models[0][3, 4] = poison
        models[1][0, :] = poison
        assert merge(name, task(given.base, models, fisher=given.fisher)).shape == (12, 33)


@pytest.mark.parametrize("text", ["average", "task-arithmetic", "dare:density=1", "fisher", "linear", "slerp"])
def test_a_nan_stays_where_it_is(text: str) -> None:
    given = versions((12, 33))
    models = [model.copy() for model in given.models]
    models[1][3, 4] = np.nan
    found = merge(text, task(given.base, models, fisher=given.fisher))
    assert np.isnan(found[3, 4])
    assert np.isfinite(np.delete(found, 3 * 33 + 4)).all()


@pytest.mark.parametrize("text", ["slerp", "slerp:t=0.25", "nuslerp:base=false", "multislerp:base=false", "karcher"])
def test_vectors_in_opposite_directions_are_mixed_linearly(text: str) -> None:
    vector = np.array([3.0, -4.0, 12.0])
    t = 0.25 if "0.25" in text else 0.5
    found = merge(text, task(None, [vector, -vector]))
    assert_allclose(found, (1 - 2 * t) * vector, atol=1e-12)


@pytest.mark.parametrize("text", ["slerp", "nuslerp:base=false", "multislerp:base=false", "karcher"])
def test_parallel_vectors_keep_their_direction(text: str) -> None:
    vector = np.array([3.0, -4.0, 12.0])
    assert_allclose(merge(text, task(None, [vector, 3 * vector])), 2 * vector, rtol=1e-12)


def test_the_karcher_mean_of_several_directions_has_equal_pulls() -> None:
    models = list(np.random.default_rng(1).normal(size=(4, 30)))
    mean = unit(merge("karcher:max_iter=200,tol=1e-12", task(None, models)))
    angles = [np.arccos(unit(model) @ mean) for model in models]
    pulls = [a / np.sin(a) * (unit(m) - np.cos(a) * mean) for a, m in zip(angles, models, strict=True)]
    assert_allclose(np.sum(pulls, axis=0), 0, atol=1e-10)


def test_of_a_tiny_tensor_something_always_stays() -> None:
    base, model = np.zeros(3), np.array([1.0, -2.0, 0.5])
    for text in ("ties:density=0.01", "breadcrumbs:density=0.01,gamma=0.5", "sce:density=0.01"):
        assert merge(text, task(base, [model, 2 * model])).any(), text


def test_of_equal_magnitudes_the_first_stay() -> None:
    base, model = np.zeros(6), np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    assert_array_equal(merge("ties:density=0.5", task(base, [model, model])), [1, -1, 1, 0, 0, 0])


def test_where_the_votes_cancel_nothing_is_added() -> None:
    found = merge("ties:density=1", task(np.ones(2), [np.array([2.0, 2.0]), np.array([0.0, 1.5])]))
    assert_array_equal(found, [1.0, 1.75])


def test_random_numbers_depend_on_seeds_names_and_contents_alone() -> None:
    given = versions((40, 30)).task()
    drawn = {merge("dare", given).tobytes()}
    for other in (replace(given, seed=6), replace(given, name="other")):
        drawn.add(merge("dare", other).tobytes())
    drawn.add(merge("dare:seed=1", given).tobytes())
    assert len(drawn) == 4


def test_dare_keeps_the_mean_change_and_about_so_many_numbers() -> None:
    base = np.zeros(40_000)
    found = merge("dare:density=0.25", task(base, [np.ones_like(base), np.zeros_like(base)]))
    assert set(np.unique(found)) == {0.0, 4.0}
    assert abs(np.mean(found) - 1.0) < 0.05


def test_changes_that_point_away_from_each_other_stay_at_the_base() -> None:
    base = np.ones(3)
    assert_array_equal(merge("model-stock", task(base, [base + 1, base - 1])), base)


@pytest.mark.parametrize("text", ["average:weight=1/-1", "linear:weight=2/-2", "karcher:weight=1/-1"])
def test_weights_that_cancel_are_refused_where_they_are_divided_by(text: str) -> None:
    with pytest.raises(ThetaError, match="sum to 0"):
        merge(text, versions((3,)).task())


def test_fisher_falls_back_on_the_mean_where_no_version_depends_on_a_number() -> None:
    given = task(None, [np.array([1.0, 1.0]), np.array([3.0, 3.0])], fisher=[np.array([0.0, 1.0]), np.zeros(2)])
    assert_array_equal(merge("fisher", given), [2.0, 1.0])


@pytest.mark.parametrize("name", [name for name in BUILT_IN if find(name).needs_base])
def test_a_strategy_that_needs_a_base_refuses_to_go_without(name: str) -> None:
    with pytest.raises(ThetaError, match="common ancestor"):
        merge(name, task(None, versions((3,)).models))


@pytest.mark.parametrize("text", ["nuslerp", "multislerp"])
def test_without_a_base_the_versions_themselves_are_mixed(text: str) -> None:
    models = versions((5, 3)).models
    assert_array_equal(merge(text, task(None, models)), merge(f"{text}:base=false", task(None, models)))


@pytest.mark.parametrize(
    ("text", "reads"), [("average", 1), ("nearswap", 1), ("slerp", 2), ("karcher", 2), ("ties", 3)]
)
def test_a_strategy_reads_no_more_often_than_it_must(text: str, reads: int) -> None:
    given = versions((12, 33)).task()
    merge(text, given)
    assert [operand.reads for operand in given.models if isinstance(operand, Numbers)] == [reads, reads]


@pytest.mark.parametrize("text", [name for name in BUILT_IN if not find(name).whole])
def test_a_strategy_holds_few_blocks_whatever_the_size_of_a_group(text: str) -> None:
    given = versions((60, 33)).task(block=33)
    for _ in parse(text).combine(given):
        pass
    for operand in (*given.models, *given.fisher, given.base):
        assert isinstance(operand, Numbers)
        assert operand.held <= 4, f"{operand.held} blocks of 60"
