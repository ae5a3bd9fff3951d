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

from benchmarks.systems import Box, CommandFailed
from benchmarks.weights import Dataset, one_group, scale

ALL = ("theta", "lfs", "published")
MEMORY_LIMIT = 250e6
HANDSHAKE_LIMIT = 0.15
_HANDSHAKES = 20


class Unit(Enum):
    """What a number counts."""

    SECONDS = "s"
    BYTES = "bytes"
    YES_NO = "yes/no"


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table. ``ratio`` is the most it may be relative to git-lfs, ``limit`` the most in units."""

    title: str
    unit: Unit
    measure: Callable[[Box, Dataset], float]
    ratio: float | None
    limit: Callable[[Dataset], float] | None
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


CASES: list[Case] = []
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
