"""Methods that look at rows: operands enter, the same operands read as whole rows leave.

What always holds: one pass reads an operand once; it holds as many whole rows as a block has room for, at least one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from git_theta.merge.task import BLOCK, Block, Operand, Task
from git_theta.model import Digest


@dataclass(frozen=True, slots=True)
class InRows:
    """An operand whose blocks end where rows of ``length`` numbers end."""

    operand: Operand
    length: int

    @property
    def digest(self) -> Digest:
        """Of the operand."""
        return self.operand.digest

    def blocks(self) -> Iterator[Block]:
        """The same numbers in the same order."""
        return recut(self.operand.blocks(), max(BLOCK // self.length, 1) * self.length)


def in_rows(task: Task, length: int) -> Task:
    """The same task, read in whole rows."""
    return replace(
        task,
        base=InRows(task.base, length) if task.base else None,
        models=tuple(InRows(model, length) for model in task.models),
    )


def row_of_unit(task: Task) -> int:
    """The length of a row if each place of the first axis has one: all weights that lead to one output.

    A vector is one row.
    """
    units = task.shape[0] if len(task.shape) > 1 else 1
    return max(task.count // max(units, 1), 1)


def row_of_last_axis(task: Task) -> int:
    """The length of a row along the last axis."""
    return max(task.shape[-1] if task.shape else 1, 1)


def recut(blocks: Iterable[Block], size: int) -> Iterator[Block]:
    """The same numbers in blocks of ``size``, the last one smaller."""
    held: list[Block] = []
    missing = size
    for block in blocks:
        rest = block
        while len(rest) >= missing:
            yield np.concatenate([*held, rest[:missing]]) if held else rest[:missing]
            held, rest, missing = [], rest[missing:], size
        if len(rest):
            held.append(rest)
            missing -= len(rest)
    if held:
        yield np.concatenate(held)
