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
    ``changed`` say something. ``finite`` of those that changed are finite on both sides. ``one_ulp`` of them moved to
    the next representable number. ``converted``, where dtypes differ, counts the elements that are the old value
    rounded to the new dtype, or cut to an integer. ``bits_only``: something changed, and every element compares equal
    (signs of zero, payloads of NaN). ``nan_in`` and ``inf_in`` count elements that became so, ``nan_out`` and
    ``inf_out`` those that are so no longer, ``inf_other`` infinite ones that are another infinity. ``relative`` is the
    norm of the change over that of the old values; None where that says nothing. ``became_zero``: all are zero now,
    and were not. ``rank`` is the numerical rank of the change when it is low (see :mod:`git_theta.diff.rank`).
    ``histogram`` counts changes by magnitude (:data:`HISTOGRAM`); empty unless it was asked for.
    """

    elements: int
    changed: int
    numeric: bool = True
    finite: int = 0
    one_ulp: int = 0
    converted: int = 0
    bits_only: bool = False
    old_norm: float = 0.0
    new_norm: float = 0.0
    delta_norm: float = 0.0
    relative: float | None = None
    largest: float = 0.0
    cosine: float | None = None
    nan_in: int = 0
    nan_out: int = 0
    inf_in: int = 0
    inf_out: int = 0
    inf_other: int = 0
    became_zero: bool = False
    rank: int | None = None
    histogram: tuple[int, ...] = ()

    @property
    def share(self) -> float:
        """Changed elements out of all."""
        return self.changed / self.elements if self.elements else 0.0

    @property
    def not_finite(self) -> tuple[int, ...]:
        """The elements that became NaN, became infinite, are so no longer, and are another infinity."""
        return self.nan_in, self.inf_in, self.nan_out, self.inf_out, self.inf_other

    @property
    def measured(self) -> bool:
        """Whether norms and cosine tell what changed: not where no changed element is finite on both sides."""
        return self.numeric and bool(self.finite or not self.changed)


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

    def __add__(self, other: NoNumbers) -> NoNumbers:
        return NoNumbers(self.nan + other.nan, self.infinite + other.infinite)


@dataclass(frozen=True, slots=True)
class Finding:
    """``statistics`` are over the elements both sides have; None where there are none to compare, or ``problem``
    says why the values cannot be had (``missing``: an object is not here). ``reason`` says why sides are incomparable.
    ``came`` is about the new elements that have no old ones to be compared with."""

    nature: Nature = Nature.VALUES
    statistics: Statistics | None = None
    storage: Storage | None = None
    problem: ThetaError | None = None
    came: NoNumbers = NoNumbers()
    reason: str = ""

    @property
    def loud(self) -> bool:
        """Whether NaN or infinity came in."""
        found = self.statistics
        return bool(self.came or (found and (found.nan_in or found.inf_in)))
