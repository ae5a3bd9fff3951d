"""A side taken whole, and means of the versions: blocks enter side by side, one pass, blocks leave."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from git_theta.merge.strategies.walk import Weights, agreement, base_of, side_by_side, total, weighted_sum, weights
from git_theta.merge.strategy import Parameter, Strategy
from git_theta.merge.task import Block, Task

WEIGHT = Parameter(
    "weight",
    None,
    "theirs' share, ours having the rest to 1; or one weight for each version, as 1/2/1; equal by default",
    kind="weights",
)


def ours(task: Task) -> Iterator[Block]:
    """θ_ours."""
    return task.models[0].blocks()


def theirs(task: Task) -> Iterator[Block]:
    """θ_theirs."""
    return task.models[1].blocks()


def base(task: Task) -> Iterator[Block]:
    """θ_base: both changes are taken back."""
    return base_of(task).blocks()


def average(task: Task, weight: Weights) -> Iterator[Block]:
    """The weighted mean, Σ w θ / Σ w.

    Wortsman et al., Model soups, 2022 (arXiv 2203.05482); with two versions and w = t, WiSE-FT (arXiv 2109.01903).
    """
    return linear(task, weight, normalize=True)


def linear(task: Task, weight: Weights, normalize: bool) -> Iterator[Block]:
    """Σ w θ, divided by Σ w if ``normalize``. A mean of equal numbers is that number, to the bit."""
    given = weights(task, weight)
    divisor = total(task, given) if normalize else 1.0
    for blocks in side_by_side(task.models):
        agreed = agreement(blocks) if normalize else None
        result = weighted_sum(blocks, given)
        result /= divisor
        if agreed is not None:
            np.copyto(result, blocks[0], where=agreed)
        yield result


STRATEGIES = (
    Strategy("ours", ours, "our value"),
    Strategy("theirs", theirs, "their value", models=(2, 2)),
    Strategy("base", base, "the common ancestor's value", needs_base=True),
    Strategy("average", average, "the weighted mean", (WEIGHT,)),
    Strategy(
        "linear",
        linear,
        "the weighted sum",
        (WEIGHT, Parameter("normalize", True, "divide by the sum of the weights", kind="switch")),
    ),
)
