"""Checkpoints whose merge left conflicts: noted by the merge driver, so that adding them unresolved is not silent.

A note is a small file in this worktree's Git folder. It counts only while the index has the path unmerged and the
file is what the driver left; anything else means that somebody decided.
"""

from __future__ import annotations

import contextlib
import json
from hashlib import sha256
from pathlib import Path

from git_theta.cli.workspace import Workspace
from git_theta.model import Digest


def has_unresolved(workspace: Workspace) -> bool:
    """Whether there is any note."""
    return _folder(workspace).is_dir()


def _folder(workspace: Workspace) -> Path:
    return workspace.repository.git_dir / "theta-unresolved"


def _note(workspace: Workspace, path: str) -> Path:
    return _folder(workspace) / sha256(path.encode("utf-8", "surrogateescape")).hexdigest()


def note_unresolved(workspace: Workspace, path: str, root: Digest, conflicts: int) -> None:
    """Remember what the driver left at ``path``, by the root digest of its manifest."""
    note = _note(workspace, path)
    with contextlib.suppress(OSError):
        note.parent.mkdir(exist_ok=True)
        note.write_text(json.dumps({"root": root, "conflicts": conflicts}))


def forget_unresolved(workspace: Workspace, path: str) -> None:
    """The path is resolved."""
    note = _note(workspace, path)
    with contextlib.suppress(OSError):
        note.unlink()
        note.parent.rmdir()


def unresolved(workspace: Workspace, path: str, manifest: bytes) -> int:
    """How many conflicts ``manifest``, about to be added at ``path``, still has; 0 when somebody decided them."""
    try:
        noted = json.loads(_note(workspace, path).read_text())
        if f"\nroot {noted['root']}\n".encode() not in manifest[:4096]:
            return 0
        return int(noted["conflicts"]) if workspace.blobs.get(f":2:{path}") is not None else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0
