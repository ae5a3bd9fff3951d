"""Mixtures that follow from lengths and angles: versions enter, and what each contributes to the result is found first.

Each result is a sum Σ c θ, or θ_base + Σ c δ, and its coefficients c follow from the products ⟨θ_i, θ_j⟩ alone: a few
numbers for each group or row. So one pass adds up the products and a second one mixes. What always holds: vectors that
point nowhere (zero), and ones that cancel (antiparallel), have no way between them along a sphere: they are mixed
linearly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import numpy as np

from git_theta.merge.strategies.rows import in_rows, recut, row_of_unit
from git_theta.merge.strategies.simple import WEIGHT
from git_theta.merge.strategies.walk import (
    Weights,
    add,
    agreement,
    base_of,
    changes,
    fold,
    side_by_side,
    total,
    weighted_sum,
    weights,
)
from git_theta.merge.strategy import Parameter, Strategy
from git_theta.merge.task import BLOCK, Block, Task

Products = list[list[float]]
"""⟨θ_i, θ_j⟩ at [i][j]."""
Shares = Callable[[Products], Sequence[float]]
"""What each version contributes, from their products."""

STRAIGHT = 1e-6
"""Below this sine an arc is taken for its chord: they differ by a square of it, less than float64 can hold."""


def slerp(task: Task, t: float) -> Iterator[Block]:
    """sin((1-t)ω)/sin ω · θ_ours + sin(tω)/sin ω · θ_theirs, where ω is the angle between the two.

    Shoemake, Animating rotation with quaternion curves, 1985. Weights for the merge say t.
    """
    if task.weights:
        t = task.weights[1] / total(task, task.weights)
    return _mixture(task, lambda products: _arc(t, products))


def nuslerp(task: Task, weight: Weights, base: bool, rows: bool) -> Iterator[Block]:
    """θ_base + the arc from δ_ours to δ_theirs at t = w_theirs / Σ w; from θ to θ if not ``base`` or if there is none.

    With ``rows`` each row has its own angle: a row is what leads to one output. A method of mergekit (2024).
    """
    given = weights(task, weight)
    t = given[1] / total(task, given)
    return _mixture(task, lambda products: _arc(t, products), base, rows)


def multislerp(task: Task, weight: Weights, base: bool, normalize: bool) -> Iterator[Block]:
    """The weighted mean of the directions, as long as the vectors are in the weighted mean: Σ w |θ| · m / |m|.

    m = Σ w θ / |θ|; with ``base`` all this about δ, added to θ_base. Goddard, Multi-SLERP, 2025, moves from m along
    the sum of the directions' projections onto the tangent space there: that sum is 0, so the place is m itself.
    """
    given = weights(task, weight)
    divisor = total(task, given) if normalize else 1.0
    shares = [w / divisor for w in given]
    return _mixture(task, lambda products: _through_sphere(shares, products, steps=0, tolerance=0.0), base)


def karcher(task: Task, weight: Weights, max_iter: int, tol: float) -> Iterator[Block]:
    """The direction from which the squared angles to all versions are least in sum, as long as they are in the mean.

    From the mean of the directions on, at most ``max_iter`` steps along Σ w log(θ / |θ|), the mean in the tangent
    space, until it is no longer than ``tol``. Karcher, Riemannian center of mass, 1977.
    """
    given = weights(task, weight)
    divisor = total(task, given)
    shares = [w / divisor for w in given]
    return _mixture(task, lambda products: _through_sphere(shares, products, max_iter, tol))


def model_stock(task: Task, rows: bool) -> Iterator[Block]:
    """t · mean θ + (1 - t) · θ_base, with t = N cos ω / (1 + (N - 1) cos ω) for N versions.

    cos ω is the mean of the cosines between two versions' δ, and at least 0: for changes that point away from each
    other the nearest point is the base. With ``rows`` each row has its own. Jang et al., Model Stock, 2024
    (arXiv 2403.19522), where the angle between any two versions is the same.
    """
    base_of(task)
    return _mixture(task, _stock, from_base=True, rows=rows)


def _mixture(task: Task, shares: Shares, from_base: bool = False, rows: bool = False) -> Iterator[Block]:
    """Σ c θ, or θ_base + Σ c δ if ``from_base`` and if there is one; with ``rows`` each row has its own c."""
    if rows:
        return recut(_mixed_rows(task, shares, from_base, row_of_unit(task)), BLOCK)
    return _mixed_whole(task, shares, from_base)


def _mixed_whole(task: Task, shares: Shares, from_base: bool) -> Iterator[Block]:
    count = len(task.models)
    sums = [[0.0] * count for _ in range(count)]
    for _, blocks in _vectors(task, from_base):
        for i in range(count):
            for j in range(i, count):
                sums[i][j] += float(fold(blocks[i] * blocks[j]))
                sums[j][i] = sums[i][j]
    given = shares(sums)
    for base, blocks in _vectors(task, from_base):
        yield _mix(base, blocks, given)


def _mixed_rows(task: Task, shares: Shares, from_base: bool, length: int) -> Iterator[Block]:
    for base, blocks in _vectors(in_rows(task, length), from_base):
        lines = [block.reshape(-1, length) for block in blocks]
        products = np.array([[fold(one * other) for other in lines] for one in lines])
        given = np.array([shares(products[:, :, row].tolist()) for row in range(products.shape[2])])
        yield _mix(base, blocks, [np.repeat(column, length) for column in given.T])


def _vectors(task: Task, from_base: bool) -> Iterator[tuple[Block | None, tuple[Block, ...]]]:
    """The versions' changes beside the base, if asked for and there is one; else the versions themselves."""
    if from_base and task.base is not None:
        yield from changes(task)
    else:
        for models in side_by_side(task.models):
            yield None, models


