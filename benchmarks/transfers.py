"""What is measured between a repository and a Git LFS server: push, clone and pull over HTTP on the loopback.

The server is giftless, the one the tests use, with Git's own part of the remote in a folder. ``@transfer`` functions
run in the order they stand here, as those of :mod:`benchmarks.cases`, in one repository per system and run.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from filecmp import cmp
from pathlib import Path

from benchmarks.cases import Case, Unit
from benchmarks.systems import Box, CommandFailed
from benchmarks.weights import change, equal_groups

SYSTEMS = ("theta", "lfs")
GROUPS = 1_000
CHECKPOINTS = 10
_PROGRAM = Path(__file__).resolve().parents[1] / "tests" / "e2e" / "giftless_process.py"
_BATCH = re.compile(r'"POST [^"]*/objects/batch')


@dataclass(slots=True)
class Server:
    """A Git LFS server that anybody may read and write. Repositories on it come into being by being named."""

    url: str
    log: Path
    repositories: int = 0

    def repository(self) -> str:
        """The address of an empty repository."""
        self.repositories += 1
        return f"{self.url}/benchmark/{self.repositories}"

    def batches(self) -> int:
        """How often it was asked for a batch of objects."""
        return len(_BATCH.findall(self.log.read_text(encoding="utf-8")))


@dataclass(frozen=True, slots=True)
class Transfers:
    """A server, two versions of a checkpoint that differ in one group, and smaller checkpoints."""

    server: Server
    first: Path
    changed: Path
    many: tuple[Path, ...]


TRANSFERS: list[Case[Transfers]] = []


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Run a server that keeps its objects in ``folder``."""
    storage, log = folder / "objects", folder / "log"
    storage.mkdir(parents=True)
    with (
        open(log, "wb") as file,
        subprocess.Popen([sys.executable, _PROGRAM, storage], stdout=subprocess.PIPE, stderr=file) as process,
    ):
        port = process.stdout.readline().strip() if process.stdout else b""
        try:
            if not port:
                raise CommandFailed(f"the server did not start: {log.read_text(encoding='utf-8')}")
            yield Server(f"http://127.0.0.1:{port.decode()}", log)
        finally:
            process.terminate()


def transfers(source: Path, folder: Path, size: int, server: Server) -> Transfers:
    """Checkpoints of ``size`` bytes, written into ``folder`` from the weights in ``source``."""
    first, changed = folder / "thousand.safetensors", folder / "thousand-changed.safetensors"
    equal_groups(source, first, size, GROUPS)
    change(first, changed, f"weight.{GROUPS // 2}")
    many = tuple(folder / f"model{number}.safetensors" for number in range(CHECKPOINTS))
    for number, target in enumerate(many):
        equal_groups(source, target, size // CHECKPOINTS, GROUPS // CHECKPOINTS, seed=number + 1)
    return Transfers(server, first, changed, many)


def transfer(
    title: str, unit: Unit = Unit.SECONDS, *, ratio: float | None = None, limit: float | None = None
) -> Callable[[Callable[[Box, Transfers], float]], Callable[[Box, Transfers], float]]:
    """Put the decorated function into :data:`TRANSFERS`; ``{size}`` in its title becomes the checkpoint's."""

    def enter(measure: Callable[[Box, Transfers], float]) -> Callable[[Box, Transfers], float]:
        TRANSFERS.append(Case(title, unit, measure, ratio, None if limit is None else lambda _: limit, SYSTEMS))
        return measure

    return enter


@transfer("`git push` over HTTP, {size} in 1,000 groups", ratio=1.2)
def first_push(box: Box, data: Transfers) -> float:
    box.run("git", "init", "-q", "--bare", str(_remote(box)))
    box.run("git", "remote", "add", "origin", str(_remote(box)))
    box.run("git", "config", "-f", ".lfsconfig", "lfs.url", data.server.repository())
    box.put(data.first)
    box.run("git", "add", ".")
    box.commit()
    return box.run("git", "push", "-q", "origin", "HEAD")


@transfer("`git clone` of it", ratio=1.2)
def clone(box: Box, data: Transfers) -> float:
    target = box.folder / "clone"
    seconds = box.run("git", "clone", "-q", str(_remote(box)), str(target))
    if not cmp(target / box.model.name, data.first, shallow=False):
        raise CommandFailed("the clone has other bytes")
    shutil.rmtree(target)
    return seconds


@transfer("`git push` after one of its groups changed", ratio=0.3)
def small_push(box: Box, data: Transfers) -> float:
    box.put(data.changed)
    box.run("git", "add", box.model.name)
    box.commit()
    return box.run("git", "push", "-q", "origin", "HEAD")


@transfer("`git theta pull` of 10 placeholders, {size} in all (git-lfs: `git lfs pull`)")
def pull(box: Box, data: Transfers) -> float:
    box.run("git", "rm", "-qf", box.model.name)
    for checkpoint in data.many:
        shutil.copyfile(checkpoint, box.repository / checkpoint.name)
    box.run("git", "add", ".")
    box.commit()
    box.run("git", "push", "-q", "origin", "HEAD")
    target = box.folder / "clone"
    as_text = ("env", "GIT_THETA_SKIP_SMUDGE=1", "GIT_LFS_SKIP_SMUDGE=1")
    box.run(*as_text, "git", "clone", "-q", str(_remote(box)), str(target))
    before = data.server.batches()
    seconds = box.run("git", "-C", str(target), box.system.name, "pull")
    box.notes["batches"] = data.server.batches() - before
    if not all(cmp(target / checkpoint.name, checkpoint, shallow=False) for checkpoint in data.many):
        raise CommandFailed("the clone has other bytes")
    return seconds


@transfer("... batches asked of the server", Unit.COUNT, limit=1)
def batches(box: Box, _data: Transfers) -> float:
    return box.notes["batches"]


def _remote(box: Box) -> Path:
    return box.folder / "remote.git"
