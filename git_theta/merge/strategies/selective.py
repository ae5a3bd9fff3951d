"""Methods that decide number by number, or row by row, whether a change is taken.

What always holds: one pass or more over blocks finds what the group as a whole says, then one pass writes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from git_theta.merge.strategies.exponential import exponential
from git_theta.merge.strategies.rows import in_rows, recut, row_of_last_axis
from git_theta.merge.strategies.select import at_least, largest
from git_theta.merge.strategies.walk import add, agreeing, agreement, changes, fold, less, side_by_side, weighted_sum
from git_theta.merge.strategy import Parameter, Strategy
from git_theta.merge.task import BLOCK, Block, Task


def nearswap(task: Task, t: float) -> Iterator[Block]:
    """θ_ours moved towards θ_theirs by ``t`` at most: θ_ours + (θ_theirs - θ_ours) · min(1, t / |θ_theirs - θ_ours|).

    A method by alchemonaut (2024), as in mergekit.
    """
    for ours, theirs in side_by_side(task.models):
        near = agreement((ours, theirs))
        away = theirs - ours
        near |= np.abs(away) <= t
        moved: Block = ours + t * np.sign(away)
        np.copyto(moved, theirs, where=near)
        yield moved


def sce(task: Task, density: float) -> Iterator[Block]:
    """θ_base + Σ w δ / Σ w over the versions that agree with the sign of Σ δ.

    Select: the ⌈density · n⌉ numbers whose δ has the largest variance between the versions stay. Calculate: w is a
    version's Σ δ² over these, in proportion to all versions'. Erase: a δ with the other sign than the sum's goes.
    Wan et al., FuseChat, 2024 (arXiv 2408.07990).
    """
    count = len(task.models)
    (cut,) = largest(lambda: map(_variance, _changes(task)), [at_least(density, task.count)])
    squares = [0.0] * count
    masks = cut.masks()
    for deltas in _changes(task):
        selected = masks.of(_variance(deltas))
        squares = [
            square + float(fold(np.where(selected, delta * delta, 0.0)))
            for square, delta in zip(squares, deltas, strict=True)
        ]
    amount = sum(squares)
    given = [square / amount if 0.0 < amount < math.inf else 1.0 / count for square in squares]
    masks = cut.masks()
    for base, deltas in changes(task):
        selected = masks.of(_variance(deltas))
        yield add(base, agreeing([np.where(selected, d, 0.0) for d in deltas], [1.0] * count, given, normalize=True))


def _changes(task: Task) -> Iterator[tuple[Block, ...]]:
    return (deltas for _, deltas in changes(task))


def _variance(deltas: Sequence[Block]) -> Block:
    """Of the versions' changes of each number, as a whole population."""
    mean = weighted_sum(deltas, [1.0] * len(deltas)) / len(deltas)
    return weighted_sum([(delta - mean) ** 2 for delta in deltas], [1.0] * len(deltas)) / len(deltas)


def arcee_fusion(task: Task) -> Iterator[Block]:
    """θ_theirs where its difference from θ_ours is important, θ_ours elsewhere.

    Importance is |θ_theirs - θ_ours| · KL(softmax θ_theirs ‖ softmax θ_ours), the divergence taken along the last
    axis. It must reach median + 1.5 (third - first quartile) of all; a quantile q of n is the ⌊q (n - 1)⌋-th smallest.
    A method of Arcee AI, as in mergekit (2025).
    """
    length = row_of_last_axis(task)
    by_rows = in_rows(task, length)
    ranks = [math.floor(quantile * max(task.count - 1, 0)) for quantile in (0.25, 0.5, 0.75)]
    cuts = largest(lambda: (scores for scores, _, _ in _scored(by_rows, length)), [task.count - rank for rank in ranks])
    first, median, third = (cut.magnitude for cut in cuts)
    threshold = median + 1.5 * (third - first)
    return recut(
        (np.where(scores >= threshold, theirs, ours) for scores, ours, theirs in _scored(by_rows, length)), BLOCK
    )


def _scored(task: Task, length: int) -> Iterator[tuple[Block, Block, Block]]:
    """The importance of each number, ours and theirs."""
    for ours, theirs in side_by_side(task.models):
        difference = less(theirs.copy(), ours)
        divergence = _divergence(*(block.reshape(-1, length) for block in (theirs, ours, difference)))
        yield np.abs(difference) * np.repeat(divergence, length), ours, theirs


def _divergence(theirs: Block, ours: Block, difference: Block) -> Block:
    """KL(p ‖ q) of the softmax of each row: Σ p (theirs - ours) - log Σ exp theirs + log Σ exp ours, at least 0."""
    tops = [rows.max(axis=1, keepdims=True) for rows in (theirs, ours)]
    powers, others = (exponential(rows - top) for rows, top in zip((theirs, ours), tops, strict=True))
    weighted = fold(powers * difference)
    sums = [fold(powers).tolist(), fold(others).tolist()]
    logarithms = [np.array([math.log(each) for each in column]) for column in sums]
    divergence: Block = (
        weighted / np.array(sums[0]) - (tops[0].ravel() - tops[1].ravel()) - logarithms[0] + logarithms[1]
    )
    return np.maximum(divergence, 0.0)


STRATEGIES = (
    Strategy(
        "nearswap",
        nearswap,
        "ours moved a little towards theirs, all the way where they are near",
        (Parameter("t", 0.0001, "the distance at most", within="[0, inf)"),),
        models=(2, 2),
        weighs=False,
    ),
    Strategy(
        "sce",
        sce,
        "changes in which the versions differ, weighted by their size, where they agree on a sign",
        (Parameter("density", 1.0, "the part of the numbers that is selected", within="(0, 1]"),),
        needs_base=True,
        weighs=False,
    ),
    Strategy(
        "arcee-fusion",
        arcee_fusion,
        "theirs where it differs in what matters",
        models=(2, 2),
        whole=True,
        weighs=False,
    ),
)
