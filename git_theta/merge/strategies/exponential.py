"""The exponential function of blocks, to the same bit on every machine.

NumPy's own differs in the last bit from one processor to another. This one adds and multiplies only.
"""

from __future__ import annotations

import math

import numpy as np

from git_theta.merge.task import Block

_LN2 = 0.6931471805599453
_LN2_HIGH = 0.693147180369123816490  # 32 bits of it: times an exponent it is exact
_LN2_LOW = 1.90821492927058770002e-10
_SERIES = [1.0 / math.factorial(term) for term in range(13, -1, -1)]
_LEAST = -745.0  # the smallest float64 is e to about this


def exponential(values: Block) -> Block:
    """e to each of ``values``, which are at most 0; off by a few units in the last place.

    e^x = 2^k e^r with |r| < 0.35, where 13 terms of the series leave out less than 1e-17.
    """
    values = np.maximum(values, _LEAST)
    exponent = np.rint(values / _LN2)
    rest = (values - exponent * _LN2_HIGH) - exponent * _LN2_LOW
    result = np.full_like(rest, _SERIES[0])
    for coefficient in _SERIES[1:]:
        result *= rest
        result += coefficient
    exponent[np.isnan(exponent)] = 0.0
    return np.ldexp(result, exponent.astype(np.int32))
