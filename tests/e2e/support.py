"""What the end-to-end tests share: repositories that track checkpoints, small checkpoints, and who comes between.

What always holds: a checkpoint here is a function of its arguments, so a test can say which bytes must come
back; nothing here waits for time to pass.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tests.e2e.conftest import GitRepo

MODEL = "model.safetensors"
PATTERNS = ("*.safetensors", "*.pt", "*.npz", "*.gguf", "*.ckpt")
LAYERS = "abcdef"
_SIDE = 64
_INTRUDER = Path(__file__).with_name("intruder.py")


_set_up: dict[str, bytes] = {}
"""What install and track wrote the first time. It is the same in every new repository and takes a second to make."""


def track_checkpoints(repo: GitRepo) -> GitRepo:
    """Make an empty ``repo`` track every checkpoint, as a user does, with one commit that says so."""
    config, attributes = repo.home / ".gitconfig", repo.path / ".gitattributes"
    if _set_up:
        config.write_bytes(_set_up["config"])
        attributes.write_bytes(_set_up["attributes"])
    else:
        repo.theta("install", "--global")
        repo.theta("track", *PATTERNS)
        _set_up.update(config=config.read_bytes(), attributes=attributes.read_bytes())
    repo.commit("track checkpoints")
    return repo


def checkpoint(layers: str = LAYERS, **changed: int) -> bytes:
    """A safetensors file with a 16 KB group per letter of ``layers``; a named one gets its values from that seed."""
    from safetensors.numpy import save

    content: bytes = save({name: noise(name, changed.get(name, 0)) for name in layers})
    return content


def unrelated(seed: int) -> bytes:
    """A safetensors file that shares no object with one of another seed, its header included."""
    from safetensors.numpy import save

    content: bytes = save({name: noise(name, seed) for name in "ab"}, metadata={"seed": str(seed)})
    return content


def noise(name: str, seed: int, count: int = _SIDE * _SIDE) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Values that do not compress away, different for each name and seed."""
    return np.random.default_rng([seed, *name.encode()]).standard_normal(count, dtype=np.float32)


def objects(repo: GitRepo) -> list[Path]:
    """Every object in the repository's store."""
    common = repo.path / repo.git("rev-parse", "--git-common-dir")
    return sorted(path for path in (common / "theta" / "objects").rglob("*") if path.is_file())


def object_path(repo: GitRepo, oid: str) -> Path:
    """Where the repository keeps an object."""
    return repo.path / ".git" / "theta" / "objects" / oid[:2] / oid[2:4] / oid


def stored_bytes(repo: GitRepo) -> int:
    """How many bytes the repository's objects take."""
    return sum(path.stat().st_size for path in objects(repo))


def is_manifest(content: bytes) -> bool:
    """Whether a file holds a manifest instead of a checkpoint."""
    return content.startswith(b"git-theta manifest ")


def status(repo: GitRepo) -> str:
    """What ``git status`` says after it looked at every file anew; empty when all is committed."""
    repo.git("update-index", "--refresh", code=None)
    return repo.git("status", "--porcelain")


def restored(repo: GitRepo, name: str = MODEL) -> bytes:
    """The bytes that Git brings back after the file was deleted."""
    (repo.path / name).unlink(missing_ok=True)
    repo.git("checkout", "--", name)
    return repo.read(name)


def intrude(repo: GitRepo, after: str, action: str) -> None:
    """Let ``action``, a shell command, run between Git and the filter.

    ``after`` is ``in:N`` or ``out:N``: once N bytes have gone from Git to the filter, or back. The action finds
    the process ids in $FILTER and $GIT, and runs once per filter process.
    """
    words = [sys.executable, str(_INTRUDER), after, action, "git-theta", "filter-process"]
    # With exec the shell that Git starts becomes the intruder, whose parent then is Git itself.
    repo.git("config", "filter.theta.process", f"exec {shlex.join(words)}")


def leave_alone(repo: GitRepo) -> None:
    """Take back :func:`intrude`."""
    repo.git("config", "--unset", "filter.theta.process", code=None)
