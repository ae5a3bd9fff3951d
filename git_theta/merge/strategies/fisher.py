"""The mean of the versions, each number weighted by how much its version depends on it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from git_theta.merge.strategies.simple import WEIGHT
from git_theta.merge.strategies.walk import Weights, agreement, side_by_side, total, weighted_sum, weights
from git_theta.merge.strategy import Parameter, Strategy
from git_theta.merge.task import Block, Task


def fisher(task: Task, weight: Weights, epsilon: float) -> Iterator[Block]:
    """Σ w F θ / Σ w F, where F is the diagonal of each version's Fisher matrix, and at least ``epsilon``.

    Where Σ w F is 0 no version depends on the number: there the result is Σ w θ / Σ w.
    Matena and Raffel, Merging Models with Fisher-Weighted Averaging, 2022 (arXiv 2111.09832).
    """
    count = len(task.models)
    given = weights(task, weight)
    divisor = total(task, given)
    for blocks in side_by_side((*task.models, *task.fisher)):
        models, diagonals = blocks[:count], [np.maximum(block, epsilon) for block in blocks[count:]]
        agreed = agreement(models)
        result = weighted_sum(models, given) / divisor
        share = weighted_sum(diagonals, given)
        informed = weighted_sum([model * diagonal for model, diagonal in zip(models, diagonals, strict=True)], given)
        np.divide(informed, share, out=result, where=share != 0.0)
        np.copyto(result, models[0], where=agreed)
        yield result


STRATEGIES = (
    Strategy(
        "fisher",
        fisher,
        "the mean, each number weighted by how much its version depends on it",
        (WEIGHT, Parameter("epsilon", 0.0, "the least a version depends on a number", within="[0, inf)")),
        needs_fisher=True,
    ),
)
