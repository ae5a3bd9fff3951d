"""Sums of changes since the common ancestor: each version's change is thinned out, then all are added to the base.

Every method here is θ_base + λ Σ w s(δ): they differ in the sieve s, which keeps some numbers of a change, and in
whether the versions must agree on a sign. What always holds: a number that no version changed stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from git_theta.merge.strategies.chance import Chance
from git_theta.merge.strategies.rows import in_rows, recut, row_of_unit
from git_theta.merge.strategies.select import at_least, at_most, largest
from git_theta.merge.strategies.walk import Weights, add, agreeing, change, changes, total, weighted_sum, weights
from git_theta.merge.strategy import Parameter, Strategy
from git_theta.merge.task import BLOCK, Block, Operand, Task

Sieve = Callable[[Block], Block]
"""Thins out the next block of a change, in place or not; is given the blocks in their order."""


def task_arithmetic(task: Task, weight: Weights, lambda_: float, normalize: bool) -> Iterator[Block]:
    """θ_base + λ Σ w δ, divided by Σ w if ``normalize``.

    Ilharco et al., Editing Models with Task Arithmetic, 2023 (arXiv 2212.04089).
    """
    return _fuse(task, [_everything] * len(task.models), weight, lambda_, normalize, ties=False)


def ties(task: Task, density: float, weight: Weights, lambda_: float, normalize: bool) -> Iterator[Block]:
    """θ_base + λ · the mean of those trimmed changes that agree with the sign of their sum.

    Trim: of each δ the ⌈density · n⌉ largest magnitudes stay. Elect: sgn Σ w δ. Merge: Σ w δ / Σ w over the versions
    with that sign, the sum alone if not ``normalize``. Where the sum is 0, nothing is added.
    Yadav et al., TIES-Merging, 2023 (arXiv 2306.01708).
    """
    kept = at_least(density, task.count)
    return _fuse(task, [_band(task, model, 0, kept) for model in task.models], weight, lambda_, normalize, ties=True)


def breadcrumbs(
    task: Task, density: float, gamma: float, weight: Weights, lambda_: float, ties: bool, normalize: bool | None
) -> Iterator[Block]:
    """θ_base + λ Σ w m δ, where m drops the largest and the smallest magnitudes of each δ.

    The ⌊gamma · n⌋ largest go, or as many as there are besides the ⌈density · n⌉ after them, which stay.
    Davari and Belilovsky, Model Breadcrumbs, 2024 (arXiv 2312.06795).
    """
    kept = at_least(density, task.count)
    outliers = min(at_most(gamma, task.count), task.count - kept)
    sieves = [_band(task, model, outliers, outliers + kept) for model in task.models]
    return _fuse(task, sieves, weight, lambda_, normalize, ties)


def dare(
    task: Task,
    density: float,
    weight: Weights,
    lambda_: float,
    ties: bool,
    normalize: bool | None,
    rescale: bool,
    seed: int,
) -> Iterator[Block]:
    """θ_base + λ Σ w m δ / density, where each m is 1 with probability ``density``, else 0.

    Yu et al., Language Models are Super Mario, 2024 (arXiv 2311.03099).
    """

    def sieve(chance: Chance) -> Sieve:
        return lambda block: _draw(block, chance, density, rescale)

    sieves = [sieve(Chance(task, model, seed)) for model in task.models]
    return _fuse(task, sieves, weight, lambda_, normalize, ties)


def della(
    task: Task,
    density: float,
    epsilon: float,
    weight: Weights,
    lambda_: float,
    ties: bool,
    normalize: bool | None,
    rescale: bool,
    seed: int,
) -> Iterator[Block]:
    """θ_base + λ · the mean of those changes m δ / p that agree with the sign of their sum.

    Each m is 1 with probability p, else 0. Within a row of n changes p grows with the rank r = 0 ... n - 1 of the
    magnitude: p = density - epsilon + 2 epsilon r / (n - 1), epsilon being so small that p is in [0, 1]; alone in its
    row a change has p = density. A row is what leads to one output.
    Deep et al., DELLA-Merging, 2024 (arXiv 2406.11617).
    """
    length = row_of_unit(task)
    steps = np.arange(length) / (length - 1) if length > 1 else np.full(1, 0.5)
    epsilon = min(epsilon, density, 1.0 - density)
    odds = density - epsilon + 2.0 * epsilon * steps

    def sieve(chance: Chance) -> Sieve:
        return lambda block: _draw(block, chance, odds[_ranks(block.reshape(-1, length)).ravel()], rescale)

    sieves = [sieve(Chance(task, model, seed)) for model in task.models]
    return recut(_fuse(in_rows(task, length), sieves, weight, lambda_, normalize, ties), BLOCK)


def _fuse(
    task: Task, sieves: Sequence[Sieve], weight: Weights, scale: float, normalize: bool | None, ties: bool
) -> Iterator[Block]:
    """θ_base + scale · Σ w s(δ); with ``ties`` only of those that agree, and then normalised unless told not to."""
    given = weights(task, weight)
    normalize = ties if normalize is None else normalize
    divisor = total(task, given) if normalize and not ties else 1.0
    for base, deltas in changes(task):
        thinned = [sieve(delta) for sieve, delta in zip(sieves, deltas, strict=True)]
        step = agreeing(thinned, given, given, normalize) if ties else weighted_sum(thinned, given)
        step *= scale / divisor
        yield add(base, step)


def _everything(block: Block) -> Block:
    return block


def _band(task: Task, model: Operand, largest_without: int, largest_with: int) -> Sieve:
    """Keeps the magnitudes that are among so many largest, but not among so many."""
    if (largest_without, largest_with) == (0, task.count):
        return _everything
    cuts = largest(lambda: change(task, model), [largest_without, largest_with])
    without, within = (cut.masks() for cut in cuts)

    def sieve(block: Block) -> Block:
        taken = within.of(block)
        taken ^= without.of(block)
        np.copyto(block, 0.0, where=~taken)
        return block

    return sieve


def _draw(block: Block, chance: Chance, odds: Block | float, rescale: bool) -> Block:
    """Each number with its probability, divided by that if ``rescale``; else 0."""
    taken = chance.take(len(block)) < odds
    return np.where(taken, block / odds if rescale else block, 0.0)


def _ranks(rows: Block) -> np.ndarray[tuple[int, int], np.dtype[np.intp]]:
    """The place of each magnitude among those of its row, 0 for the smallest; of equal ones the first is smaller."""
    order = np.argsort(np.abs(rows), axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(rows.shape[1])[None], axis=1)
    return ranks


WEIGHT = Parameter(
    "weight",
    None,
    "theirs' share, ours having the rest to 1; or one for each version, as 1/2/1; 1 by default",
    "weights",
)
DENSITY = Parameter("density", 0.5, "the part of a change that stays", within="(0, 1]")
LAMBDA = Parameter("lambda", 1.0, "what the merged change is multiplied by")
TIES = Parameter("ties", False, "only changes that agree with the sign of their sum", "switch")
NORMALIZE = Parameter("normalize", None, "divide by the sum of the weights; by default with ties alone", "switch")
RESCALE = Parameter("rescale", True, "divide what stays by its probability", "switch")
SEED = Parameter("seed", 0, "draws other random numbers", "count", "[0, inf)")

STRATEGIES = (
    Strategy(
        "task-arithmetic",
        task_arithmetic,
        "both changes added to the base",
        (WEIGHT, LAMBDA, replace(NORMALIZE, default=False, help="divide by the sum of the weights")),
        needs_base=True,
    ),
    Strategy(
        "ties",
        ties,
        "the largest changes, where they agree on a sign",
        (
            replace(DENSITY, default=0.2),
            WEIGHT,
            LAMBDA,
            replace(NORMALIZE, default=True, help="divide by the weights of those that agree"),
        ),
        needs_base=True,
    ),
    Strategy(
        "dare",
        dare,
        "random parts of the changes, scaled up",
        (DENSITY, WEIGHT, LAMBDA, TIES, NORMALIZE, RESCALE, SEED),
        needs_base=True,
    ),
    Strategy(
        "della",
        della,
        "random parts of the changes, the larger ones likelier, where they agree on a sign",
        (
            DENSITY,
            Parameter("epsilon", 0.15, "by how much the probability differs from density at most", within="[0, 1)"),
            WEIGHT,
            LAMBDA,
            replace(TIES, default=True),
            NORMALIZE,
            RESCALE,
            SEED,
        ),
        needs_base=True,
        whole=True,
    ),
    Strategy(
        "breadcrumbs",
        breadcrumbs,
        "changes without the largest and the smallest numbers",
        (
            replace(DENSITY, default=0.15),
            Parameter("gamma", 0.01, "the part of the largest changes that is dropped", within="[0, 1)"),
            WEIGHT,
            LAMBDA,
            TIES,
            NORMALIZE,
        ),
        needs_base=True,
    ),
)
