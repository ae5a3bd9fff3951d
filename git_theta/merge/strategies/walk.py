"""Ways to go through the versions of a group: operands enter, blocks side by side leave, and sums over them.

What always holds: every pass reads each operand once from the first number to the last, and holds one block of each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from git_theta.merge.strategy import StrategyError
from git_theta.merge.task import Block, Operand, Task

Weights = tuple[float, ...] | None
"""The parameter ``weight`` as it was written: see :func:`weights`."""


def side_by_side(operands: Sequence[Operand]) -> Iterator[tuple[Block, ...]]:
    """The blocks of all operands at the same place, from the first place on."""
    return zip(*(operand.blocks() for operand in operands), strict=True)


def base_of(task: Task) -> Operand:
    """The common ancestor's value, for strategies that need one."""
    if task.base is None:
        raise StrategyError(f"{task.name}: the strategy needs a common ancestor's value, and there is none")
    return task.base


def changes(task: Task) -> Iterator[tuple[Block, tuple[Block, ...]]]:
    """The base and what each version added to it, δ = θ − θ_base."""
    for base, *models in side_by_side((base_of(task), *task.models)):
        yield base, tuple(less(model, base) for model in models)


def change(task: Task, model: Operand) -> Iterator[Block]:
    """What one version added to the base."""
    for base, block in side_by_side((base_of(task), model)):
        yield less(block, base)


def less(block: Block, base: Block) -> Block:
    """``block`` − ``base``, in place; equal infinities differ by 0."""
    same = block == base
    block -= base
    np.copyto(block, 0.0, where=same)
    return block


def add(base: Block, step: Block) -> Block:
    """``base`` + ``step``, in place; where nothing is added the base stays as it is, -0.0 too."""
    still = step == 0.0
    step += base
    np.copyto(step, base, where=still)
    return step


def agreement(blocks: Sequence[Block]) -> NDArray[np.bool_]:
    """Where all versions have equal numbers."""
    agreed: NDArray[np.bool_] = np.equal(blocks[0], blocks[1])
    for block in blocks[2:]:
        agreed &= blocks[0] == block
    return agreed


def agreeing(deltas: Sequence[Block], votes: Sequence[float], given: Sequence[float], normalize: bool) -> Block:
    """Σ w δ over the versions that agree with the sign of Σ v δ, divided by their Σ |w| if ``normalize``.

    Where the votes cancel nobody agrees, and the result is 0. ``votes`` are v, ``given`` are w.
    """
    ballots = [delta * vote for delta, vote in zip(deltas, votes, strict=True)]
    elected = np.sign(sum(ballots[1:], ballots[0]))
    merged: Block = elected * 0.0  # NaN where there is no telling
    share = np.zeros_like(merged)
    for delta, ballot, weight in zip(deltas, ballots, given, strict=True):
        agrees = ballot * elected > 0.0
        merged += np.where(agrees, delta * weight, 0.0)
        share += agrees * abs(weight)
    if normalize:
        np.divide(merged, share, out=merged, where=share > 0.0)
    return merged


def fold(values: Block) -> Block:
    """The sum along the last axis, which it uses up: the upper half added to the lower one until one is left.

    The order is the same everywhere, whatever vectors a processor or a release of NumPy adds at once.
    """
    count = values.shape[-1]
    while count > 1:
        half = (count + 1) // 2
        values[..., : count - half] += values[..., half:count]
        count = half
    return values[..., 0]


def weights(task: Task, weight: Weights) -> tuple[float, ...]:
    """One weight for each version: the user's for this merge, else ``weight``, else 1 for each.

    A single number is the share of theirs, divided equally among them if they are several; ours has the rest to 1.
    """
    count = len(task.models)
    given = task.weights or weight or (1.0,) * count
    if len(given) == 1:
        return (1.0 - given[0], *[given[0] / (count - 1)] * (count - 1))
    return given


def total(task: Task, given: Sequence[float]) -> float:
    """The sum of weights, by which they are divided; raises :class:`StrategyError` where it is 0 but for rounding."""
    amount = sum(given)
    if not math.isfinite(amount):
        raise StrategyError(f"{task.name}: the sum of the weights is too large for a number", hint="give smaller ones")
    if abs(amount) <= 1e-12 * sum(map(abs, given)):
        raise StrategyError(
            f"{task.name}: weights that sum to 0 cannot be normalised", hint="choose some with another sum"
        )
    return amount


def weighted_sum(blocks: Sequence[Block], given: Sequence[float | Block]) -> Block:
    """Σ w θ in the versions' order, a new block; a weight is one number, or one for each number."""
    result: Block = blocks[0] * given[0]
    for block, weight in zip(blocks[1:], given[1:], strict=True):
        result += block * weight
    return result
