"""What merging costs: changes that do not meet, and a strategy at work on every group.

``git merge-tree --write-tree`` is the merge without Git's checkout, which has a case of its own.
"""

from __future__ import annotations

import statistics
from pathlib import Path

from benchmarks.cases import Big, Solo, Unit, peak
from benchmarks.systems import Box
from benchmarks.weights import change, scale

DISJOINT_LIMIT = 0.5
AVERAGE_LIMIT = 2.5
MEMORY_LIMIT = 400e6
_TURNS = 5
_MERGE = ("git", "merge-tree", "--write-tree", "ours", "theirs")
_OURS, _THEIRS = "copy0.encoder.layer.0.output.dense.weight", "copy1.encoder.layer.3.attention.self.query.weight"


def _branches(box: Box, base: Path, ours: Path, theirs: Path) -> float:
    """Commit the versions on branches of those names; seconds that adding theirs took."""
    box.put(base)
    box.run("git", "add", box.model.name)
    box.commit()
    box.run("git", "branch", "base")
    for branch, version in (("ours", ours), ("theirs", theirs)):
        box.run("git", "checkout", "-q", "-b", branch, "base")
        box.put(version)
        seconds = box.run("git", "add", box.model.name)
        box.commit()
    return seconds


def disjoint(box: Box, big: Big) -> float:
    """Seconds to merge two checkpoints that differ from their base in one group each."""
    base, ours, theirs = (big.folder / f"{name}.safetensors" for name in ("base", "ours", "theirs"))
    scale(big.source, base, big.size // 6)
    change(base, ours, _OURS)
    change(base, theirs, _THEIRS)
    _branches(box, base, ours, theirs)
    return statistics.median(box.run(*_MERGE) for _ in range(_TURNS))


def _every_group(box: Box, big: Big) -> float:
    versions = [big.folder / f"version{seed}.safetensors" for seed in range(3)]
    for seed, version in enumerate(versions):
        scale(big.source, version, big.size // 6, seed)
    return _branches(box, *versions)


def average(box: Box, big: Big) -> float:
    """How many times as long as adding the file it takes to average all its groups."""
    adding = _every_group(box, big)
    return box.run(*_MERGE) / adding


def average_memory(box: Box, big: Big) -> float:
    """The largest resident size of any process while every group is averaged."""
    _every_group(box, big)
    return peak(box, *_MERGE)


MERGES = [
    Solo("merge of changes to one group each, without checkout", Unit.SECONDS, disjoint, DISJOINT_LIMIT),
    Solo("merge by average of every group, to `git add` of that file", Unit.TIMES, average, AVERAGE_LIMIT),
    Solo("peak memory of that merge", Unit.BYTES, average_memory, MEMORY_LIMIT),
]
