"""What a strategy is given: one parameter group of every version, as blocks of float64 that can be read repeatedly.

A block has :data:`BLOCK` numbers, the last one of a group fewer, whatever the store's chunks are: sums over blocks in
their order are the same on every machine, for any number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from git_theta.model import Digest

BLOCK = 1 << 16
"""Numbers in one block: 512 KiB of float64, so that the handful a formula needs stay in a core's cache."""

Block = NDArray[np.float64]
"""Shape ``(n,)`` with ``n <= BLOCK``. A strategy may write into a block it was given."""


class Operand(Protocol):
    """The numbers of one group in one version. Reading them decodes them from the store, every time."""

    @property
    def digest(self) -> Digest:
        """Of the group's bytes: the same for the same numbers, so that seeds can derive from it."""

    def blocks(self) -> Iterator[Block]:
        """The numbers in C order, from the first on; raises :class:`~git_theta.errors.ThetaError`."""


@dataclass(frozen=True, slots=True)
class Task:
    """One group to combine.

    ``count`` is how many real numbers it has: its elements, twice that for complex ones. ``shape`` is that of the
    group where its product is ``count``; for complex dtypes and spans seen through views it is ``(count,)``.
    ``base`` is None where no common ancestor has the group in this shape. ``models`` are ours, theirs, and further
    branches; at least two, not all equal. ``weights``, one for each model, are the user's, None where none were given.
    ``fisher`` are the diagonals of the models' Fisher matrices, in the models' order and shape, where files gave them.
    """

    name: str
    shape: tuple[int, ...]
    count: int
    base: Operand | None
    models: tuple[Operand, ...]
    weights: tuple[float, ...] | None = None
    fisher: tuple[Operand, ...] = ()
    seed: int = 0
