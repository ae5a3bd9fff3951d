"""The median of all versions: what most agree on wins, and a single outlier moves nothing.

A task enters, blocks of float64 leave: all that git-theta asks of a strategy. With two versions and their common
ancestor, a number that only one side changed much stays near the other two.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from git_theta.merge.strategy import Parameter, Strategy
from git_theta.merge.task import Block, Task


def median(task: Task, base: bool) -> Iterator[Block]:
    """The median of the versions, and of the common ancestor if ``base`` and if there is one."""
    operands = [*task.models, task.base] if base and task.base else list(task.models)
    for blocks in zip(*(operand.blocks() for operand in operands), strict=True):
        yield np.median(blocks, axis=0)


MEDIAN = Strategy(
    "median",
    median,
    "the median of the versions and of what they come from",
    (Parameter("base", True, "count the common ancestor as a version", "switch"),),
)
