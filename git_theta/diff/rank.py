"""The numerical rank of a change, where it is low: rows of a matrix enter as they pass, one number leaves.

A basis of the rows seen so far grows by what it does not span yet. What a sum of low rank leaves after rounding to
the stored dtype does not count: it is at most epsilon times the norm of the new values. Ordinary changes are given
up after the first rows, which costs less than a thousandth of a second; a change of rank r costs 4r operations per
element.
"""

from __future__ import annotations

import numpy as np

from git_theta.tensors.elements import Floats

RANK_LIMIT = 32
"""Higher ranks are not called low. Adapters commonly have 4 to 32."""
_FIRST_ROWS = RANK_LIMIT + 8
_COLUMNS_LIMIT = 1 << 14


class RankTracker:
    """Fed with the change and the new values of a matrix of ``columns`` columns, in any pieces."""

    def __init__(self, columns: int, epsilon: float) -> None:
        self._columns, self._epsilon = columns, epsilon
        self._basis: Floats = np.zeros((0, columns))
        self._changes: list[Floats] = []
        self._values: list[Floats] = []
        self._held = 0
        self._rows = 0
        self._alive = columns <= _COLUMNS_LIMIT

    def add(self, change: Floats, values: Floats) -> None:
        """The next elements, row by row."""
        if not self._alive:
            return
        self._changes.append(change)
        self._values.append(values)
        self._held += len(change)
        if self._held >= _FIRST_ROWS * self._columns:
            self._digest()

    @property
    def rank(self) -> int | None:
        """The rank, when it is at least 1, at most the limit, and below a quarter of both sides."""
        if self._held and self._alive:
            self._digest()
        found = len(self._basis)
        return found if self._alive and 0 < found <= min(self._rows, self._columns) // 4 else None

    def _digest(self) -> None:
        """Extend the basis by the whole rows held."""
        change, values = np.concatenate(self._changes), np.concatenate(self._values)
        rows = len(change) // self._columns
        cut = rows * self._columns
        for first in range(0, rows, _FIRST_ROWS):
            part = slice(first * self._columns, min(first + _FIRST_ROWS, rows) * self._columns)
            self._extend(change[part].reshape(-1, self._columns), values[part])
            if not self._alive:
                self._changes, self._values, self._held = [], [], 0
                return
        self._rows += rows
        self._changes, self._values, self._held = [change[cut:]], [values[cut:]], len(change) - cut

    def _extend(self, rows: Floats, values: Floats) -> None:
        if not np.isfinite(rows).all() or not np.isfinite(values).all():
            self._alive = False
            return
        rest = rows - (rows @ self._basis.T) @ self._basis
        tolerance = (self._epsilon * float(np.linalg.norm(values))) ** 2
        if float(np.vdot(rest, rest)) <= tolerance:
            return
        products = rest @ rest.T
        if len(self._basis) + len(rest) > RANK_LIMIT and _all_above(products, tolerance):
            self._alive = False
            return
        # Squares of the singular values, smallest first: those whose sum is within rounding do not count.
        squares, vectors = np.linalg.eigh(products)
        new = int(np.count_nonzero(np.cumsum(np.maximum(squares, 0)) > tolerance))
        if len(self._basis) + new > RANK_LIMIT:
            self._alive = False
            return
        directions = vectors[:, -new:].T @ rest
        self._basis = np.linalg.qr(np.concatenate([self._basis, directions]).T)[0].T


def _all_above(symmetric: Floats, limit: float) -> bool:
    """Whether every eigenvalue is above ``limit``: a tenth of the work of finding them."""
    try:
        np.linalg.cholesky(symmetric - limit * np.eye(len(symmetric)))
    except np.linalg.LinAlgError:
        return False
    return True