def _mix(base: Block | None, blocks: Sequence[Block], given: Sequence[float | Block]) -> Block:
    mixed = weighted_sum(blocks, given)
    alike = blocks[0] * sum(given[1:], given[0])  # rounded once: shares that are 1 in sum change nothing
    np.copyto(mixed, alike, where=agreement(blocks))
    return mixed if base is None else add(base, mixed)


def _arc(t: float, products: Products) -> tuple[float, float]:
    """The shares of two vectors at ``t`` between them."""
    cosine = _cosine(products, 0, 1)
    angle = math.acos(cosine) if cosine is not None else 0.0
    sine = math.sin(angle)
    if sine <= STRAIGHT:
        return 1.0 - t, t
    return math.sin((1.0 - t) * angle) / sine, math.sin(t * angle) / sine


def _stock(products: Products) -> list[float]:
    """t / N for each of N versions."""
    count = len(products)
    cosines = [_cosine(products, i, j) or 0.0 for i, j in combinations(range(count), 2)]
    cosine = max(0.0, sum(cosines) / len(cosines))
    return [cosine / (1.0 + (count - 1) * cosine)] * count


def _cosine(products: Products, i: int, j: int) -> float | None:
    """Of the angle between two vectors; None where one of them is zero or not finite."""
    lengths = math.sqrt(products[i][i]) * math.sqrt(products[j][j])
    if not 0.0 < lengths < math.inf:
        return None
    return min(max(products[i][j] / lengths, -1.0), 1.0)


def _through_sphere(shares: Sequence[float], products: Products, steps: int, tolerance: float) -> list[float]:
    """The coefficients of the mean direction after ``steps`` towards the Karcher mean, in the mean's length.

    A point of the sphere is a sum of the directions θ / |θ|, given by what each contributes.
    """
    lengths = [math.sqrt(row[i]) for i, row in enumerate(products)]
    weighty = [share if length else 0.0 for share, length in zip(shares, lengths, strict=True)]
    amount = sum(weighty)
    if not amount or not all(map(math.isfinite, lengths)):
        return list(shares)
    pull = [share / amount for share in weighty]
    cosines = [
        [each / length / other if length and other else 0.0 for each, other in zip(row, lengths, strict=True)]
        for row, length in zip(products, lengths, strict=True)
    ]
    if _length(pull, cosines) <= STRAIGHT:
        return list(shares)
    place = _on_sphere(pull, cosines)
    for _ in range(steps):
        way = _towards(place, pull, cosines)
        angle = _length(way, cosines)
        if angle <= tolerance:
            break
        along = math.sin(angle) / angle
        place = _on_sphere([math.cos(angle) * p + along * w for p, w in zip(place, way, strict=True)], cosines)
    size = sum(share * length for share, length in zip(shares, lengths, strict=True))
    return [size * part / length if length else 0.0 for part, length in zip(place, lengths, strict=True)]


def _length(point: Sequence[float], cosines: Products) -> float:
    squares = (a * b * cosines[i][j] for i, a in enumerate(point) for j, b in enumerate(point))
    return math.sqrt(max(sum(squares), 0.0))


def _on_sphere(point: Sequence[float], cosines: Products) -> list[float]:
    length = _length(point, cosines)
    return [part / length for part in point]


def _towards(place: Sequence[float], pull: Sequence[float], cosines: Products) -> list[float]:
    """Σ w log(direction), seen from ``place``: in its tangent space, each as long as the angle to that direction."""
    way = [0.0] * len(place)
    for i, weight in enumerate(pull):
        cosine = min(max(sum(p * c for p, c in zip(place, cosines[i], strict=True)), -1.0), 1.0)
        angle = math.acos(cosine)
        if math.sin(angle) > STRAIGHT:
            stretch = weight * angle / math.sin(angle)
        else:
            stretch = weight if cosine > 0.0 else 0.0  # to the opposite point every way is as long
        way = [w - stretch * cosine * p for w, p in zip(way, place, strict=True)]
        way[i] += stretch
    return way


BASE = Parameter("base", True, "go between the changes since the common ancestor, if there is one", "switch")

STRATEGIES = (
    Strategy(
        "slerp",
        slerp,
        "a point on the arc from ours to theirs",
        (Parameter("t", 0.5, "how far from ours, 0, to theirs, 1", within="[0, 1]"),),
        models=(2, 2),
    ),
    Strategy(
        "nuslerp",
        nuslerp,
        "a point on the arc between the changes",
        (WEIGHT, BASE, Parameter("rows", False, "an arc for each row", "switch")),
        models=(2, 2),
    ),
    Strategy(
        "multislerp",
        multislerp,
        "the mean direction, in the mean length",
        (WEIGHT, BASE, Parameter("normalize", True, "divide the weights by their sum", "switch")),
    ),
    Strategy(
        "karcher",
        karcher,
        "the direction nearest to all, in the mean length",
        (
            WEIGHT,
            Parameter("max_iter", 10, "steps at most", "count", "[0, 1000]"),
            Parameter("tol", 1e-5, "the length of a step that is the last, as an angle", within="[0, inf)"),
        ),
    ),
    Strategy(
        "model-stock",
        model_stock,
        "the point between base and mean that is nearest to where fine-tunes lie",
        (Parameter("rows", False, "an angle for each row", "switch"),),
        needs_base=True,
        weighs=False,
    ),
)
