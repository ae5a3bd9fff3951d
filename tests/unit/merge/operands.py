"""Arrays in memory as the operands of a merge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any
from weakref import ref

import numpy as np
from numpy.typing import ArrayLike, NDArray

from git_theta.merge.registry import parse
from git_theta.merge.task import BLOCK, Block, Task
from git_theta.model import Digest

Array = NDArray[np.float64]


class Numbers:
    """An operand; ``reads`` counts how often it was read from the start, ``held`` is the most blocks in use at once."""

    def __init__(self, numbers: ArrayLike, block: int = BLOCK) -> None:
        self._numbers = np.asarray(numbers, np.float64).ravel()
        self._block = block
        self.reads = 0
        self.held = 0

    @property
    def digest(self) -> Digest:
        return Digest(sha256(self._numbers.tobytes()).hexdigest())

    def blocks(self) -> Iterator[Block]:
        self.reads += 1
        given: list[ref[Block]] = []
        for start in range(0, len(self._numbers), self._block):
            given = [block for block in given if block() is not None]
            self.held = max(self.held, len(given) + 1)
            block = self._numbers[start : start + self._block].copy()
            given.append(ref(block))
            yield block


def task(base: ArrayLike | None, models: Sequence[ArrayLike], *, block: int = BLOCK, **more: Any) -> Task:
    """A task over arrays of one shape."""
    shape = np.shape(models[0])
    ancestor = None if base is None else Numbers(base, block)
    fisher = tuple(Numbers(diagonal, block) for diagonal in more.pop("fisher", ()))
    operands = tuple(Numbers(model, block) for model in models)
    return Task("layer.weight", shape, int(np.prod(shape)), ancestor, operands, fisher=fisher, **more)


def merge(text: str, given: Task) -> Array:
    """What the strategy makes of the task, in its shape."""
    return np.concatenate([np.empty(0), *parse(text).combine(given)]).reshape(given.shape)
