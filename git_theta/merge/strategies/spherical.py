"""Ways along a sphere: lengths and angles between versions enter, the versions' shares in the result leave.

Each of these results is a sum Σ c θ, and its coefficients c follow from the products ⟨θ_i, θ_j⟩ alone, which are a few
numbers for each group or row. So one pass adds up the products and a second one mixes. What always holds: vectors
that point nowhere (zero), and ones that cancel (antiparallel), have no way between them along a sphere: they are
mixed linearly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from git_theta.merge.strategies.rows import in_rows, recut, row_of_unit
from git_theta.merge.strategies.simple import WEIGHT, agreement
from git_theta.merge.strategies.walk import add, changes, fold, side_by_side, total, weighted_sum, weights
from git_theta.merge.strategy import Parameter, Strategy
from git_theta.merge.task import BLOCK, Block, Task

Weights = tuple[float, ...] | None
Placed = tuple[Block | None, tuple[Block, ...]]
"""What is to be added in the end, if anything, and the vectors to mix."""
Products = list[list[float]]
"""⟨θ_i, θ_j⟩ at [i][j]."""

STRAIGHT = 1e-6
"""Below this sine an arc is taken for its chord: they differ by a square of it, less than float64 can hold."""


def slerp(task: Task, t: float) -> Iterator[Block]:
    """sin((1-t)ω)/sin ω · θ_ours + sin(tω)/sin ω · θ_theirs, where ω is the angle between the two.

    Shoemake, Animating rotation with quaternion curves, 1985. Weights for the merge say t.
    """
    if task.weights:
        t = task.weights[1] / total(task, task.weights)
    return _along_arc(task, t, from_base=False, rows=False)


def nuslerp(task: Task, weight: Weights, base: bool, rows: bool) -> Iterator[Block]:
    """θ_base + the arc from δ_ours to δ_theirs at t = w_theirs / Σ w; from θ to θ if not ``base`` or if there is none.

    With ``rows`` each row has its own angle: a row is what leads to one output. A method of mergekit (2024).
    """
    given = weights(task, weight)
    return _along_arc(task, given[1] / total(task, given), base, rows)


def multislerp(task: Task, weight: Weights, base: bool, normalize: bool) -> Iterator[Block]:
    """The weighted mean of the directions, as long as the vectors are in the weighted mean: Σ w |θ| · m / |m|.

    m = Σ w θ / |θ|; with ``base`` all this about δ, added to θ_base. Goddard, Multi-SLERP, 2025, moves from m along
    the sum of the directions' projections onto the tangent space there: that sum is 0, so the place is m itself.
    """
    given = weights(task, weight)
    divisor = total(task, given) if normalize else 1.0
    shares = [w / divisor for w in given]
    products = _products(_vectors(task, base), len(shares))
    return _mix(_vectors(task, base), _through_sphere(shares, products, steps=0, tolerance=0.0))


def karcher(task: Task, weight: Weights, max_iter: int, tol: float) -> Iterator[Block]:
    """The direction from which the squared angles to all versions are least in sum, as long as they are in the mean.

    From the mean of the directions on, at most ``max_iter`` steps along Σ w log(θ / |θ|), the mean in the tangent
    space, until it is shorter than ``tol``. Karcher, Riemannian center of mass, 1977.
    """
    given = weights(task, weight)
    divisor = total(task, given)
    shares = [w / divisor for w in given]
    products = _products(_vectors(task, from_base=False), len(shares))
    return _mix(_vectors(task, from_base=False), _through_sphere(shares, products, max_iter, tol))


def _vectors(task: Task, from_base: bool) -> Iterator[Placed]:
    """The versions' changes beside the base, if asked for and there is one; else the versions themselves."""
    if from_base and task.base is not None:
        yield from changes(task)
    else:
        for models in side_by_side(task.models):
            yield None, models


def _products(vectors: Iterable[Placed], count: int) -> Products:
    """The products of all pairs, summed block after block."""
    sums = [[0.0] * count for _ in range(count)]
    for _, blocks in vectors:
        for i in range(count):
            for j in range(i, count):
                sums[i][j] += float(fold(blocks[i] * blocks[j]))
    return [[sums[min(i, j)][max(i, j)] for j in range(count)] for i in range(count)]


def _mix(vectors: Iterable[Placed], coefficients: Sequence[float]) -> Iterator[Block]:
    """Σ c θ, or θ_base + Σ c δ."""
    for base, blocks in vectors:
        mixed = weighted_sum(blocks, coefficients)
        np.copyto(mixed, blocks[0] * sum(coefficients), where=agreement(blocks))  # rounded once; infinities stay
        yield mixed if base is None else add(base, mixed)


def _along_arc(task: Task, t: float, from_base: bool, rows: bool) -> Iterator[Block]:
    if rows:
        return recut(_rows_along_arcs(task, t, from_base), BLOCK)
    products = _products(_vectors(task, from_base), 2)
    return _mix(_vectors(task, from_base), arc(t, products[0][0], products[0][1], products[1][1]))


def _rows_along_arcs(task: Task, t: float, from_base: bool) -> Iterator[Block]:
    length = row_of_unit(task)
    for base, blocks in _vectors(in_rows(task, length), from_base):
        ours, theirs = (block.reshape(-1, length) for block in blocks)
        products = (fold(ours * ours), fold(ours * theirs), fold(theirs * theirs))
        shares = np.array([arc(t, *row) for row in zip(*(column.tolist() for column in products), strict=True)])
        mixed = ours * shares[:, :1] + theirs * shares[:, 1:]
        np.copyto(mixed, ours * shares.sum(axis=1, keepdims=True), where=ours == theirs)
        yield mixed.ravel() if base is None else add(base, mixed.ravel())


def arc(t: float, ours: float, both: float, theirs: float) -> tuple[float, float]:
    """The shares of two vectors at ``t`` between them, from the products of each with itself and with the other."""
    lengths = math.sqrt(ours) * math.sqrt(theirs)
    if 0.0 < lengths < math.inf:
        angle = math.acos(min(max(both / lengths, -1.0), 1.0))
        sine = math.sin(angle)
        if sine > STRAIGHT:
            return math.sin((1.0 - t) * angle) / sine, math.sin(t * angle) / sine
    return 1.0 - t, t


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
)
