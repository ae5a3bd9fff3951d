"""Random numbers that belong to a group: what identifies it enters, uniform numbers leave, in element order.

The generator counts (Philox 4x64, Salmon et al., 2011), and its key is a hash of contents. What always holds: the
numbers depend on the user's seeds, the group's name and the digests of base and version alone, so that a rerun, other
block sizes, other threads, other releases of NumPy and other machines draw the same ones.
"""

from __future__ import annotations

import json
from hashlib import sha256

import numpy as np

from git_theta.merge.task import Block, Operand, Task


class Chance:
    """Uniform numbers in [0, 1) for the numbers of one version's group, one after the other."""

    def __init__(self, task: Task, model: Operand, seed: int) -> None:
        identity = [task.seed, seed, task.name, task.base.digest if task.base else None, model.digest]
        key = sha256(json.dumps(identity).encode()).digest()[:16]
        self._generator = np.random.Philox(key=int.from_bytes(key, "little"))

    def take(self, count: int) -> Block:
        """The next ``count`` numbers: the upper 53 bits of each word, so that all of them are exact."""
        words = self._generator.random_raw(count)
        return (words >> np.uint64(11)) * np.float64(2.0**-53)
