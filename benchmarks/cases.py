"""What is measured. To add a case, write one function and decorate it.

``@case`` functions run in the order they stand here, in one repository per system and run: each finds what the
one before it left. ``@solo`` functions run once, for git-theta alone, each in a fresh repository. A function
returns seconds or bytes.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from filecmp import cmp
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from safetensors.numpy import save_file

from benchmarks.systems import Box, CommandFailed
from benchmarks.weights import Dataset, one_group, scale

ALL = ("theta", "lfs", "published")
MEMORY_LIMIT = 250e6
HANDSHAKE_LIMIT = 0.15
DIFF_LIMIT = 0.5
DIRTY_DIFF_LIMIT = 1.2
STAT_LIMIT = 0.3
DIFF_MEMORY_LIMIT = 400e6
SMALL_DIFF_MEMORY_LIMIT = 200e6
DECODING_LIMIT = 1.5
_STAT_GROUPS = 20_000
_HANDSHAKES = 20
_TURNS = 5


Data = TypeVar("Data")


class Unit(Enum):
    """What a number counts."""

    SECONDS = "s"
    BYTES = "bytes"
    YES_NO = "yes/no"
    TIMES = "times"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Case(Generic[Data]):
    """One row of the table. ``ratio`` is the most it may be relative to git-lfs, ``limit`` the most in units."""

    title: str
    unit: Unit
    measure: Callable[[Box, Data], float]
    ratio: float | None
    limit: Callable[[Data], float] | None
    systems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Big:
    """Where the memory cases get their files from: real weights, a size, and a folder with room."""

    source: Path
    size: int
    folder: Path


@dataclass(frozen=True, slots=True)
class Solo:
    """One row for git-theta alone, with the most it may be."""

    title: str
    unit: Unit
    measure: Callable[[Box, Big], float]
    limit: float


CASES: list[Case[Dataset]] = []
SOLOS: list[Solo] = []


def case(
    title: str,
    unit: Unit = Unit.SECONDS,
    *,
    ratio: float | None = None,
    limit: Callable[[Dataset], float] | None = None,
    systems: tuple[str, ...] = ALL,
) -> Callable[[Callable[[Box, Dataset], float]], Callable[[Box, Dataset], float]]:
    """Put the decorated function into :data:`CASES`."""

    def enter(measure: Callable[[Box, Dataset], float]) -> Callable[[Box, Dataset], float]:
        CASES.append(Case(title, unit, measure, ratio, limit, systems))
        return measure

    return enter


@case("first `git add`", ratio=0.60)
def first_add(box: Box, data: Dataset) -> float:
    box.put(data.first)
    return box.run("git", "add", box.model.name)


@case("`git add` after one group of 2.4 MB changed", ratio=0.45)
def small_add(box: Box, data: Dataset) -> float:
    return _add_version(box, data.small)


@case("... the store grows by", Unit.BYTES, limit=lambda data: data.small_bytes)
def small_growth(box: Box, _data: Dataset) -> float:
    return box.notes["growth"]


@case("`git add` after one group of 47 MB changed", ratio=0.45)
def large_add(box: Box, data: Dataset) -> float:
    return _add_version(box, data.large)


@case("... the store grows by", Unit.BYTES, limit=lambda data: data.large_bytes)
def large_growth(box: Box, _data: Dataset) -> float:
    return box.notes["growth"]


@case("`git checkout` of the file", ratio=1.0)
def checkout(box: Box, _data: Dataset) -> float:
    box.commit()
    box.model.unlink()
    return box.run("git", "checkout", box.model.name)


@case("`git theta checkout` (git-lfs: `git checkout`)", ratio=0.70, systems=("theta", "lfs"))
def direct_checkout(box: Box, _data: Dataset) -> float:
    box.model.unlink()
    return box.run("git", *(["theta"] if box.system.name == "theta" else []), "checkout", box.model.name)


@case("the file is byte for byte the one that was added", Unit.YES_NO)
def same_bytes(box: Box, data: Dataset) -> float:
    return float(cmp(box.model, data.large, shallow=False))


@case("`.git` after these three commits", Unit.BYTES)
def total_size(box: Box, _data: Dataset) -> float:
    return float(box.store_bytes())


@case(
    "`git diff` of two commits, one group of 2.4 MB changed",
    limit=lambda _data: DIFF_LIMIT,
    systems=("theta", "published"),
)
def diff_commits(box: Box, _data: Dataset) -> float:
    return box.run("git", "diff", "HEAD~2", "HEAD~1")


@case(
    "... its largest process, Git's included",
    Unit.BYTES,
    limit=lambda _data: SMALL_DIFF_MEMORY_LIMIT,
    systems=("theta", "published"),
)
def diff_peak(box: Box, _data: Dataset) -> float:
    return peak(box, "git", "diff", "HEAD~2", "HEAD~1")


@case("`git diff --cached` of the same", limit=lambda _data: DIFF_LIMIT, systems=("theta", "published"))
def diff_staged(box: Box, data: Dataset) -> float:
    box.put(data.small)
    box.run("git", "add", box.model.name)
    return box.run("git", "diff", "--cached", "HEAD~2")


@case(
    "`git diff` of the worktree, the same group changed",
    limit=lambda _data: DIRTY_DIFF_LIMIT,
    systems=("theta", "published"),
)
def diff_worktree(box: Box, data: Dataset) -> float:
    box.put(data.first)
    return box.run("git", "diff")


def peak(box: Box, *command: str) -> float:
    """The largest resident size of a command and of what it starts."""
    log = box.folder / "peaks"
    box.run(sys.executable, str(Path(__file__).with_name("peak.py")), str(log), *command)
    peak = float(log.read_text())
    log.unlink()
    return peak


def _add_version(box: Box, version: Path) -> float:
    """Commit what is staged, then stage another version; notes the growth of ``.git``."""
    box.commit()
    box.put(version)
    before = box.store_bytes()
    seconds = box.run("git", "add", box.model.name)
    box.notes["growth"] = box.store_bytes() - before
    return seconds


def handshake(box: Box, _big: Big) -> float:
    """Seconds from starting the filter to the end of its handshake, median."""
    return statistics.median(_handshake(box) for _ in range(_HANDSHAKES))


def _handshake(box: Box) -> float:
    start = time.perf_counter()
    with box.start(["git-theta", "filter-process"], subprocess.PIPE, subprocess.DEVNULL) as process:
        if process.stdin is None or process.stdout is None:
            raise CommandFailed("no pipes")
        process.stdin.write(
            b"0016git-filter-client\n000eversion=2\n00000015capability=clean\n0016capability=smudge\n0000"
        )
        process.stdin.flush()
        answer = b""
        while answer.count(b"0000") < 2:
            part = os.read(process.stdout.fileno(), 1024)
            if not part:
                raise CommandFailed("the filter ended before its handshake")
            answer += part
        seconds = time.perf_counter() - start
        process.stdin.close()
    return seconds


SOLOS.append(Solo("filter start to handshake", Unit.SECONDS, handshake, HANDSHAKE_LIMIT))


def stat(box: Box, _big: Big) -> float:
    """Seconds to compare the manifests of two commits of a checkpoint of many tiny groups."""
    for version in (0.0, 1.0):
        groups = {
            f"layer.{at}.weight": np.full(16, version if at == 7 else at, np.float32) for at in range(_STAT_GROUPS)
        }
        save_file(groups, box.model)
        box.run("git", "add", box.model.name)
        box.commit()
    return box.run("git-theta", "diff", "--stat", "HEAD~1", "HEAD")


SOLOS.append(Solo("`git theta diff --stat` of 20,000 groups", Unit.SECONDS, stat, STAT_LIMIT))


def _two_versions(box: Box, big: Big, size: int) -> None:
    """Commit two versions of a checkpoint that differ in every group."""
    for seed in (0, 1):
        scale(big.source, box.model, size, seed)
        box.run("git", "add", box.model.name)
        box.commit()


def diff_against_decoding(box: Box, big: Big) -> float:
    """How many times as long a report on every group takes as decoding both versions; median of alternated runs."""
    _two_versions(box, big, big.size // 6)
    decode = (sys.executable, str(Path(__file__).with_name("decode.py")), box.model.name, "HEAD~1", "HEAD")
    turns = [(box.run("git", "diff", "HEAD~1", "HEAD"), box.run(*decode)) for _ in range(_TURNS)]
    return statistics.median(diff / decoding for diff, decoding in turns)


SOLOS.append(
    Solo(
        "`git diff`, every group changed, to decoding both versions",
        Unit.TIMES,
        diff_against_decoding,
        DECODING_LIMIT,
    )
)


def diff_memory(box: Box, big: Big) -> float:
    """The largest resident size of our processes while they compare two versions that differ in every group."""
    _two_versions(box, big, big.size // 2)
    return peak(box, "git-theta", "diff", "HEAD~1", "HEAD")


SOLOS.append(Solo("peak memory, `git theta diff`, every group changed", Unit.BYTES, diff_memory, DIFF_MEMORY_LIMIT))


def _many_groups(big: Big, target: Path) -> None:
    scale(big.source, target, big.size)


def _one_group(big: Big, target: Path) -> None:
    one_group(big.source, target, big.size)


def peak_memory(box: Box, big: Big, make: Callable[[Big, Path], None], command: str) -> float:
    """The largest resident size of our processes while ``command`` works on a big file."""
    if shutil.disk_usage(big.folder).free < 4 * big.size:
        raise CommandFailed(f"needs {4 * big.size / 1e9:.0f} GB of free disk")
    log = box.folder / "peaks"
    wrapper = [sys.executable, str(Path(__file__).with_name("peak.py")), str(log)]
    box.run("git", "config", "filter.theta.process", " ".join([*wrapper, "git-theta", "filter-process"]))
    box.run("git", "config", "theta.smudgeLimit", "1t")
    make(big, box.model)
    box.run("git", "add", box.model.name)
    if command != "git add":
        log.unlink()
        box.model.unlink()
        plain = command == "git checkout"
        box.run(*(["git"] if plain else [*wrapper, "git-theta"]), "checkout", box.model.name)
    return max(float(line) for line in log.read_text().split())


for _make, _what in ((_many_groups, "file of many groups"), (_one_group, "file of one group")):
    for _command in ("git add", "git checkout", "git theta checkout"):
        SOLOS.append(
            Solo(
                f"peak memory, `{_command}`, {{size}} {_what}",
                Unit.BYTES,
                partial(peak_memory, make=_make, command=_command),
                MEMORY_LIMIT,
            )
        )
