"""What a merge strategy is: a name, a function of a task and parameters, and when it can be used.

A strategy's function is called as ``function(task, **parameters)`` and yields the merged numbers as float64 blocks in
C order, as many as ``task.count`` says, preferably as large as those it reads. What always holds: the same task and
parameters give the same bytes, in every process, on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from keyword import iskeyword
from typing import Literal

from git_theta.errors import ThetaError
from git_theta.merge.task import Block

Value = float | int | bool | tuple[float, ...] | None
"""What a parameter can be. None, only as a default, is what the strategy does when nothing is said."""

Kind = Literal["number", "count", "switch", "weights"]
"""A float, a whole number, ``true`` or ``false``, or numbers with ``/`` between them."""


class StrategyError(ThetaError):
    """A strategy cannot work on what it was given."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One setting of a strategy.

    ``within`` is the range in which numbers must be, as mathematicians write it: ``(0, 1]`` has 1 but not 0.
    """

    name: str
    default: Value
    help: str
    kind: Kind = "number"
    within: str = "(-inf, inf)"

    @property
    def argument(self) -> str:
        """What the strategy's function calls it: Python keeps ``lambda`` for itself, so that is ``lambda_``."""
        return f"{self.name}_" if iskeyword(self.name) else self.name

    def allows(self, number: float) -> bool:
        """Whether ``number`` is in the range; infinity and NaN never are."""
        low, high = (float(end) for end in self.within[1:-1].split(","))
        above = number > low or (self.within[0] == "[" and number == low)
        below = number < high or (self.within[-1] == "]" and number == high)
        return math.isfinite(number) and above and below


@dataclass(frozen=True, slots=True)
class Strategy:
    """A way to make one group of several versions.

    ``needs_base`` says that it means nothing without the common ancestor's value, ``needs_fisher`` without the
    diagonals of Fisher matrices; ``models`` are the fewest and the most versions it takes, None for any number;
    ``whole`` that it holds a whole group in memory, or a whole row, where others hold a few blocks; ``weighs`` that
    weights given for a merge count.
    """

    name: str
    function: Callable[..., Iterator[Block]]
    summary: str
    parameters: tuple[Parameter, ...] = ()
    needs_base: bool = False
    models: tuple[int, int | None] = (2, None)
    whole: bool = False
    needs_fisher: bool = False
    weighs: bool = True
