"""Which repositories keep their objects in a shared store: prune must ask all of them what they need.

Each is one small file below ``repositories/`` that holds the path of its common Git folder. A file of its own
needs no lock, on any file system: registering is one rename, and two at once do not meet.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from hashlib import sha256
from pathlib import Path

from git_theta.store.disk import Store


def register(store: Store, common_dir: Path) -> None:
    """Note that the repository keeps objects here. Twice is once."""
    path = entry(store, common_dir)
    if path.exists():
        return
    store.make_folder(path.parent)
    fd, draft = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        with open(fd, "wb") as file:
            file.write(os.fsencode(common_dir) + b"\n")
        os.chmod(draft, 0o444)
        os.replace(draft, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)


def registered(store: Store) -> list[Path]:
    """The common Git folders of every repository that is known to keep objects here."""
    folder = store.root / "repositories"
    names = sorted(folder.glob("[0-9a-f]*")) if folder.is_dir() else []
    return [Path(os.fsdecode(name.read_bytes().removesuffix(b"\n"))) for name in names]


def entry(store: Store, common_dir: Path) -> Path:
    """The file that registers the repository, there or not."""
    return store.root / "repositories" / sha256(os.fsencode(common_dir)).hexdigest()


def owner(store: Store) -> Path | None:
    """The repository inside which the store lies, as every store does that nobody moved; None when in none."""
    folder = store.root.parent
    looks_right = store.root.name == "theta" and (folder / "HEAD").is_file() and (folder / "objects").is_dir()
    return folder if looks_right else None
