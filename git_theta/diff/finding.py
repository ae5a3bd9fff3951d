"""What is found about one changed group when its values are read. Frozen values; nothing here reads or computes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from git_theta.errors import ThetaError

HISTOGRAM = range(-64, 32)
"""Exponents of the histogram: its k-th count is of changes with 2^(e-1) <= |change| < 2^e, e the k-th of these."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """How the elements of a group changed.

    ``numeric`` is False when the elements are bytes without a meaning of their own; then only ``elements`` and
    ``changed`` say something. ``one_ulp`` counts floating-point elements that moved to the next representable
    number; ``converted``, where dtypes differ, those that are the old value rounded to the new dtype. ``nan_in``
    and ``inf_in`` count elements that became so. ``became_zero``: all are zero now, and were not. ``rank`` is the
    numerical rank of the change when it is low (see :mod:`git_theta.diff.rank`). ``histogram`` counts changes by
    magnitude (:data:`HISTOGRAM`); empty unless it was asked for.
    """

    elements: int
    changed: int
    numeric: bool = True
    one_ulp: int = 0
    converted: int = 0
    old_norm: float = 0.0
    new_norm: float = 0.0
    delta_norm: float = 0.0
    largest: float = 0.0
    cosine: float | None = None
    nan_in: int = 0
    inf_in: int = 0
    became_zero: bool = False
    rank: int | None = None
    histogram: tuple[int, ...] = ()

    @property
    def share(self) -> float:
        """Changed elements out of all."""
        return self.changed / self.elements if self.elements else 0.0

    @property
    def relative(self) -> float | None:
        """Norm of the change over norm of the old values; None where that says nothing."""
        return self.delta_norm / self.old_norm if self.numeric and self.old_norm else None


@dataclass(frozen=True, slots=True)
class Storage:
    """How a stored value is stored: the kind of its update and the bytes of its encoded chunks."""

    kind: str
    bytes: int


class Nature(Enum):
    """What kind of change the values show."""

    VALUES = "values"
    CAST = "cast"
    RESIZED = "resized"
    TRANSPOSED = "transposed"
    INCOMPARABLE = "incomparable"


@dataclass(frozen=True, slots=True)
class NoNumbers:
    """How many elements are NaN, and how many infinite."""

    nan: int = 0
    infinite: int = 0

    def __bool__(self) -> bool:
        return bool(self.nan or self.infinite)


@dataclass(frozen=True, slots=True)
class Finding:
    """``statistics`` are over the elements both sides have; None where there are none to compare, or ``problem``
    says why the values cannot be had (``missing``: an object is not here). ``came`` is about the new elements that
    have no old ones to be compared with."""

    nature: Nature = Nature.VALUES
    statistics: Statistics | None = None
    storage: Storage | None = None
    problem: ThetaError | None = None
    came: NoNumbers = NoNumbers()

    @property
    def loud(self) -> bool:
        """Whether NaN or infinity came in."""
        found = self.statistics
        return bool(self.came or (found and (found.nan_in or found.inf_in)))
